"""What the explorer shows: examples as pictures or values, colours and groups, the map, a CSV."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hebae.data.conditions import value_of
from hebae.data.examples import Examples
from hebae.data.schema import Column
from hebae.data.writing import write_codes
from hebae.errors import HebaeError
from hebae.explorer.runs import ExploredRun, Rows, Shown
from hebae.inference import Floats
from hebae.report.pixels import mosaic, to_uint8, to_unit

MOST_FEATURES = 500
"""Features that are offered as colours."""
MOST_GROUPED = 50
"""Features that form groups."""
MOST_CATEGORIES = 20
"""Categories that get a colour of their own."""
MOST_VALUES = 14
"""Values of an example that are listed."""
# Tableau's colours, as matplotlib has them: ten strong ones, then their pale forms.
PALETTE = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
    *("#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5"),
    *("#c49c94", "#f7b6d2", "#c7c7c7", "#dbdb8d", "#9edae5"),
)


def has_images(run: ExploredRun) -> bool:
    """Whether an example is an image, of any number of channels."""
    return len(run.model.input_shape) == 3


def picture(run: ExploredRun, values: Floats, columns: int | None = None, side: int = 96) -> str:
    """Return images (n, c, h, w) side by side, as the data URL of a PNG file.

    Small images are enlarged by a whole number to about `side` pixels. An image of other than 1 or
    3 channels is shown as its channels, from left to right.
    """
    from PIL import Image

    channels, height, width = values.shape[1:]
    if channels not in (1, 3):
        values = values.transpose(0, 2, 1, 3).reshape(len(values), 1, height, channels * width)
    pixels = to_uint8(to_unit(values, run.config.get("data_range") or (0, 1)))
    canvas = mosaic(pixels, columns, scale=max(1, round(side / max(pixels.shape[2:]))))
    content = BytesIO()
    Image.fromarray(canvas[:, :, 0] if canvas.shape[2] == 1 else canvas).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def feature_names(run: ExploredRun) -> Sequence[str]:
    """Return the names of the features of rows of numbers."""
    seen = run.model.seen
    if seen is not None and seen.feature_names is not None:
        return seen.feature_names
    return [f"x{number}" for number in range(run.model.input_shape[0])]


def listed_values(
    run: ExploredRun, values: Floats, most: int = MOST_VALUES
) -> list[tuple[str, list[str]]]:
    """Return names of features, and their values in each of n rows of numbers (n, d), as text.

    Of more than `most` features, those are listed that are furthest from their mean, in standard
    deviations; without examples, those furthest from 0.
    """
    names, seen = feature_names(run), run.model.seen
    columns = None if seen is None else seen.columns
    chosen = np.arange(values.shape[1])
    if len(chosen) > most:
        distance, scale = np.abs(values), run.scale
        if scale is not None:
            deviation = np.where(scale.deviation > 0, scale.deviation, np.inf)
            distance = np.abs(values - scale.mean) / deviation
        furthest = np.argsort(-np.nan_to_num(distance.max(0)), kind="stable")
        chosen = furthest[:most]
    return [
        (
            str(names[place]),
            [_text(value, columns[place] if columns else None) for value in values[:, place]],
        )
        for place in chosen.tolist()
    ]


def _text(value: float, column: Column | None) -> str:
    """Return a value as text; a category by its name, a date as such."""
    if value != value:
        return "missing"
    if column is not None and column.categories:
        code = min(max(round(float(value)), 0), len(column.categories) - 1)
        return value_of(code, column)
    if column is not None and column.dtype == "date":
        return str(np.datetime64("1970-01-01", "D") + round(float(value)))
    return f"{value:.4g}"


class Colouring(NamedTuple):
    """What the points of a map are coloured by: categories or numbers."""

    title: str
    codes: npt.NDArray[np.intp] | None = None
    """Places in `names`, shape (n,); -1 where missing."""
    names: tuple[str, ...] = ()
    numbers: npt.NDArray[np.floating] | None = None
    """Shape (n,)."""


Choices = dict[str, tuple[str, Callable[[], Colouring]]]
"""By key: what is displayed, and what makes the colouring."""


def colourings(run: ExploredRun) -> Choices:
    """Return what points can be coloured by: label, split, conditions and features."""
    choices: Choices = {"none": ("nothing", lambda: Colouring(""))}
    if run.shown is None or run.examples is None:
        return choices
    shown, examples = run.shown, run.examples
    if examples.labels is not None:
        choices["label"] = "label", lambda: _of_labels(examples)
    splits = list(dict.fromkeys(shown.splits.tolist()))
    if len(splits) > 1:
        choices["split"] = "split", lambda: _of_splits(shown, splits)
    if examples.conditions is not None:
        pairs = zip(examples.conditions.T, examples.condition_columns or (), strict=True)
        for place, (values, column) in enumerate(pairs):
            choices[f"condition {place}"] = (
                f"{column.name} (condition)",
                partial(_of_column, values, column.name, column),
            )
    if len(examples.shape) == 1:
        choices |= _of_features(run, examples)
    return choices


def _of_features(run: ExploredRun, examples: Examples) -> Choices:
    names, columns = feature_names(run), examples.columns or [None] * examples.shape[0]
    # The label of the examples is none of the columns, which may have its name.
    taken = "nothing", "label", "split"
    names = [f"{name} (column)" if name in taken else str(name) for name in names]
    order = np.arange(len(names))
    scale = run.scale if len(names) > MOST_FEATURES else None
    if scale is not None:  # those that vary most
        order = np.sort(np.argsort(-scale.deviation, kind="stable")[:MOST_FEATURES])

    def of(place: int) -> Colouring:
        one = Examples(examples.values[:, [place]], pixels=examples.pixels)
        return _of_column(one.rows(slice(None))[:, 0], names[place], columns[place])

    return {f"feature {place}": (names[place], partial(of, place)) for place in order.tolist()}


def _of_column(values: npt.NDArray[Any], title: str, column: Column | None) -> Colouring:
    if column is None or not column.categories:
        return Colouring(title, numbers=values.astype(np.float32))
    absent = np.isnan(values)
    codes = np.where(absent, -1, np.where(absent, 0, values)).astype(np.intp)
    return Colouring(title, codes, column.categories)


def _of_splits(shown: Shown, splits: list[str]) -> Colouring:
    codes = np.array([splits.index(split) for split in shown.splits], np.intp)
    return Colouring("split", codes, tuple(splits))


def _of_labels(examples: Examples) -> Colouring:
    assert examples.labels is not None
    if examples.label_names is not None:
        return Colouring("label", examples.labels.astype(np.intp), examples.label_names)
    names, codes = np.unique(examples.labels, return_inverse=True)
    return Colouring("label", codes.astype(np.intp), tuple(map(str, names)))


def groups(choices: Choices) -> dict[str, Callable[[], Rows]]:
    """Return groups of examples by name: one per category, and the ends of numbers.

    Of a column of numbers, they are the examples in its lowest and in its highest quarter. Of many
    features, there are none.
    """
    found: dict[str, Callable[[], Rows]] = {}
    many = sum(key.startswith("feature") for key in choices) > MOST_GROUPED
    for key, (title, make) in choices.items():
        if key in ("none", "split") or (many and key.startswith("feature")):
            continue
        colouring = make()
        for code, name in enumerate(colouring.names):
            codes = colouring.codes
            found[f"{title} = {name}"] = lambda codes=codes, code=code: np.flatnonzero(
                codes == code
            )
        if colouring.numbers is not None:
            found[f"{title}: lowest quarter"] = lambda make=make: _quarter(make(), -1)
            found[f"{title}: highest quarter"] = lambda make=make: _quarter(make(), 1)
    return found


def _quarter(colouring: Colouring, sign: int) -> Rows:
    assert colouring.numbers is not None
    numbers = sign * colouring.numbers.astype(np.float64)
    observed = numbers[numbers == numbers]
    if not len(observed):
        return np.array([], np.intp)
    return np.flatnonzero(numbers >= np.quantile(observed, 0.75))


def map_figure(
    places: Floats,
    colouring: Colouring,
    *,
    axis_names: tuple[str, str],
    selected: Rows | None = None,
    uploads: Floats | None = None,
    marker: Floats | None = None,
) -> dict[str, Any]:
    """Return the map as a figure of Plotly: the points, uploaded examples, the current code.

    Points carry their row as ``customdata``; that of the first uploaded example is n. The current
    code is the last trace, and only there if `marker` (2,) is given.
    """
    chosen = None if selected is None else set(selected.tolist())
    traces: list[dict[str, Any]] = []
    for name, rows, style in _traces(colouring, len(places)):
        trace = _points(
            places[rows], rows, name=_literal(name), marker={"size": 6, "opacity": 0.75} | style
        )
        if chosen is not None:
            trace["selectedpoints"] = [i for i, row in enumerate(rows.tolist()) if row in chosen]
        traces.append(trace)
    if uploads is not None and len(uploads):
        rows = len(places) + np.arange(len(uploads))
        star = {"size": 14, "symbol": "star", "color": "#e6194b", "line": {"width": 1}}
        traces.append(_points(uploads, rows, name="uploaded", marker=star, unselected=_KEPT))
    if marker is not None:
        cross = {"size": 15, "symbol": "x-thin", "line": {"width": 3, "color": "#e6194b"}}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [float(marker[0])],
                "y": [float(marker[1])],
                "name": "current code",
                "hoverinfo": "skip",
                "marker": cross,
                "unselected": _KEPT,
            }
        )
    grid = {"gridcolor": "rgba(128,128,128,0.2)", "zerolinecolor": "rgba(128,128,128,0.35)"}
    layout = {
        "dragmode": "lasso",
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#808080", "size": 12},
        "margin": {"l": 48, "r": 8, "t": 8, "b": 40},
        "legend": {"itemsizing": "constant", "orientation": "h", "y": -0.19, "yanchor": "top"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#909090", "activecolor": "#4a90d9"},
        "xaxis": {"title": {"text": axis_names[0], "standoff": 6}, **grid},
        "yaxis": {"title": {"text": axis_names[1], "standoff": 6}, **grid},
        "uirevision": " ".join(axis_names),  # zoom stays when points are coloured anew
    }
    config = {
        "displaylogo": False,
        "displayModeBar": True,
        "responsive": True,
        "modeBarButtonsToRemove": ["toImage", "autoScale2d"],
    }
    return {"data": traces, "layout": layout, "config": config}


def _literal(text: str) -> str:
    """Return text of the data such that Plotly shows it as it is, not as HTML."""
    return escape(text, quote=False)


_KEPT = {"marker": {"opacity": 1}}
"""What a lasso does not select is not paler."""


def _points(places: Floats, rows: Rows, **style: Any) -> dict[str, Any]:
    # Plotly has no label of its own here: the page shows the example beside the point.
    return {
        "type": "scatter",
        "mode": "markers",
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "customdata": rows.tolist(),
        "hoverinfo": "none",
        "unselected": {"marker": {"opacity": 0.12}},
        **style,
    }


def _traces(colouring: Colouring, count: int) -> list[tuple[str, Rows, dict[str, Any]]]:
    """Return name, rows and marker of each trace."""
    everything = np.arange(count)
    if colouring.numbers is not None:
        numbers = colouring.numbers
        observed = numbers[np.isfinite(numbers)]
        low, high = np.quantile(observed, [0.01, 0.99]) if len(observed) else (0.0, 1.0)
        bar = {
            "title": {"text": _literal(colouring.title), "side": "right"},
            "thickness": 12,
            "len": 0.8,
        }
        shown = [None if value != value else float(value) for value in numbers]
        style: dict[str, Any] = {"color": shown, "colorscale": "Viridis", "colorbar": bar}
        style |= {"cmin": float(low), "cmax": float(max(high, low + 1e-9))}
        return [(colouring.title, everything, style)]
    if colouring.codes is None:
        return [("examples", everything, {"color": PALETTE[0]})]
    counts = np.bincount(colouring.codes[colouring.codes >= 0], minlength=len(colouring.names))
    order = list(range(len(colouring.names)))
    if len(order) > MOST_CATEGORIES:
        order = sorted(np.argsort(-counts, kind="stable")[: MOST_CATEGORIES - 1].tolist())
    traces = []
    for code, colour in zip(order, PALETTE, strict=False):
        rows = np.flatnonzero(colouring.codes == code)
        traces.append((str(colouring.names[code]), rows, {"color": colour}))
    rest = np.flatnonzero(~np.isin(colouring.codes, order))
    if len(rest):
        name = "missing" if (colouring.codes[rest] < 0).all() else "other"
        traces.append((name, rest, {"color": "#b0b0b0"}))
    return [trace for trace in traces if len(trace[1])]


def selection_csv(run: ExploredRun, rows: Rows) -> bytes:
    """Return id, split and label of examples as a CSV file."""
    if not len(rows):
        raise HebaeError("no example is selected; draw a lasso around points of the map first.")
    rows = np.sort(rows)
    if run.shown is None:
        return "\n".join(["id", *(run.names[row] for row in rows), ""]).encode()
    splits = run.shown.splits[rows]
    parts: Mapping[str, Examples] = {
        split: run.shown.examples[rows[splits == split]] for split in dict.fromkeys(splits.tolist())
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "selection.csv"
        write_codes(np.empty((len(rows), 0), np.float32), [], parts, path)
        return path.read_bytes()


def save_path(folder: Path, name: str) -> Path:
    """Return the file of this name in a folder; only a plain new name that ends in .csv is taken.

    Raises
    ------
    HebaeError
        If the name holds a folder, has another suffix, or is taken.
    """
    plain = Path(name).name == name and not set(name) & set('/\\:*?"<>|\0\n\r')
    if not plain or name.startswith(".") or not name.lower().endswith(".csv"):
        raise HebaeError(
            f"the name {name[:80]!r} cannot be used; give a file name that ends in .csv, without a "
            "folder."
        )
    path = folder / name
    if path.exists() or path.is_symlink():
        raise HebaeError(f"{path} already exists; give another name.")
    return path
