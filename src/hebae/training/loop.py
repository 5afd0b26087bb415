"""The training loop, on Lightning Fabric: read it from top to bottom.

One epoch body trains a model alone and a stack of models. A member of a stack is treated as a model
alone is: it has its own settings, callbacks, checkpoint and history, and stops when it diverges.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from hebae.config import Settings
from hebae.model import Autoencoder
from hebae.networks import freeze_batch_norm
from hebae.shared_batch import SharedBatch
from hebae.training.batches import ArrayBatches, Batches
from hebae.training.callbacks import Callback
from hebae.training.interrupt import deferred
from hebae.training.monitor import (
    DivergenceError,
    Monitor,
    find_divergence,
    find_singular_noise,
    remark_on,
)
from hebae.training.population import Estimates, held_out_estimates, start_prior, store_population
from hebae.training.randomness import NetworkRandomState, NoiseSource, draws_random_numbers
from hebae.training.stack import Stack
from hebae.training.state import Checkpointer
from hebae.training.step import Updater, lay_out_filters, tensor_cores

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MONITORED = 5000
"""Training examples, spread evenly, that give beta and Sigma for the held-out terms of an epoch."""

SHARE_OF_CHECKPOINTS = 0.1
"""Largest share of the time for writing checkpoints: small models pass an epoch in less time than
writing takes. The last epoch's is always written."""


HeldOut = tuple[str, Batches]
"""Name of a split that is never trained on, and its examples in batches as for training."""


@dataclass
class Member:
    """One model in training, alone or in a stack, and what came of it."""

    model: Autoencoder
    settings: Settings
    callbacks: Sequence[Callback] = ()
    checkpointer: Checkpointer | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    """One record per epoch, as in ``metrics.jsonl``; of a resumed run, since it was resumed."""
    seconds: float = 0.0
    """Spent in training steps, all parts of a resumed run together. Of a member of a stack, its
    share."""
    steps: int = 0
    best: dict[str, Any] = field(
        default_factory=lambda: {"objective": None, "epoch": 0, "model": None}
    )
    """Held-out objective, number and weights of the best epoch, where early stopping is on."""
    interrupted: int = 0
    """Number of the signal that stopped it; 0 if there was none."""
    stopped_early: bool = False
    diverged: DivergenceError | None = None
    """Why it stopped. After that it is not recorded or saved."""
    is_new: bool = True
    """Whether the model has not been trained before: a learned prior starts from the examples."""

    @property
    def learning_rate(self) -> float:
        """Adam's step size at first."""
        return self.settings.learning_rate or 1e-3


def train(
    model: Autoencoder,
    settings: Settings,
    batches: Batches,
    held_out: HeldOut | None = None,
    *,
    fabric: Fabric,
    callbacks: Sequence[Callback] = (),
    is_new: bool = True,
) -> Member:
    """Train `model` in place; `is_new` is False if it was trained before.

    Two calls with the same arguments, on one machine and with the same number of threads, end with
    the same weights, bit for bit. torch's global random state is not used.

    Raises
    ------
    DivergenceError
        If the loss, or in the end a weight, a moment of the population or a code, is not finite.
    """
    member = Member(model, settings, callbacks, is_new=is_new)
    train_members([member], batches, held_out, fabric=fabric)
    if member.diverged is not None:
        raise member.diverged
    return member


