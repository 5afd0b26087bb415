"""Held-out reconstruction and penalties of a sweep against its longest numeric axis."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hebae.experiments.measures import Measures
from hebae.experiments.sweep.axes import Axis, as_text
from hebae.experiments.sweep.results import SweptRun
from hebae.report.methods import METHODS, display_name
from hebae.report.style import QUIET, SEQUENTIAL, describe, literal, styled

__all__ = ["Drawing", "draw"]

MOST_LINES = 15
_WIDE, _WIDEST = 8, 30  # ratios of largest to smallest from which on x and y are logarithmic
_BAND = 0.16  # how opaque
_MARKERS = "os^DvPX<>ph*d8H"
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))

# Where a line's points lie on the x axis, and the values of the seeds there.
Line: TypeAlias = Mapping[float, Sequence[float]]
# The values of the axes that make a line: all but the one that is drawn across, and the seed.
Key: TypeAlias = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Drawing:
    """A figure, and what to say of it."""

    figure: Figure
    title: str
    caption: str


@styled()
def draw(axes: Sequence[Axis], runs: Sequence[SweptRun]) -> Drawing | str:
    """Draw a line for each combination of the other axes; of several seeds median and range.

    Each penalty has a panel of its own, since they are unlike quantities.

    Returns
    -------
    Drawing or str
        In words, why there is nothing to draw.
    """
    numeric = [a for a in axes if a.is_numeric and a.name != "seed" and len(a.values) > 1]
    if not numeric:
        return "No picture: no axis but the seed has several numbers."
    across = max(numeric, key=lambda axis: len(axis.values))
    lines: dict[Key, list[tuple[float, Measures]]] = {}
    for run in runs:
        if run.measures is not None:
            key = tuple((n, v) for n, v in run.values.items() if n not in (across.name, "seed"))
            lines.setdefault(key, []).append((run.values[across.name], run.measures))
    if not lines:
        return "No picture: every run diverged."
    if len(lines) > MOST_LINES:
        return f"No picture: it would have {len(lines)} lines. The numbers are in sweep.csv."

    measured = [measures for points in lines.values() for _, measures in points]
    penalties = list(dict.fromkeys(name for m in measured for name in m.penalty))
    figure = Figure(
        figsize=(max(5.0, 3.4 * (1 + len(penalties))), 3.6),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )
    panels = figure.subplots(1, 1 + len(penalties), squeeze=False)[0]
    looks = _looks(list(lines))
    for panel, name in zip(panels, ["reconstruction", *penalties], strict=True):
        drawn = {key: _line(points, name) for key, points in lines.items()}
        for key, line in drawn.items():
            _plot(panel, line, looks[key])
        _finish(panel, name, across, list(drawn.values()))
    seeds = next((len(axis.values) for axis in axes if axis.name == "seed"), 1)
    _add_legend(figure, looks, seeds)
    caption = [f"After training, on {measured[0].split} examples."]
    if seeds > 1:
        caption.append("Lines are medians over the seeds, bands reach from least to greatest.")
    if missing := len(runs) - len(measured):
        caption.append(f"{missing} of {len(runs)} runs diverged and are left out.")
    title = f"Reconstruction and penalty against {_words(across.name)}"
    return Drawing(figure, title, " ".join(caption))


def _line(points: Sequence[tuple[float, Measures]], name: str) -> Line:
    line: dict[float, list[float]] = {}
    for x, measures in points:
        value = measures.reconstruction if name == "reconstruction" else measures.penalty.get(name)
        if value is not None:
            line.setdefault(x, []).append(value)
    return dict(sorted(line.items()))


def _looks(keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
    """Colours tell methods apart where there are several, dashes and markers the rest."""
    rests = list(dict.fromkeys(_without_method(key) for key in keys))
    ramp = mpl.colormaps[SEQUENTIAL]
    looks = {}
    for key in keys:
        number = rests.index(_without_method(key))
        method = METHODS.get(str(dict(key).get("method")))
        colour: Any = ramp(0.85 * number / max(1, len(rests) - 1))
        if method is not None:
            colour = method.colour
        looks[key] = {
            "color": colour,
            "marker": method.marker if method and len(rests) == 1 else _MARKERS[number],
            "linestyle": _DASHES[number % len(_DASHES)] if method else "-",
            "label": literal(", ".join(_named(*part) for part in key)),
        }
    return looks


def _without_method(key: Key) -> Key:
    return tuple(part for part in key if part[0] != "method")


def _named(name: str, value: Any) -> str:
    return display_name(value) if name == "method" else f"{_words(name)} {as_text(value)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plot(panel: Axes, line: Line, look: Mapping[str, Any]) -> None:
    if not line:
        return
    panel.plot(list(line), [statistics.median(values) for values in line.values()], **look)
    if any(len(values) > 1 for values in line.values()):
        panel.fill_between(
            list(line),
            [min(values) for values in line.values()],
            [max(values) for values in line.values()],
            color=look["color"],
            alpha=_BAND,
            linewidth=0,
        )


def _finish(panel: Axes, name: str, across: Axis, lines: Sequence[Line]) -> None:
    if name == "reconstruction":
        describe(panel, "Reconstruction", "−log p(x|z)")
    else:
        describe(panel, f"Penalty: {name}", "before its weight")
    panel.set(xlabel=_words(across.name), ylabel="no unit" if name == "mmd" else "nats")
    xs = sorted(across.values)
    positive = [x for x in xs if x > 0]
    if positive and positive[-1] > _WIDE * positive[0]:
        if xs[0] > 0:
            panel.set_xscale("log")
        else:
            panel.set_xscale("symlog", linthresh=positive[0])
    if len(xs) <= 6:
        panel.set_xticks(xs, [as_text(x) for x in xs])
        panel.minorticks_off()
    ys = [value for line in lines for values in line.values() for value in values]
    if name != "reconstruction" and ys and min(ys) > 0 and max(ys) > _WIDEST * min(ys):
        panel.set_yscale("log")


def _add_legend(figure: Figure, looks: Mapping[Key, Mapping[str, Any]], seeds: int) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], **look) for look in looks.values() if look["label"]
    ]
    if seeds > 1:
        handles.append(Patch(color=QUIET, alpha=_BAND, linewidth=0, label="range over seeds"))
    if handles:
        letters = max(len(str(handle.get_label())) for handle in handles) + 9
        columns = max(1, int(figure.get_figwidth() * 16 / letters))
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=min(columns, len(handles)),
            handlelength=3.5,
        )
