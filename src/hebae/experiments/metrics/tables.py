"""Tables: generated rows compared with real ones; what is learned from them; closest records."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.data import Examples
from hebae.errors import UndefinedMetric
from hebae.evaluation import tables
from hebae.experiments.measurement import Measurement, attempt, measured, part
from hebae.experiments.metrics.samples import KINDS
from hebae.experiments.trained_run import TrainedRun

MOST_NUMBERS = 2**26
"""Of rows that are generated and held at once."""
MOST_COLUMNS, MOST_MARGINALS = 100, 1000
"""Columns whose pairs are compared, and that have measurements of their own: the first ones.
Columns whose distributions are compared: random ones."""
MOST_CLOSEST, MOST_RECORDS, MOST_PRODUCTS = 2000, 2**24, 2**34
"""Generated and held-out rows whose closest records are searched; numbers of the training rows
that are searched; products of numbers of both."""
DRAWN, BINS, CURVE, QUANTILES = 40, 30, 200, 101
"""Columns, bins of a column, points of a curve, and quantiles that are stored for figures."""
WORST = 5
"""Columns that are named as the least alike."""

Array = npt.NDArray[Any]


class _Table:
    """The real rows that generated ones are compared with, and what is known of the columns.

    The conditions of a model, which are drawn with its samples, are columns at the end.
    """

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        train = run.dataset.train
        width = run.examples.shape[0]
        self.names = train.feature_names or tuple(f"column {i + 1}" for i in range(width))
        self.categories = [column.categories for column in run.columns or ()] or [()] * width
        if train.conditions is not None:
            self.names += tuple(column.name for column in train.condition_columns or ())
            self.categories += [column.categories for column in train.condition_columns or ()]
        self.categorical = [bool(names) for names in self.categories]
        self.most = min(run.evaluation.samples, max(1000, MOST_NUMBERS // len(self.names)))
        self.real = _rows(run.some(self.most))

    def kinds(self) -> Iterator[tuple[str, Array]]:
        """Yield generated rows by sampler, as many as real ones; then training rows."""
        for kind in self.run.sampler_names:
            yield kind, self.drawn(kind, len(self.real))
        if self.run.split != "train":
            yield "training-examples", self.training(len(self.real))

    def drawn(self, kind: str, count: int) -> Array:
        """Return generated rows."""
        rows = self.run.drawn(kind, count)
        conditions = inference.draw_conditions(self.run.model, count, self.run.seed)
        return rows if conditions is None else np.hstack([rows, conditions])

    def training(self, most: int) -> Array:
        """Return random rows of training."""
        return _rows(self.run.dataset.train[self.run.training_rows(most)])

    def measure(
        self, id: str, kind: str, value: Any, samples: int, reference: int = 0, **fields: Any
    ) -> Measurement:
        counts = {"samples": samples, "reference": reference or len(self.real)}
        words = {"kind": KINDS[kind], **fields.pop("words", {})}
        return measured(f"table.{id}.{kind}", value, counts, words=words, **fields)


def _rows(examples: Examples) -> Array:
    rows = examples.rows(slice(None))
    return rows if examples.conditions is None else np.hstack([rows, examples.conditions])


def marginals(run: TrainedRun) -> Iterator[Measurement]:
    """Compare the distribution of each column."""
    table = _Table(run)
    order = np.random.default_rng(run.seed).permutation(len(table.names))
    chosen = np.sort(order[:MOST_MARGINALS])
    of_category = [table.categorical[column] for column in chosen]
    for kind, rows in table.kinds():
        distances = np.full(len(table.names), np.nan)
        pair = table.real[:, chosen], rows[:, chosen]
        distances[chosen] = tables.marginal_distances(*pair, of_category)
        known = np.flatnonzero(~np.isnan(distances))
        order = known[np.argsort(-distances[known], kind="stable")]
        worst = ", ".join(f"{table.names[i]} {distances[i]:.3f}" for i in order[:WORST])
        value: Any = distances[known].mean() if len(known) else UndefinedMetric("no known value")
        shown = order[:DRAWN]
        yield table.measure(
            "marginals",
            kind,
            value,
            len(rows),
            detail=f"greatest: {worst}",
            arrays={
                "columns": [table.names[i] for i in shown],
                "distances": distances[shown].round(4),
                "histograms": [_histogram(table, rows, int(i)) for i in shown],
            },
        )
        for i in known[:MOST_COLUMNS]:
            words = {"column": table.names[i]}
            yield table.measure(
                f"column.{table.names[i]}",
                kind,
                distances[i],
                len(rows),
                name=f"distance of {table.names[i]}, {KINDS[kind]}",
                headline=False,
                words=words,
            )


def _histogram(table: _Table, rows: Array, column: int) -> dict[str, Any]:
    """Return shares of real and generated rows, by the edges of bins or by categories."""
    x, y = (values[:, column][~np.isnan(values[:, column])] for values in (table.real, rows))
    names = table.categories[column]
    if names:
        counts = [np.bincount(v.astype(int), minlength=len(names)) for v in (x, y)]
        order = np.argsort(-counts[0], kind="stable")[:BINS]
        where: dict[str, Any] = {"categories": [names[i] for i in order]}
        counts = [count[order] for count in counts]
    else:
        edges = _edges(x)
        where = {"edges": [float(f"{edge:.6g}") for edge in edges]}
        counts = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] for v in (x, y)]
    shares = [(count / len(v)).round(5).tolist() for count, v in zip(counts, (x, y), strict=True)]
    return where | {"real": shares[0], "fake": shares[1]}


def _edges(values: Array) -> Array:
    """Return edges of bins for all but the tails, which belong to the first and the last bin."""
    low, high = np.quantile(values.astype(np.float64), (0.005, 0.995))
    if (values == np.rint(values)).all():  # bins that hold equally many whole numbers
        low, high = np.floor(low), np.ceil(high)
        step = np.ceil((high - low + 1) / BINS)
        edges: Array = low - 0.5 + step * np.arange(np.ceil((high - low + 1) / step) + 1)
        return edges
    margin = 0.5 if low == high else 0
    return np.linspace(low - margin, high + margin, BINS + 1)


def associations(run: TrainedRun) -> Iterator[Measurement]:
    """Compare the association of each pair of columns."""
    table = _Table(run)
    shown = slice(DRAWN)

    def matrix(rows: Array) -> Array:
        few = rows[:, :MOST_COLUMNS]
        return tables.associations(few, table.categorical[:MOST_COLUMNS])

    real = matrix(table.real)
    for kind, rows in table.kinds():
        fake = matrix(rows)
        arrays = {
            "columns": list(table.names[shown]),
            "real": real[shown, shown].round(3),
            "fake": fake[shown, shown].round(3),
        }
        value = attempt(tables.association_difference, real, fake)
        yield table.measure("association", kind, value, len(rows), arrays=arrays)


def utility(run: TrainedRun) -> Iterator[Measurement]:
    """Predict a column of real rows, after training on generated rows and on real ones."""
    table = _Table(run)
    target = run.evaluation.target
    words: dict[str, str] = {"target": target or "a column", "measure": "AUC", "source": "samples"}
    if target is None or run.split == "train":
        why = UndefinedMetric("name the column that is to be predicted with --target")
        if target is not None:
            why = UndefinedMetric("the rows to predict are the training rows; use --split test")
        yield table.measure("utility", run.sampler_names[-1], why, 0, words=words)
        return
    column = table.names.index(target)
    real = table.training(table.most)
    predict = partial(
        attempt,
        tables.prediction,
        test=table.real,
        target=column,
        categorical=table.categorical,
        seed=run.seed,
    )
    of_real = predict(real)
    curves = {"target": target, "real": _curve(of_real)}
    for kind in (*run.sampler_names, "training-examples"):
        generated = kind != "training-examples"
        words["source"] = f"samples from {KINDS[kind]}" if generated else KINDS[kind]
        found = predict(table.drawn(kind, len(real))) if generated else of_real
        if not isinstance(found, UndefinedMetric):
            words["measure"] = found.measure
        curve = _curve(found)
        arrays = curves | {"fake": curve} if generated and curve else {}
        score = part(found, "score")
        yield table.measure("utility", kind, score, len(real), arrays=arrays, words=words)


def _curve(found: tables.Prediction | UndefinedMetric) -> list[Any]:
    """Return a part of the points of a ROC curve; none if there is no curve."""
    if isinstance(found, UndefinedMetric) or not len(found.curve):
        return []
    points = np.unique(np.linspace(0, len(found.curve) - 1, CURVE).astype(int))
    curve: list[Any] = found.curve[points].round(4).tolist()
    return curve


def privacy(run: TrainedRun) -> Iterator[Measurement]:
    """Compare the distances of generated and of held-out rows to the closest rows of training."""
    if run.split == "train":
        raise UndefinedMetric("the real rows are those of training; use --split test")
    table = _Table(run)
    width = sum(len(names) or 1 for names in table.categories)  # one-hot
    train = table.training(MOST_RECORDS // width)
    most = max(100, min(MOST_CLOSEST, MOST_PRODUCTS // (width * len(train))))
    order = np.random.default_rng(run.seed).permutation(len(table.real))
    held_out = table.real[np.sort(order[:most])]
    steps = np.linspace(0, 1, QUANTILES)
    measure = partial(table.measure, samples=len(held_out), reference=len(train))
    for kind in run.sampler_names:
        rows = table.drawn(kind, len(held_out))
        found = tables.closest_records(rows, train, held_out, table.categorical, seed=run.seed)
        pairs = (("fake", found.distances), ("held_out", found.held_out))
        arrays = {name: np.quantile(distances, steps).round(4) for name, distances in pairs}
        yield measure("closest", kind, np.median(found.distances), arrays=arrays)
        yield measure("nearer_to_training", kind, found.nearer_to_training)
        yield measure("copies", kind, found.copies)
    yield measure("closest", "held-out-examples", np.median(found.held_out))
    yield measure("copies", "held-out-examples", found.held_out_copies)
