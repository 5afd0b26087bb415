"""The commands: parse, call one function, print.

torch and whatever needs it are imported by the commands, not here: ``hebae --help`` stays quick.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.markup import escape

from hebae._version import __version__
from hebae.config import (
    DataSettings,
    Method,
    ModelSettings,
    Settings,
    TrainingSettings,
    explain,
    resolve,
)
from hebae.errors import HebaeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hebae.training.callbacks import Callback

app = App(
    name="hebae",
    version=__version__,
    help="Train, compare and sample generative autoencoders: HEBAE, VAE, WAE-MMD.",
    default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
    result_action="return_value",
)
data_app = App(name="data", help="List data sets and make them ready.")
app.command(data_app)

# Of several processes, one speaks.
speechless = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0"
out = Console(quiet=speechless)
told = Console(stderr=True, quiet=speechless)

Switch = Parameter(negative=(), show_default=False)
Data = Annotated[DataSettings, Parameter(name="*", group=Group("Data", sort_key=2))]
Model = Annotated[ModelSettings, Parameter(name="*", group=Group("Model", sort_key=3))]
Training = Annotated[TrainingSettings, Parameter(name="*", group=Group("Training", sort_key=4))]


@app.command
def train(
    *,
    preset: str | None = None,
    config: Path | None = None,
    output: Path | None = None,
    resume: Annotated[bool, Switch] = False,
    overwrite: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    data: Data = DataSettings(),  # noqa: B008
    model: Model = ModelSettings(),  # noqa: B008
    training: Training = TrainingSettings(),  # noqa: B008
) -> int:
    """Train one model into a run folder.

    Flags go over the configuration file, the file over the preset, the preset over the defaults.

    Parameters
    ----------
    preset
        Settings that come with hebae: mnist-mini, mnist, celeba, mnist-released, celeba-released.
    config
        YAML file of settings; keys as the flags below, with underscores.
    output
        Run folder to make [default: runs/DATA-METHOD-kK-seedS].
    resume
        Go on with the run in --output, exactly as if it had never stopped.
    overwrite
        Replace the run in --output.
    dry_run
        Load the data, check everything, print the resolved settings and stop.
    """
    from hebae.storage import RunFolder
    from hebae.training import session
    from hebae.training.preflight import require_relevant

    given = _given(data, model, training)
    if resume:
        if output is None:
            raise HebaeError("--resume needs --output, the run folder to go on with.")
        if preset or config or overwrite:
            raise HebaeError(
                "--resume goes on with the settings of the run; leave out --preset, --config and "
                "--overwrite."
            )
        prepared = session.resume(output, given)
    else:
        settings = resolve(preset, config, given)
        require_relevant(given, [settings.method])
        if output is not None and not dry_run:
            RunFolder(output).require_free(overwrite=overwrite)
        prepared = session.prepare(settings)
        output = output or _default_output(prepared.settings)
    _tell(prepared.notes)
    if dry_run:
        out.print(prepared.settings.to_yaml(), end="", markup=False, highlight=False)
        return 0
    outcome = session.run(
        prepared,
        output,
        command=_command(),
        overwrite=overwrite,
        resuming=resume,
        callbacks=lambda settings: [_progress(settings)],
    )
    if outcome.interrupted:
        told.print(f"Stopped and saved. Go on with: hebae train --resume --output {output}")
        return 130
    out.print(f"Trained {outcome.steps:,} steps in {outcome.seconds:.1f} s: {output}")
    out.print(f"Look at it with: hebae show {output}")
    return 0


@app.command
def compare(
    *,
    methods: tuple[Method, ...] = ("hebae", "vae", "wae"),
    seeds: tuple[int, ...] | None = None,
    preset: str | None = None,
    config: Path | None = None,
    output: Path = Path("comparison"),
    resume: Annotated[bool, Switch] = False,
    overwrite: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    data: Data = DataSettings(),  # noqa: B008
    model: Model = ModelSettings(),  # noqa: B008
    training: Training = TrainingSettings(),  # noqa: B008
) -> int:
    """Train several methods on the same data, budget and seeds; draw and tabulate them.

    Parameters
    ----------
    methods
        What to compare, in the order of the table.
    seeds
        One training a method and seed [default: --seed].
    preset
        Settings that come with hebae: mnist-mini, mnist, celeba, mnist-released, celeba-released.
    config
        YAML file of settings; values for one method stand under methods.
    output
        Folder for the runs, figures, table and report.html.
    resume
        Go on with the comparison in --output; finished runs are kept.
    overwrite
        Replace the comparison in --output.
    dry_run
        Check everything, print the settings of each method and stop.
    """
    from hebae.experiments import comparison
    from hebae.training.preflight import require_relevant

    given = _given(data, model, training)
    if "method" in given:
        raise HebaeError("compare takes --methods, several names, in place of --method.")
    require_relevant(given, methods)
    runs = comparison.plan(
        {m: resolve(preset, config, given | {"method": m}) for m in methods}, seeds
    )
    prepared = comparison.prepare(runs, told=_tell)
    if dry_run:
        for run in prepared:
            out.print(f"# {run.label}", highlight=False)
            out.print(run.prepared.settings.to_yaml(), markup=False, highlight=False)
        return 0
    table = comparison.run(
        prepared,
        output,
        resume=resume,
        overwrite=overwrite,
        command=_command(),
        callbacks=lambda settings: [_progress(settings)],
    )
    if table is None:
        told.print(f"Stopped and saved. Go on with the same command and --resume ({output}).")
        return 130
    out.print(table.to_rich())
    out.print(f"\nFigures, table and runs: {output}")
    out.print(f"Open {output / 'report.html'} in a browser.")
    return 0


@app.command
def sample(
    run: Path,
    /,
    *,
    count: int = 64,
    seed: int = 0,
    output: Path = Path("samples.png"),
) -> int:
    """Decode draws from N(0, I), the paper's way to sample.

    Parameters
    ----------
    run
        Folder of a finished run.
    count
        How many.
    seed
        Of the draws.
    output
        A .png picture, or a .npy array of shape (count, *shape).
    """
    _require_at_least("--count", count, 1)
    write = _writer(output)
    from hebae import inference
    from hebae.storage import load_model

    trained, _ = load_model(run)
    write(inference.sample(trained, count, seed), None)
    out.print(f"Wrote {output}")
    return 0


@app.command
def reconstruct(
    run: Path,
    /,
    *,
    count: int = 16,
    output: Path = Path("reconstructions.png"),
    data: Data = DataSettings(),  # noqa: B008
) -> int:
    """Reconstruct held-out examples, originals above.

    Parameters
    ----------
    run
        Folder of a finished run.
    count
        How many, from the first on.
    output
        A .png picture, or a .npy array of shape (2, count, *shape): originals, reconstructions.
    """
    _require_at_least("--count", count, 1)
    write = _writer(output)
    import numpy as np

    from hebae import inference

    trained, examples = _model_and_examples(run, data, count)
    originals = examples / 255 if examples.dtype == np.uint8 else examples
    pair = np.stack([originals, inference.reconstruct(trained, examples)]).astype(np.float32)
    write(pair, count)
    out.print(f"Wrote {output}")
    return 0


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
    """Decode the lines between the codes of pairs of held-out examples.

    Parameters
    ----------
    run
        Folder of a finished run.
    pairs
        How many pairs: examples 1 and 2, 3 and 4, ...
    steps
        Points on a line, its ends included.
    output
        A .png picture, or a .npy array of shape (pairs, steps, *shape).
    """
    _require_at_least("--pairs", pairs, 1)
    _require_at_least("--steps", steps, 2)
    write = _writer(output)
    from hebae import inference

    trained, examples = _model_and_examples(run, data, 2 * pairs)
    write(inference.interpolate(trained, examples[0::2], examples[1::2], steps), steps)
    out.print(f"Wrote {output}")
    return 0


@app.command
def show(run: Path, /) -> int:
    """Show settings, history and figures of a run.

    Parameters
    ----------
    run
        Run folder, finished or not.
    """
    from hebae.experiments import overview

    for part in overview.describe(run):
        out.print(part)
    for picture in overview.draw(run):
        out.print(f"{picture.title}: {picture.path}", highlight=False)
    return 0


@data_app.command(name="list")
def list_data(*, data_dir: Path | None = None) -> int:
    """List the data sets that have a name, and where they are on this machine.

    Parameters
    ----------
    data_dir
        Folder that holds data files [env: HEBAE_DATA_DIR].
    """
    from rich.table import Table

    from hebae.data import catalogue

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "examples", "shape", "licence", "where"):
        table.add_column(heading)
    for source in catalogue(data_dir):
        counts = "\n".join(f"{count:,} {split}" for split, count in source.counts.items())
        shape = " x ".join(map(str, source.shape))
        place = "" if source.location is None else f": {source.location}"
        where = f"{source.availability}{place}"
        table.add_row(f"[bold]{source.name}[/]", counts, shape, source.licence, where)
    out.print(table)
    out.print("A path will do as well: .npy, .npz, a folder, .tar or .zip of images, idx files.")
    return 0


@data_app.command(name="prepare")
def prepare_data(data: str, /, *, data_dir: Path | None = None) -> int:
    """Download, check, decode and cache a data set, so that training starts at once.

    Parameters
    ----------
    data
        Name or path.
    data_dir
        Folder that holds data files [env: HEBAE_DATA_DIR].
    """
    from hebae.data import prepare

    dataset = prepare(data, data_dir=data_dir)
    _tell(dataset.notes)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in splits.items() if part)
    out.print(
        f"{dataset.name}: {sizes}; examples of shape {dataset.shape}, range {dataset.train.range}",
        highlight=False,
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; exit with 0, 2 for an error of the user's, 130 for Ctrl-C."""
    try:
        status = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(_explain_parsing(error))
    except HebaeError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        told.print("Interrupted.")
        sys.exit(130)
    sys.exit(status or 0)


