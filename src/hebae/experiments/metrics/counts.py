"""Counts, such as those of single cells: samples and training cells compared with real ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.evaluation.counts import CountStatistics, compare_counts, count_statistics
from hebae.experiments.measurement import Measurement, measured
from hebae.experiments.metrics.samples import KINDS
from hebae.experiments.trained_run import TrainedRun

MOST_NUMBERS = 2**26
"""Of the cells that are generated and held at once."""
DRAWN, QUANTILES = 1000, 101
"""Genes, and quantiles of library sizes, that are stored for figures."""


def samples(run: TrainedRun) -> Iterator[Measurement]:
    """Compare draws x ~ p(x | z) by each sampler, and training cells, with real cells."""
    width = math.prod(run.examples.shape)
    most = min(run.evaluation.samples, max(1000, MOST_NUMBERS // width))
    real = count_statistics(run.some(most))
    cells = len(real.library_sizes)
    genes = np.sort(np.random.default_rng(run.seed).permutation(width)[:DRAWN])
    for kind in (*run.sampler_names, "training-examples"):
        if kind != "training-examples":
            fake = count_statistics(run.drawn(kind, cells))
        elif run.split == "train":
            continue
        else:
            fake = count_statistics(run.dataset.train[run.training_rows(cells)])
        counts = {"samples": len(fake.library_sizes), "reference": cells}
        found = compare_counts(real, fake)
        for name in found._fields:
            arrays = {} if name != "relation" else _panels(real, fake, genes)
            yield measured(
                f"counts.{name}.{kind}",
                getattr(found, name),
                counts,
                words={"kind": KINDS[kind]},
                arrays=arrays,
            )


def _panels(
    real: CountStatistics, fake: CountStatistics, genes: npt.NDArray[np.intp]
) -> dict[str, Any]:
    """Return the numbers of the figure, to four digits."""
    arrays = {}
    steps = np.linspace(0, 1, QUANTILES)
    for name, one in {"real": real, "fake": fake}.items():
        parts = {"mean": one.mean, "variance": one.variance, "zeros": one.zeros}
        of_genes = {what: np.nan_to_num(part[genes]) for what, part in parts.items()}
        sizes = {"sizes": np.quantile(one.library_sizes, steps)}
        for what, values in (of_genes | sizes).items():
            arrays[f"{name}_{what}"] = [float(f"{value:.4g}") for value in values]
    return arrays
