"""Pages of results in Markdown, made from the JSON files beside them."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hebae.errors import HebaeError
from hebae.paper.study import STUDIES
from hebae.report.tables import Table

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
    intro = (
        "The results of `hebae reproduce`. The page of each study has its figures and all numbers."
    )
    smoke = any(values["budget"] == "smoke" for values in studies.values())
    parts = ["# The paper, reproduced", intro, STUDIES["smoke" if smoke else "standard"], note]
    for source, heading in SOURCES.items():
        found = [
            (statement, f"[{values['study']}]({name}.md), {values['budget']}")
            for name, values in studies.items()
            for statement in values["statements"]
            if statement["source"] == source
        ]
        if found:
            found.sort(key=lambda entry: entry[0]["verdict"].startswith(VERDICTS[-1]))
            counts = Counter(s["verdict"].partition(" (")[0] for s, _ in found)
            verdicts = ", ".join(f"{name} ({counts[name]})" for name in VERDICTS if counts[name])
            parts += [f"## {heading}", f"Verdicts: {verdicts}." if verdicts else ""]
            parts.append(_statements(found, "study, budget"))
    return "\n\n".join(filter(None, parts)) + "\n"


def page(values: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """Return the page of a study, from the content of its JSON file and from its tables."""
    origin = values["provenance"]
    runs = (
        f"These results: budget `{values['budget']}`, {origin['runs']} runs of {origin['epochs']} "
        f"epochs, seeds {origin['seeds']}; data: {origin['data']}."
    )
    parts = [f"# {values['title']}", values["paper"], runs]
    if values["statements"]:
        parts.append(STUDIES["smoke" if values["budget"] == "smoke" else "standard"])
    for source, heading in SOURCES.items():
        statements = [(s, "") for s in values["statements"] if s["source"] == source]
        if statements:
            parts += [f"## {heading}", _statements(statements)]
    for figure in values["figures"]:
        name, title = figure["name"], figure["title"]
        parts.append(f"## {title}")
        if figure["shows_faces"]:
            parts.append(
                "_This figure shows photographs of people and is not published. Make it with "
                f"`hebae reproduce {values['study']}`; it is saved in the folder `faces`._"
            )
        else:
            parts += [f"![{title}]({name}.png)", f"[PDF]({name}.pdf)"]
        parts.append(figure["caption"])
    if values["tables"]:
        parts += ["## Numbers", *(table.to_markdown().strip() for table in tables)]
    if values["notes"]:
        parts += ["## Limitations", _list(values["notes"])]
    if values["deviations"]:
        named = [STUDIES["deviations"][name].values() for name in values["deviations"]]
        rows = [f"| {' | '.join(map(_cell, words))} |" for words in named]
        head = ["| where | what the paper or its code does | here |", "| :-- | :-- | :-- |"]
        parts += ["## Deviations from the paper", "\n".join([*head, *rows])]
    files = f"All numbers: [JSON]({values['study']}.json), [CSV]({values['study']}.csv)."
    parts += ["## Provenance", files, _list(f"{name}: {value}" for name, value in origin.items())]
    return "\n\n".join(parts) + "\n"


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
        try:
            found[path.stem] = dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise HebaeError(f"{path} is altered or truncated: {error}; restore it.") from None
    return found


def _statements(statements: Iterable[tuple[Mapping[str, Any], str]], last: str = "") -> str:
    """Tabulate statements; `last` is the heading of a last column, if there is one."""
    statements = list(statements)
    decided = any(one["verdict"] for one, _ in statements)
    head = ["statement", "result", *(["verdict"] if decided else []), *([last] if last else [])]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join([':--'] * len(head))} |"]
    for one, place in statements:
        cells = [_cell(one["text"]), _cell(fill(one["result"], one["numbers"]))]
        if decided:
            name, _, reason = one["verdict"].partition(" (")
            cells.append((f"**{name}**" if name else "") + (f" ({reason}" if reason else ""))
        lines.append(f"| {' | '.join([*cells, *([place] if last else [])])} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
