"""Lines of values over seeds: the panels that figures and the charts of a page are drawn from."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from hebae.methods import METHODS
from hebae.report.methods import looks

Scale = Literal["linear", "log", "negative log"]
"""Scale of an axis; "negative log" is for negative values, the greatest at the top."""
Line: TypeAlias = Mapping[float, Sequence[float]]
"""Values over seeds, by x."""
Record: TypeAlias = Mapping[str, Any]
"""A line of ``metrics.jsonl``: epoch, terms of the training data, terms of the held-out data."""

_FAR = 8.0  # greatest over least x from which an axis "as given" is logarithmic
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


@dataclass(frozen=True)
class LinePanel:
    """The content of one panel."""

    lines: Mapping[str, Line]
    """By label. A line is the median over seeds, in a band from the smallest to the largest value;
    values that are not finite are left out."""
    title: str = ""
    note: str = ""
    x_label: str = ""
    y_label: str = ""
    x_scale: Scale | Literal["as given"] = "linear"
    """As given: values of x are labelled, on a logarithmic scale if they differ by a large factor;
    they may include 0."""
    y_scale: Scale = "linear"
    mark: float | None = None
    """An x to mark with a vertical line."""
    dashed: Mapping[str, Line] = field(default_factory=dict)
    """Further lines of the same labels, in the charts of a page."""


@dataclass(frozen=True)
class Chart:
    """Panels of lines that a page draws, in which a reader zooms."""

    title: str
    panels: Sequence[LinePanel]
    caption: str = ""
    dashed: str = ""
    """What dashed lines are."""
    solid: str = ""
    kind: ClassVar = "chart"

    def content(self) -> dict[str, Any]:
        """Return what ``charts.js`` draws."""
        labels = [label for panel in self.panels for label in (*panel.lines, *panel.dashed)]
        colours = {label: look.colour for label, look in looks(dict.fromkeys(labels)).items()}
        names = {label: look.name for label, look in looks(dict.fromkeys(labels)).items()}
        panels = []
        several = False
        for number, panel in enumerate(self.panels):
            lines = []
            for dash, group in ((self.dashed, panel.dashed), ("", panel.lines)):
                for label, line in group.items():
                    if points := _points(line):
                        several |= len(points[0]) > 2
                        name, colour = names[label], colours[label]
                        lines.append(
                            {"name": name, "colour": colour, "dashed": dash, "points": points}
                        )
            if lines:
                panels.append(_panel(panel, lines) | {"id": f"{id_of(self.title)}-{number}"})
        legend = [("solid", self.solid)] if self.solid else []
        if any(line["dashed"] for panel in panels for line in panel["lines"]):
            legend.append(("dash", self.dashed))
        if several:
            legend.append(("range", "range over seeds"))
        return {"panels": panels, "legend": legend}


def id_of(title: str) -> str:
    """Return a title as an HTML id, of letters, digits and hyphens."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())


def _points(line: Line) -> list[list[float]]:
    """Return x and median, and for several seeds the smallest and largest value."""
    several = any(len(values) > 1 for values in line.values())
    points = []
    for x in sorted(line):
        values = [value for value in line[x] if math.isfinite(value)]
        if values:
            ends = [min(values), max(values)] if several else []
            points.append([_rounded(v) for v in (x, statistics.median(values), *ends)])
    return points


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")


