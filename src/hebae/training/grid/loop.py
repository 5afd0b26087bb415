"""The loop of a grid: `hebae.training.loop.train` for a stack of models, in one program."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hebae.config import TrainingSettings
from hebae.model import Autoencoder
from hebae.training.callbacks import MetricsFile
from hebae.training.grid.optimizer import StackedAdam
from hebae.training.grid.stack import Stack
from hebae.training.grid.streams import StackedBatches, StackedNoise
from hebae.training.interrupt import deferred_interrupt
from hebae.training.loop import MONITORED
from hebae.training.monitor import DivergenceError, Monitor, require_finite
from hebae.training.population import estimates, store_population, watch
from hebae.training.precision import tensor_cores
from hebae.training.record import named
from hebae.training.schedule import learning_rate_factor
from hebae.training.state import Checkpointer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Member", "train_grid"]

SECONDS_BETWEEN_CHECKPOINTS = 30
"""Small models pass an epoch in less time than writing all of them takes."""


@dataclass
class Member:
    """One model of a grid, its settings, and what is written of it."""

    model: Autoencoder
    settings: TrainingSettings
    metrics: MetricsFile | None = None
    checkpointer: Checkpointer | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    """Records of the epochs since it was started or resumed, as in ``metrics.jsonl``."""
    seconds: float = 0.0
    """Its share of the time spent in training steps."""
    diverged: str | None = None
    """What broke, if something did: from then on it is neither recorded nor saved."""
    unwritten: list[dict[str, Any]] = field(default_factory=list)

    @property
    def learning_rate(self) -> float:
        """Step size at first."""
        return self.settings.learning_rate or 1e-3

    def write(self) -> None:
        """Write the records that are not in ``metrics.jsonl`` yet."""
        if self.metrics is not None and self.unwritten:
            self.metrics.write(self.unwritten)
        self.unwritten.clear()


def train_grid(
    members: Sequence[Member],
    values: np.ndarray,
    held_out: tuple[str, np.ndarray] | None = None,
    *,
    fabric: Fabric,
    on_steps: Callable[[int], None] = lambda count: None,
) -> bool:
    """Train the members' models in place, together; go on from their checkpoints if they have any.

    The models are of one architecture and objective but for weights, and their settings differ in
    nothing but seed and learning rate (`grouping` sees to it). Each ends with the weights it would
    have got alone: bit for bit on the CPU, elsewhere and in half precision but for rounding.

    Parameters
    ----------
    members : sequence of Member
        All new, or all stopped at the same step.
    values : ndarray
        Training examples.
    held_out : (str, ndarray), optional
        Split and examples that are never trained on.
    fabric : Fabric
        Of one process.
    on_steps : callable
        Told now and then how many more steps were taken, those of all members together.

    Returns
    -------
    bool
        False if it was interrupted; the members are saved then.
    """
    members = sorted(members, key=lambda member: member.learning_rate)
    grid = _Grid(members, values, held_out, fabric)
    settings = grid.settings
    told = grid.steps
    with tensor_cores(fabric.device), deferred_interrupt() as interrupt:
        for epoch in range(grid.epoch, settings.epochs):
            if grid.batch == 0:
                grid.noise.begin(epoch)
                if settings.reset_optimizer:
                    grid.optimizer.reset()
            grid.optimizer.set_factor(learning_rate_factor(settings.schedule, epoch))
            grid.stack.train()
            started = time.perf_counter()

            for x in grid.batches.epoch(epoch, start=grid.batch):
                with fabric.autocast():
                    step = grid.stack(x, grid.noise.draw(x))
                grid.optimizer.step(step.loss.sum())

                grid.steps += 1
                grid.batch += 1
                grid.monitor.add(grid.steps, step)
                if grid.steps % settings.log_every == 0:
                    grid.look()
                    on_steps((grid.steps - told) * len(members))
                    told = grid.steps
                if interrupt.is_set() or not grid.any_left:
                    break

            grid.look()  # waits for the device, so the clock is right
            on_steps((grid.steps - told) * len(members))
            told = grid.steps
            for member in members:
                member.seconds += (time.perf_counter() - started) / len(members)
            if not grid.any_left:
                return True
            if interrupt.is_set():
                grid.save()
                return False
            grid.end_epoch()
            if grid.epoch == settings.epochs or (
                grid.epoch % settings.checkpoint_every == 0
                and time.monotonic() - grid.saved > SECONDS_BETWEEN_CHECKPOINTS
            ):
                grid.save()
        grid.finish()
    return True


class _Grid:
    """Everything that changes while a grid is trained."""

    def __init__(
        self,
        members: Sequence[Member],
        values: np.ndarray,
        held_out: tuple[str, np.ndarray] | None,
        fabric: Fabric,
    ) -> None:
        self.members = members
        self.settings = settings = members[0].settings
        wide = settings.precision == "64-true"
        dtype = torch.float64 if wide else torch.float32
        seeds = [member.settings.seed for member in members]

        def batches(values: np.ndarray, drop_last: bool) -> StackedBatches:
            return StackedBatches(
                values,
                settings.batch_size,
                seeds,
                device=fabric.device,
                dtype=dtype,
                drop_last=drop_last,
            )

        self.batches = batches(values, bool(settings.drop_last))
        self.held_out = (held_out[0], batches(held_out[1], False)) if held_out else None
        states = [_load(member) for member in members]
        for member in members:
            member.model.to(fabric.device, dtype)
        self.stack = Stack([member.model for member in members])
        self.optimizer = StackedAdam(
            self.stack,
            [member.learning_rate for member in members],
            (settings.adam_beta1, settings.adam_beta2),
            settings.gradient_clip,
        )
        self.noise = StackedNoise(seeds, self.stack.noise_shapes, fabric.device)
        names = ["reconstruction", *self.stack.weights]
        self.monitor = Monitor(names, fabric.device, members=[len(members)])
        self.epoch = self.batch = self.steps = 0
        self.saved = time.monotonic()
        # Some may have a checkpoint of before their first step, and others none.
        begun = [state for state in states if state is not None and state["steps"]]
        if begun:
            self._restore(begun)

    def _restore(self, states: Sequence[dict[str, Any]]) -> None:
        first = states[0]
        self.epoch, self.batch, self.steps = first["epoch"], first["batch"], first["steps"]
        self.optimizer.load([state["optimizer"] for state in states])
        self.noise.load([state["noise"] for state in states])
        sums = torch.stack([state["monitor"]["sums"] for state in states])
        self.monitor.restore({"sums": sums, "count": first["monitor"]["count"]})
        for member, state in zip(self.members, states, strict=True):
            member.seconds = state["seconds"]

    @property
    def any_left(self) -> bool:
        """Whether any member has not diverged."""
        return any(member.diverged is None for member in self.members)

    def look(self) -> None:
        """Mark the members whose loss is no longer a number; waits for the device."""
        self.monitor.look()
        finite = self.monitor.sums.isfinite().all(-1).tolist()
        for index, member in enumerate(self.members):
            if member.diverged is None and not finite[index]:
                self._check(member, lambda index=index: self.monitor.member(index).means())
        self.monitor.seen.clear()

    def _check(self, member: Member, check: Callable[[], object]) -> None:
        try:
            check()
        except DivergenceError as error:
            member.diverged = str(error)
            member.write()  # what it was until then

    def end_epoch(self) -> None:
        """Record an epoch of each member."""
        self.epoch, self.batch = self.epoch + 1, 0
        seen = None
        if self.held_out is not None:
            store_population(self.stack, self.batches, MONITORED)
            seen = watch(self.stack, self.held_out[1])
        for index, member in enumerate(self.members):
            if member.diverged is not None:
                continue
            record = {
                "epoch": self.epoch,
                "step": self.steps,
                "seconds": round(member.seconds, 3),
                "learning_rate": member.learning_rate
                * learning_rate_factor(self.settings.schedule, self.epoch - 1),
                "train": named(self.monitor.member(index).means()),
            }
            if seen is not None and self.held_out is not None:
                terms = {name: value for name, (value, _) in estimates(seen.member(index)).items()}
                record |= {"held_out_split": self.held_out[0], "held_out": named(terms)}
            member.history.append(record)
            member.unwritten.append(record)
        self.monitor.reset()

    def save(self) -> None:
        """Write the metrics and a checkpoint of each member."""
        for index, member in enumerate(self.members):
            state = self.stack.state_of(index)
            if member.diverged is None:
                self._check(member, lambda state=state: require_finite(state.items(), self.steps))
            if member.diverged is not None or member.checkpointer is None:
                continue
            member.write()
            alone = self.monitor.member(index)
            member.checkpointer.save(
                model={name: tensor.clone() for name, tensor in state.items()},
                optimizer=_copied(self.optimizer.state_of(index)),
                noise=self.noise.state_of(index),
                monitor=_copied(alone.state()),
                best={"objective": None, "epoch": 0, "model": None},
                steps=self.steps,
                seconds=member.seconds,
                epoch=self.epoch,
                batch=self.batch,
                # As if it had been trained alone, when the global generator is seeded and not used.
                random_state=torch.Generator().manual_seed(member.settings.seed).get_state(),
            )
        self.saved = time.monotonic()

    def finish(self) -> None:
        """Store the population's moments, and give the models their weights."""
        store_population(self.stack, self.batches)
        for index, member in enumerate(self.members):
            member.model.load_state_dict(self.stack.state_of(index))


def _load(member: Member) -> dict[str, Any] | None:
    with torch.random.fork_rng():  # the checkpoint's global random state is for a run alone
        return member.checkpointer.load(member.model) if member.checkpointer else None


def _copied(state: Any) -> Any:
    """Copy views of the stack, or the checkpoint of a member would hold all of them."""
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, dict):
        return {name: _copied(value) for name, value in state.items()}
    return state
