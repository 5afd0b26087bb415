"""``hebae encode``, ``impute``, ``export``, ``push`` and ``pull``: what leaves a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from hebae.cli.app import Switch, app, say
from hebae.cli.generate import Data, model_and_data, require_output, with_asked
from hebae.config import DataSettings
from hebae.methods import METHODS

_OUTPUTS = (".csv", ".tsv", ".parquet", ".npy", ".h5ad")
WHOLE = {"validation_size": 0, "train_size": None}
"""Settings of the data with which every example is in a split of its source."""


@app.command
def encode(
    run: Path,
    /,
    *,
    output: Path = Path("codes.csv"),
    data: Data = DataSettings(),  # noqa: B008
) -> int:
    """Write the codes (posterior means) of examples, with their ids and labels.

    All examples are encoded: training, validation and test, each in the order of the data.

    Parameters
    ----------
    run
        Folder of a finished run.
    output
        A .csv, .tsv or .parquet table: id, split, label, codes; a .npy array (n, k); or a .h5ad
        file with the codes as obsm["X_hebae"]. A .parquet file also has the first two principal
        components of the codes, as projection_x and projection_y, and the conditions and table
        columns of the examples. Embedding Atlas can show it.
    """
    require_output(output, _OUTPUTS)
    import numpy as np

    from hebae import inference
    from hebae.data.writing import write_codes

    trained, config, source, parts = model_and_data(run, data, **WHOLE)
    parts = {split: with_asked(trained, run, part, data) for split, part in parts.items()}
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

    trained, _, source, parts = model_and_data(run, data, **WHOLE)
    parts = {split: with_asked(trained, run, part, data) for split, part in parts.items()}
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


@app.command
def export(
    run: Path,
    /,
    *,
    format: Literal["onnx", "torch"] = "onnx",
    output: Path = Path("exported"),
) -> int:
    """Write the encoder and the decoder as files that run without hebae.

    The files take any number of examples. They are written only if their outputs agree with those
    of the model to 1e-5. The files of an earlier export in the folder are replaced.

    Parameters
    ----------
    run
        Folder of a finished run.
    format
        onnx: encoder.onnx and decoder.onnx (needs hebae[onnx]). torch: encoder.pt2 and decoder.pt2,
        which torch.export.load reads.
    output
        Folder for the two files and export.json, which describes their inputs and outputs.
    """
    from hebae.exporting import export_model
    from hebae.storage import load_model

    trained, config = load_model(run)
    sidecar = export_model(trained, output, format=format, facts={"method": config["method"]})
    say(f"Wrote the encoder, the decoder and their description: {sidecar}")
    return 0


@app.command
def push(
    run: Path,
    name: str,
    /,
    *,
    private: Annotated[bool, Switch] = False,
    revision: str | None = None,
    license: str | None = None,
    dry_run: Annotated[bool, Switch] = False,
) -> int:
    """Send a model to the Hugging Face Hub, with a model card made from its evaluation.

    The weights, the settings without paths, the history, fitted samplers and the model card are
    sent. Training examples and their codes are not. Needs hebae[hub] and a login: hf auth login.

    Parameters
    ----------
    run
        Folder of a finished run.
    name
        Repository on the Hub, as owner/name. It is created if it does not exist.
    private
        If the repository is created, make it private.
    revision
        Branch to write to [default: main].
    license
        Licence to name in the model card, such as mit [default: none].
    dry_run
        Print the model card and send nothing.
    """
    from tempfile import TemporaryDirectory

    from hebae.hub import prepare_repository
    from hebae.hub import push as send

    if dry_run:
        with TemporaryDirectory() as temporary:
            prepare_repository(run, Path(temporary), name, license=license)
            print((Path(temporary) / "README.md").read_text(encoding="utf-8"), end="")
        return 0
    say(f"Sent: {send(run, name, private=private, revision=revision, license=license)}")
    return 0


@app.command
def pull(name: str, /, *, output: Path | None = None, revision: str | None = None) -> int:
    """Download a model from the Hugging Face Hub into a run folder for the other commands.

    Parameters
    ----------
    name
        Repository on the Hub, as owner/name.
    output
        Folder to create [default: runs/NAME].
    revision
        Branch, tag or commit [default: main].
    """
    from hebae.hub import pull as download

    output = output or Path("runs") / name.rpartition("/")[2]
    download(name, output, revision=revision)
    say(f"Downloaded: {output}")
    return 0
