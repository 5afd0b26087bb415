"""One training from settings to run folder: load, check, build, train, store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch

from hebae.config import Settings
from hebae.data import Dataset, Examples, load
from hebae.data.loading import SOURCES
from hebae.errors import HebaeError
from hebae.model import Autoencoder, build
from hebae.provenance import provenance
from hebae.storage import RunFolder, save_model
from hebae.training.batches import ArrayBatches
from hebae.training.callbacks import Callback, MetricsFile, TensorBoard
from hebae.training.checks import DataSummary, complete
from hebae.training.loop import HeldOut, Outcome, make_fabric, train
from hebae.training.state import Checkpointer
from hebae.training.trial import decide

__all__ = [
    "CHANGEABLE",
    "Files",
    "Prepared",
    "open_folder",
    "prepare",
    "prepare_alike",
    "resume",
    "run",
    "store",
    "summary_of",
]

CHANGEABLE = {
    "epochs",
    "data_dir",
    "device",
    "compile",
    "log_every",
    "checkpoint_every",
    "tensorboard",
}
"""Settings that may change when a run is resumed, since they leave its steps as they are."""


@dataclass(frozen=True)
class Prepared:
    """A training that has passed every check and only needs to be run."""

    settings: Settings
    dataset: Dataset
    notes: tuple[str, ...]

    @cached_property
    def model(self) -> Autoencoder:
        """The model: made when first asked for, then always the same one."""
        return build(self.settings, self.dataset.shape, seed=self.settings.seed)

    def release(self) -> None:
        """Forget the model, where many trainings wait: it is made again when asked for."""
        self.__dict__.pop("model", None)


def summary_of(dataset: Dataset, validation: Examples | None = None) -> DataSummary:
    """Gather what the checks need to know of a data set.

    `validation` goes in place of the data set's own validation or test split.
    """
    split, examples = dataset.held_out() or (None, None)
    if validation is not None:
        split, examples = "validation", validation
    if examples is not None and examples.shape != dataset.shape:
        raise HebaeError(
            f"the held-out examples have shape {examples.shape} and those of {dataset.name} "
            f"{dataset.shape}; make them alike."
        )
    return DataSummary(
        name=dataset.name,
        shape=dataset.shape,
        count=len(dataset.train),
        range=dataset.train.range,
        held_out=split,
        held_out_range=examples.range if examples else None,
        held_out_count=len(examples) if examples else 0,
    )


def prepare(settings: Settings, dataset: Dataset | None = None) -> Prepared:
    """Load the data (unless given), complete and check the settings, build the model.

    Raises
    ------
    HebaeError
        For anything that would make the training fail later.
    """
    if dataset is None:
        dataset = load(
            settings.data, data_dir=settings.data_dir, validation_size=settings.validation_size
        )
    settings, notes = complete(_with_absolute_paths(settings), summary_of(dataset))
    try:
        settings, decided = decide(settings, dataset.shape)
        prepared = Prepared(settings, dataset, (*dataset.notes, *notes, *decided))
        prepared.model  # noqa: B018
    except ValueError as error:  # of networks that cannot be built
        raise HebaeError(str(error)) from None
    return prepared


def prepare_alike(
    settings: Mapping[str, Settings], dataset: Dataset
) -> Iterator[tuple[str, Prepared]]:
    """`prepare` trainings that are to be compared, by name: precision "auto" is decided for all.

    Raises
    ------
    HebaeError
        Naming the first training that could not be done.
    """
    precision = None
    for name, own in settings.items():
        if precision is not None and own.precision == "auto":
            own = own.replace(precision=precision)
        try:
            prepared = prepare(own, dataset)
        except HebaeError as error:
            raise HebaeError(f"the run {name} cannot be trained: {error}") from None
        if own.precision == "auto":
            precision = prepared.settings.precision
        yield name, prepared


def run(
    prepared: Prepared,
    output: Path,
    *,
    command: str = "hebae.training.session.run",
    overwrite: bool = False,
    resuming: bool = False,
    callbacks: Callable[[Settings], Collection[Callback]] = lambda settings: (),
) -> Outcome:
    """Train into a run folder.

    Parameters
    ----------
    prepared : Prepared
    output : Path
    command : str
        For the provenance.
    overwrite : bool
        Replace a run that is there already.
    resuming : bool
        Go on from the checkpoint in `output`; see `resume`.
    callbacks : callable
        From the settings to what is to be told of the training.

    Raises
    ------
    HebaeError
        If the folder is taken or cannot be written, or (`DivergenceError`) the loss diverges.
    """
    settings, dataset, model = prepared.settings, prepared.dataset, prepared.model
    fabric = make_fabric(settings)
    fabric.launch()
    files = open_folder(
        prepared,
        output,
        command=command,
        overwrite=overwrite,
        resuming=resuming,
        writing=fabric.is_global_zero,
    )
    dtype = torch.float64 if settings.precision == "64-true" else torch.float32

    batches = partial(
        ArrayBatches,
        batch_size=settings.batch_size,
        seed=settings.seed,
        device=fabric.device,
        dtype=dtype,
    )

    held_out = dataset.held_out()
    told: list[Callback] = []
    if fabric.is_global_zero:
        told = [files.metrics, *callbacks(settings)]
        if settings.tensorboard:
            told.append(TensorBoard(files.folder.tensorboard))
    outcome = train(
        model,
        settings,
        batches(
            dataset.train.values,
            drop_last=bool(settings.drop_last),
            rank=fabric.global_rank,
            processes=fabric.world_size,
        ),
        HeldOut(held_out[0], batches(held_out[1].values)) if held_out else None,
        fabric=fabric,
        callbacks=told,
        checkpointer=files.checkpointer,
    )
    if not outcome.interrupted and fabric.is_global_zero:
        store(prepared, output)
    return outcome


@dataclass(frozen=True)
class Files:
    """A run folder that is ready to be trained into."""

    folder: RunFolder
    metrics: MetricsFile
    checkpointer: Checkpointer


def open_folder(
    prepared: Prepared,
    output: Path,
    *,
    command: str,
    overwrite: bool = False,
    resuming: bool = False,
    writing: bool = True,
) -> Files:
    """Make a run folder, or take up the run in it; of several processes only one is `writing`.

    Parameters and errors are those of `run`.
    """
    folder = RunFolder(output)
    if resuming and folder.stopped_before_checkpoint:
        resuming, overwrite = False, True
    metrics = MetricsFile(folder.metrics)
    checkpointer = Checkpointer(folder, metrics, prepared.dataset.fingerprint, resume=resuming)
    if resuming:
        checkpointer.check(prepared.model)  # before anything is given up
    if writing:
        settings = prepared.settings
        if not resuming:
            space = _space_needed(prepared.model)
            folder.create(settings, overwrite=overwrite, space_needed=space)
        folder.add_provenance(provenance(command, prepared.dataset, settings, [settings.seed]))
        if resuming:
            # A finished run that is given more epochs is unfinished until they are done.
            folder.weights.unlink(missing_ok=True)
            folder.write_settings(settings)
    return Files(folder, metrics, checkpointer)


def store(prepared: Prepared, output: Path) -> None:
    """Write the trained model into its run folder, which is then finished."""
    dataset = prepared.dataset
    extra = {"data_name": dataset.name, "data_fingerprint": dataset.fingerprint}
    save_model(output, prepared.model, prepared.settings, extra)


def resume(output: Path, changes: dict[str, object]) -> Prepared:
    """Make ready to go on with the run in `output`.

    Parameters
    ----------
    output : Path
    changes : dict
        Settings to change, of those in `CHANGEABLE`; `epochs` may grow.

    Raises
    ------
    HebaeError
        If there is nothing to resume, the run is finished, or a setting may not change.
    """
    folder = RunFolder(output)
    stored = folder.settings()
    changes = {n: getattr(_with_absolute_paths(stored.replace(**changes)), n) for n in changes}
    for name, value in changes.items():
        if name not in CHANGEABLE and getattr(stored, name) != value:
            raise HebaeError(
                f"{output} was started with {name} {getattr(stored, name)!r}, and --resume cannot "
                f"change it to {value!r}; leave the flag out, or start another run."
            )
    settings = stored.replace(**changes)
    if folder.stopped_before_checkpoint:
        return prepare(settings)
    done = folder.read_checkpoint().get("epoch")
    if not isinstance(done, int):
        raise HebaeError(f"{folder.checkpoint} is altered (epoch {done!r}); restore it.")
    if settings.epochs < done:
        raise HebaeError(
            f"{output} has {done} epochs already; --epochs {settings.epochs} would cut it short."
        )
    if folder.is_finished and settings.epochs == stored.epochs:
        raise HebaeError(
            f"{output} is finished after {done} epochs; give more --epochs to go on with it."
        )
    return prepare(settings)


def _with_absolute_paths(settings: Settings) -> Settings:
    """So that a run can be gone on with from any folder."""
    changes: dict[str, object] = {}
    if settings.data not in {source.name for source in SOURCES}:
        changes["data"] = str(Path(settings.data).expanduser().absolute())
    if settings.data_dir is not None:
        changes["data_dir"] = settings.data_dir.expanduser().absolute()
    return settings.replace(**changes)


def _space_needed(model: Autoencoder) -> int:
    """Bytes: the model, and a checkpoint with Adam's two moments, twice while one is replaced."""
    size = sum(int(t.nbytes) for t in model.state_dict().values())
    return size + 2 * 3 * size + 10_000_000
