"""Many models stacked in one program, compared with the same models one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from contenders import SETTINGS, make_examples
from results import Aim, Curve, Effort, Panel, Result
from turns import Readings, clocked, paired, quartiles, take_turns

from hebae.building import build
from hebae.config import Settings
from hebae.training.batches import ArrayBatches
from hebae.training.loop import Member, train, train_members
from hebae.training.machine import make_fabric

COUNTS = (1, 2, 4, 8, 16, 32, 64)
EPOCHS = 8

TEXT = """\
The same models trained together in one program (stacked), and one after the other by the training
loop: equal epochs, with the last pass over the training set, without held-out examples or
checkpoints. Each model has its own seed (weights, order and noise) and penalty weight. The small
models are 64-128-k and k-128-64 on scikit-learn's 1,797 digits of 8 x 8, batch size 128, {epochs}
epochs. Those of Appendix B.1 train on random pixels."""


class Family(NamedTuple):
    """Models that differ only in seed and penalty weight, and their training data."""

    label: str
    settings: Settings
    values: np.ndarray

    def members(self, count: int) -> list[Settings]:
        """Return the settings of `count` models."""
        weights = np.geomspace(0.1, 10, count) if count > 1 else [1.0]
        return [
            self.settings.replace(seed=seed, penalty_weight=float(weight))
            for seed, weight in enumerate(weights)
        ]

    def in_turn(self, count: int) -> Callable[[], float]:
        """Return a function that trains the models one by one and returns the seconds."""

        def run() -> None:
            for settings in self.members(count):
                model = build(settings, self.values.shape[1:], seed=settings.seed)
                batches = self.batches(settings.seed)
                outcome = train(model, settings, batches, fabric=make_fabric(settings))
                if outcome.interrupted:
                    raise KeyboardInterrupt

        return clocked(run)

    def together(self, count: int) -> Callable[[], float]:
        """Return a function that trains the models as a stack and returns the seconds."""

        def run() -> None:
            members = [
                Member(build(settings, self.values.shape[1:], seed=settings.seed), settings)
                for settings in self.members(count)
            ]
            seeds = [member.settings.seed for member in members]
            batches = self.batches(seeds if count > 1 else seeds[0])  # one model is no stack
            train_members(members, batches, fabric=make_fabric(self.settings))
            if any(member.interrupted for member in members):
                raise KeyboardInterrupt

        return clocked(run)

    def batches(self, seed: int | list[int]) -> ArrayBatches:
        """Batches of one order, or of one order per seed."""
        size, drop_last = self.settings.batch_size, self.settings.drop_last
        return ArrayBatches(self.values, size, seed=seed, drop_last=drop_last)


def measure(effort: Effort) -> Result:
    """Time stacks of growing size, and one of large models."""
    counts = effort.few(COUNTS)
    rounds = effort.share(0.15)
    aims: list[Aim] = []
    gained, taken = [], []
    readings: Readings = {}
    for family in (small("hebae", 5), small("hebae", 10)):
        read = _both(family, counts, rounds)
        readings |= read
        gains = {n: paired(read, _in_turn(family, n), _together(family, n)) for n in counts}
        medians = [quartiles(gains[n])[1] for n in counts]
        gained.append(Curve(family.label, counts, medians, fitted=False))
        for label, name in (("one by one", _in_turn), ("stacked", _together)):
            seconds = [quartiles(read[name(family, n)])[1] for n in counts]
            k = family.settings.latent_dim
            taken.append(Curve(f"k = {k}, {label}", counts, seconds))
        for count, bound in ((16, 3.0), (64, 5.0)):
            if count in gains:
                what = f"{count} models {family.label}: one by one / stacked"
                aims.append(Aim(what, "x", gains[count], at_least=bound))
    for method in ("vae", "wae"):
        family, count = small(method, 10), 2 if effort.smoke else 16
        read = _both(family, [count], rounds)
        readings |= read
        gain = paired(read, _in_turn(family, count), _together(family, count))
        aims.append(Aim(f"{count} models {family.label}: one by one / stacked", "x", gain))
    family, count = large(2 if effort.smoke else 20), 2 if effort.smoke else 8
    read = _both(family, [count], rounds)
    readings |= read
    gain = paired(read, _in_turn(family, count), _together(family, count))
    aims.append(Aim(f"{count} models {family.label}: one by one / stacked", "x", gain))
    return Result(
        title="Stacked training",
        text=TEXT.format(epochs=EPOCHS),
        aims=aims,
        readings=readings,
        readings_title="for all models",
        readings_unit="s",
        panels=[
            Panel("Speed-up of stacking", "models N", "speed-up", gained),
            Panel("Time for all models", "models N", "s", taken),
        ],
    )


def small(method: str, latent_dim: int) -> Family:
    """Return models 64-128-k on scikit-learn's digits."""
    from sklearn.datasets import load_digits

    values = (load_digits().images[:, None] / 16).astype(np.float32)
    settings = SETTINGS.replace(
        method=method,
        latent_dim=latent_dim,
        encoder_widths=(128,),
        decoder_widths=(128,),
        epochs=EPOCHS,
        drop_last=True,  # five digits are over, too few for k = 5
    )
    return Family(f"{method.upper()} 64-128-{latent_dim}", settings, values)


def large(steps: int) -> Family:
    """Return models of Appendix B.1."""
    settings = SETTINGS.replace(epochs=1)
    return Family("HEBAE, Appendix B.1", settings, make_examples(steps))


def _both(family: Family, counts: tuple[int, ...] | list[int], rounds: int) -> Readings:
    contenders = {}
    for count in counts:
        contenders[_in_turn(family, count)] = family.in_turn(count)
        contenders[_together(family, count)] = family.together(count)
    return take_turns(contenders, rounds, f"stacks, {family.label}")


def _in_turn(family: Family, count: int) -> str:
    return f"{count} {family.label}, one by one"


def _together(family: Family, count: int) -> str:
    return f"{count} {family.label}, stacked"
