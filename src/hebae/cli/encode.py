"""``hebae encode`` and ``hebae impute``: codes of examples, and examples without gaps, as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hebae.cli.app import app, say, tell
from hebae.cli.generate import Data, require_output
from hebae.config import DataSettings, Settings
from hebae.errors import HebaeError
from hebae.methods import METHODS

if TYPE_CHECKING:
    from hebae.data import Examples

_OUTPUTS = (".csv", ".tsv", ".parquet", ".npy", ".h5ad")


@app.command
def encode(
    run: Path,
    /,
    *,
    output: Path = Path("codes.csv"),
    data: Data = DataSettings(),  # noqa: B008
) -> int:
    """Write the codes of examples, posterior means, with their ids and labels.

    All examples are encoded: training, validation and test, each in the order of the data.

    Parameters
    ----------
    run
        Folder of a finished run.
    output
        A .csv, .tsv or .parquet table: id, split, label, codes; a .npy array (n, k); or a .h5ad
        file with the codes as obsm["X_hebae"].
    """
    require_output(output, _OUTPUTS)
    import numpy as np

    from hebae import inference
    from hebae.data.writing import write_codes

    trained, config, source, parts = _model_and_data(run, data)
    codes = np.concatenate([inference.encode(trained, part).mean for part in parts.values()])
    prefix = METHODS[config["method"]].class_name.lower()
    names = [f"{prefix}{i}" for i in range(codes.shape[1])]
    original = Path(source) if source.endswith(".h5ad") else None
    write_codes(codes, names, parts, output, original)
    say(f"Wrote {len(codes):,} codes of {codes.shape[1]} dimensions: {output}")
    return 0


@app.command
def impute(
    run: Path,
    /,
    *,
    output: Path = Path("imputed.csv"),
    data: Data = DataSettings(),  # noqa: B008
) -> int:
    """Write examples with their missing values filled in, by the model's reconstruction.

    Parameters
    ----------
    run
        Folder of a finished run.
    output
        A .csv, .tsv or .parquet table, with the types of the data's columns; a .npy array; a .h5ad
        file; or a .bed file with the most probable genotypes, with .bim and .fam.
    """
    require_output(output, (*_OUTPUTS, ".bed"))
    from hebae import inference
    from hebae.data.genotypes import require_variants, write_genotypes
    from hebae.data.writing import joined, write_examples

    trained, _, source, parts = _model_and_data(run, data)
    if output.suffix == ".bed":
        require_variants(next(iter(parts.values())), source, output)
    missing = sum(part.summary.missing for part in parts.values())
    filled = [
        replace(part, values=inference.impute(trained, part), missing=None, pixels=None)
        for part in parts.values()
    ]
    examples = joined(filled)
    if output.suffix == ".bed":
        from hebae.evaluation import most_probable_genotypes

        values = most_probable_genotypes(examples.values)
        write_genotypes(replace(examples, values=values), output)
    else:
        write_examples(examples, output)
    say(f"Filled {missing:,} missing values: {output}")
    return 0


def _model_and_data(
    run: Path, data: DataSettings
) -> tuple[Any, dict[str, Any], str, dict[str, Examples]]:
    """Load the model, its configuration and all examples by split, coded as in training."""
    from hebae import inference
    from hebae.data import load
    from hebae.data.loading import options_for
    from hebae.storage import load_model

    trained, config = load_model(run)
    stored = {name: config[name] for name in DataSettings.model_fields if name in config}
    given = data.model_dump(include=data.model_fields_set)
    if "data" in given:  # of another format, perhaps
        kept = {"data_dir", "binarize", *options_for(given["data"])}
        stored = {name: value for name, value in stored.items() if name in kept}
    whole = {"validation_size": 0, "train_size": None}
    chosen = Settings.checked(stored | whole | given, f"{run}/config.json")
    seen = trained.seen
    known: dict[str, Any] = {}
    if seen is not None:
        known = {"columns": seen.columns, "feature_names": seen.feature_names}
    dataset = load(**chosen.source, **known)
    tell(*dataset.notes)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    parts = {}
    for split, part in splits.items():
        if part is None:
            continue
        if part.shape != trained.input_shape:
            raise HebaeError(
                f"{dataset.name} has examples of shape {part.shape}; the model in {run} was "
                f"trained on {trained.input_shape}."
            )
        if seen is not None and seen.pixels is not None and part.values.dtype == "uint8":
            part = replace(part, pixels=seen.pixels)
        inference.require_alike(trained, part, dataset.name)
        parts[split] = part
    return trained, config, chosen.data, parts
