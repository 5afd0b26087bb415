"""Numbers side by side: quantities in rows; runs or methods in columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

from hebae.errors import HebaeError
from hebae.report.values import Measured, Summary, Undefined, Value, summarise

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["Measured", "Row", "Table", "Undefined", "Value"]

_ARROWS = {"higher": "\N{NO-BREAK SPACE}↑", "lower": "\N{NO-BREAK SPACE}↓", "": ""}
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Row:
    """A quantity, and its value in each column.

    Parameters
    ----------
    name : str
    values : sequence of Value
        Numbers; numbers `Measured` with an error; words; `Undefined`, with the reason; None if not
        measured; or a list of the numbers of several seeds, shown as the median with the least and
        the greatest.
    unit : str
    format : str
        How a float is written: ".1f", ",.0f", ...
    better : "higher", "lower" or ""
        Shown as an arrow.
    section : str
        Heading under which the row stands; said once, above the first of its rows.
    best : collection of int
        Columns whose values are set off, in bold.
    """

    name: str
    values: Sequence[Value]
    unit: str = ""
    format: str = ".4g"
    better: Literal["higher", "lower", ""] = ""
    section: str = ""
    best: Collection[int] = ()

    @property
    def heading(self) -> str:
        """Name, unit and arrow."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.name}{unit}{_ARROWS[self.better]}"

    @property
    def summaries(self) -> list[Summary]:
        """What is kept of each value."""
        return [summarise(value) for value in self.values]


@dataclass(frozen=True)
class Table:
    """A table, to be shown by rich, in Markdown or in HTML (see `page`), and kept as CSV or JSON.

    Parameters
    ----------
    title : str
    columns : sequence of str
        What is compared.
    rows : sequence of Row
        Each with a value for each column.
    notes : sequence of str
        Said below, after the footnotes.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise HebaeError(
                    f"{row.name} has {len(row.values)} values for {len(self.columns)} columns."
                )

    def cells(self, before_range: str = " ") -> list[list[str]]:
        """Return the words of each row's cells; a raised number leads to a footnote."""
        marks = {reason: _raised(number) for number, reason in enumerate(self._reasons(), 1)}
        return [
            [s.text(row.format, before_range) + marks.get(s.note, "") for s in row.summaries]
            for row in self.rows
        ]

    def lines(self, before_range: str = " ") -> Iterator[tuple[str, Row, list[str]]]:
        """Yield each row with its cells, and the section's heading if it is the section's first."""
        section = ""
        for row, cells in zip(self.rows, self.cells(before_range), strict=True):
            yield row.section if row.section != section else "", row, cells
            section = row.section

    def footnotes(self) -> list[str]:
        """Return the lines to put below: the reasons, numbered, and the table's own notes."""
        reasons = [f"{_raised(number)} {why}" for number, why in enumerate(self._reasons(), 1)]
        return [*reasons, *self.notes]

    def records(self) -> list[dict[str, Any]]:
        """Return a flat record of each cell, in full precision, ready for JSON.

        Its keys are section, quantity, unit, column, and those of `Summary`.
        """
        return [
            {
                "section": row.section,
                "quantity": row.name,
                "unit": row.unit,
                "column": column,
                **asdict(summary),
            }
            for row in self.rows
            for column, summary in zip(self.columns, row.summaries, strict=True)
        ]

    def to_csv(self) -> str:
        """Return the `records` as CSV under a header; what is None is empty."""
        names = ["section", "quantity", "unit", "column", *Summary.__dataclass_fields__]
        text = StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records())
        return text.getvalue()

    def to_markdown(self) -> str:
        """Return GitHub's kind of Markdown: the title, the table, the footnotes."""
        head = ["", *self.columns]
        lines = [_markdown_line(head), _markdown_line([":--", *["--:"] * len(self.columns)])]
        for section, row, cells in self.lines():
            if section:
                lines.append(f"| **{_escaped(section)}** |{' |' * len(self.columns)}")
            lines.append(_markdown_line([row.heading, *cells], {1 + i for i in row.best}))
        title = f"**{_escaped(self.title)}**" if self.title else ""
        notes = "  \n".join(map(_escaped, self.footnotes()))
        return "\n\n".join(part for part in (title, "\n".join(lines), notes) if part) + "\n"

    def to_rich(self) -> RichTable:
        """Make a table for rich's console; three columns over seeds fit into 80 letters."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            title=Text(self.title, style="bold") if self.title else None,
            title_justify="left",
            caption=Text("\n".join(self.footnotes()), style="dim"),
            caption_justify="left",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        table.add_column("")
        for column in self.columns:
            table.add_column(Text(column), justify="right", overflow="fold")
        # A range over seeds goes below its median: there is no room beside it.
        for section, row, cells in self.lines(before_range="\n"):
            if section:
                table.add_section()
                table.add_row(Text(section, style="bold italic"))
            styles = ["bold" if i in row.best else "" for i in range(len(cells))]
            table.add_row(Text(row.heading), *map(Text, cells, styles))
        return table

    def _reasons(self) -> list[str]:
        notes = [summary.note for row in self.rows for summary in row.summaries if summary.note]
        return list(dict.fromkeys(notes))


def _raised(number: int) -> str:
    return str(number).translate(_SUPERSCRIPTS)


def _markdown_line(cells: Sequence[str], bold: Collection[int] = ()) -> str:
    escaped = [_escaped(cell) for cell in cells]
    shown = [f"**{cell}**" if i in bold else cell for i, cell in enumerate(escaped)]
    return f"| {' | '.join(shown)} |"


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows each letter of it, on one line."""
    return re.sub(r"([\\`*|<])", r"\\\1", " ".join(text.split()))
