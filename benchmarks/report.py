"""From the JSON of the topics: README.md and plots. ``python benchmarks/report.py [FOLDER]``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts
from figures import draw_aims, draw_panels, draw_readings
from records import RESULTS
from topics import LONG, TOPICS
from turns import quartiles

from hebae.files import write_atomically

__all__ = ["words_of", "write_report"]

MOST_ROWS = 20
"""Of a plot; what has more has curves as well."""

HEAD = """\
Everything here is made by `make bench` from the JSON files beside it
([how](../../../benchmarks/README.md)); no number is typed by hand. Contenders take turns, and
ratios are taken within a round, so that what else the machine does falls on all of them alike;
medians, with quartiles in brackets."""


def write_report(folder: Path) -> None:
    """Write ``README.md`` and the plots beside the JSON files in `folder`."""
    paths = [folder / f"{topic}.json" for topic in (*TOPICS, *LONG)]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    parts = ["# Speed\n", _wrapped(HEAD), _summary(records, folder)]
    parts += [_section(record, folder) for record in records]
    content = "\n".join(parts)
    path = folder / "README.md"
    write_atomically(path, lambda temporary: temporary.write_text(content, encoding="utf-8"))


def words_of(aim: dict[str, Any]) -> list[str]:
    """Say what, how much (quartiles), the aim, and whether it is met."""
    unit = "" if aim["unit"] == "x" else f" {aim['unit']}"
    times = " x" if aim["unit"] == "x" else ""
    if aim["median"] is None:
        value = f"not measured: {aim['note']}"
    else:
        low, median, high = (_number(aim[name]) for name in ("low", "median", "high"))
        value = f"{median}{unit}{times}"
        if len(aim["values"]) > 1:
            value += f" ({low} to {high})"
    bound = ""
    if aim["at_most"] is not None:
        bound = f"at most {aim['at_most']:g}{unit}{times}"
    elif aim["at_least"] is not None:
        bound = f"at least {aim['at_least']:g}{unit}{times}"
    verdict = {True: "met", False: "**missed**", None: ""}[aim["met"]]
    return [aim["what"], value, bound, verdict]


def _summary(records: Sequence[dict[str, Any]], folder: Path) -> str:
    aims = [aim for record in records for aim in record["aims"]]
    held = [aim for aim in aims if aim["at_most"] is not None or aim["at_least"] is not None]
    rows = [words_of(aim) for aim in held]
    drawn = [aim for aim in held if aim["median"] is not None]
    picture = ""
    if drawn:
        draw_aims(drawn, folder / "aims")
        picture = _picture("aims", "each quantity as a share of its aim")
    return "\n".join([_table(["", "measured", "aim", ""], rows), picture])


def _section(record: dict[str, Any], folder: Path) -> str:
    topic, parts = record["topic"], [f"## {record['title']}\n", _wrapped(record["text"])]
    if record["effort"]["smoke"]:
        parts.append("**A trial, to see whether it runs: the times mean nothing.**\n")
    loose = [words_of(a)[:2] for a in record["aims"] if a["at_most"] == a["at_least"] is None]
    if loose:
        parts += ["For the record, without an aim:\n", _table(["", "measured"], loose)]
    if record["readings"]:
        parts.append(_readings(record))
        if len(record["readings"]) <= MOST_ROWS:
            draw_readings(record, folder / topic)
            parts.append(_picture(topic, f"{record['title']}: every round"))
    for table in record["tables"]:
        parts += [f"{table['title']}:\n", _table(table["columns"], table["rows"])]
    if record["panels"]:
        draw_panels(record["panels"], folder / f"{topic}-curves")
        parts.append(_picture(f"{topic}-curves", f"{record['title']}: curves"))
        parts += [_curves(panel) for panel in record["panels"]]
    origin, effort = record["provenance"], record["effort"]
    lines = [f"- {name}: {value}" for name, value in origin.items() if value]
    if record["readings"]:
        lines.append(f"- effort: {effort['rounds']} rounds, stretches of {effort['steps']} steps")
    parts += ["\n".join(lines), f"\nAll numbers: [{topic}.json]({topic}.json).\n"]
    return "\n".join(parts)


def _readings(record: dict[str, Any]) -> str:
    unit = record["readings_unit"]
    factor = 1e3 if unit == "ms" else 1
    rows = []
    for name, seconds in record["readings"].items():
        low, median, high = (_number(factor * value) for value in quartiles(seconds))
        rows.append([name, median, low, high, str(len(seconds))])
    heading = f"{unit}, {record['readings_title']}"
    return _table([heading, "median", "lower quartile", "upper quartile", "rounds"], rows)


def _curves(panel: dict[str, Any]) -> str:
    rows = []
    for curve in panel["curves"]:
        exponent = "" if curve["exponent"] is None else f"{curve['exponent']:.2f}"
        points = zip(curve["x"], curve["y"], strict=True)
        shown = ", ".join(f"{x:,}: {_number(y)}" for x, y in points)
        rows.append([curve["label"], shown, exponent])
    name = f"{panel['title']} ({panel['x_label']}: {panel['y_label']})"
    return _table([name, "medians", "exponent"], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first, *others = columns
    lines = [[first, *others], [":--", *["--:"] * len(others)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _picture(name: str, words: str) -> str:
    return f"![{words}]({name}.png)\n\n([vector]({name}.svg))\n"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), width=120, break_long_words=False) + "\n"


def main(folder: Path = RESULTS) -> None:
    """Make README.md and the plots anew from the JSON files in a folder."""
    write_report(folder)


if __name__ == "__main__":
    cyclopts.run(main)