def train_members(
    members: Sequence[Member], batches: Batches, held_out: HeldOut | None = None, *, fabric: Fabric
) -> None:
    """Train a model, or several as one stack, in place; resume from their checkpoints.

    A model alone that was stopped at any step and resumed ends with the same weights, bit for bit.
    Several models are of one architecture and objective but for weights; settings differ only in
    seed and learning rate (`hebae.training.many` groups them so). All are new, or stopped at the
    same step. Each member tells how it ended.

    Parameters
    ----------
    members : sequence of Member
        In the order of their learning rates.
    batches, held_out
        For several members, with one order each (`ArrayBatches` with a sequence of seeds).
    fabric : Fabric
        For several members, with one process.
    """
    first = members[0]
    settings = first.settings
    stacked = len(members) > 1
    for member in members:
        wide = torch.float64 if settings.precision == "64-true" else None
        member.model.to(device=fabric.device, dtype=wide)
    states = [m.checkpointer.load(m.model) if m.checkpointer else None for m in members]
    if fabric.world_size > 1:  # only the first process has a checkpointer
        states = fabric.broadcast(states)
        if states[0] is not None:
            first.model.load_state_dict(states[0]["model"])
    for member, state in zip(members, states, strict=True):
        if state is None and member.is_new:
            start_prior(member.model, batches, member.settings.seed)
    model = Stack([member.model for member in members]) if stacked else first.model
    if fabric.world_size > 1:
        model.share_batches(SharedBatch(fabric.global_rank, fabric.world_size))
    random_state = None
    if not stacked and any(map(draws_random_numbers, (model.encoder, model.decoder))):
        random_state = NetworkRandomState(settings.seed, fabric.device)
    own_random_state = random_state or nullcontext
    lay_out_filters(model, torch.channels_last)
    rates = [member.learning_rate for member in members]
    updater = Updater(model, settings, fabric, rates, random_state)
    seeds = [member.settings.seed for member in members]
    noise = NoiseSource(seeds, fabric.device, stacked=stacked)
    monitor = Monitor(
        ["reconstruction", *model.objective.weights],
        len(members),
        prior_term=model.objective.prior_term if model.prior.is_learned else None,
    )
    dtype = model.population_mean.dtype
    warms_up = model.objective.weight_factor(0) < 1
    if warms_up:  # a tensor, since a CUDA graph reads what is at an address
        model.weight_factor = torch.ones((), dtype=dtype, device=fabric.device)
    start_epoch = batch = steps = 0
    writing = 0.0  # seconds that the last checkpoint took
    saved = time.monotonic()

    # Of a group, some may have a checkpoint of before their first step, and others none.
    begun = [state for state in states if state is not None]
    if begun and (not stacked or begun[0]["steps"]):
        with first.checkpointer.loading() if first.checkpointer else nullcontext():
            updater.load(begun)
            noise.begin(begun[0]["epoch"])
            noise.load([state["noise"] for state in begun])
            monitor.load([state["monitor"] for state in begun])
        start_epoch, batch, steps = (begun[0][name] for name in ("epoch", "batch", "steps"))
        if random_state is not None:
            random_state.states = begun[0]["network_random_states"]
        for member, state in zip(members, begun, strict=True):
            member.best = state["best"]
            member.steps, member.seconds = steps, state["seconds"]

    def left() -> list[tuple[int, Member]]:
        return [(index, m) for index, m in enumerate(members) if m.diverged is None]

    def look() -> dict[int, dict[str, float]]:
        """Mark who has diverged; means of the epoch so far of the others. Waits for the device.

        The loss is that of the full weights, also during a warm-up.
        """
        means = monitor.means()
        for index, member in left():
            member.steps = steps
            member.diverged = monitor.diverged.get(index)
        if warms_up:
            for index, m in left():
                weights = m.model.objective.weights
                penalties = sum(weight * means[index][name] for name, weight in weights.items())
                means[index]["loss"] = means[index]["reconstruction"] + penalties
        return {index: means[index] for index, _ in left()}

    def save(epoch: int) -> None:
        nonlocal saved, writing
        started = time.monotonic()
        for index, member in left():
            state = model.state_of(index) if isinstance(model, Stack) else model.state_dict()
            member.diverged = find_divergence(state, steps)
            if member.diverged or member.checkpointer is None:
                continue
            member.checkpointer.save(
                model={n: t.clone() for n, t in state.items()} if stacked else state,
                **updater.state_of(index),
                noise=noise.state_of(index),
                network_random_states=random_state.states if random_state else [],
                monitor=monitor.state_of(index),
                best=member.best,
                steps=steps,
                seconds=member.seconds,
                epoch=epoch,
                batch=batch,
            )
        saved = time.monotonic()
        writing = saved - started

    def evaluate() -> Sequence[Estimates]:
        assert held_out is not None
        with own_random_state():
            store_population(model, batches, MONITORED)
            return held_out_estimates(model, held_out[1], updater.held_out)

    def finish() -> None:
        with own_random_state():
            store_population(model, batches)

    if not begun and not stacked:
        save(0)  # so that even the first epoch has something to go back to
    per_epoch = batches.steps_per_epoch
    for member in members:
        for callback in member.callbacks:
            callback.on_start(steps, per_epoch * settings.epochs if per_epoch else None)
    with tensor_cores(fabric.device), deferred(fabric.world_size) as interrupt:
        try:
            for epoch in range(start_epoch, settings.epochs):
                patience = settings.early_stopping
                if patience is not None and epoch - first.best["epoch"] >= patience:
                    first.stopped_early = True
                    break
                if batch == 0:
                    noise.begin(epoch)
                    if settings.reset_optimizer:
                        updater.reset_moments()
                factor = learning_rate_factor(settings.schedule, epoch)
                updater.set_rate_factor(factor)
                weight_factor = model.objective.weight_factor(epoch)
                if model.weight_factor is not None:
                    model.weight_factor.fill_(weight_factor)
                model.train()
                if settings.batch_norm == "frozen":
                    freeze_batch_norm(model)
                started = time.perf_counter()

                for x, condition in batches.epoch(epoch, start=batch):
                    m = x.shape[1] if stacked else x.shape[0]
                    if model.shared is not None:
                        assert isinstance(batches, ArrayBatches)
                        m = model.shared.size = batches.sizes[batch]
                    step = updater.take(x, noise.draw(model.noise_shapes(m), dtype), condition)
                    steps += 1
                    batch += 1
                    monitor.add(steps, step)
                    if steps % settings.log_every == 0:
                        for index, means in look().items():
                            for callback in members[index].callbacks:
                                callback.on_log(steps, epoch + 1, means)
                    if interrupt.agreed() or not left():
                        break

                all_means = look()
                seconds = time.perf_counter() - started
                for _, member in left():
                    member.seconds += seconds / len(members)
                if not left():
                    break
                before = random_state.states if random_state else []
                estimates: Sequence[Estimates] = []
                if held_out is not None and not interrupt.number:
                    estimates = interrupt.unless_stopped(evaluate) or []
                    interrupt.agreed()
                if interrupt.number:
                    if random_state is not None:
                        random_state.states = before
                    save(epoch)
                    for _, member in left():
                        member.interrupted = interrupt.number
                    break
                if estimates and fabric.world_size > 1:  # machines may round differently
                    estimates = fabric.broadcast(estimates)
                monitor.begin_epoch()
                batch = 0
                for index, means in all_means.items():
                    member = members[index]
                    record = {
                        "epoch": epoch + 1,
                        "step": steps,
                        "seconds": round(member.seconds, 3),
                        "learning_rate": member.learning_rate * factor,
                        "train": _named(means),
                    }
                    if warms_up:
                        record["weight_factor"] = weight_factor
                    if held_out is not None:
                        record["held_out_split"] = held_out[0]
                        terms = {name: mean for name, (mean, _) in estimates[index].items()}
                        record["held_out"] = _named(terms)
                        _keep_best(member, record)
                    member.history.append(record)
                    for callback in member.callbacks:
                        callback.on_log(steps, epoch + 1, means)
                        callback.on_epoch(record)
                is_last = epoch + 1 == settings.epochs
                is_due = SHARE_OF_CHECKPOINTS * (time.monotonic() - saved) >= writing
                if is_last or (is_due and (epoch + 1) % settings.checkpoint_every == 0):
                    save(epoch + 1)
        finally:
            for member in members:
                for callback in member.callbacks:
                    callback.on_end()

        if left() and not interrupt.number:
            if first.best["model"] is not None:
                model.load_state_dict(first.best["model"])
            interrupt.unless_stopped(finish)
            if interrupt.agreed():  # it is done when the run is resumed
                for _, member in left():
                    member.interrupted = interrupt.number
        for index, member in enumerate(members):
            if isinstance(model, Stack):
                member.model.load_state_dict(model.state_of(index))
            if member.diverged is None and not member.interrupted:
                # A singular covariance first: it makes the scale of a likelihood NaN.
                member.diverged = find_singular_noise(member.model, steps) or find_divergence(
                    member.model.state_dict(), steps
                )
            if member.diverged is not None and (remark := remark_on(member.model, batches)):
                member.diverged = DivergenceError(f"{member.diverged} {remark}")
    model.weight_factor = None
    model.share_batches(None)
    lay_out_filters(model, torch.contiguous_format)


