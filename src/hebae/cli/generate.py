"""``hebae sample``, ``reconstruct`` and ``interpolate``: images and arrays from a trained model."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from hebae.cli.app import app, say, tell
from hebae.config import DataSettings, Settings
from hebae.errors import HebaeError
from hebae.methods import SAMPLER_HELP, SAMPLER_NAMES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hebae.data import Examples

    SamplerName = str
else:
    SamplerName = Literal[("auto", *SAMPLER_NAMES)]

_DATA = Group("Data", help="By default, the data of the run.", sort_key=2)
Data = Annotated[DataSettings, Parameter(name="*", group=_DATA, show_default=False)]


@app.command
def sample(
    run: Path,
    /,
    *,
    sampler: Annotated[SamplerName, Parameter(help=SAMPLER_HELP)] = "auto",
    count: int = 64,
    seed: int = 0,
    condition: tuple[str, ...] = (),
    output: Path = Path("samples.png"),
    data: str | None = None,
    data_dir: Path | None = None,
) -> int:
    """Generate samples: decode draws from the model's prior, or from one fitted to its codes.

    The first use of a sampler other than "normal" and "prior" encodes the training data and takes
    up to two minutes. The fitted sampler is stored in the run folder, if that can be written.

    Parameters
    ----------
    run
        Folder of a finished run.
    count
        Number of samples.
    seed
        Seed of the draws.
    condition
        For a run with conditions: NAME=VALUE[,NAME=VALUE], for all samples [default: drawn with the
        frequencies of the training examples].
    output
        A .png picture, or a .npy array of shape (count, *shape): the mean E[x|z] of each draw. A
        .csv, .tsv or .parquet table, or a .h5ad file: draws from p(x|z), in the data's columns. A
        .bed file, with .bim and .fam: genotypes drawn from p(x|z), of the variants of the data.
    data
        Name, file or folder of the run's data, if they have moved.
    data_dir
        Folder with data files [env: HEBAE_DATA_DIR].
    """
    from hebae.data.genotypes import require_variants, write_genotypes
    from hebae.data.writing import WRITERS, within, write_examples

    numbers = ("--count", count, 1), ("--seed", seed, 0)
    _check(output, *numbers, suffixes=dict.fromkeys((".png", ".npy", ".bed", *WRITERS)))
    from hebae import inference
    from hebae.data import Examples
    from hebae.storage import load_model

    trained, config = load_model(run)
    conditions = _conditions_of_samples(trained, run, condition, count, seed)
    from hebae.by_condition import conditional_sampler
    from hebae.samplers import NAMES, fitted_samplers, resolve, training_data

    @cache  # needed by samplers of all codes, and by those of categories
    def load() -> Examples:
        values = training_data(run, config, data, data_dir).train
        tell(f"fitting the sampler to the codes of {len(values):,} training examples.")
        return values

    genotypes = None
    if output.suffix == ".bed":
        need = f"--output {output} takes the variants of the training data"
        other = "name a .npy --output"
        dataset = training_data(run, config, data, data_dir, need=need, otherwise=other)
        genotypes = dataset.train
        require_variants(genotypes, dataset.name, output)
    chosen = resolve(sampler, trained)
    names = NAMES if chosen == "auto" else (chosen,)
    samplers = fitted_samplers(run, trained, load, names=names, notify=tell)
    if chosen == "auto":
        tell(f"{samplers}.")
    elif chosen != sampler:
        tell("sampler auto chose prior: the model's own prior, which was learned with it.")
    prior = conditional_sampler(run, trained, load, samplers, chosen, conditions, notify=tell)
    if output.suffix not in (".png", ".npy"):
        values = inference.sample_examples(trained, count, seed, prior, conditions)
        if genotypes is not None:
            import numpy as np

            ids = np.array([f"sample{number}" for number in range(1, count + 1)])
            people = replace(genotypes, values=values, ids=ids, missing=None, labels=None)
            write_genotypes(people, output)
            say(f"Wrote {output}, with .bim and .fam")
            return 0
        examples = Examples(values.reshape(count, -1))
        if (seen := trained.seen) is not None and len(trained.input_shape) == 1:
            pixels = False if trained.likelihood.whole else None
            examples = Examples(
                within(values, seen.columns),
                feature_names=seen.feature_names,
                columns=seen.columns,
                pixels=pixels,
                conditions=conditions,
                condition_columns=None if seen.conditions is None else seen.conditions.columns,
            )
        write_examples(examples, output)
        say(f"Wrote {output}")
        return 0
    drawn = inference.sample(trained, count, seed, prior, conditions)
    return _write(output, drawn, config.get("data_range", (0, 1)))


@app.command
def reconstruct(
    run: Path,
    /,
    *,
    count: int = 16,
    output: Path = Path("reconstructions.png"),
    data: Data = DataSettings(),  # noqa: B008
) -> int:
    """Reconstruct held-out examples, and show the originals above them.

    With --condition NAME=VALUE they are decoded as if they had another condition.

    Parameters
    ----------
    run
        Folder of a finished run.
    count
        Number of examples, starting with the first.
    output
        A .png picture, or a .npy array of shape (2, count, *shape): originals, reconstructions.
    """
    _check(output, ("--count", count, 1))
    import numpy as np

    from hebae import inference

    trained, examples, limits = _model_and_examples(run, data, count)
    originals = inference.batch_of(trained, examples).numpy()
    other = with_asked(trained, run, examples, data).conditions
    decoded = inference.reconstruct(trained, examples, other)
    pair = np.stack([originals, decoded]).astype(np.float32)
    return _write(output, pair, limits, columns=count)


@app.command
def interpolate(
    run: Path,
    /,
    *,
    pairs: int = 8,
    steps: int = 10,
    output: Path = Path("interpolations.png"),
    data: Data = DataSettings(),  # noqa: B008
) -> int:
    """Decode straight lines between the codes of pairs of held-out examples.

    Parameters
    ----------
    run
        Folder of a finished run.
    pairs
        Number of pairs: examples 1 and 2, 3 and 4, ...
    steps
        Points per line, including both ends.
    output
        A .png picture, or a .npy array of shape (pairs, steps, *shape).
    """
    _check(output, ("--pairs", pairs, 1), ("--steps", steps, 2))
    from hebae import inference

    trained, examples, limits = _model_and_examples(run, data, 2 * pairs)
    examples = with_asked(trained, run, examples, data)
    lines = inference.interpolate(trained, examples[0::2], examples[1::2], steps)
    if output.suffix == ".npy" or lines.ndim < 5:
        return _write(output, lines, limits)
    from hebae.report import images, style
    from hebae.report.pixels import to_unit

    lines = to_unit(lines, limits)
    style.save(images.interpolations({trained.objective.display_name: lines}), output)
    say(f"Wrote {output}")
    return 0


def _check(
    output: Path, *numbers: tuple[str, int, int], suffixes: Collection[str] = (".png", ".npy")
) -> None:
    """Check numbers (flag, value, least), and that the file can be written, before any work."""
    for flag, value, least in numbers:
        if value < least:
            raise HebaeError(f"{flag} is {value}; it must be at least {least}.")
    require_output(output, suffixes)


def require_output(output: Path, suffixes: Collection[str]) -> None:
    """Check that a file has one of the suffixes and can be written."""
    if output.suffix not in suffixes:
        *others, last = suffixes
        raise HebaeError(f"--output {output} must end in {', '.join(others)} or {last}.")
    folder = output.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise HebaeError(f"--output {output}: {folder} is not a folder that can be written to.")


def _write(
    output: Path,
    values: npt.NDArray[np.float32],
    data_range: Sequence[float],
    columns: int | None = None,
) -> int:
    """Write images (..., c, h, w) as a picture with so many columns, or any array as .npy.

    A picture shows the range of the training data from black to white.
    """
    if output.suffix == ".npy":
        import numpy as np

        from hebae.files import write_atomically

        def save(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, values)

        write_atomically(output, save)
    elif values.ndim < 4:
        raise HebaeError(
            "the model's examples are not images; name a .npy --output, or for samples a .csv, "
            ".parquet or .h5ad one."
        )
    else:
        from hebae.report.pixels import to_unit, write_png

        images = to_unit(values.reshape(-1, *values.shape[-3:]), data_range)
        write_png(images, output, columns)
    say(f"Wrote {output}")
    return 0


def _model_and_examples(
    run: Path, data: DataSettings, count: int
) -> tuple[Any, Any, Sequence[float]]:
    """Load the trained model and the first held-out examples of its data, or of those named.

    Also return the range of the training data.
    """
    trained, config, source, parts = model_and_data(run, data)
    split = next(name for name in ("validation", "test", "train") if name in parts)
    examples = parts[split]
    if len(examples) < count:
        raise HebaeError(
            f"{source} has {len(examples)} {split} examples, but {count} were requested."
        )
    limits = config.get("data_range") or parts["train"].range
    return trained, examples[:count], limits


def model_and_data(
    run: Path, data: DataSettings, **changes: Any
) -> tuple[Any, dict[str, Any], str, dict[str, Examples]]:
    """Load model and configuration; return them with what `examples_for` returns."""
    from hebae.storage import load_model

    trained, config = load_model(run)
    return trained, config, *examples_for(trained, config, run, data, **changes)


def examples_for(
    trained: Any,
    config: Mapping[str, Any],
    run: Path,
    data: DataSettings,
    *,
    notify: Callable[[str], None] = tell,
    **changes: Any,
) -> tuple[str, dict[str, Examples]]:
    """Load examples by split, read and coded as in training; return their source and them.

    The data are those of the run, or those that `data` names; `changes` are to their settings.
    """
    from hebae import new_examples
    from hebae.data import load
    from hebae.data.alignment import aligned
    from hebae.data.loading import located, options_for

    stored = {name: config[name] for name in DataSettings.model_fields if name in config}
    asked_for(trained, run, data.condition)  # refused before anything is read
    given = data.model_dump(include=data.model_fields_set - {"condition"})
    if "data" in given:  # of another format, perhaps
        kept = {"data_dir", "binarize", *options_for(given["data"])}
        stored = {name: value for name, value in stored.items() if name in kept}
    stored = located(stored | changes, given.get("data"))
    chosen = Settings.checked(stored | given, f"{run}/config.json")
    seen = trained.seen
    known: dict[str, Any] = {}
    if seen is not None:
        known = {"columns": seen.columns, "feature_names": seen.feature_names}
        if seen.conditions is not None:
            known["condition_columns"] = seen.conditions.columns
    dataset = load(**chosen.source, **known)
    for note in dataset.notes:
        notify(note)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    parts = {}
    for split, part in splits.items():
        if part is None:
            continue
        if seen is not None:
            part = aligned(part, seen, dataset.name, notify=notify)
        if part.shape != trained.input_shape:
            raise HebaeError(
                f"{dataset.name} has examples of shape {part.shape}, but the model in {run} was "
                f"trained on examples of shape {trained.input_shape}."
            )
        if seen is not None and seen.pixels is not None and part.values.dtype == "uint8":
            part = replace(part, pixels=seen.pixels)
        new_examples.require_alike(trained, part, dataset.name)
        parts[split] = part
    return chosen.data, parts


def asked_for(trained: Any, run: Path, texts: Sequence[str]) -> dict[str, str]:
    """Read ``NAME=VALUE`` for conditions of a model."""
    if not texts:
        return {}
    learned = None if trained.seen is None else trained.seen.conditions
    if learned is None:
        raise HebaeError(
            f"--condition is given, but the run in {run} was trained without conditions; leave it "
            "out."
        )
    asked = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in learned.names or not value:
            raise HebaeError(
                f"--condition {text!r} is not NAME=VALUE for a condition of {run}; its conditions "
                f"are {', '.join(learned.names)}."
            )
        asked[name] = value
    return asked


def with_asked(trained: Any, run: Path, examples: Examples, data: DataSettings) -> Examples:
    """Return examples with the conditions that --condition gives in place of their own."""
    from hebae.data.conditions import with_conditions

    asked = asked_for(trained, run, data.condition)
    return with_conditions(examples, asked, trained.seen.conditions.columns) if asked else examples


def _conditions_of_samples(
    trained: Any, run: Path, texts: Sequence[str], count: int, seed: int
) -> npt.NDArray[np.float32] | None:
    """Return the conditions that were asked for, or draw them; None without conditions."""
    from hebae import inference
    from hebae.data.conditions import as_matrix

    # As in the settings, several may be in one argument.
    asked = asked_for(trained, run, DataSettings(condition=tuple(texts)).condition)
    if asked:
        return as_matrix(asked, count, trained.seen.conditions.columns)[0]
    drawn = inference.draw_conditions(trained, count, seed)
    if drawn is not None:
        tell(
            f"conditions ({', '.join(trained.seen.conditions.names)}) are drawn with their "
            "frequencies in training; --condition NAME=VALUE sets them."
        )
    return drawn
