"""TensorBoard, Weights & Biases and MLflow: the terms of each epoch, by their own clients.

Of a run folder, the files of TensorBoard and Weights & Biases go into it. MLflow's database is in
the folder of the experiment if the run belongs to one (a sweep, a comparison), so that its runs are
seen together; ``MLFLOW_TRACKING_URI`` takes precedence. Without a run folder, as in
`hebae.HEBAE.fit`, each client writes where it does by default.
"""

from __future__ import annotations

import importlib
import json
import os
import time
import uuid
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from hebae.config import Settings
from hebae.errors import HebaeError, MissingPackage
from hebae.files import read_json, write_text
from hebae.training.callbacks import Callback
from hebae.training.monitor import DivergenceError

Outcome = Literal["finished", "diverged", "interrupted"]

PROJECT = "hebae"
"""Project or experiment of a run that belongs to no sweep or comparison."""
IDS = "loggers.json"
"""File of a run folder: the ids by which a resumed run continues what it logged before."""
MLFLOW_FILE, MLFLOW_ARTIFACTS = "mlflow.db", "mlflow-artifacts"
_LONGEST_VALUE, _MOST_VALUES = 500, 100  # of MLflow's parameters, and of those in one request


@dataclass(frozen=True)
class Origin:
    """What is logged: a run's settings, its name, and where it belongs."""

    settings: Settings
    name: str
    folder: Path | None = None
    """The run folder."""
    group: Path | None = None
    """The folder of the sweep or comparison that the run belongs to."""
    resumed_as: str | None = None
    """The logger's id of the run, if it is resumed."""

    @property
    def group_name(self) -> str | None:
        """Name of the sweep or comparison."""
        return None if self.group is None else self.group.resolve().name


class Logger(Callback):
    """Sends each epoch's terms to a client.

    What fails in training is said once, as a warning: the terms are in ``metrics.jsonl`` anyway.
    """

    package: str
    id: str | None = None
    """By which a resumed run continues what it logged before."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._is_open = True

    @abstractmethod
    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log the values of an epoch."""

    @abstractmethod
    def end(self, outcome: Outcome) -> None:
        """Close the client's run."""

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """See `Callback`."""
        values = {
            f"{part}/{name}": float(value)
            for part in ("train", "held_out")
            for name, value in (record.get(part) or {}).items()
            if value is not None
        }
        values |= {name: float(record[name]) for name in ("learning_rate", "seconds")}
        if self._is_open:
            with self._warning():
                self.write(record["epoch"], values)

    def close(self, outcome: Outcome) -> None:
        """End the run; further calls do nothing."""
        if self._is_open:
            with self._warning():
                self.end(outcome)
        self._is_open = False

    @contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._is_open = False
            reason = " ".join(str(error).split())[:300]
            warnings.warn(
                f"{self.package} failed ({type(error).__name__}: {reason}). Nothing more is "
                "logged to it; training continues.",
                stacklevel=2,
            )