def _named(terms: Mapping[str, float | None]) -> dict[str, float | None]:
    """Terms for a record, with the negated loss as "objective", which the paper plots."""
    loss = terms["loss"]
    rest = {name: value for name, value in terms.items() if name != "loss"}
    return {"objective": None if loss is None else -loss, **rest}


def _keep_best(member: Member, record: Mapping[str, Any]) -> None:
    objective, best = record["held_out"]["objective"], member.best
    if member.settings.early_stopping is None or objective is None:
        return
    if record.get("weight_factor", 1) < 1:  # patience begins when the warm-up ends
        best["epoch"] = record["epoch"]
    elif best["objective"] is None or objective > best["objective"]:
        weights = {n: t.detach().cpu().clone() for n, t in member.model.state_dict().items()}
        best.update(objective=objective, epoch=record["epoch"], model=weights)


def learning_rate_factor(schedule: str, epoch: int) -> float:
    """Factor of the first learning rate after so many epochs.

    "constant" is 1, "exponential" 0.995 to the power of the epoch (MNIST), and "steps" 1/2 after 30
    epochs, 1/5 after 50 and 1/10 after 70 (CelebA, after the WAE's authors).
    """
    if schedule == "exponential":
        return 0.995**epoch
    if schedule == "steps":
        return 1 / (10 if epoch >= 70 else 5 if epoch >= 50 else 2 if epoch >= 30 else 1)
    return 1.0
