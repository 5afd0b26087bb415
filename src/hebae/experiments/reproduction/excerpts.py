"""Numbers and rows of stored results within other files, between markers that say where from.

A number names study, claim, number and format; rows name a study and the rows of its tables::

    <!-- number: figure2 correlation hebae .3f -->0.020<!-- /number -->
    <!-- rows: table; squared error; ELBO -->
    (the rows)
    <!-- /rows -->
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hebae.errors import HebaeError
from hebae.experiments.reproduction.stored_tables import from_json
from hebae.report.tables import Table

__all__ = ["fill_in", "has_markers", "said"]

Stored = Mapping[str, Mapping[str, Any]]
"""What each study's JSON file holds, by its name."""

_NUMBER = re.compile(
    r"(<!-- number: (\S+) (\S+) (\S+) (\S+) -->)(.*?)(<!-- /number -->)", re.DOTALL
)
_ROWS = re.compile(r"(<!-- rows: ([^;\n]+?);([^\n]+?) -->\n)(.*?)(<!-- /rows -->)", re.DOTALL)


def has_markers(text: str) -> bool:
    """Tell whether anything of `text` is to be filled in."""
    return bool(_NUMBER.search(text) or _ROWS.search(text))


def fill_in(text: str, stored: Stored, origin: str) -> str:
    """Return `text` with what stands between each pair of markers brought up to date.

    Raises
    ------
    HebaeError
        If a marker names what is not there; `origin` is where the text comes from.
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
        begin, study, names, _, end = match.groups()
        try:
            return begin + _excerpt(stored[study], names) + end
        except KeyError as missing:
            raise HebaeError(
                f"{origin} names rows of {study}, and there is no {missing}; see the JSON files "
                "for what there is."
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


def _excerpt(values: Mapping[str, Any], names: str) -> str:
    """Return the named rows of a study's first table, and their footnotes, without headings."""
    table = from_json(values["tables"][0])
    by_name = {row.name: row for row in table.rows}
    chosen = [replace(by_name[name.strip()], section="") for name in names.split(";")]
    return Table("", table.columns, chosen).to_markdown()
