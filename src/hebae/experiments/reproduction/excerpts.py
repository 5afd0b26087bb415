"""Numbers and rows of stored results within other files, between markers that say where from.

A number names study, claim, number and format; rows name a study and the rows of its tables::

    <!-- number: figure2 correlation hebae .3f -->0.020<!-- /number -->
    <!-- rows: table; squared error; ELBO -->
    (the rows)
    <!-- /rows -->

In place of a study, rows can name a Markdown file that a command wrote, by its path from the file
that holds the markers. Without names they are all rows.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hebae.errors import HebaeError
from hebae.experiments.reproduction.stored_tables import from_json
from hebae.report.tables import Table

__all__ = ["fill_in", "rows_of", "said"]

_UNIT = re.compile(r"( \([a-z ]+\))?( [↑↓])?$")
"""What a row's heading has after its name."""

Stored = Mapping[str, Mapping[str, Any]]
"""What each study's JSON file holds, by its name."""

_NUMBER = re.compile(
    r"(<!-- number: (\S+) (\S+) (\S+) (\S+) -->)(.*?)(<!-- /number -->)", re.DOTALL
)
_ROWS = re.compile(r"(<!-- rows: ([^;\n]+?)(?:; ([^\n]+?))? -->\n)(.*?)(<!-- /rows -->)", re.DOTALL)


def fill_in(text: str, stored: Stored, origin: Path) -> str:
    """Return `text`, which is of the file `origin`, with what stands between markers up to date.

    Raises
    ------
    HebaeError
        If a marker names what is not there.
    """

    def number(match: re.Match[str]) -> str:
        begin, study, key, name, form, _, end = match.groups()
        try:
            claims = {claim["key"]: claim["numbers"] for claim in stored[study]["claims"]}
            return begin + said(f"{{{name}:{form}}}", claims[key]) + end
        except KeyError as missing:
            raise HebaeError(
                f"{origin} names the number {study} {key} {name}, and there is no {missing}; see "
                "the JSON files for what there is."
            ) from None

    def rows(match: re.Match[str]) -> str:
        begin, source, named, _, end = match.groups()
        names = named.split("; ") if named else []
        try:
            if source.endswith(".md"):
                found = rows_of((origin.parent / source).read_text(encoding="utf-8"), names)
            else:
                found = _excerpt(stored[source], names)
            return begin + found + end
        except (KeyError, FileNotFoundError) as missing:
            raise HebaeError(
                f"{origin} names rows of {source}, and there is no {missing}; see the JSON files "
                "and tables for what there is."
            ) from None

    return _ROWS.sub(rows, _NUMBER.sub(number, text))


def said(found: str, numbers: Mapping[str, float | None]) -> str:
    """Put the numbers into a sentence; one that does not exist is "undefined"."""
    words = []
    for before, name, form, _ in string.Formatter().parse(found):
        words.append(before)
        if name is not None:
            value = numbers[name]
            words.append("undefined" if value is None else format(value, form or ""))
    return "".join(words)


def rows_of(markdown: str, names: Sequence[str] = ()) -> str:
    """Return the table in `markdown` with its heading, cut down to the rows of these names.

    A name is the row's quantity, without its unit. Footnotes are left to whoever takes the rows.

    Raises
    ------
    KeyError
        If a row is not there.
    """
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    by_name = {_UNIT.sub("", re.split(r"(?<!\\)\|", line)[1].strip()): line for line in lines[2:]}
    chosen = [by_name[name.replace("|", r"\|")] for name in names] if names else lines[2:]
    return "\n".join([*lines[:2], *chosen]) + "\n"


def _excerpt(values: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the named rows of a study's first table, and their footnotes, without headings."""
    table = from_json(values["tables"][0])
    if not names:
        return replace(table, title="").to_markdown()
    by_name = {row.name: row for row in table.rows}
    chosen = [replace(by_name[name], section="") for name in names]
    return Table("", table.columns, chosen).to_markdown()
