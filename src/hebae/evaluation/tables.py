"""Tables compared, column by column and in pairs; what models learn from them; closest records.

A table has shape (rows, columns); NaN is a missing value. Categories are given by their codes 0, 1,
...; `categorical` says which columns hold them: one bool per column, by default what the columns of
`Examples` say, otherwise none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hebae.data.examples import Examples
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import ArrayLike
from hebae.evaluation.estimate import Estimate, ratio_of_means
from hebae.evaluation.neighbours import copying_ratio, nearest_in_subsets

__all__ = [
    "ClosestRecords",
    "Prediction",
    "association_difference",
    "associations",
    "closest_records",
    "marginal_distances",
    "prediction",
]

MOST_FOREST_CATEGORIES = 255
"""A column with more is taken for a number by the gradient boosting of scikit-learn."""

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def marginal_distances(
    real: ArrayLike, fake: ArrayLike, categorical: Sequence[bool] | None = None
) -> Doubles:
    """Distance of the distributions of each column, shape (columns,), from 0 to 1.

    Kolmogorov-Smirnov of numbers, total variation of categories. Missing values are left out; NaN
    for a column without values in a set.
    """
    from scipy.stats import ks_2samp

    (x, y), is_category = _tables(("real", "fake"), (real, fake), categorical)
    distances = np.full(x.shape[1], np.nan)
    for column, (a, b) in enumerate(zip(x.T, y.T, strict=True)):
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        if not len(a) or not len(b):
            continue
        if is_category[column]:
            codes = np.unique(np.concatenate([a, b]))
            shares = [np.bincount(np.searchsorted(codes, v), minlength=len(codes)) for v in (a, b)]
            distances[column] = np.abs(shares[0] / len(a) - shares[1] / len(b)).sum() / 2
        else:
            distances[column] = ks_2samp(a, b, method="asymp").statistic
    return distances


def associations(values: ArrayLike, categorical: Sequence[bool] | None = None) -> Doubles:
    """Association of each pair of columns, shape (columns, columns), symmetric; 1 with itself.

    Pearson's correlation of two columns of numbers, from -1 to 1; Cramer's V of two columns of
    categories and the correlation ratio of a number given a category, from 0 to 1. Of each pair,
    the rows in which both are known count. A column that does not vary has association 0.

    References
    ----------
    Cramer (1946), "Mathematical methods of statistics", 21.9 and 21.5.
    """
    (x,), is_category = _tables(("values",), (values,), categorical)
    d = x.shape[1]
    found = np.eye(d)
    numbers, categories = np.flatnonzero(~is_category), np.flatnonzero(is_category)
    if len(numbers):
        found[np.ix_(numbers, numbers)] = _correlations(x[:, numbers])
    for position, i in enumerate(categories):
        for j in numbers:
            found[i, j] = found[j, i] = _correlation_ratio(x[:, i], x[:, j])
        for j in categories[:position]:
            found[i, j] = found[j, i] = _cramers_v(x[:, i], x[:, j])
    return found


def association_difference(real: Doubles, fake: Doubles) -> float:
    """Mean absolute difference of two matrices of `associations` over pairs of columns.

    Raises
    ------
    UndefinedMetric
        If there is only one column.
    """
    x, y = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if x.shape != y.shape or x.ndim != 2 or x.shape[0] != x.shape[1]:
        raise HebaeError(
            f"real has shape {x.shape} and fake {y.shape}; give two matrices of associations of "
            "the same columns."
        )
    if len(x) < 2:
        raise UndefinedMetric("a single column has no pairs")
    above = np.triu_indices(len(x), 1)
    return float(np.abs(x - y)[above].mean())


def _correlations(x: Doubles) -> Doubles:
    """Pearson's correlation of columns over the rows in which both are known."""
    known = (~np.isnan(x)).astype(np.float64)
    count = np.maximum(known.sum(axis=0), 1)
    middle = np.nansum(x, axis=0) / count
    spread = np.sqrt(np.nansum((x - middle) ** 2, axis=0) / count)
    values = np.nan_to_num((x - middle) / np.where(spread > 0, spread, 1))
    pairs = np.maximum(known.T @ known, 1)
    a = (values.T @ known) / pairs  # mean of the first column over rows with both
    aa = ((values * values).T @ known) / pairs - a * a
    covariance = (values.T @ values) / pairs - a * a.T
    scale = np.sqrt(np.maximum(aa, 0) * np.maximum(aa.T, 0))
    found = np.where(scale > 1e-9, covariance / np.maximum(scale, 1e-9), 0)
    np.fill_diagonal(found, 1)
    return np.clip(found, -1, 1)


def _correlation_ratio(codes: Doubles, numbers: Doubles) -> float:
    known = ~np.isnan(codes) & ~np.isnan(numbers)
    values = numbers[known]
    if len(values) == 0 or np.ptp(values) == 0:
        return 0.0
    values = (values - values.mean()) / values.std()
    group = np.unique(codes[known], return_inverse=True)[1]
    sums, count = np.bincount(group, values), np.bincount(group)
    return float(np.sqrt(min(1.0, (sums**2 / count).sum() / len(values))))