class TensorBoard(Logger):
    """Scalars, in the run folder's ``tensorboard``."""

    package = "tensorboard"

    def __init__(self, origin: Origin) -> None:
        from torch.utils.tensorboard import SummaryWriter

        super().__init__(origin)
        folder = origin.folder
        self.writer = SummaryWriter(None if folder is None else str(folder / "tensorboard"))
        text = "".join(f"    {line}\n" for line in origin.settings.to_yaml().splitlines())
        self.writer.add_text("settings", text)

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """See `Logger`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)

    def end(self, outcome: Outcome) -> None:
        """See `Logger`."""
        self.writer.add_text("outcome", outcome)
        self.writer.close()


class WandB(Logger):
    """A run of Weights & Biases; the environment decides on project, account and mode."""

    package = "wandb"

    def __init__(self, origin: Origin) -> None:
        import wandb

        super().__init__(origin)
        self.id = origin.resumed_as or uuid.uuid4().hex
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=origin.name,
            group=origin.group_name or os.environ.get("WANDB_RUN_GROUP") or None,
            id=self.id,
            resume=None if origin.resumed_as is None else "allow",
            reinit="create_new",
            # Absolute: its service may have been started in another folder.
            dir=None if origin.folder is None else origin.folder.absolute(),
            config=origin.settings.model_dump(mode="json"),
            settings=wandb.Settings(console="off"),
        )
        # Not by wandb's step, which never goes back: a resumed run repeats what no checkpoint held.
        self.run.define_metric("epoch")
        self.run.define_metric("*", step_metric="epoch")

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """See `Logger`."""
        self.run.log({"epoch": epoch, **values})

    def end(self, outcome: Outcome) -> None:
        """See `Logger`."""
        self.run.summary["outcome"] = outcome
        self.run.finish(exit_code=0 if outcome == "finished" else 1)


class MLflow(Logger):
    """A run of MLflow, in a database beside the run or where the environment says."""

    package = "mlflow"
    id: str

    def __init__(self, origin: Origin) -> None:
        from mlflow import MlflowClient
        from sqlalchemy import URL

        super().__init__(origin)
        # By default it tries for minutes to reach a server that does not answer.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        place = origin.group or origin.folder
        uri = artifacts = None
        if place is not None and not os.environ.get("MLFLOW_TRACKING_URI"):
            # Not sqlite:///, of which MLflow makes a folder without undoing the quotes of ? and %.
            database = str((place / MLFLOW_FILE).absolute())
            uri = URL.create("sqlite+pysqlite", database=database).render_as_string()
            artifacts = (place / MLFLOW_ARTIFACTS).absolute().as_uri()
        self.client = MlflowClient(tracking_uri=uri)
        if origin.resumed_as is not None:
            self.id = origin.resumed_as
            self.client.update_run(self.id, "RUNNING")
            return
        name = origin.group_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self.client.get_experiment_by_name(name)
        experiment = (
            self.client.create_experiment(name, artifacts) if found is None else found.experiment_id
        )
        self.id = self.client.create_run(experiment, run_name=origin.name).info.run_id
        self._log_settings(origin.settings)

    def _log_settings(self, settings: Settings) -> None:
        from mlflow.entities import Param

        values = settings.model_dump(mode="json").items()
        params = [Param(name, str(value)[:_LONGEST_VALUE]) for name, value in values]
        for start in range(0, len(params), _MOST_VALUES):
            self.client.log_batch(self.id, params=params[start : start + _MOST_VALUES])

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """See `Logger`."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(
            self.id, metrics=[Metric(name, value, now, epoch) for name, value in values.items()]
        )

    def end(self, outcome: Outcome) -> None:
        """See `Logger`."""
        self.client.set_tag(self.id, "outcome", outcome)
        states = {"finished": "FINISHED", "diverged": "FAILED", "interrupted": "KILLED"}
        self.client.set_terminated(self.id, states[outcome])


LOGGERS: dict[str, type[Logger]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
"""By the names of ``--logger``. The extra of each has the same name."""


def require_clients(settings: Settings) -> None:
    """Raise a HebaeError if a logger's package is missing, or nobody is logged in where needed."""
    for name in settings.loggers:
        try:
            importlib.import_module(LOGGERS[name].package)
        except ImportError as error:
            raise MissingPackage(
                f"--logger {name} needs the package {LOGGERS[name].package} ({error}): install it "
                f"with pip install 'hebae[{name}]'."
            ) from None
    if "wandb" in settings.loggers:
        _require_login(os.environ.get("WANDB_MODE") or "online")


@cache
def _require_login(mode: str) -> None:
    """Ask wandb for an account; on a terminal it asks the user."""
    if mode not in ("online", "run"):
        return
    import wandb

    try:
        found, reason = wandb.login(), "nobody is logged in"
    except wandb.Error as error:
        found, reason = False, str(error).split(".")[0]
    if not found:
        raise HebaeError(
            f"--logger wandb cannot start ({reason}): run wandb login, set WANDB_API_KEY, or set "
            "WANDB_MODE=offline to write local files only."
        )


@contextmanager
def open_loggers(origin: Origin, *, resuming: bool = False) -> Iterator[list[Logger]]:
    """Start the loggers of a training, and close them after it; those of a resumed run continue.

    Raises
    ------
    HebaeError
        If a client cannot start, for example because nobody is logged in.
    """
    ids_file = None if origin.folder is None else origin.folder / IDS
    ids = {}
    if ids_file is not None and resuming and ids_file.exists():
        ids = read_json(ids_file, "remove it: the run is then logged as a new one")
    loggers: list[Logger] = []
    outcome: Outcome = "interrupted"
    try:
        for name in origin.settings.loggers:
            known = ids.get(name)
            known = known if isinstance(known, str) else None
            loggers.append(_started(name, replace(origin, resumed_as=known)))
        ids |= {o.package: o.id for o in loggers if o.id is not None}
        if ids_file is not None and ids:
            write_text(ids_file, json.dumps(ids, indent=2) + "\n")
        yield loggers
        outcome = "finished"
    except DivergenceError:
        outcome = "diverged"
        raise
    finally:
        for logger in loggers:
            logger.close(outcome)


def _started(name: str, origin: Origin) -> Logger:
    try:
        return LOGGERS[name](origin)
    except Exception as error:  # of many kinds: of the network, of a login, of a database
        reason = shorten(" ".join(str(error).split()), 200, placeholder=" ...").rstrip(".")
        raise HebaeError(
            f"--logger {name} cannot start ({type(error).__name__}: {reason}); leave it out, or "
            "check the client's settings."
        ) from error