def _panel(panel: LinePanel, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    points = [point for line in lines for point in line["points"]]
    xs = sorted({x for x, *_ in points})
    positive = [x for x in xs if x > 0]
    x_scale, ticks = panel.x_scale, None
    if x_scale == "as given":
        far = bool(positive) and positive[-1] > _FAR * positive[0]
        x_scale = "log" if far and xs[0] >= 0 else "linear"
        shown = xs[:: math.ceil(len(xs) / 8)]
        ticks = [[x, f"{x:g}"] for x in shown]
        if x_scale == "log" and xs[0] == 0:  # which has no logarithm: a step before the least
            least = positive[0] ** 2 / positive[1] if len(positive) > 1 else positive[0] / 10
            for point in points:
                point[0] = point[0] or least
            ticks = [[x or least, label] for x, label in ticks]
            xs[0] = least
    heights = _heights(points, xs[-1])
    values = [value for _, *rest in points for value in rest]
    far_off = heights[0] > min(values) or heights[1] < max(values)
    y_scale = "log" if panel.y_scale == "log" else "linear"
    return {
        "title": panel.title,
        "note": panel.note + ("; zoom out for the first values" if far_off else ""),
        "x_label": panel.x_label,
        "y_label": panel.y_label,
        "x_scale": x_scale,
        "y_scale": y_scale,
        "x_ticks": ticks,
        "mark": panel.mark,
        "lines": list(lines),
        "view": [*_margins(xs[0], xs[-1], x_scale), *_margins(*heights, y_scale)],
    }


def _heights(points: Sequence[Sequence[float]], last: float) -> tuple[float, float]:
    """Return the range of the values: of the later ones, if the first are far off.

    Zooming out shows the first as well.
    """
    low = min(min(values) for _, *values in points)
    high = max(max(values) for _, *values in points)
    later = [value for x, *values in points if x > last / 4 for value in values] or [low, high]
    if high - low <= 4 * (max(later) - min(later)) or max(later) == min(later):
        return low, high
    reach = max(later) - min(later)
    return max(low, min(later) - 0.3 * reach), min(high, max(later) + 0.3 * reach)


def _margins(low: float, high: float, scale: str) -> tuple[float, float]:
    if scale == "log":
        factor = max(high / low, 1.2) ** 0.05
        return low / factor, high * factor
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def loss_terms(records: Sequence[Record]) -> list[tuple[str, str, str, str]]:
    """Return the terms of the loss: name, heading, meaning and unit; objective, then penalties."""
    terms = dict.fromkeys(name for record in records for name in record["train"])
    penalties = [name for name in terms if name not in ("objective", "reconstruction")]
    # With a rate term, which replaces "moments", HEBAE's objective can be an ELBO.
    caution = "HEBAE's is not an ELBO" if "moments" in penalties else ""
    found = [
        ("objective", "Objective", caution or "the negative loss", _NATS),
        ("reconstruction", "Reconstruction", "−log p(x|z)", _NATS),
    ]
    for name in penalties:
        unit = next((m.units[name] for m in METHODS.values() if name in m.units), "nats")
        found.append((name, f"Penalty: {name}", _PENALTIES.get(name, ""), unit or "no unit"))
    return found


def term_line(seeds: Sequence[Sequence[Record]], part: str, term: str) -> Line:
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


def loss_chart(
    runs: Mapping[str, Sequence[Sequence[Record]]],
    held_out_split: str | None = None,
    *,
    title: str,
    caption: str = "",
) -> Chart:
    """Chart every term of the loss by epoch, on training (dashed) and held-out data.

    `runs` gives, by method, a list of records per seed, as in ``metrics.jsonl``.
    """
    histories = {label: [seed for seed in seeds if seed] for label, seeds in runs.items()}
    records = [record for seeds in histories.values() for seed in seeds for record in seed]
    held_out = any(record.get("held_out") for record in records)
    panels = []
    for term, heading, note, unit in loss_terms(records):
        lines = {
            part: {label: term_line(seeds, part, term) for label, seeds in histories.items()}
            for part in ("train", "held_out")
        }
        solid = lines["held_out"] if held_out else lines["train"]
        dashed = lines["train"] if held_out else {}
        panels.append(LinePanel(solid, heading, note, "epoch", unit, dashed=dashed))
    split = f"held-out ({held_out_split})" if held_out_split else "held-out"
    return Chart(title, panels, caption, "training", split if held_out else "training")
