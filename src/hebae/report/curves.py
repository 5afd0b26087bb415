"""The loss and its terms by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hebae.methods import METHODS
from hebae.report.lines import plot_seeds, seed_range, whole_numbers
from hebae.report.methods import looks
from hebae.report.style import QUIET, add_legend, describe, literal, new_figure, styled

Record: TypeAlias = Mapping[str, Any]
"""A line of ``metrics.jsonl``: epoch, terms of the training data, terms of the held-out data."""
_Line: TypeAlias = dict[float, list[float]]  # values over seeds, by epoch

_TRAINING: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.1, "alpha": 0.6}
_NATS = "nats per example"
_PENALTIES = {
    "moments": "KL(N(β, Σ) ‖ N(0, I))",
    "aggregate": "KL(N(β, C) ‖ N(0, I))",
    "rate": "mean KL(q(z|x) ‖ N(β, C))",
    "kl": "mean KL(q(z|x) ‖ prior)",
    "kl_free_bits": "Σ max(free bits, KL of a dimension)",
    "off_diagonal": "Σ S_ij², i ≠ j, S the covariance",
    "diagonal": "Σ (S_ii − 1)², S the covariance",
    "information": "log q(z|x) − log q(z)",
    "total_correlation": "log q(z) − Σ log q(z_j)",
    "marginal_kl": "Σ log q(z_j) − log p(z)",
    "sliced_wasserstein": "W₂² in random directions",
    "cramer_wold": "log of the squared distance",
    "mmd": "MMD² of codes and prior",
    "adversarial": "mean −log D(z), D the critic",
}
_BOUNDARY: dict[str, Any] = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (1, 2))}
_COMPRESSED = 0.35  # height of the compressed part of an axis, over that of the linear part


@styled()
def loss_curves(
    runs: Mapping[str, Sequence[Sequence[Record]]],
    held_out_split: str | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw objective, reconstruction and penalties by epoch, on training and held-out data.

    Each penalty has axes of its own, since penalties are different quantities. All epochs are
    shown. Where the first ones are far off, the axis is linear over the range of the later epochs
    and compressed beyond it.

    `runs` gives, by method, a list of records per seed, as in ``metrics.jsonl``. For several seeds
    the median is drawn in a band from the smallest to the largest value, at the epochs that all
    seeds have. `held_out_split` is named in the legend.
    """
    histories = {label: [seed for seed in seeds if seed] for label, seeds in runs.items()}
    records = [record for seeds in histories.values() for seed in seeds for record in seed]
    terms = dict.fromkeys(name for record in records for name in record["train"])
    penalties = [name for name in terms if name not in ("objective", "reconstruction")]
    rows, columns = max(1, len(penalties)), 3 if penalties else 2
    size = 3.2 * columns, max(3.5, 1.35 * rows + 0.7)
    figure = new_figure(*size, terms, title, what="finished epoch")
    grid = figure.add_gridspec(rows, columns)
    cautions = ["differs by method"] if len(histories) > 1 else []
    # With a rate term, which replaces "moments", HEBAE's objective can be an ELBO.
    cautions += ["HEBAE's is not an ELBO"] if "moments" in penalties else []
    caution = "; ".join(cautions) or "the negative loss"
    panels = [
        (grid[:, 0], "objective", "Objective", caution, _NATS),
        (grid[:, 1], "reconstruction", "Reconstruction", "−log p(x|z)", _NATS),
    ]
    for row, name in enumerate(penalties):
        unit = next((m.units[name] for m in METHODS.values() if name in m.units), "nats")
        meaning = _PENALTIES.get(name, "")
        panels.append((grid[row, 2], name, f"Penalty: {name}", meaning, unit or "no unit"))
    compressed = False
    for place, term, heading, note, unit in panels:
        axes = figure.add_subplot(place)
        ticks = max(2, 5 // rows) if term in penalties else 5
        compressed |= _draw(axes, histories, term, ticks)
        describe(axes, heading, note)
        axes.set(ylabel=unit)
        is_lowest = place.rowspan.stop == rows
        axes.set(xlabel="epoch" if is_lowest else "")
        axes.tick_params(labelbottom=is_lowest)

    handles: list[Artist] = []
    if any(record.get("held_out") for record in records):
        split = f"held-out ({held_out_split})" if held_out_split else "held-out"
        handles.append(Line2D([], [], color=QUIET, label=literal(split)))
    handles.append(Line2D([], [], color=QUIET, label="training", **_TRAINING))
    if any(len(seeds) > 1 for seeds in histories.values()):
        handles.append(seed_range())
    if compressed:
        handles.append(Line2D([], [], label="compressed beyond this line", **_BOUNDARY))
    add_legend(figure, looks(histories).values(), *handles)
    return figure


def _line(seeds: Sequence[Sequence[Record]], part: str, term: str) -> _Line:
    """Return the values of a term at the epochs where every seed has a finite one."""
    values = [
        {
            record["epoch"]: value
            for record in records
            if (value := (record.get(part) or {}).get(term)) is not None and math.isfinite(value)
        }
        for records in seeds
    ]
    epochs = sorted(set(values[0]).intersection(*values[1:])) if values else []
    return {epoch: [seed[epoch] for seed in values] for epoch in epochs}


def _draw(
    axes: Axes, histories: Mapping[str, Sequence[Sequence[Record]]], term: str, ticks: int
) -> bool:
    """Draw one term; return whether a range of its axis is compressed."""
    drawn: list[_Line] = []
    for label, look in looks(histories).items():
        training, held_out = (_line(histories[label], part, term) for part in ("train", "held_out"))
        # Only one of the two lines has markers: held-out if there is one.
        for line, style, marked in ((training, _TRAINING, not held_out), (held_out, {}, True)):
            if line:
                drawn.append(line)
                plot_seeds(
                    axes,
                    line,
                    color=look.colour,
                    marker=look.marker if marked else "",
                    markevery=max(1, len(line) // 6),
                    **style,
                )
    last = max((max(line) for line in drawn), default=1.0)
    axes.set_xlim(1 - 0.03 * last, 1.03 * last)
    whole_numbers(axes.xaxis, ticks=6)
    return bool(drawn) and _fit_y_axis(axes, drawn, last, ticks)


def _fit_y_axis(axes: Axes, lines: Sequence[_Line], last: float, ticks: int) -> bool:
    """Show all values; compress the range that only the first quarter of the epochs needs.

    Return whether a range is compressed.
    """
    points = [(epoch, v) for line in lines for epoch, values in line.items() for v in values]
    lowest, highest = min(v for _, v in points), max(v for _, v in points)
    later = [value for epoch, value in points if epoch > last / 4]
    margin = 0.06 * (highest - lowest) or 0.06 * abs(highest) or 1.0
    if highest - lowest <= 4 * (max(later) - min(later)):
        axes.set_ylim(lowest - margin, highest + margin)
        axes.yaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
        return False
    near = 0.1 * (max(later) - min(later)) or 0.05 * margin
    low, high = min(later) - near, max(later) + near
    knots, heights = [low, high], [0.0, 1.0]
    if lowest < low:
        knots, heights = [lowest - margin, *knots], [-_COMPRESSED, *heights]
    if highest > high:
        knots, heights = [*knots, highest + margin], [*heights, 1 + _COMPRESSED]

    def forward(values: Any) -> Any:
        return np.interp(values, knots, heights)

    def inverse(values: Any) -> Any:
        return np.interp(values, heights, knots)

    axes.set_yscale("function", functions=(forward, inverse))
    axes.set_ylim(knots[0], knots[-1])
    inside = MaxNLocator(ticks, steps=[1, 2, 5, 10]).tick_values(low, high)
    shown = [tick for tick in inside if low <= tick <= high]
    for bound, end in ((low, lowest), (high, highest)):
        if not low <= end <= high:
            shown.append(float(f"{end:.2g}"))
            axes.axhline(bound, **_BOUNDARY)
    axes.set_yticks(shown, [f"{tick:,.6g}".replace("-", "−") for tick in shown])
    return True
