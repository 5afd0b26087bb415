"""Linkage disequilibrium of genotypes by distance."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hebae.errors import UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import ArrayLike
from hebae.evaluation.genotypes import BLOCK, Doubles, Floats, as_genotypes

__all__ = ["LinkageDecay", "linkage_decay"]

DISTANCES = (0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
"""Edges of the bins of distance, in base pairs."""


class LinkageDecay(NamedTuple):
    """Linkage disequilibrium by distance; bin b holds distances in (edges[b], edges[b + 1]]."""

    edges: Doubles
    """Shape (bins + 1,), in the unit of the positions."""
    r2: list[Doubles]
    """Mean squared correlation per bin (NaN without pairs), for each set of genotypes."""
    pairs: npt.NDArray[np.int64]
    """Pairs per bin: those whose variants vary in every set."""

    @property
    def difference(self) -> float:
        """Mean over bins of the absolute difference of the first two sets."""
        known = self.pairs > 0
        if not known.any():
            raise UndefinedMetric("no two variants on one chromosome are near enough and vary")
        return float(np.abs(self.r2[1] - self.r2[0])[known].mean())


def linkage_decay(
    *genotypes: ArrayLike,
    positions: ArrayLike,
    chromosomes: ArrayLike | None = None,
    edges: ArrayLike = DISTANCES,
    pairs: int = 2000,
    seed: int = 0,
) -> LinkageDecay:
    """Mean r^2 of pairs of variants by distance, of the same pairs in one or more sets.

    r^2 is the squared correlation of genotypes over people with both calls. It is corrected for n
    people, ``r^2 - (1 - r^2) / (n - 2)``, so that independent variants have a mean of 0.

    Parameters
    ----------
    *genotypes : array-like, shape (n, d)
        Sets of genotypes of the same variants.
    positions : array-like, shape (d,)
    chromosomes : array-like, shape (d,), optional
        Only pairs on one chromosome count; by default, there is one.
    edges : array-like, shape (bins + 1,)
        Distances that separate the bins, increasing.
    pairs : int
        Most pairs per bin: a random draw.
    seed : int
        Seed of the draw.

    References
    ----------
    Hill, Robertson (1968), "Linkage disequilibrium in finite populations"; Rogers, Huff (2009),
    "Linkage disequilibrium between loci with unknown phase", for genotypes.
    """
    checks.counts(pairs=pairs)
    sets = [as_genotypes(x, "genotypes") for x in genotypes]
    variants = {x.shape[1] for x in sets}
    checks.require(len(variants) == 1, "the number of variants", variants, "the same for all sets")
    (d,) = variants
    limits = checks.finite(edges, "edges", ("bins",))
    increasing = len(limits) > 1 and bool((np.diff(limits) > 0).all())
    checks.require(increasing, "edges", edges, "two or more increasing distances")
    place = checks.finite(positions, "positions", (d,))
    names = np.zeros(d) if chromosomes is None else np.asarray(chromosomes)
    checks.shape("chromosomes", names.shape, (d,))
    first, second, bins = _draw_pairs(place, names, limits, pairs, np.random.default_rng(seed))
    r2 = np.stack([_squared_correlations(x, first, second) for x in sets])
    known = ~np.isnan(r2).any(axis=0)
    count = np.bincount(bins[known], minlength=len(limits) - 1)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins[known], r[known], len(limits) - 1) / count for r in r2]
    return LinkageDecay(limits, means, count)


def _draw_pairs(
    positions: Doubles,
    chromosomes: npt.NDArray[Any],
    edges: Doubles,
    most: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.intp], ...]:
    """Draw pairs uniformly within each bin: both variants, and the bin."""
    found = []
    order = np.lexsort((positions, np.unique(chromosomes, return_inverse=True)[1]))
    starts = np.flatnonzero(np.r_[True, chromosomes[order][1:] != chromosomes[order][:-1]])
    groups = np.split(order, starts[1:])
    for bin, (low, high) in enumerate(pairwise(edges)):
        begins, counts = [], []
        for group in groups:
            x = positions[group]
            begin = np.maximum(np.searchsorted(x, x + low, "right"), np.arange(1, len(x) + 1))
            begins.append(begin)
            counts.append(np.maximum(np.searchsorted(x, x + high, "right") - begin, 0))
        ends = np.concatenate(counts).cumsum()
        total = int(ends[-1])
        chosen = rng.choice(total, min(most, total), replace=False) if total else np.empty(0, int)
        # Pair number c belongs to the variant in whose range of counts it falls.
        first = np.searchsorted(ends, chosen, "right")
        offset = np.concatenate(begins)[first] + chosen - np.r_[0, ends][first]
        base = np.repeat(np.r_[starts], [len(g) for g in groups])[first]
        found.append((order[first], order[base + offset], np.full(len(chosen), bin)))
    first, second, bins = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, second, bins


def _squared_correlations(
    x: Floats, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]
) -> Doubles:
    """Corrected r^2 of pairs of columns; NaN where one does not vary."""
    size = max(1, BLOCK // len(x))
    parts = []
    for start in range(0, len(first), size):
        i, j = first[start : start + size], second[start : start + size]
        a, b = x[:, i], x[:, j]
        ma, mb = ((~np.isnan(y)).astype(np.float32) for y in (a, b))
        a, b = np.nan_to_num(a, copy=False), np.nan_to_num(b, copy=False)
        n = (ma * mb).sum(0, dtype=np.float64)
        sums = [
            (p * q).sum(0, dtype=np.float64)
            for p, q in ((a, mb), (b, ma), (a * a, mb), (b * b, ma), (a, b))
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            a1, b1, aa, bb, ab = (total / n for total in sums)
            variances = (aa - a1 * a1) * (bb - b1 * b1)
            r2 = (ab - a1 * b1) ** 2 / np.where(variances > 1e-9, variances, np.nan)
            parts.append(np.where(n > 2, r2 - (1 - r2) / (n - 2), np.nan))
    return np.concatenate(parts) if parts else np.empty(0)
