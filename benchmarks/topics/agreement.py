"""Whether training with `hebae` and with pythae gives the same results."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from contenders import SETTINGS, SQUARED_ERROR
from contenders.with_pythae import ABSENT, AVAILABLE, make_peer, make_trainer
from results import Aim, Effort, Result, Table
from rich.progress import track

from hebae.building import build
from hebae.data import Dataset, load
from hebae.errors import HebaeError
from hebae.model import to_floats
from hebae.training.batches import ArrayBatches
from hebae.training.loop import train
from hebae.training.machine import make_fabric
from hebae.training.population import held_out_estimates, store_population

TEXT = """\
VAE and WAE-MMD trained by pythae's own trainer and by `hebae`: networks of Appendix B.1, k = 20,
the first {examples:,} training images of {data}, {epochs} epochs, batch size 128, Adam with
learning rate 0.001, penalty weight 1. Initial weights are the same for each seed; order and noise
are not. The reconstruction is the cross-entropy (VAE) or the squared error (WAE) summed over
pixels, and the WAEs use the same seven kernels. The weights of both are evaluated in the same way:
held-out terms by `hebae` on the {held_out:,} test images. They agree if the means over seeds differ
by no more than the range over the seeds of one trainer (the wider of the two ranges)."""

METHODS: dict[str, dict[str, Any]] = {"vae": {}, "wae": SQUARED_ERROR}
NAMES = {"vae": "VAE", "wae": "WAE-MMD"}
OURS, THEIRS = "hebae", "pythae"

Terms = dict[str, float]


def measure(effort: Effort, examples: int = 10_000, epochs: int = 5, seeds: int = 3) -> Result:
    """Train each method with each seed and both trainers.

    Raises
    ------
    HebaeError
        If pythae is not installed.
    """
    if not AVAILABLE:
        raise HebaeError(f"{ABSENT}.")
    if effort.smoke:
        examples, epochs, seeds = 256, 1, 2
    dataset = load("mnist" if "HEBAE_DATA_DIR" in os.environ else "mnist-mini", validation_size=0)
    split, held_out = dataset.held_out() or ("", None)
    assert held_out is not None, f"the data set has a {split} split"
    runs: dict[tuple[str, str, int], Terms] = {}
    jobs = [(method, seed) for method in METHODS for seed in range(seeds)]
    for method, seed in track(jobs, "agreement", transient=True):
        for by in (OURS, THEIRS):
            runs[method, by, seed] = run(dataset, method, by, seed, examples, epochs)
    aims, rows = [], []
    for method in METHODS:
        for term in runs[method, OURS, 0]:
            ours, theirs = (
                [runs[method, by, seed][term] for seed in range(seeds)] for by in (OURS, THEIRS)
            )
            rows.append([NAMES[method], term, *(_shown(values) for values in (ours, theirs))])
            what = f"{NAMES[method]}: difference of held-out {term} / range over seeds"
            aims.append(Aim(what, "x", [difference(ours, theirs)], at_most=1.0))
    columns = ["", "held-out", "hebae: mean (each seed)", "pythae: mean (each seed)"]
    return Result(
        title="Agreement with pythae",
        text=TEXT.format(
            examples=min(examples, len(dataset.train)),
            data=dataset.name,
            epochs=epochs,
            held_out=len(held_out),
        ),
        aims=aims,
        tables=[Table(f"Seeds 0 to {seeds - 1}; nats, squared error and MMD", columns, rows)],
    )


def run(dataset: Dataset, method: str, by: str, seed: int, examples: int, epochs: int) -> Terms:
    """Train one model and compute its held-out terms with `hebae`."""
    settings = SETTINGS.replace(method=method, seed=seed, epochs=epochs, **METHODS[method])
    values = dataset.train.values[:examples]
    batches = ArrayBatches(values, settings.batch_size, seed=seed)
    model = build(settings, dataset.shape, seed=seed)
    if by == OURS:
        outcome = train(model, settings, batches, fabric=make_fabric(settings))
        if outcome.interrupted:
            raise KeyboardInterrupt
    else:
        pixels = to_floats(torch.from_numpy(values.copy()))
        peer = make_peer(model, method)
        with make_trainer(peer, pixels, epochs=epochs, seed=seed, callbacks=[]) as trainer:
            trainer.train()
        store_population(model, batches)
    _, held_out = dataset.held_out() or ("", dataset.train)
    (terms,) = held_out_estimates(model, ArrayBatches(held_out.values, settings.batch_size))
    named = {n: value for n, (value, _) in terms.items() if value is not None and n != "loss"}
    if method == "wae":  # without the constant of the likelihood, which pythae leaves out
        constant = 0.5 * held_out.values[0].size * math.log(math.pi)  # of N(x; g(z), 1/2)
        named["reconstruction"] -= constant
    return named


def difference(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Absolute difference of the means, in units of the wider of the two ranges over seeds."""
    spread = max(max(values) - min(values) for values in (ours, theirs))
    return abs(statistics.fmean(ours) - statistics.fmean(theirs)) / spread


def _shown(values: Sequence[float]) -> str:
    each = ", ".join(f"{value:.4g}" for value in values)
    return f"{statistics.fmean(values):.4g} ({each})"