def _fail(message: str) -> NoReturn:
    told.print(f"[bold red]Error:[/] {escape(message)}", highlight=False)
    sys.exit(2)


def _explain_parsing(error: CycloptsError) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return str(explain(cause, "the flags"))
    advice = " hebae --help and hebae COMMAND --help list what there is."
    return " ".join(str(error).split()) + advice


def _given(*groups: BaseModel) -> dict[str, Any]:
    """Pick the settings that stand on the command line."""
    return {name: getattr(group, name) for group in groups for name in group.model_fields_set}


def _command() -> str:
    return shlex.join(["hebae", *sys.argv[1:]])


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        told.print(f"Note: {note}", style="dim", highlight=False)


def _progress(settings: Settings) -> Callback:
    from hebae.training.callbacks import ProgressBar

    return ProgressBar(settings.method, settings.epochs, told)


def _default_output(settings: Settings) -> Path:
    name = Path(settings.data).stem
    return Path("runs") / f"{name}-{settings.method}-k{settings.latent_dim}-seed{settings.seed}"


def _require_at_least(flag: str, value: int, least: int) -> None:
    if value < least:
        raise HebaeError(f"{flag} is {value}; it must be at least {least}.")


def _writer(output: Path) -> Callable[[npt.NDArray[np.float32], int | None], None]:
    """Check the output's name before any work is done; return what writes arrays to it.

    The writer takes an array of images (..., c, h, w), or of vectors for .npy, and the columns of
    the picture.
    """
    if output.suffix not in (".png", ".npy"):
        raise HebaeError(f"--output {output} must end in .png (a picture) or .npy (an array).")
    if not output.absolute().parent.is_dir():
        raise HebaeError(f"--output {output}: there is no folder {output.absolute().parent}.")

    def write(values: npt.NDArray[np.float32], columns: int | None) -> None:
        if output.suffix == ".png":
            from hebae.report.pixels import write_png

            if values.ndim < 4:
                raise HebaeError("the model's examples are not images; name a .npy --output.")
            write_png(values.reshape(-1, *values.shape[-3:]), output, columns)
        else:
            import numpy as np

            from hebae.files import write_atomically

            def save(path: Path) -> None:
                with path.open("wb") as file:
                    np.save(file, values)

            write_atomically(output, save)

    return write


def _model_and_examples(run: Path, data: DataSettings, count: int) -> tuple[Any, Any]:
    """Load the trained model, and the first held-out examples of its data or of those named."""
    from hebae.data import load
    from hebae.storage import load_model

    trained, config = load_model(run)
    stored = {name: config[name] for name in DataSettings.model_fields}
    chosen = DataSettings(**(stored | _given(data)))
    dataset = load(chosen.data, data_dir=chosen.data_dir, validation_size=chosen.validation_size)
    split, examples = dataset.held_out() or ("train", dataset.train)
    if examples.shape != trained.input_shape:
        raise HebaeError(
            f"{dataset.name} has examples of shape {examples.shape}; the model in {run} was "
            f"trained on {trained.input_shape}."
        )
    if len(examples) < count:
        raise HebaeError(
            f"{dataset.name} has {len(examples)} {split} examples and {count} are needed; ask for "
            "fewer."
        )
    return trained, examples.values[:count]
