"""Pages of results in Markdown, made from their JSON files by the template ``page.md.jinja``."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hebae.files import read_json
from hebae.paper.study import STUDIES
from hebae.report.tables import Measured, Row, Table, Undefined, Value

SOURCES = {
    "paper": "Statements of the paper",
    "target": "Targets set beforehand",
    "ours": "Further statements",
}
VERDICTS = ("holds", "holds in part", "does not hold", "undecided")


def index(studies: Mapping[str, Mapping[str, Any]], note: str = "") -> str:
    """Return a page with every statement and its verdict, those that have been decided first.

    `studies` has the content of each study's JSON file, by name; `note` is a paragraph to add below
    the introduction.
    """
    statements = [
        {**one, "place": f"[{values['study']}]({name}.md), {values['budget']}"}
        for name, values in studies.items()
        for one in values["statements"]
    ]
    statements.sort(key=lambda one: one["verdict"].startswith(VERDICTS[-1]))
    smoke = any(values["budget"] == "smoke" for values in studies.values())
    return _render({"statements": statements, "is_index": True, "note": note}, smoke)


def page(values: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """Return the page of a study, from the content of its JSON file and from its tables."""
    return _render({**values, "tables": tables, "is_index": False}, values["budget"] == "smoke")


def _render(values: Mapping[str, Any], is_smoke: bool) -> str:
    from jinja2 import Environment, StrictUndefined

    by_source = {}
    for source, heading in SOURCES.items():
        if found := [one for one in values["statements"] if one["source"] == source]:
            counts = Counter(one["verdict"].partition(" (")[0] for one in found)
            verdicts = ", ".join(f"{name} ({counts[name]})" for name in VERDICTS if counts[name])
            by_source[heading] = found, verdicts
    environment = Environment(trim_blocks=True, undefined=StrictUndefined)
    environment.filters["cell"] = lambda text: text.replace("|", "\\|")
    environment.filters["result"] = lambda one: fill(one["result"], one["numbers"])
    template = Path(__file__).with_name("page.md.jinja").read_text(encoding="utf-8")
    shared = {"by_source": by_source, "is_smoke": is_smoke, "texts": STUDIES}
    return environment.from_string(template).render({**values, **shared}).strip() + "\n"


def fill(result: str, numbers: Mapping[str, float | None]) -> str:
    """Put the numbers into a result; a number that does not exist becomes "undefined"."""
    parts = []
    for before, name, form, _ in string.Formatter().parse(result):
        parts.append(before)
        if name is not None:
            value = numbers[name]
            parts.append("undefined" if value is None else format(value, form or ""))
    return "".join(parts)


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the content of each study's JSON file in a folder, by name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        found[path.stem] = read_json(path, "restore it")
    return found


def table_to_json(table: Table) -> dict[str, Any]:
    """Return a table as JSON keeps it, with the number of every seed; None if it is not finite."""

    def encoded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: encoded(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [encoded(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: encoded(value) for name, value in asdict(table).items()}


def table_from_json(stored: Mapping[str, Any]) -> Table:
    """Return the table that `table_to_json` stored."""

    def decoded(value: Any) -> Value:
        if isinstance(value, dict):
            return Undefined(**value) if "reason" in value else Measured(**value)
        return value  # type: ignore[no-any-return]

    rows = [
        Row(**row | {"values": [decoded(v) for v in row["values"]], "best": tuple(row["best"])})
        for row in stored["rows"]
    ]
    return Table(stored["title"], stored["columns"], rows, stored["notes"])
