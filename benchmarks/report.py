"""Make README.md and plots from the JSON files. ``python benchmarks/report.py [FOLDER]``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts
from figures import draw_aims, draw_panels, draw_readings
from gpu_report import gpu_section, number, paragraph, table
from records import RESULTS
from topics import LONG, TOPICS
from turns import quartiles

from hebae.files import write_atomically

__all__ = ["aim_cells", "write_report"]

MOST_ROWS = 20
"""Rows of a plot of all rounds; a topic with more has curves."""

HEAD = """\
This page and its plots are made by `make bench` from the JSON files in this folder
([how](../../../benchmarks/README.md)). The contenders of a comparison take turns, and ratios are
taken within a round, so that other load on the machine affects all of them alike. Numbers are
medians, with quartiles in parentheses."""


def write_report(folder: Path, *, figures: bool = True) -> None:
    """Write ``README.md`` and, with `figures`, the plots beside the JSON files in `folder`."""
    paths = [folder / f"{topic}.json" for topic in (*TOPICS, *LONG)]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    if figures:
        _draw(records, folder)
    parts = ["# Speed\n", paragraph(HEAD), *_summary(records)]
    for record in records:
        parts += _section(record)
    content = "\n".join([*parts, *gpu_section(folder)])
    path = folder / "README.md"
    write_atomically(path, lambda temporary: temporary.write_text(content, encoding="utf-8"))


def aim_cells(aim: dict[str, Any]) -> list[str]:
    """Return what was measured, its value with quartiles, the target, and whether it is met."""
    unit = " x" if aim["unit"] == "x" else f" {aim['unit']}"
    if aim["median"] is None:
        value = f"not measured: {aim['note']}"
    else:
        low, median, high = (number(aim[name]) for name in ("low", "median", "high"))
        value = f"{median}{unit}"
        if len(aim["values"]) > 1:
            value += f" ({low} to {high})"
    target = ""
    for name, words in (("at_most", "at most"), ("at_least", "at least")):
        if aim[name] is not None:
            target = f"{words} {aim[name]:g}{unit}"
    verdict = {True: "met", False: "**missed**", None: ""}[aim["met"]]
    return [aim["what"], value, target, verdict]


def _has_target(aim: dict[str, Any]) -> bool:
    return aim["at_most"] is not None or aim["at_least"] is not None


def _drawn_aims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    aims = [aim for record in records for aim in record["aims"]]
    return [aim for aim in aims if _has_target(aim) and aim["median"] is not None]


def _draw(records: Sequence[dict[str, Any]], folder: Path) -> None:
    if aims := _drawn_aims(records):
        draw_aims(aims, folder / "aims")
    for record in records:
        if 0 < len(record["readings"]) <= MOST_ROWS:
            draw_readings(record, folder / record["topic"])
        if record["panels"]:
            draw_panels(record["panels"], folder / f"{record['topic']}-curves")


def _summary(records: Sequence[dict[str, Any]]) -> list[str]:
    aims = [aim for record in records for aim in record["aims"] if _has_target(aim)]
    parts = table(["", "measured", "target", ""], [aim_cells(aim) for aim in aims])
    if _drawn_aims(records):
        parts.append(_picture("aims", "each quantity as a share of its target"))
    return parts


def _section(record: dict[str, Any]) -> list[str]:
    topic, title = record["topic"], record["title"]
    parts = [f"## {title}\n", paragraph(record["text"])]
    if record["effort"]["smoke"]:
        parts.append("**Run with --smoke: the times mean nothing.**\n")
    others = [aim_cells(aim)[:2] for aim in record["aims"] if not _has_target(aim)]
    parts += table(["Without a target", "measured"], others)
    if record["readings"]:
        parts += _readings(record)
        if len(record["readings"]) <= MOST_ROWS:
            parts.append(_picture(topic, f"{title}: all rounds"))
    for one in record["tables"]:
        parts += [f"{one['title']}:\n", *table(one["columns"], one["rows"])]
    if record["panels"]:
        parts.append(_picture(f"{topic}-curves", f"{title}: curves"))
        for panel in record["panels"]:
            parts += _curves(panel)
    origin, effort = record["provenance"], record["effort"]
    lines = [f"- {name}: {value}" for name, value in origin.items() if value]
    if record["readings"]:
        lines.append(f"- rounds: {effort['rounds']} of {effort['steps']} steps each")
    return [*parts, "\n".join(lines), f"\nAll numbers: [{topic}.json]({topic}.json).\n"]


def _readings(record: dict[str, Any]) -> list[str]:
    unit = record["readings_unit"]
    factor = 1e3 if unit == "ms" else 1
    rows = []
    for name, seconds in record["readings"].items():
        low, median, high = (number(factor * value) for value in quartiles(seconds))
        rows.append([name, median, low, high, str(len(seconds))])
    heading = f"{unit} {record['readings_title']}"
    return table([heading, "median", "lower quartile", "upper quartile", "rounds"], rows)


def _curves(panel: dict[str, Any]) -> list[str]:
    rows = []
    for curve in panel["curves"]:
        exponent = "" if curve["exponent"] is None else f"{curve['exponent']:.2f}"
        points = zip(curve["x"], curve["y"], strict=True)
        shown = ", ".join(f"{x:,}: {number(y)}" for x, y in points)
        rows.append([curve["label"], shown, exponent])
    name = f"{panel['title']} ({panel['x_label']}: {panel['y_label']})"
    return table([name, "medians", "exponent"], rows)


def _picture(name: str, caption: str) -> str:
    return f"![{caption}]({name}.png)\n\n([vector]({name}.svg))\n"


def main(folder: Path = RESULTS, *, figures: bool = True) -> None:
    """Write README.md and the plots from the JSON files in a folder."""
    write_report(folder, figures=figures)


if __name__ == "__main__":
    cyclopts.run(main)
