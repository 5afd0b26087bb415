"""The loss and its terms over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hebae.errors import HebaeError
from hebae.report.histories import Curve, Histories, Record, by_seed, curve, penalties
from hebae.report.methods import looks
from hebae.report.style import QUIET, describe, literal, styled

__all__ = ["loss_curves"]

_TRAINING: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.1, "alpha": 0.6}
_BAND = 0.16  # how opaque
_LETTERS = 125  # of the legend, in a line
_NATS = "nats per example"
# What each penalty is, and its unit.
_PENALTIES = {
    "moments": ("KL(N(β, Σ) ‖ N(0, I))", "nats"),
    "aggregate": ("KL(N(β, C) ‖ N(0, I))", "nats"),
    "rate": ("mean KL(q(z|x) ‖ N(β, C))", "nats"),
    "kl": ("mean KL(q(z|x) ‖ N(0, I))", "nats"),
    "mmd": ("MMD² of the codes and N(0, I)", "no unit"),
}


@styled()
def loss_curves(
    runs: Mapping[str, Sequence[Record] | Sequence[Sequence[Record]]],
    held_out_split: str | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw objective, reconstruction and penalties over the epochs, training and held-out.

    Each penalty has axes of its own, since they are unlike quantities. The axes are limited to what
    the later epochs need, for the first are often far off.

    Parameters
    ----------
    runs : mapping of str to records, or to a list of records for each seed
        Records are the lines of ``metrics.jsonl``. Of several seeds the median is drawn, in a band
        from the least to the greatest, at the epochs that all of them have.
    held_out_split : str, optional
        Name of the held-out split, for the legend.
    title : str

    Raises
    ------
    HebaeError
        If no run has a finished epoch.
    """
    histories = {label: by_seed(records) for label, records in runs.items()}
    if not any(histories.values()):
        raise HebaeError("there is nothing to draw: no epoch was finished.")
    names = penalties(histories)
    rows, columns = max(1, len(names)), 3 if names else 2
    figure = Figure(
        figsize=(3.2 * columns, max(3.3, 1.25 * rows + 0.4)),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )
    grid = figure.add_gridspec(rows, columns)

    axes = figure.add_subplot(grid[:, 0])
    _draw(axes, histories, "objective")
    describe(axes, "Objective", _caution(histories, names))
    axes.set(xlabel="epoch", ylabel=_NATS)

    axes = figure.add_subplot(grid[:, 1])
    _draw(axes, histories, "reconstruction")
    describe(axes, "Reconstruction", "−log p(x|z)")
    axes.set(xlabel="epoch", ylabel=_NATS)

    for row, name in enumerate(names):
        axes = figure.add_subplot(grid[row, 2])
        _draw(axes, histories, name)
        meaning, unit = _PENALTIES.get(name, ("", ""))
        describe(axes, f"Penalty: {name}", meaning)
        axes.set(ylabel=unit)
        axes.tick_params(labelbottom=row == rows - 1)
    figure.axes[-1].set(xlabel="epoch")

    _add_legend(figure, histories, held_out_split)
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", wrap=True)
    return figure


def _caution(histories: Histories, names: Sequence[str]) -> str:
    cautions = []
    if len(histories) > 1:
        cautions.append("differs by method")
    # With a rate term, which takes the place of "moments", it can be one, by its weights.
    if "moments" in names:
        cautions.append("HEBAE's is not an ELBO")
    return "; ".join(cautions) or "the loss, negated"


def _draw(axes: Axes, histories: Histories, term: str) -> None:
    drawn = []
    for label, look in looks(histories).items():
        training, held_out = (curve(histories[label], part, term) for part in ("train", "held_out"))
        # The marker goes where the eye should: to what was held out, if anything was.
        for line, style, marked in (
            (training, _TRAINING, not held_out.epochs),
            (held_out, {}, True),
        ):
            if not line.epochs:
                continue
            drawn.append(line)
            axes.plot(
                line.epochs,
                line.middle,
                color=look.colour,
                marker=look.marker if marked else "",
                markevery=max(1, len(line.epochs) // 6),
                **style,
            )
            if len(histories[label]) > 1:
                axes.fill_between(
                    line.epochs, line.low, line.high, color=look.colour, alpha=_BAND, linewidth=0
                )
    last = max((line.epochs[-1] for line in drawn), default=1)
    axes.set_xlim(1 - 0.03 * last, 1.03 * last)
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    if drawn:
        axes.set_ylim(*_limits(drawn))


def _limits(drawn: Sequence[Curve]) -> tuple[float, float]:
    """Range of all epochs; of the later three quarters, if the first are far beyond it."""
    points = [
        (epoch, value)
        for line in drawn
        for values in (line.low, line.high)
        for epoch, value in zip(line.epochs, values, strict=True)
    ]
    start = max(epoch for epoch, _ in points) / 4
    whole = [value for _, value in points]
    later = [value for epoch, value in points if epoch > start]
    far = max(whole) - min(whole) > 2 * (max(later) - min(later))
    low, high = (min(later), max(later)) if far else (min(whole), max(whole))
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - margin, high + margin


def _add_legend(figure: Figure, histories: Histories, held_out_split: str | None) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=look.colour, marker=look.marker, label=literal(look.name))
        for look in looks(histories).values()
    ]
    if any(r.get("held_out") for seeds in histories.values() for seed in seeds for r in seed):
        split = f"held-out ({held_out_split})" if held_out_split else "held-out"
        handles.append(Line2D([], [], color=QUIET, label=literal(split)))
    handles.append(Line2D([], [], color=QUIET, label="training", **_TRAINING))
    if any(len(seeds) > 1 for seeds in histories.values()):
        handles.append(Patch(color=QUIET, alpha=_BAND, linewidth=0, label="range over seeds"))
    # Seven letters' room for the line before each name.
    lines = math.ceil(sum(len(str(handle.get_label())) + 7 for handle in handles) / _LETTERS)
    figure.legend(handles=handles, loc="outside lower left", ncols=math.ceil(len(handles) / lines))
