"""Blocks of a page about codes: their maps, and a decoder that runs in the reader's browser."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebae.principal import principal_axes_of
from hebae.report.methods import looks

MOST_POINTS = 3000
"""Codes of a figure, per model."""
MOST_ON_PAGE = 1000
"""Codes of a map on a page, per model; and of a decoder, `MOST_CODES`."""
MOST_CODES = 400
MOST_BYTES = 4_000_000
"""Weights of a decoder in half precision that a page carries."""
MOST_DIRECTIONS = 10
MOST_COLUMNS = 40
MOST_CLASSES = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CodeMaps:
    """The codes of each method as points of a plane, coloured by label."""

    codes: Mapping[str, ArrayLike]
    """Shape (n, k), by method."""
    labels: ArrayLike | None = None
    """Labels of the n examples."""
    title: str = "Codes as points"
    caption: str = ""
    kind: ClassVar = "maps"

    def content(self) -> dict[str, Any]:
        """Return what ``codes.js`` draws."""
        maps = []
        for label, look in looks(self.codes).items():
            points, axes, note = plane(np.asarray(self.codes[label], np.float64))
            rows = _spread(len(points), MOST_ON_PAGE)
            half = half_width(points)
            outside = int((np.abs(points) > half).any(axis=1).sum())
            maps.append(
                {
                    "name": look.name,
                    "colour": look.colour,
                    "note": f"{note}; {outside} outside" if outside else note,
                    "axes": axes,
                    "half": half,
                    "points": _rounded(points[rows], 3),
                    "labels": _named(self.labels, rows),
                }
            )
        return {"maps": maps, "classes": classes_of(self.labels)}


@dataclass(frozen=True)
class Layer:
    """A dense layer of a decoder, with its activation."""

    weight: NDArray[Any]
    """Shape (outputs, inputs)."""
    bias: NDArray[Any] | None
    relu: bool


@dataclass(frozen=True)
class Explorer:
    """A decoder, and codes of examples to start from: sliders and interpolation.

    Parameters
    ----------
    name : str
        Name of the method or run.
    codes : array, shape (n, k)
    layers : sequence of Layer
    mean : sequence of dict
        How the mean of p(x | z) follows from the last layer's outputs; see
        `hebae.likelihoods.Likelihood.mean_steps`.
    shape : sequence of int
        Shape of an example.
    value_range : pair of float
        For images: the values that are black and white.
    columns : sequence of dict
        For tables: name, position (at), categories, low and high of each column to show.
    columns_note : str
    conditions : sequence of dict
        For a conditional model: name, categories, mean, unit and first value of each column.
    labels : sequence, optional
        Labels of the n examples.
    """

    name: str
    codes: ArrayLike
    layers: Sequence[Layer]
    mean: Sequence[Mapping[str, Any]]
    shape: Sequence[int]
    value_range: tuple[float, float] = (0.0, 1.0)
    columns: Sequence[Mapping[str, Any]] = ()
    columns_note: str = ""
    conditions: Sequence[Mapping[str, Any]] = ()
    labels: ArrayLike | None = None
    caption: str = ""
    folded: bool = False
    """Whether only its title shows until it is opened."""
    kind: ClassVar = "explorer"

    @property
    def title(self) -> str:
        """What it is, for those who do not see it."""
        return f"Explore the codes of {self.name}"

    @property
    def size(self) -> int:
        """Bytes of the weights in half precision."""
        return 2 * sum(
            layer.weight.size + (0 if layer.bias is None else layer.bias.size)
            for layer in self.layers
        )

    def content(self) -> dict[str, Any]:
        """Return what ``codes.js`` decodes."""
        codes = np.asarray(self.codes, np.float64)
        rows = _spread(len(codes), MOST_CODES)
        centre, deviations, directions = principal_axes_of(codes)
        points, axes, note = plane(codes)
        tensors, layers = [], []
        for layer in self.layers:
            described: dict[str, Any] = {"bias": 0, "relu": layer.relu}
            described["rows"], described["columns"] = layer.weight.shape
            for name, tensor in (("scale", layer.weight), ("bias", layer.bias)):
                if tensor is not None:
                    # Half precision has a small range: numbers are stored as shares of the largest.
                    described[name] = float(np.abs(tensor).max()) or 1.0
                    tensors.append(tensor.ravel() / described[name])
            layers.append(described)
        chosen = [i for i, deviation in enumerate(deviations) if deviation > 1e-3]
        return {
            "name": self.name,
            "colour": looks([self.name])[self.name].colour,
            "weights": packed(np.concatenate(tensors)),
            "layers": layers,
            "mean": [_step(step) for step in self.mean],
            "shape": list(self.shape),
            "range": list(self.value_range),
            "columns": list(self.columns),
            "columns_note": self.columns_note,
            "conditions": list(self.conditions),
            "centre": _rounded(centre, 6),
            "directions": [
                {"deviation": float(deviations[i]), "axis": _rounded(directions[i], 6)}
                for i in chosen[:MOST_DIRECTIONS]
            ],
            "codes": packed(codes[rows].ravel()),
            "points": _rounded(points[rows], 3),
            "plane": _rounded(_plane_axes(codes), 6),
            "half": half_width(points),
            "axes": axes,
            "note": f"{len(rows):,} of {note.removesuffix(' codes')}"
            if len(rows) < len(codes)
            else note,
            "labels": _named(self.labels, rows),
            "classes": classes_of(self.labels),
        }


def packed(values: NDArray[Any]) -> str:
    """Return numbers in half precision as text: all low bytes, then all high ones, compressed.

    Their exponents are much alike, so that this saves a seventh.
    """
    halves = values.astype("<f2").view(np.uint8).reshape(-1, 2).T
    return base64.b64encode(zlib.compress(halves.tobytes(), 9)).decode("ascii")


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step of the mean with its arrays as base64 of float32."""
    return {
        name: base64.b64encode(value.astype("<f4").tobytes()).decode("ascii")
        if isinstance(value, np.ndarray)
        else value
        for name, value in step.items()
        if value is not None
    }