def _cramers_v(a: Doubles, b: Doubles) -> float:
    known = ~np.isnan(a) & ~np.isnan(b)
    if not known.any():
        return 0.0
    rows, columns = (np.unique(v[known], return_inverse=True)[1] for v in (a, b))
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    if min(height, width) < 2:
        return 0.0
    observed = np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)
    n = observed.sum()
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0) / n
    chi_squared = ((observed - expected) ** 2 / expected).sum()
    return float(np.sqrt(min(1.0, chi_squared / (n * (min(height, width) - 1)))))


class Prediction(NamedTuple):
    """How well a column of held-out rows is predicted."""

    score: Estimate
    """AUC of a category, R2 of a number."""
    measure: str
    """"AUC" or "R2"."""
    curve: Doubles
    """For two categories: false and true positive rates of the second, shape (points, 2); otherwise
    empty."""


def prediction(
    train: ArrayLike,
    test: ArrayLike,
    target: int,
    categorical: Sequence[bool] | None = None,
    *,
    seed: int = 0,
) -> Prediction:
    """Predict a column of `test` from the others, by gradient boosting that is trained on `train`.

    With generated rows as `train` and real rows as `test`, the score shows what a model learns from
    generated data instead of real data. The booster is scikit-learn's, with its defaults. Rows
    without a target are left out; other missing values are given to it.

    Parameters
    ----------
    train, test : array-like or Examples, shapes (n, columns) and (m, columns)
    target : int
        Column to predict. Of categories: the area under the ROC curve; of more than two, the mean
        over those in `test`, each against the rest. Of numbers: R2.
    categorical : sequence of bool, optional
    seed : int
        Seed of the booster.

    Raises
    ------
    UndefinedMetric
        If the target has only one value in a set.

    References
    ----------
    Esteban, Hyland, Raetsch (2017), "Real-valued medical time series generation", for training on
    synthetic and testing on real data; DeLong et al. (1988) for the standard error.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    (x, y), is_category = _tables(("train", "test"), (train, test), categorical)
    checks.require(0 <= target < x.shape[1], "target", target, f"from 0 to {x.shape[1] - 1}")
    if x.shape[1] < 2:
        raise UndefinedMetric("there is no other column to predict the target from")
    parts = []
    for values, name in ((x, "train"), (y, "test")):
        values = values[~np.isnan(values[:, target])]
        if len(values) < 2 or np.ptp(values[:, target]) == 0:
            raise UndefinedMetric(f"the target has only one value in the rows to {name} on")
        parts += [np.delete(values, target, axis=1), values[:, target]]
    inputs, outputs, questions, answers = parts
    few = np.array(
        [np.nanmax(c, initial=0) < MOST_FOREST_CATEGORIES for c in np.hstack([x.T, y.T])]
    )
    settings: dict[str, Any] = {
        "categorical_features": np.delete(is_category & few, target),
        "random_state": seed,
    }
    if not is_category[target]:
        booster = HistGradientBoostingRegressor(**settings).fit(inputs, outputs)
        errors = (booster.predict(questions) - answers) ** 2
        deviations = (answers - answers.mean()) ** 2
        ratio = ratio_of_means(errors, deviations, "the target does not vary")
        return Prediction(Estimate(1 - ratio.value, ratio.standard_error), "R2", np.empty((0, 2)))
    booster = HistGradientBoostingClassifier(**settings).fit(inputs, outputs)
    shares = booster.predict_proba(questions)
    classes = np.unique(answers)
    chance = np.zeros((len(answers), len(classes)))  # 0 for a class that is not in train
    for position, known in enumerate(classes):
        if known in booster.classes_:
            chance[:, position] = shares[:, booster.classes_.tolist().index(known)]
    if len(classes) == 2:
        chance[:, 0] = -chance[:, 1]
    influence = np.zeros(len(answers))
    areas = []
    for position, one in enumerate(classes):
        area, of_example = _area(chance[:, position], answers == one)
        areas.append(area)
        influence += of_example / len(classes)
    error = float(influence.std(ddof=1) / np.sqrt(len(answers)))
    curve = _curve(chance[:, -1], answers == classes[-1]) if len(classes) == 2 else np.empty((0, 2))
    return Prediction(Estimate(float(np.mean(areas)), error), "AUC", curve)


def _area(score: Doubles, positive: Mask) -> tuple[float, Doubles]:
    """Area under the ROC curve, and the influence of each example on it (DeLong et al. 1988)."""
    from scipy.stats import rankdata

    n, m = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(score)
    above = np.empty(len(score))  # share of the other class that an example is on the right side of
    above[positive] = (ranks[positive] - rankdata(score[positive])) / m
    above[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / n
    area = float(above[positive].mean())
    return area, (above - area) * len(score) / np.where(positive, n, m)


def _curve(score: Doubles, positive: Mask) -> Doubles:
    from sklearn.metrics import roc_curve

    return np.column_stack(roc_curve(positive, score)[:2])


class ClosestRecords(NamedTuple):
    """How near generated rows are to the rows of training."""

    distances: Doubles
    """Distance of each generated row to the nearest row of training."""
    held_out: Doubles
    """Distance of each held-out row to it: what rows that copy nothing have."""
    copies: float
    """Share of the generated rows that equal a row of training."""
    held_out_copies: float
    """Share of the held-out rows that equal a row of training."""
    nearer_to_training: Estimate
    """Share of the generated rows that are nearer to training than to equally many held-out rows,
    ties counting half: 1/2 without copying, 1 if all are copies."""


def closest_records(
    fake: ArrayLike,
    train: ArrayLike,
    held_out: ArrayLike,
    categorical: Sequence[bool] | None = None,
    *,
    seed: int = 0,
) -> ClosestRecords:
    """Distance to the closest record, by which generated rows may give away rows of training.

    Distances are Euclidean: numbers in standard deviations of `train`, 1 for two different
    categories. A missing number is at the mean of training; a missing category at ``sqrt(1/2)``
    from all. For `nearer_to_training`, see `copying_ratio`.

    Parameters
    ----------
    fake, train, held_out : array-like or Examples, shapes (n, columns), (m, columns), (l, columns)
        At least 2 rows each.
    categorical : sequence of bool, optional
    seed : int
        Seed of the subsets of the larger real set.

    References
    ----------
    After Park et al. (2018), "Data synthesis based on generative adversarial networks".
    """
    import torch

    names = ("fake", "train", "held_out")
    tables, is_category = _tables(names, (fake, train, held_out), categorical, least=2)
    codes = [np.unique(np.concatenate([t[:, j] for t in tables])) for j in range(len(is_category))]
    numbers = tables[1][:, ~is_category]
    count = np.maximum((~np.isnan(numbers)).sum(axis=0), 1)
    middle = np.nansum(numbers, axis=0) / count
    spread = np.sqrt(np.nansum((numbers - middle) ** 2, axis=0) / count)

    def embedded(table: Doubles) -> Doubles:
        scaled = (table[:, ~is_category] - middle) / np.where(spread > 0, spread, 1)
        one_hot = [
            (table[:, j, None] == codes[j][~np.isnan(codes[j])]) / np.sqrt(2)
            for j in np.flatnonzero(is_category)
        ]
        return np.hstack([np.nan_to_num(scaled), *one_hot])

    points, members, others = (embedded(table) for table in tables)
    rng = np.random.default_rng(seed)
    to_train, of_held_out = (
        nearest_in_subsets(torch.from_numpy(x), torch.from_numpy(members), len(members), rng)
        .distance[0]
        .numpy()
        for x in (points, others)
    )
    try:
        nearer = copying_ratio(points, members, others, seed=seed).closer_to_train
    except UndefinedMetric:  # all equal a held-out row
        nearer = Estimate(float((to_train == 0).mean() / 2), 0.0)
    copies, of_real = (float((distances == 0).mean()) for distances in (to_train, of_held_out))
    return ClosestRecords(to_train, of_held_out, copies, of_real, nearer)


def _tables(
    names: Sequence[str],
    tables: Sequence[ArrayLike],
    categorical: Sequence[bool] | None,
    least: int = 1,
) -> tuple[list[Doubles], Mask]:
    """Return tables of the same columns as float64, and which columns hold categories."""
    arrays = []
    for name, table in zip(names, tables, strict=True):
        if isinstance(table, Examples):
            if categorical is None and table.columns is not None:
                categorical = [bool(column.categories) for column in table.columns]
            table = table.rows(slice(None))
        array = checks.as_array(table, name).astype(np.float64, copy=False)
        checks.shape(name, array.shape, ("rows", "columns"))
        if np.isinf(array).any():
            raise HebaeError(f"{name} has infinite values; give numbers, and NaN for missing ones.")
        if len(array) < least:
            raise HebaeError(f"{name} has {len(array)} row(s), but at least {least} are needed.")
        arrays.append(array)
    widths = {array.shape[1] for array in arrays}
    if len(widths) > 1:
        counts = " and ".join(str(array.shape[1]) for array in arrays)
        raise HebaeError(f"{' and '.join(names)} have {counts} columns; give the same columns.")
    d = widths.pop()
    mask = np.zeros(d, np.bool_) if categorical is None else np.asarray(categorical)
    if mask.dtype != np.bool_ or mask.shape != (d,):
        raise HebaeError(
            f"categorical has shape {mask.shape} and type {mask.dtype}; it must hold true or false "
            f"for each of the {d} columns."
        )
    return arrays, mask
