"""One training from settings to run folder: load, check, build, train, store."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from hebae.config import AFFECT_ROUNDING, MAY_CHANGE_ON_RESUME, Settings
from hebae.data import Dataset, load
from hebae.data.loading import data_set_name, located
from hebae.errors import HebaeError
from hebae.files import make_folder
from hebae.folders import clear, locked
from hebae.model import Autoencoder
from hebae.provenance import provenance
from hebae.run_folder import RunFolder
from hebae.storage import save_model
from hebae.training.batches import ArrayBatches, RedrawnBatches
from hebae.training.callbacks import Callback
from hebae.training.checks import complete
from hebae.training.loggers import Logger, Origin, open_loggers
from hebae.training.loop import Member, train_members
from hebae.training.machine import make_fabric
from hebae.training.population import model_for
from hebae.training.processes import peers
from hebae.training.state import Checkpointer, rounding


@dataclass(frozen=True)
class Prepared:
    """A training that has passed every check and only needs to be run."""

    settings: Settings
    dataset: Dataset
    notes: tuple[str, ...]

    @cached_property
    def model(self) -> Autoencoder:
        """The model: built at first use, then always the same one."""
        return model_for(self.settings, self.dataset.train)

    def release(self) -> None:
        """Free the model, where many trainings wait; it is built again at the next use."""
        self.__dict__.pop("model", None)


def prepare(settings: Settings, dataset: Dataset | None = None) -> Prepared:
    """Load the data (unless given), complete and check the settings.

    Raises
    ------
    HebaeError
        For anything that would make the training fail later.
    """
    if dataset is None:
        dataset = load(**settings.source)
    train, held_out = dataset.train, dataset.held_out()
    settings = _with_absolute_paths(settings)
    settings, notes = complete(settings, train, held_out, name=dataset.name, count=len(train))
    return Prepared(settings, dataset, (*dataset.notes, *notes))


def run(
    prepared: Prepared,
    output: Path,
    *,
    command: str = "hebae.training.session.run",
    overwrite: bool = False,
    resuming: bool = False,
    callbacks: Callable[[Settings], Collection[Callback]] = lambda settings: (),
    machines: int = 1,
    group: Path | None = None,
) -> Member:
    """Train into a run folder.

    Parameters
    ----------
    prepared : Prepared
    output : Path
    command : str
        Command for the provenance.
    overwrite : bool
        Replace a run that is there already.
    resuming : bool
        Continue from the checkpoint in `output`; see `resume`.
    callbacks : callable
        From the settings to the callbacks of the training.
    machines : int
        Machines on which processes of this training have been started.
    group : Path, optional
        Folder of the experiment that the run belongs to.

    Raises
    ------
    HebaeError
        If the folder is taken, in use by another process or cannot be written, or
        (`DivergenceError`) the training diverges.
    """
    followers = [callbacks(prepared.settings)]
    runs = [(prepared, output)]
    with peers(prepared.settings.devices * machines):
        (member,) = run_group(
            runs,
            followers,
            command,
            overwrite=overwrite,
            resuming=resuming,
            machines=machines,
            group=group,
        )
    if member.diverged is not None:
        raise member.diverged
    return member


def run_group(
    runs: Sequence[tuple[Prepared, Path]],
    callbacks: Sequence[Collection[Callback]],
    command: str,
    *,
    overwrite: bool = False,
    resuming: bool | None = None,
    machines: int = 1,
    group: Path | None = None,
) -> list[Member]:
    """Train runs into their folders, several as one stack.

    Several runs are in the order of their learning rates (`hebae.training.many` has the rule), with
    `callbacks` for each; with ``resuming=None`` those that were begun are resumed. `group` is the
    folder of the experiment that they belong to. ``diverged`` of a member holds the error of a run
    that diverged.
    """
    first = runs[0][0]
    settings, dataset = first.settings, first.dataset
    fabric = make_fabric(settings, machines)
    if settings.devices * machines > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        # Of filters of one channel, which have several layouts that mean the same.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    fabric.launch()
    seeds = [prepared.settings.seed for prepared, _ in runs]
    batches = partial(
        ArrayBatches,
        batch_size=settings.batch_size,
        seed=seeds if len(runs) > 1 else seeds[0],
        device=fabric.device,
        dtype=torch.float64 if settings.precision == "64-true" else torch.float32,
    )
    writing = fabric.is_global_zero
    members: list[Member] = []
    logging_of: list[list[Logger]] = []
    with ExitStack() as folders:
        for (prepared, output), own in zip(runs, callbacks, strict=True):
            if writing and not output.exists():
                folders.callback(_remove_unused, output)
            opened = _opened(prepared, output, command, overwrite, resuming, writing)
            checkpointer = folders.enter_context(opened)
            followers: list[Callback] = [checkpointer, *own] if writing else []
            loggers = []
            if writing and prepared.settings.loggers:
                origin = Origin(prepared.settings, output.resolve().name, output, group)
                resumed = checkpointer.resume
                try:
                    loggers = folders.enter_context(open_loggers(origin, resuming=resumed))
                except HebaeError:
                    if not resumed:  # the folder holds no training yet
                        clear(output, RunFolder.NAMES)
                    raise
            logging_of.append(loggers)
            followers += loggers
            member = Member(
                prepared.model, prepared.settings, followers, checkpointer if writing else None
            )
            members.append(member)
        held_out = dataset.held_out()
        redrawn = partial(RedrawnBatches, drawn=dataset.train, **batches.keywords)
        training = (redrawn if dataset.redrawn else batches)(
            dataset.pictures.train if dataset.redrawn else dataset.train,
            drop_last=settings.drop_last,
            rank=fabric.global_rank,
            processes=fabric.world_size,
        )
        held = (held_out[0], batches(held_out[1])) if held_out else None
        train_members(members, training, held, fabric=fabric)
        for member, loggers in zip(members, logging_of, strict=True):
            for logger in loggers:
                logger.close(
                    "diverged"
                    if member.diverged is not None
                    else "interrupted"
                    if member.interrupted
                    else "finished"
                )
        for (prepared, output), member in zip(runs, members, strict=True):
            if member.diverged is None and not member.interrupted and writing:
                data = prepared.dataset
                extra: dict[str, Any] = {
                    "data_name": data.name,
                    "data_fingerprint": data.fingerprint,
                }
                if len(data.shape) == 3:  # for pictures
                    extra["data_range"] = data.train.range
                save_model(output, prepared.model, prepared.settings, extra)
    return members


def _remove_unused(folder: Path) -> None:
    """Remove a folder that a training which could not begin has created."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {".lock"}:
        shutil.rmtree(folder)


