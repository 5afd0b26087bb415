"""Genotypes 0, 1, 2 compared: allele frequencies, linkage, structure, copies, imputation.

Arrays have shape (people, variants); NaN is a missing call, left out of every sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import ArrayLike
from hebae.evaluation.estimate import Estimate, mean_estimate, ratio_of_means
from hebae.evaluation.neighbours import density_coverage

__all__ = [
    "AdversarialAccuracy",
    "PcaOverlap",
    "adversarial_accuracy",
    "allele_distances",
    "allele_frequencies",
    "allele_frequency_correlation",
    "hide_calls",
    "imputation_accuracy",
    "most_frequent_genotypes",
    "most_probable_genotypes",
    "pca_imputation",
    "pca_overlap",
]

BLOCK = 2**20
"""Numbers of a set that are worked on at a time."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def allele_frequencies(genotypes: ArrayLike) -> Doubles:
    """Frequency of the counted allele, shape (variants,); NaN without a call."""
    x = as_genotypes(genotypes, "genotypes")
    total, count = np.zeros((2, x.shape[1]))
    for rows in _rows_of(x):
        total += np.nansum(rows, axis=0, dtype=np.float64)
        count += (~np.isnan(rows)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return total / (2 * count)


def _rows_of(x: Floats) -> Iterator[Floats]:
    """Yield rows, a block at a time."""
    height = max(1, BLOCK // x.shape[1])
    for start in range(0, len(x), height):
        yield x[start : start + height]


def allele_frequency_correlation(real: ArrayLike, fake: ArrayLike) -> float:
    """Pearson correlation of the allele frequencies of two sets, over variants.

    Raises
    ------
    UndefinedMetric
        If the frequencies of a set do not vary.
    """
    p, q = (allele_frequencies(x) for x in _pair(real, fake))
    known = ~np.isnan(p) & ~np.isnan(q)
    return _correlation(p[known], q[known], "the allele frequencies of a set are all equal")


class PcaOverlap(NamedTuple):
    """Two sets on the principal components of a third."""

    coverage: float
    """Share of the real people with a fake one nearer than their 5th nearest real one."""
    distance: float
    """Wasserstein distance along a component in units of the real standard deviation, on average
    over components."""
    real: Doubles
    fake: Doubles
    """Scores, shapes (n, components) and (m, components)."""
    explained: Doubles
    """Share of the variance of `train` that each component has."""


def pca_overlap(
    train: ArrayLike, real: ArrayLike, fake: ArrayLike, components: int = 2
) -> PcaOverlap:
    """Compare two sets on the first principal components of the genotypes `train`.

    Genotypes are centred and divided by ``sqrt(2 p (1 - p))`` with the frequencies p of `train`;
    missing calls are set to the mean. Variants that do not vary there are left out.

    References
    ----------
    Patterson, Price, Reich (2006), "Population structure and eigenanalysis".
    """
    from scipy.stats import wasserstein_distance

    x, y = _pair(real, fake)
    reference, x = _pair(train, x, ("train", "real"))
    p = allele_frequencies(reference)
    varies = np.nan_to_num(p * (1 - p)) > 0
    scale = np.sqrt(2 * p[varies] * (1 - p[varies])).astype(np.float32)
    middle = (2 * p[varies]).astype(np.float32)

    def standardised(values: Floats) -> Floats:
        scaled = values[:, varies]
        scaled -= middle
        scaled /= scale
        return np.nan_to_num(scaled, copy=False)

    values = standardised(reference)
    loadings, variances = _principal_axes(values, components)
    explained = variances / _sum_of_squares(values) * (len(values) - 1)
    del values
    a, b = (
        np.concatenate([standardised(rows) @ loadings for rows in _rows_of(z)]).astype(np.float64)
        for z in (x, y)
    )
    spread = a.std(axis=0)
    if (spread == 0).any():
        raise UndefinedMetric("the real genotypes are all equal on a principal component")
    distances = [
        wasserstein_distance(a[:, c], b[:, c]) / spread[c] for c in range(loadings.shape[1])
    ]
    coverage = density_coverage(a, b, k=min(5, len(a) - 1)).coverage
    return PcaOverlap(coverage, float(np.mean(distances)), a, b, explained)


def _sum_of_squares(x: Floats) -> float:
    return float(sum((rows.astype(np.float64) ** 2).sum() for rows in _rows_of(x)))


def _principal_axes(centred: Floats, components: int) -> tuple[Floats, Doubles]:
    """Return the first axes (d, k) and variances (k,) of centred values (n, d)."""
    from scipy.linalg import eigh

    checks.counts(components=components)
    n = len(centred)
    if n < 2:
        raise HebaeError(f"train holds {n} person; at least 2 are needed.")
    k = min(components, n - 1)
    gram = (centred @ centred.T).astype(np.float64)  # (n, n): d is larger
    values, vectors = eigh(gram, subset_by_index=(n - k, n - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > 1e-6 * max(values[0], 1e-300)
    if not kept.any() or values[0] <= 0:
        raise UndefinedMetric("the training genotypes do not vary")
    axes = centred.T @ (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    return axes, values[kept] / (n - 1)


class AdversarialAccuracy(NamedTuple):
    """Nearest-neighbour adversarial accuracy; 1/2 if the two sets cannot be told apart."""

    score: Estimate
    """Mean of the two shares; below 1/2 fake people are copies, above they are unlike real ones."""
    truth: float
    """Share of real people whose nearest other person is real."""
    synthetic: float
    """Share of fake people whose nearest other person is fake."""


def adversarial_accuracy(real: ArrayLike, fake: ArrayLike, *, seed: int = 0) -> AdversarialAccuracy:
    """AA_TS: how well nearest neighbours tell real people from fake ones.

    Distances are numbers of alleles that differ (`allele_distances`). Ties count half. The larger
    set is reduced to a random part as large as the smaller one.

    References
    ----------
    Yelmen et al. (2021), "Creating artificial human genomes using generative neural networks",
    after Yale et al. (2019). They compare haplotypes.
    """
    x, y = _pair(real, fake)
    size = min(len(x), len(y))
    rng = np.random.default_rng(seed)
    x, y = (z if len(z) == size else z[np.sort(rng.permutation(len(z))[:size])] for z in (x, y))
    if size < 2:
        raise HebaeError(f"real and fake hold {len(x)} people; at least 2 are needed.")
    between = allele_distances(x, y)
    within = [allele_distances(z, z) for z in (x, y)]
    for distances in within:
        np.fill_diagonal(distances, np.inf)
    shares = []
    for own, other in zip(within, (between.min(axis=1), between.min(axis=0)), strict=True):
        # 1 if the nearest is of the same set, 0 if of the other, 1/2 for ties
        shares.append((np.sign(other - own.min(axis=1)) + 1) / 2)
    truth, synthetic = (mean_estimate(share) for share in shares)
    error = (truth.standard_error**2 + synthetic.standard_error**2) ** 0.5 / 2
    score = Estimate((truth.value + synthetic.value) / 2, error)
    return AdversarialAccuracy(score, truth.value, synthetic.value)


def allele_distances(a: ArrayLike, b: ArrayLike) -> Doubles:
    """Mean number of alleles by which two people differ, per variant called in both: (n, m).

    That is the mean of ``|x - y|``, from 0 to 2; NaN for two people without a common variant.
    """
    x, y = _pair(a, b)
    differ, shared = np.zeros((len(x), len(y))), np.zeros((len(x), len(y)))
    for start in range(0, x.shape[1], size := max(1, BLOCK // (len(x) + len(y)))):
        parts = [z[:, start : start + size] for z in (x, y)]
        seen = [(~np.isnan(z)).astype(np.float32) for z in parts]
        shared += seen[0] @ seen[1].T
        for threshold in (1, 2):  # |x - y| counts the thresholds between x and y
            u, v = ((z >= threshold).astype(np.float32) for z in parts)
            differ += u @ seen[1].T + seen[0] @ v.T - 2 * (u @ v.T)
    with np.errstate(invalid="ignore"):
        return differ / shared


def hide_calls(genotypes: ArrayLike, share: float, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Choose each call that is not missing with probability `share`: a mask (n, d)."""
    checks.require(
        isinstance(share, int | float) and 0 <= share <= 1, "share", share, "from 0 to 1"
    )
    x = as_genotypes(genotypes, "genotypes")
    return (np.random.default_rng(seed).random(x.shape, np.float32) < share) & ~np.isnan(x)


def imputation_accuracy(truth: ArrayLike, imputed: ArrayLike, hidden: ArrayLike) -> Estimate:
    """Share of the hidden calls that were imputed correctly, with its error over people.

    Parameters
    ----------
    truth, imputed : array-like, shape (n, d)
        Genotypes. Give those that are most probable; see `most_probable_genotypes`.
    hidden : array-like of bool, shape (n, d)
    """
    x, y = _pair(truth, imputed, ("truth", "imputed"))
    checks.shape("imputed", y.shape, x.shape)
    mask = checks.as_array(hidden, "hidden")
    checks.shape("hidden", mask.shape, x.shape)
    checks.require(mask.dtype == np.bool_, "the type of hidden", str(mask.dtype), "bool")
    correct = ((x == y) & mask).sum(axis=1).astype(np.float64)
    return ratio_of_means(correct, mask.sum(axis=1).astype(np.float64), "no call was hidden")


def most_probable_genotypes(mean: ArrayLike) -> Floats:
    """Return the mode of Binomial(2, p) for means 2p: 0 below 2/3, 1 up to 4/3, then 2."""
    x = as_genotypes(mean, "mean")
    modes = np.heaviside(x - 2 / 3, 1) + np.heaviside(x - 4 / 3, 0)  # NaN stays
    return np.asarray(modes, np.float32)


def most_frequent_genotypes(genotypes: ArrayLike) -> Floats:
    """Return the most frequent genotype of each variant, shape (d,)."""
    x = as_genotypes(genotypes, "genotypes")
    counts = np.zeros((3, x.shape[1]))
    for rows in _rows_of(x):
        counts += [(rows == g).sum(axis=0) for g in range(3)]
    return np.asarray(counts.argmax(axis=0), np.float32)


def pca_imputation(train: ArrayLike, genotypes: ArrayLike, components: int) -> Floats:
    """Mean of each missing call of `genotypes`, given the others, by probabilistic PCA of `train`.

    Missing calls of `train` are set to the mean. Other calls are returned as they are.

    References
    ----------
    Tipping, Bishop (1999), "Probabilistic principal component analysis".
    """
    reference, x = _pair(train, genotypes, ("train", "genotypes"))
    middle = (2 * np.nan_to_num(allele_frequencies(reference), nan=0.5)).astype(np.float32)
    centred = np.nan_to_num(reference - middle, copy=False)
    axes, variances = _principal_axes(centred, components)
    rest = _sum_of_squares(centred) / (len(centred) - 1) - variances.sum()
    noise = max(rest / max(1, x.shape[1] - len(variances)), 1e-9)
    seen = (~np.isnan(x)).astype(np.float32)
    k = len(variances)
    products = (axes[:, :, None] * axes[:, None, :]).reshape(-1, k * k)
    # Scores are normal with variances lambda - noise, and calls have a noise of their own.
    precision = np.diag(noise / np.maximum(variances - noise, 1e-9))
    left = (seen @ products).reshape(-1, k, k).astype(np.float64) + precision
    right = np.nan_to_num(x - middle) @ axes
    scores = np.linalg.solve(left, right[:, :, None].astype(np.float64))[:, :, 0]
    expected = np.clip(middle + scores.astype(np.float32) @ axes.T, 0, 2)
    return np.where(np.isnan(x), expected, x)


def as_genotypes(values: ArrayLike, name: str) -> Floats:
    """Return numbers from 0 to 2, or NaN, as float32 of shape (n, d)."""
    x = checks.as_array(values, name).astype(np.float32, copy=False)
    if x.ndim != 2 or 0 in x.shape:
        raise HebaeError(
            f"{name} has shape {x.shape}; genotypes have the shape (people, variants)."
        )
    low, high = (np.nanmin(x), np.nanmax(x)) if not np.isnan(x).all() else (0, 0)
    if low < 0 or high > 2:
        raise HebaeError(
            f"{name} ranges from {low:g} to {high:g}; genotypes are 0, 1 and 2, and NaN where a "
            "call is missing."
        )
    return x


def _pair(
    a: ArrayLike, b: ArrayLike, names: tuple[str, str] = ("the first set", "the second set")
) -> tuple[Floats, Floats]:
    x, y = (as_genotypes(values, name) for values, name in zip((a, b), names, strict=True))
    if x.shape[1] != y.shape[1]:
        raise HebaeError(
            f"{names[0]} has {x.shape[1]:,} variants and {names[1]} {y.shape[1]:,}; give the same "
            "variants."
        )
    return x, y


def _correlation(a: Doubles, b: Doubles, undefined: str) -> float:
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        raise UndefinedMetric(undefined)
    return float(np.corrcoef(a, b)[0, 1])
