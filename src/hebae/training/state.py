"""The whole state of a training in one file: saved, checked and loaded."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.files import why
from hebae.model import Autoencoder
from hebae.run_folder import RunFolder
from hebae.storage import require_same_architecture
from hebae.training.callbacks import Callback
from hebae.training.machine import device_type
from hebae.training.step import is_captured

FORMAT = 1


@dataclass
class Checkpointer(Callback):
    """Writes ``metrics.jsonl``, one line of JSON per epoch, and ``resume.pt``, and reads it back.

    A checkpoint holds weights, optimizers, random states, the position in the epoch and the sums of
    its terms; how long ``metrics.jsonl`` was (later lines are written again); and on what kind of
    device the steps ran, as what kind of program: both change how numbers are rounded.
    """

    folder: RunFolder
    fingerprint: str
    """Fingerprint of the data: with other data it would be another training."""
    settings: Settings
    resume: bool
    """Whether to load the folder's checkpoint."""
    state: dict[str, Any] | None = None
    """A checkpoint that was checked and is not loaded yet."""

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """See `Callback`."""
        self._write_metrics(json.dumps(record, allow_nan=False) + "\n")

    def _write_metrics(self, line: str) -> int:
        """Add a line and return the file's size; without a line, wait until all are on the disk."""
        try:
            with self.folder.metrics.open("a", encoding="utf-8") as file:
                file.write(line)
                if not line:
                    os.fsync(file.fileno())
                return file.tell()
        except OSError as error:
            raise HebaeError(
                f"cannot write {self.folder.metrics}: {error.strerror}. Free some space, then "
                "continue with --resume."
            ) from error

    def save(self, **state: Any) -> None:
        """Write a checkpoint in place of the last."""
        state |= {"format": FORMAT, "data_fingerprint": self.fingerprint}
        state |= {"metrics_size": self._write_metrics(""), "rounding": rounding(self.settings)}
        self.folder.write_checkpoint(state)

    def check(self, model: Autoencoder) -> None:
        """Read the checkpoint and check that it fits `model` and the data; change nothing.

        Raises
        ------
        HebaeError
            If it is damaged, or of another format, architecture, data or rounding.
        """
        with self.loading():
            self._check(self.folder.read_checkpoint(), model)

    def _check(self, state: dict[str, Any], model: Autoencoder) -> None:
        if state.get("format") != FORMAT:
            raise HebaeError(
                f"{self.folder.checkpoint} has format {state.get('format')}, but this version of "
                f"hebae reads format {FORMAT}; resume it with the version that wrote it."
            )
        require_same_architecture(model, state["model"], self.folder.checkpoint)
        metrics = self.folder.metrics
        _require_whole(state, model, metrics.stat().st_size if metrics.exists() else 0)
        self.folder.history(state["metrics_size"])
        if state["best"]["model"] is not None:
            require_same_architecture(model, state["best"]["model"], self.folder.checkpoint)
        if state["data_fingerprint"] != self.fingerprint:
            raise HebaeError(
                f"{self.folder.path} was trained on data that have changed since; resume it with "
                "the same data, or train again with --overwrite."
            )
        # A resumed run equals an uninterrupted one only on the same kind of device and with the
        # same kind of program. A setting that is not "auto" was chosen by the user.
        now = rounding(self.settings)
        stored = dict(state.get("rounding", now))  # version 0.1.0 did not store it
        chosen = {"device": self.settings.device != "auto"}
        chosen["program"] = chosen["device"] or self.settings.compile != "auto"
        for name in now:
            if stored[name] != now[name] and not chosen[name]:
                raise HebaeError(
                    f"{self.folder.path} was trained with {name} {stored[name]!r} and would resume "
                    f"with {now[name]!r}, which rounds differently: the result would not equal "
                    "that of an uninterrupted run. Give --device explicitly: "
                    f"--device {stored['device']} for equal results, --device {now['device']} to "
                    "accept the difference."
                )
        self.state = state

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Turn errors of what uses the checkpoint's content into one sentence."""
        try:
            yield
        except HebaeError:
            raise
        except Exception as error:
            # Other errors are of Python: a value that is missing, or has another type.
            reason = why(error) if type(error) is ValueError else "a value in it is of another kind"
            raise HebaeError(
                f"{self.folder.checkpoint} is altered ({reason}); restore it, or train again with "
                "--overwrite."
            ) from error

    def load(self, model: Autoencoder) -> dict[str, Any] | None:
        """Load the checkpoint into `model`; cut the metrics file back to it.

        Returns the rest of the state, or None where a training is to start from the beginning.
        """
        if not self.resume:
            return None
        if self.state is None:
            self.check(model)
        state, self.state = self.state, None
        assert state is not None
        model.load_state_dict(state["model"])
        if self.folder.metrics.exists():
            os.truncate(self.folder.metrics, state["metrics_size"])
        return state


def rounding(settings: Settings) -> dict[str, str]:
    """Return what decides how numbers are rounded: the kind of device, and of program."""
    device = device_type(settings)
    captured = is_captured(settings, torch.device(device))
    program = "captured" if captured else "compiled" if settings.compile == "on" else "plain"
    return {"device": device, "program": program}


def _require_whole(state: dict[str, Any], model: Autoencoder, metrics_size: int) -> None:
    for name in ("epoch", "batch", "steps", "metrics_size"):
        if not isinstance(state[name], int) or state[name] < 0:
            raise ValueError(f"{name} is {state[name]!r}")
    if state["metrics_size"] > metrics_size:
        raise ValueError(f"metrics.jsonl has {metrics_size} bytes of {state['metrics_size']}")
    if not (isinstance(state["seconds"], int | float) and math.isfinite(state["seconds"])):
        raise ValueError(f"seconds is {state['seconds']!r}")
    waiting: list[Any] = [state]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict | list | tuple):
            waiting += part.values() if isinstance(part, dict) else part
        elif isinstance(part, torch.Tensor) and part.nbytes > part.untyped_storage().nbytes():
            raise ValueError("a tensor repeats its numbers")  # a few can stand for terabytes
    for name, tensor in state["model"].items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} is not finite")
    best, monitor = state["best"], state["monitor"]
    if {*best} != {"objective", "epoch", "model"} or not isinstance(best["epoch"], int):
        raise ValueError("the best epoch is not whole")
    if best["objective"] is not None and not math.isfinite(best["objective"]):
        raise ValueError(f"the best objective is {best['objective']!r}")
    if not isinstance(monitor["count"], int) or not bool(monitor["sums"].isfinite().all()):
        raise ValueError("the sums of the epoch are not whole")
    batch, count = state["batch"], monitor["count"]
    if batch > state["steps"] or count < 0 or (batch == 0) != (count == 0):
        raise ValueError(f"batch {batch} of an epoch does not fit {count} examples")
    if state["noise"].dtype != torch.uint8:
        raise TypeError("the random state is not whole")
    # Adam's fused kernel trusts the shapes it is given.
    optimizers = {"optimizer": model.main_parameters()}
    if model.critic is not None:
        optimizers["critic_optimizer"] = list(model.critic.parameters())
    for name, parameters in optimizers.items():
        moments = state[name]["state"]
        for index, parameter in enumerate(parameters if moments else ()):
            if not math.isfinite(float(moments[index]["step"])):
                raise ValueError(f"the step of weight {index} is not a number")
            for moment in ("exp_avg", "exp_avg_sq"):
                if moments[index][moment].shape != parameter.shape:
                    raise ValueError(f"{moment} of weight {index} has another shape")