@contextmanager
def _opened(
    prepared: Prepared,
    output: Path,
    command: str,
    overwrite: bool,
    resuming: bool | None,
    writing: bool,
) -> Iterator[Checkpointer]:
    """Create a run folder, or prepare to resume the run in it; lock it while the block lasts.

    Of several processes of one training only one is `writing`.
    """
    settings, folder = prepared.settings, RunFolder(output)
    resuming = folder.is_run if resuming is None else resuming
    if resuming and folder.stopped_before_checkpoint:
        resuming, overwrite = False, True
    dataset = prepared.dataset
    checkpointer = Checkpointer(folder, dataset.fingerprint, settings, resuming)
    if not writing:
        yield checkpointer
        return
    if not resuming:
        folder.require_free(overwrite=overwrite)
    make_folder(output, "--output")
    with locked(output):
        if resuming:
            checkpointer.check(prepared.model)  # before anything is removed
        else:
            # The model, and a checkpoint with Adam's moments, twice while one is replaced.
            size = sum(int(t.nbytes) for t in prepared.model.state_dict().values())
            space = size + 2 * 3 * size + 10_000_000
            folder.create(settings, overwrite=overwrite, space_needed=space)
        folder.add_provenance(provenance(command, dataset, settings, [settings.seed]))
        if resuming:
            # A finished run that is given more epochs is unfinished until they are done.
            folder.weights.unlink(missing_ok=True)
            folder.write_settings(settings)
        yield checkpointer


def resume(output: Path, changes: dict[str, object]) -> Prepared:
    """Prepare to resume the run in `output`.

    Parameters
    ----------
    output : Path
    changes : dict
        Settings to change, of ``config.MAY_CHANGE_ON_RESUME``; `epochs` may grow. Also `device` and
        `compile`: the result then does not equal that of an uninterrupted run, and a note says so.

    Raises
    ------
    HebaeError
        If there is nothing to resume, the run is finished, or a setting may not change.
    """
    folder = RunFolder(output)
    stored = folder.settings()
    stored = stored.replace(data_dir=located(stored.source)["data_dir"])
    changes = {n: getattr(_with_absolute_paths(stored.replace(**changes)), n) for n in changes}
    for name, value in changes.items():
        if name not in MAY_CHANGE_ON_RESUME | AFFECT_ROUNDING and getattr(stored, name) != value:
            raise HebaeError(
                f"{output} was started with {name} {getattr(stored, name)!r}, and --resume cannot "
                f"change it to {value!r}; leave the flag out, or start another run."
            )
    settings = stored.replace(**changes)
    if folder.stopped_before_checkpoint:
        return prepare(settings)
    state = folder.read_checkpoint()
    done = state.get("epoch")
    if not isinstance(done, int):
        raise HebaeError(f"{folder.checkpoint} is altered (epoch {done!r}); restore it.")
    if settings.epochs < done:
        raise HebaeError(
            f"{output} has {done} epochs already, but --epochs is {settings.epochs}; give {done} "
            "or more."
        )
    if folder.is_finished and settings.epochs == stored.epochs:
        with suppress(HebaeError), locked(output):
            pass  # what a process left that was killed while it wrote the report is removed
        raise HebaeError(
            f"{output} is finished after {done} epochs; give more --epochs to train it further. "
            f"hebae show {output} writes its report."
        )
    prepared = prepare(settings)
    before, now = state.get("rounding"), rounding(settings)
    if isinstance(before, dict):
        settings_of = {"device": "device", "program": "compile"}
        changed = [settings_of[name] for name in now if before.get(name) != now[name]]
        if stored.devices != settings.devices:  # sums of the processes' parts
            changed.append("devices")
    else:  # version 0.1.0 did not store it
        changed = sorted(n for n in AFFECT_ROUNDING if getattr(stored, n) != getattr(settings, n))
    if not changed:
        return prepared
    note = (
        f"{' and '.join(changed)} changed: numbers are rounded differently from here on, so the "
        "result does not equal that of an uninterrupted run."
    )
    return replace(prepared, notes=(*prepared.notes, note))


def _with_absolute_paths(settings: Settings) -> Settings:
    # So that a run can be resumed from any folder.
    name = data_set_name(settings.data)
    changes: dict[str, object] = {"data": name or str(Path(settings.data).expanduser().absolute())}
    if settings.data_dir is not None:
        changes["data_dir"] = settings.data_dir.expanduser().absolute()
    return settings.replace(**changes)
