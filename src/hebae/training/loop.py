"""The training loop, on Lightning Fabric: read it from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from hebae.config import TrainingSettings
from hebae.model import Autoencoder
from hebae.networks import freeze_batch_norm
from hebae.training.batches import Batches
from hebae.training.callbacks import Callback
from hebae.training.checks import device_type
from hebae.training.interrupt import deferred_interrupt
from hebae.training.monitor import Monitor, require_finite
from hebae.training.noise import draw_noise, noise_seed
from hebae.training.population import held_out_terms, store_population
from hebae.training.precision import lay_out_filters, tensor_cores
from hebae.training.record import named
from hebae.training.schedule import learning_rate_factor
from hebae.training.state import Checkpointer
from hebae.training.step import (
    load_optimizer,
    make_optimizer,
    make_step,
    reset_moments,
    set_learning_rate,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["HeldOut", "Outcome", "make_fabric", "train"]

MONITORED = 5000
"""Training examples, spread evenly, that give beta and Sigma for the held-out terms of an epoch."""


@dataclass(frozen=True)
class HeldOut:
    """Examples that are never trained on, in batches as for training, and their split."""

    split: str
    batches: Batches


@dataclass
class Outcome:
    """What a training came to."""

    history: list[dict[str, Any]] = field(default_factory=list)
    """One record an epoch, as in ``metrics.jsonl``; on a resumed run, since it was resumed."""
    seconds: float = 0.0
    """Spent in training steps, all stretches of a resumed run together."""
    steps: int = 0
    interrupted: bool = False
    stopped_early: bool = False


def make_fabric(settings: TrainingSettings) -> Fabric:
    """Lightning Fabric for the settings' device, count of processes and precision.

    Raises
    ------
    ValueError
        For precision "auto", which ``hebae.training.trial`` has to decide first.
    """
    if settings.precision == "auto":
        raise ValueError("precision is 'auto'; decide it first, with hebae.training.trial.decide.")
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    class Mixed(MixedPrecision):
        """Autocast for the networks; examples and noise stay as exact as they are."""

        def convert_input(self, data: Any) -> Any:
            return data

    gpu = device_type(settings) == "cuda"
    mixed = settings.precision in ("16-mixed", "bf16-mixed")
    return Fabric(
        accelerator="gpu" if settings.device == "cuda" else settings.device,
        devices=settings.devices,
        strategy="auto" if settings.devices == 1 else "ddp",
        precision=None if mixed else settings.precision,
        plugins=Mixed(settings.precision, "cuda" if gpu else "cpu") if mixed else None,  # type: ignore[arg-type]
    )


def train(
    model: Autoencoder,
    settings: TrainingSettings,
    batches: Batches,
    held_out: HeldOut | None = None,
    *,
    fabric: Fabric,
    callbacks: Sequence[Callback] = (),
    checkpointer: Checkpointer | None = None,
) -> Outcome:
    """Train `model` in place; go on from the checkpointer's last checkpoint if it has one.

    Two calls with the same arguments on one CPU end with the same weights, bit for bit, and so does
    a training that was stopped at any moment and resumed. The caller's random state is not touched.

    Raises
    ------
    DivergenceError
        If the loss stops being finite. The last good checkpoint stays.
    """
    with (
        _own_random_state(settings.seed),
        tensor_cores(fabric.device),
        deferred_interrupt(fabric.world_size) as interrupt,
    ):
        lay_out_filters(model, torch.channels_last)
        module, optimizer = fabric.setup(model, make_optimizer(model, settings, fabric.device))
        take_step = make_step(model, module, optimizer, settings, fabric)
        noise = torch.Generator(fabric.device)
        monitor = Monitor(
            ["reconstruction", *model.objective.weights],
            fabric.device,
            reduce=lambda total: cast("Tensor", fabric.all_reduce(total, reduce_op="sum")),
        )
        outcome = Outcome()
        position = {"epoch": 0, "batch": 0}
        best: dict[str, Any] = {"objective": None, "epoch": 0, "model": None}

        def save() -> None:
            if checkpointer is None or not fabric.is_global_zero:
                return
            require_finite(model.named_parameters(), outcome.steps)
            checkpointer.save(
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                noise=noise.get_state(),
                monitor=monitor.state(),
                best=best,
                steps=outcome.steps,
                seconds=outcome.seconds,
                **position,
            )

        state = checkpointer.load(model) if checkpointer else None
        if state is not None:
            load_optimizer(optimizer, state["optimizer"])
            noise.set_state(state["noise"])
            monitor.restore(state["monitor"])
            best = state["best"]
            position = {"epoch": state["epoch"], "batch": state["batch"]}
            outcome.steps, outcome.seconds = state["steps"], state["seconds"]
        else:
            save()  # so that even the first epoch has something to go back to

        per_epoch = batches.steps_per_epoch
        total = per_epoch * settings.epochs if per_epoch else None
        for callback in callbacks:
            callback.on_start(outcome.steps, total)
        try:
            for epoch in range(position["epoch"], settings.epochs):
                if _patience_is_over(settings, best, epoch):
                    outcome.stopped_early = True
                    break
                if position["batch"] == 0:
                    noise.manual_seed(noise_seed(settings.seed, epoch, fabric.global_rank))
                    if settings.reset_optimizer:
                        reset_moments(optimizer)
                learning_rate = settings.learning_rate or 1e-3
                learning_rate *= learning_rate_factor(settings.schedule, epoch)
                set_learning_rate(optimizer, learning_rate)
                model.train()
                if settings.batch_norm == "frozen":
                    freeze_batch_norm(model)
                started = time.perf_counter()

                for x in batches.epoch(epoch, start=position["batch"]):
                    step = take_step(x, draw_noise(model.noise_shapes(len(x)), noise, x.dtype))
                    outcome.steps += 1
                    position["batch"] += 1
                    monitor.add(outcome.steps, step)
                    if outcome.steps % settings.log_every == 0:
                        means = monitor.means()
                        for callback in callbacks:
                            callback.on_log(outcome.steps, epoch + 1, means)
                    if interrupt.is_set():
                        break

                means = monitor.means()  # waits for the device, so the clock is right
                outcome.seconds += time.perf_counter() - started
                if interrupt.is_set():
                    save()
                    outcome.interrupted = True
                    break
                monitor.reset()
                position = {"epoch": epoch + 1, "batch": 0}
                record = {
                    "epoch": epoch + 1,
                    "step": outcome.steps,
                    "seconds": round(outcome.seconds, 3),
                    "learning_rate": learning_rate,
                    "train": named(means),
                }
                if held_out is not None:
                    store_population(model, batches, MONITORED)
                    terms = held_out_terms(model, held_out.batches)
                    record |= {"held_out_split": held_out.split, "held_out": named(terms)}
                    _keep_best(settings, best, record, model)
                outcome.history.append(record)
                for callback in callbacks:
                    callback.on_log(outcome.steps, epoch + 1, means)
                    callback.on_epoch(record)
                if (epoch + 1) % settings.checkpoint_every == 0 or epoch + 1 == settings.epochs:
                    save()
        finally:
            for callback in callbacks:
                callback.on_end()

        if not outcome.interrupted:
            if best["model"] is not None:
                model.load_state_dict(best["model"])
            store_population(model, batches)
        lay_out_filters(model, torch.contiguous_format)
        return outcome


def _keep_best(
    settings: TrainingSettings, best: dict[str, Any], record: dict[str, Any], model: Autoencoder
) -> None:
    objective = record["held_out"]["objective"]
    if settings.early_stopping is None or objective is None:
        return
    if best["objective"] is None or objective > best["objective"]:
        weights = {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}
        best.update(objective=objective, epoch=record["epoch"], model=weights)


def _patience_is_over(settings: TrainingSettings, best: Mapping[str, Any], epoch: int) -> bool:
    patience = settings.early_stopping
    return patience is not None and epoch - best["epoch"] >= patience


@contextmanager
def _own_random_state(seed: int) -> Iterator[None]:
    """Networks of the user's own may draw from the global generator (dropout)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