def _plane_axes(codes: Floats) -> Floats:
    """Return the two axes (2, k) of `plane`; the second is 0 for k = 1."""
    k = codes.shape[1]
    if k <= 2:
        return np.eye(2, k)
    return principal_axes_of(codes).directions[:2]


def plane(codes: Floats) -> tuple[Floats, tuple[str, str], str]:
    """Return codes (n, k) as points (n, 2) of a plane, the names of its axes, and a note.

    The plane has the two latent dimensions, or for k > 2 the first two principal directions, and
    for k = 1 a random height.
    """
    count, k = codes.shape
    number = f"{count:,} codes" if count <= MOST_POINTS else f"{MOST_POINTS:,} of {count:,} codes"
    if k == 1:
        height = np.random.default_rng(0).normal(size=(count, 1))
        return np.hstack([codes, height]), ("latent dimension 1", "random height"), number
    if k == 2:
        return codes, ("latent dimension 1", "latent dimension 2"), number
    axes = principal_axes_of(codes)
    names = ("principal component 1", "principal component 2")
    # Not centred, so that a mean other than 0 shows against the circles.
    share = axes.shares[:2].sum()
    return codes @ axes.directions[:2].T, names, f"{number}; {share:.0%} of their variance"


def half_width(points: Floats) -> float:
    """Return half the side of the square that a map shows: 99 % of the points, and the circles."""
    return float(max(2.7, 1.1 * np.quantile(np.abs(points), 0.99)))


def classes_of(labels: ArrayLike | None) -> list[str]:
    """Return the different labels, in order; none if there are too many for colours."""
    found = sorted(set([] if labels is None else np.asarray(labels).tolist()))
    return [str(one) for one in found] if len(found) <= MOST_CLASSES else []


def _named(labels: ArrayLike | None, rows: NDArray[np.intp]) -> list[str] | None:
    if labels is None or not classes_of(labels):
        return None
    values = np.asarray(labels).tolist()
    return [str(values[row]) for row in rows]


def _spread(count: int, most: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, most).astype(np.intp))


def _rounded(values: NDArray[Any], digits: int) -> Any:
    return np.round(values, digits).tolist()


def columns_to_show(
    named: Sequence[Mapping[str, Any]], values: Floats
) -> tuple[list[dict[str, Any]], str]:
    """Choose columns of decoded rows (n, columns): those that vary most in their own unit.

    Return them in their order, with the range of their values, and a sentence.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    spread = values.std(axis=0) / np.maximum(np.abs(values).mean(axis=0), 1e-12)
    shown = sorted(np.argsort(-spread, kind="stable")[:MOST_COLUMNS].tolist())
    columns = [
        {"low": float(low[at]), "high": float(high[at]), **named[at], "at": at} for at in shown
    ]
    count = len(named)
    if count <= MOST_COLUMNS:
        return columns, "Means of the columns; for categories, the most probable one."
    return columns, f"Means of the {MOST_COLUMNS} of {count:,} columns that vary most."
