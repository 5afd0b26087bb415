"""Counts compared: means and variances of genes, fractions of zeros, library sizes.

Counts have shape (cells, genes), dense or sparse (SciPy); NaN is a missing count, left out. A gene
stands for any column, a cell for any row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hebae.data.examples import Examples, as_dense
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation import checks

__all__ = ["CountComparison", "CountStatistics", "compare_counts", "count_statistics"]

Doubles = npt.NDArray[np.float64]


class CountStatistics(NamedTuple):
    """Statistics of counts that are compared, in counts and squared counts."""

    mean: Doubles
    """Mean of each gene over cells, shape (genes,); NaN without a count."""
    variance: Doubles
    """Variance of each gene over cells, divided by their number, shape (genes,)."""
    zeros: Doubles
    """Fraction of the cells in which a gene has 0, shape (genes,)."""
    library_sizes: Doubles
    """Sum of the counts of each cell, shape (cells,)."""


class CountComparison(NamedTuple):
    """How far the statistics of two sets of counts agree; see `compare_counts`."""

    means: float | UndefinedMetric
    variances: float | UndefinedMetric
    relation: float | UndefinedMetric
    zeros: float
    library_sizes: float


def count_statistics(counts: Any, *, block: int = 2**22) -> CountStatistics:
    """Mean, variance and fraction of zeros of each gene, and the library size of each cell.

    Parameters
    ----------
    counts : array-like, sparse array or Examples, shape (cells, genes)
        Whole numbers from 0, NaN where one is missing. Sparse arrays are made dense in blocks.
    block : int
        How many numbers are dense at a time.
    """
    checks.counts(block=block)
    values: Any = counts
    if not isinstance(counts, Examples):
        sparse = hasattr(counts, "tocsr")
        values = counts.tocsr() if sparse else checks.as_array(counts, "counts")
    n, *rest = (len(values), *values.shape) if isinstance(counts, Examples) else values.shape
    if len(rest) != 1 or 0 in (n, *rest):
        raise HebaeError(f"counts has shape {(n, *rest)}; it must be (cells, genes), not empty.")
    total, squares, zeros, seen = np.zeros((4, rest[0]))
    sizes = []
    height = max(1, block // rest[0])
    blocks = [slice(start, start + height) for start in range(0, n, height)]

    def dense(rows: slice) -> Doubles:
        part = counts.rows(rows) if isinstance(counts, Examples) else as_dense(values[rows])
        return np.asarray(part, np.float64)

    for rows in blocks:
        x = dense(rows)
        known = ~np.isnan(x)
        with np.errstate(invalid="ignore"):
            wrong = known & ((x < 0) | (x != np.rint(x)) | np.isinf(x))
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            raise HebaeError(
                f"counts holds {x[row, column]:g} in row {rows.start + row + 1}, column "
                f"{column + 1}; give counts: whole numbers from 0, neither normalised nor "
                "logarithms."
            )
        sizes.append(np.nansum(x, axis=1))
        total += np.nansum(x, axis=0)
        zeros += (x == 0).sum(axis=0)
        seen += known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = total / seen
    for rows in blocks:  # a second pass: no precision is lost for large counts
        squares += np.nansum((dense(rows) - mean) ** 2, axis=0)
    with np.errstate(invalid="ignore"):
        return CountStatistics(mean, squares / seen, zeros / seen, np.concatenate(sizes))


def compare_counts(real: Any, fake: Any) -> CountComparison:
    """Compare the genes and the library sizes of two sets of counts.

    Parameters
    ----------
    real, fake : array-like, sparse array, Examples or CountStatistics
        Counts of the same genes; see `count_statistics`.

    Returns
    -------
    CountComparison
        means, variances: Pearson correlation over genes of ``log(1 + mean)`` and of
        ``log(1 + variance)``. relation: mean absolute difference of ``log10(variance / mean)``,
        the overdispersion of a gene, over genes that vary in both sets; 0 for a Poisson
        distribution. zeros: mean absolute difference of the fraction of zeros. library_sizes:
        Kolmogorov-Smirnov distance, from 0 to 1. Those that do not exist are an
        `UndefinedMetric`.

    References
    ----------
    Soneson, Robinson (2018), "Towards unified quality verification of synthetic count data with
    countsimQC", for the quantities that are compared.
    """
    from scipy.stats import ks_2samp

    x, y = (s if isinstance(s, CountStatistics) else count_statistics(s) for s in (real, fake))
    if len(x.mean) != len(y.mean):
        raise HebaeError(
            f"real has {len(x.mean):,} genes and fake {len(y.mean):,}; give counts of the same "
            "genes."
        )
    known = ~np.isnan(x.mean) & ~np.isnan(y.mean)
    relation: float | UndefinedMetric = UndefinedMetric("no gene varies in both sets of counts")
    varies = known & (x.variance > 0) & (y.variance > 0)
    if varies.any():
        ratios = [np.log10(s.variance[varies] / s.mean[varies]) for s in (x, y)]
        relation = float(np.abs(ratios[1] - ratios[0]).mean())
    return CountComparison(
        _correlation(np.log1p(x.mean[known]), np.log1p(y.mean[known]), "means"),
        _correlation(np.log1p(x.variance[known]), np.log1p(y.variance[known]), "variances"),
        relation,
        float(np.abs(x.zeros - y.zeros)[known].mean()) if known.any() else float("nan"),
        float(ks_2samp(x.library_sizes, y.library_sizes, method="asymp").statistic),
    )


def _correlation(a: Doubles, b: Doubles, what: str) -> float | UndefinedMetric:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return UndefinedMetric(f"the {what} of the genes of a set are all equal")
    return float(np.corrcoef(a, b)[0, 1])
