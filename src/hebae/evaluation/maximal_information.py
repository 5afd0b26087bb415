"""Maximal and total information coefficients, MIC and TIC (section 7 of docs/mathematics.md).

A grid of r rows and c columns has a mutual information of at most log min(r, c). The characteristic
matrix holds, for every shape of grid with r c <= B cells, the largest share of that maximum that a
search finds. MIC is its largest entry, TIC the sum of all. Both searches cut one axis into parts of
equal numbers of points, then cut the other optimally by dynamic programming:

- ``"approx"`` (ApproxMaxMI, [1]_): tries either axis as the equal one and takes the better.
- ``"e"`` (EquicharClump, [2]_): the axis with more parts is the equal one. Consistent for a known
  population value, and much cheaper.

The optimised axis is cut between superclumps of points only, `c` times as many as B allows parts.
Parameters are named as in [3]_, whose program gives the same values up to rounding.

.. [1] Reshef et al. (2011), "Detecting novel associations in large data sets", with supplement.
.. [2] Reshef et al. (2016), "Measuring dependence powerfully and equitably".
.. [3] Albanese et al. (2013), "minerva and minepy".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from joblib import Parallel, cpu_count, delayed

from hebae.deprecation import old_parameters
from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike

__all__ = [
    "IndexDependence",
    "characteristic_matrix",
    "index_dependence",
    "mic_and_tic",
    "mic_approx",
    "mic_e",
    "tic_approx",
    "tic_e",
]

Counts = npt.NDArray[np.int64]
Estimator = Literal["e", "approx"]

FEWEST_POINTS = 4  # one for each cell of the smallest grid
WORTH_PROCESSES = 100_000  # points of all pairs; with fewer, starting processes takes longer
_MEAN = "use the mean of characteristic_matrix, by numpy.nanmean"


def mic_e(x: ArrayLike, y: ArrayLike, alpha: float = 0.6, c: float = 15) -> float:
    """MIC_e in [0, 1]: the largest entry of the `characteristic_matrix`; see there."""
    return float(np.nanmax(characteristic_matrix(x, y, "e", alpha, c)))


@old_parameters(normalised=_MEAN)
def tic_e(
    x: ArrayLike, y: ArrayLike, alpha: float = 0.6, c: float = 15, *, normalised: bool = False
) -> float:
    """TIC_e: the sum of the `characteristic_matrix`; deprecated: its mean if `normalised`."""
    matrix = characteristic_matrix(x, y, "e", alpha, c)
    return float(np.nanmean(matrix) if normalised else np.nansum(matrix))


def mic_approx(x: ArrayLike, y: ArrayLike, alpha: float = 0.6, c: float = 15) -> float:
    """MIC in [0, 1] by ApproxMaxMI: the largest entry of the `characteristic_matrix`."""
    return float(np.nanmax(characteristic_matrix(x, y, "approx", alpha, c)))


@old_parameters(normalised=_MEAN)
def tic_approx(
    x: ArrayLike, y: ArrayLike, alpha: float = 0.6, c: float = 15, *, normalised: bool = False
) -> float:
    """TIC by ApproxMaxMI: as `tic_e`, of the other `characteristic_matrix`."""
    matrix = characteristic_matrix(x, y, "approx", alpha, c)
    return float(np.nanmean(matrix) if normalised else np.nansum(matrix))


def characteristic_matrix(
    x: ArrayLike, y: ArrayLike, estimator: Estimator = "e", alpha: float = 0.6, c: float = 15
) -> Array:
    """Normalised mutual information of the best grid found, for every shape of grid.

    Parameters
    ----------
    x, y : array-like, shape (n,)
        n >= 4 points; finite. Only their order matters. Ties are never separated.
    estimator : {"e", "approx"}
        The search; see the module. "approx" is symmetric in x and y up to transposition; so is "e"
        except for its diagonal, where x is the axis with equal parts.
    alpha : float
        B = max(n^alpha, 4) cells for 0 < alpha <= 1; B = min(alpha, n) for alpha >= 4.
    c : float, at least 1
        Superclumps per part of the optimised axis: with r equal parts, at most c floor(B / r). Time
        and memory grow with its square; memory is about 6 (c B)^2 bytes.

    Returns
    -------
    array, shape (B // 2 - 1, B // 2 - 1)
        Row i, column j: y in i + 2 rows by x in j + 2 columns, in [0, 1]; NaN for more than B
        cells. All zero if x or y is constant.
    """
    first = checks.finite(x, "x", ("n",))
    n = len(first)
    points = first, checks.finite(y, "y", (n,))
    checks.require(n >= FEWEST_POINTS, "x", first.shape, f"(n,) with n at least {FEWEST_POINTS}")
    checks.require(estimator in ("e", "approx"), "estimator", estimator, "'e' or 'approx'")
    checks.require(math.isfinite(c) and c >= 1, "c", c, "finite and at least 1")
    is_power = 0 < alpha <= 1
    allowed = "in (0, 1], or a number of cells of at least 4"
    checks.require(is_power or 4 <= alpha < math.inf, "alpha", alpha, allowed)
    cells = max(float(n**alpha), 4.0) if is_power else float(min(alpha, n))
    only_wider = estimator == "e"
    rows_fixed = _information(*points, cells, c, only_wider)
    columns_fixed = _information(*points[::-1], cells, c, only_wider).T
    row, column = np.indices(rows_fixed.shape)
    if only_wider:
        information = np.where(row > column, rows_fixed, columns_fixed)
    else:
        information = np.fmax(rows_fixed, columns_fixed)
    matrix: Array = information / np.log(np.minimum(row, column) + 2)
    return np.clip(matrix, 0, 1)  # only rounding leaves [0, 1]


def mic_and_tic(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]],
    estimator: Estimator = "e",
    alpha: float = 0.6,
    c: float = 15,
    *,
    workers: int | None = None,
) -> Array:
    """MIC and TIC (the sum) of many pairs (x, y), shape (pairs, 2), distributed over the cores.

    Parameters
    ----------
    pairs : sequence of (x, y)
    estimator, alpha, c
        See `characteristic_matrix`.
    workers : int, optional
        Number of processes. Default: one per core if there is enough to do.
    """
    try:
        size = sum(len(x) for x, _ in pairs)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise HebaeError(
            f"pairs is of type {type(pairs).__name__}; give a sequence of pairs (x, y) of arrays."
        ) from None
    if workers is None:
        worthwhile = size >= WORTH_PROCESSES
        workers = min(cpu_count(), len(pairs)) if worthwhile else 1
    work = delayed(characteristic_matrix)
    matrices = Parallel(workers)(work(x, y, estimator, alpha, c) for x, y in pairs)
    return np.array([(np.nanmax(m), np.nansum(m)) for m in matrices]).reshape(-1, 2)


@dataclass(frozen=True)
class IndexDependence:
    """MIC_e and TIC_e between index and code, each a mean over the dimensions of the code."""

    mic: float
    tic: float
    null_mic: float
    """MIC_e with indices that are independent of the codes."""
    null_tic: float
    examples: int
    draws: int
    """Per example: the coefficients are computed from ``examples * draws`` points."""


@old_parameters(
    permutations="the null distribution has one permutation per dimension",
    workers="the number of processes is chosen automatically",
)
def index_dependence(
    z: ArrayLike,
    *,
    seed: int = 0,
    permutations: int = 1,
    alpha: float = 0.6,
    c: float = 15,
    workers: int | None = None,
) -> IndexDependence:
    """MIC_e and TIC_e between an example's index and each dimension of its codes (Fig. 2c, d).

    An example's index is its place in a random order of all; it has several draws, since one cannot
    distinguish a code that follows its example from noise. The null permutes the indices over all
    draws.

    Parameters
    ----------
    z : array-like, shape (n, L, k)
        L draws of the code of n examples; n L at least 4.
    seed : int
        Seed of the order and of the permutation.
    permutations : int
        Deprecated: number of permutations per dimension, over which the null is averaged.
    alpha, c
        See `characteristic_matrix`.
    workers : int, optional
        Deprecated: see `mic_and_tic`.
    """
    checks.counts(permutations=permutations)
    codes = checks.finite(z, "z", ("n", "L", "k"))
    n, draws, k = codes.shape
    rng = np.random.default_rng(seed)
    index = np.repeat(rng.permutation(n), draws)
    latents = list(codes.reshape(n * draws, k).T)
    pairs = [(index, latent) for latent in latents]
    pairs += [(rng.permutation(index), latent) for _ in range(permutations) for latent in latents]
    coefficients = mic_and_tic(pairs, "e", alpha, c, workers=workers)
    mic, tic = coefficients[:k].mean(axis=0).tolist()
    null_mic, null_tic = coefficients[k:].mean(axis=0).tolist()
    return IndexDependence(mic, tic, null_mic, null_tic, n, draws)


def _information(x: Array, y: Array, cells: float, c: float, only_wider: bool) -> Array:
    """Mutual information in nats with y in r rows of equal size, x in 2, 3, ... optimal columns.

    Row r - 2, column l - 2; NaN where r l > `cells` and, if `only_wider`, where l > r.
    """
    n, most = len(x), int(cells // 2)
    x_ends, y_ends = (np.unique(v, return_counts=True)[1].cumsum() for v in (x, y))
    x_order, y_order = (np.argsort(v, kind="stable") for v in (x, y))
    y_rank = y_order.argsort()[x_order]
    count = np.arange(n + 1.0)
    count_log_count = count * np.log(np.maximum(count, 1))

    information = np.full((most - 1, most - 1), np.nan)
    for r in range(2, most + 1):
        widest = int(cells // r)
        columns = min(widest, r) if only_wider else widest
        sizes = np.diff(_equipartition(y_ends, r), prepend=0)
        row = np.repeat(np.arange(len(sizes)), sizes)[y_rank]
        ends = _clumps(row, x_ends)
        if len(ends) > c * widest:
            ends = _equipartition(ends, int(c * widest))
        information[r - 2, : columns - 1] = _optimise(row, ends, columns, count_log_count)
    return information


def _equipartition(ends: Counts, parts: int) -> Counts:
    """Group runs of points, given by their ends, into equal parts: EquipartitionYAxis of [1]_.

    Each part takes the runs that bring it nearest to an equal share of the remaining points (the
    fewer if there is a tie), and at least one. Large runs may leave fewer parts than requested.
    """
    n, start, chosen = int(ends[-1]), 0, []
    for parts_left in range(parts, 0, -1):
        if start == n:
            break
        left = n - start
        at_least_share = ends.searchsorted(start + -(-left // parts_left))
        below = int(ends[at_least_share - 1]) if at_least_share else 0
        end = int(ends[at_least_share])
        if below > start and (below + end - 2 * start) * parts_left >= 2 * left:
            end = below
        chosen.append(end)
        start = end
    return np.array(chosen)


def _clumps(row: Counts, ends: Counts) -> Counts:
    """Return where each clump ends: GetClumpsPartition of [1]_.

    A clump is a run of points along x in one row; points that tie in x, in several rows, are one.
    """
    starts = np.concatenate(([0], ends[:-1]))
    lowest, highest = np.minimum.reduceat(row, starts), np.maximum.reduceat(row, starts)
    label = np.where(lowest == highest, lowest, -1 - np.arange(len(ends)))
    last = np.append(label[1:] != label[:-1], True)
    clump_ends: Counts = ends[last]
    return clump_ends


def _optimise(row: Counts, ends: Counts, columns: int, count_log_count: Array) -> Array:
    """Mutual information in nats with the best 2, ..., `columns` columns: OptimizeXAxis of [1]_.

    Columns are intervals between `ends`. With n_rc points in row r of column c,
    ``I = H(row) - H(row | column) = H(row) + (1/n) sum_c [sum_r n_rc log n_rc - n_c log n_c]``.
    This is a sum over columns, so the best l columns up to a place are the best l - 1 up to an
    earlier place plus one column. A column may be empty, so these are at most l columns.
    """
    n, places = len(row), len(ends) + 1
    rows = int(row.max()) + 1
    if rows == 1 or len(ends) == 1:
        return np.zeros(columns - 1)  # exactly: a constant has no information
    clump = np.repeat(np.arange(1, places), np.diff(ends, prepend=0))
    counts = np.bincount(clump * rows + row, minlength=places * rows).reshape(places, rows)
    counts = counts.cumsum(axis=0)  # points of each row before each place

    def in_column(before: Counts) -> Array:
        """Evaluate n log n between every two places, row index to column index."""
        return count_log_count.take(before - before[:, None], mode="clip")

    gain = -in_column(counts.sum(axis=1))
    for before in counts.T:
        gain += in_column(before)
    gain[np.tri(places, k=-1, dtype=bool)] = -np.inf  # no column ends before it starts

    row_entropy = math.log(n) - float(count_log_count[counts[-1]].sum()) / n
    best, optimum = gain[0], np.empty(columns - 1)
    for i in range(columns - 1):
        best = (best[:, None] + gain).max(axis=0)
        optimum[i] = best[-1]
    return row_entropy + optimum / n
