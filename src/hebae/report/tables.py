"""Tables of metrics: quantities in rows, runs or methods in columns."""

from __future__ import annotations

import codecs
import csv
import math
import re
import statistics
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hebae.errors import HebaeError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

_ARROWS = {"higher": "\N{NO-BREAK SPACE}↑", "lower": "\N{NO-BREAK SPACE}↓", "": ""}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_REPLACEMENTS = {
    "↑": "(higher is better)",
    "↓": "(lower is better)",
    "±": "+/-",
    "‖": "||",
    "λ": "lambda",
    **dict(zip("–—−’“”×…", '---\'""x.', strict=True)),
    **{raised: f"[{digit}]" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}
_LETTERS = 14  # of a column's heading before it is wrapped
_PROSE = 40  # letters of a cell at most that is not broken into lines
_NOT_MEASURED = "not measured"
_NOT_FINITE = "not a finite number"


@dataclass(frozen=True)
class Undefined:
    """Stands for a number that does not exist; the reason goes into a footnote."""

    reason: str


@dataclass(frozen=True)
class Measured:
    """A number with its standard error, in the same unit."""

    value: float
    standard_error: float


Value: TypeAlias = float | Measured | str | Undefined | Sequence[float | None] | None
"""A number, alone or with its error; text; why there is none; numbers over seeds; None: missing."""


@dataclass(frozen=True)
class Summary:
    """What a table keeps of a value: over several seeds, the median and the range.

    `seeds` says how many of them have a value, `note` why there is none, or not one for each.
    """

    value: float | str | None
    minimum: float | None = None
    maximum: float | None = None
    seeds: int | None = None
    note: str = ""
    standard_error: float | None = None

    def text(self, format_spec: str, before_range: str = " ") -> str:
        """Return ``-102.7 ± 0.4``, or the median with its range: ``-102.7 [-103.1, -102.0]``."""
        if self.value is None:
            return "–" if self.note == _NOT_MEASURED else "undefined"
        if isinstance(self.value, str):
            return self.value
        middle = format(float(self.value), format_spec)
        if self.standard_error is not None:
            return f"{middle}{before_range}± {self.standard_error:.2g}"
        if self.minimum is None or self.maximum is None:
            return middle
        low, high = (format(float(end), format_spec) for end in (self.minimum, self.maximum))
        return f"{middle}{before_range}[{low}, {high}]"


def summarise(value: Value) -> Summary:
    """Reduce the value of a cell to what is shown and stored."""
    if value is None:
        return Summary(None, note=_NOT_MEASURED)
    if isinstance(value, Undefined):
        return Summary(None, note=value.reason)
    if isinstance(value, str):
        return Summary(value)
    if isinstance(value, Measured):
        return replace(summarise(value.value), standard_error=_plain(value.standard_error))
    if not isinstance(value, Iterable):
        return Summary(_plain(value)) if math.isfinite(value) else Summary(None, note=_NOT_FINITE)
    known = [_plain(one) for one in value if one is not None and math.isfinite(one)]
    if not known:
        measured = any(one is not None for one in value)
        return Summary(None, note=_NOT_FINITE if measured else _NOT_MEASURED)
    if len(value) == 1:
        return Summary(known[0])
    missing = f"{len(known)} of {len(value)} seeds" if len(known) < len(value) else ""
    return Summary(statistics.median(known), min(known), max(known), len(known), missing)


def _plain(value: float) -> float:
    """Return a Python number, for JSON, where NumPy's may have been given."""
    return value if isinstance(value, int) else float(value)


@dataclass(frozen=True)
class Row:
    """A quantity, and its value in each column."""

    name: str
    values: Sequence[Value]
    """Those over seeds are shown as the median with the range."""
    unit: str = ""
    format: str = ".4g"
    better: Literal["higher", "lower", ""] = ""
    """Shown as an arrow."""
    section: str = ""
    """Heading above the first row of the section."""
    best: Collection[int] = ()
    """Columns whose values are highlighted, in bold."""

    @property
    def heading(self) -> str:
        """Name, unit and arrow."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.name}{unit}{_ARROWS[self.better]}"

    @property
    def summaries(self) -> list[Summary]:
        """The `Summary` of each value."""
        return [summarise(value) for value in self.values]


@dataclass(frozen=True)
class Table:
    """A table: ``rich.print`` shows it, `page` makes it HTML, methods make it text or data."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    """Below the table, after the footnotes."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise HebaeError(
                    f"{row.name} has {len(row.values)} values for {len(self.columns)} columns."
                )

    @property
    def has_metrics_in_rows(self) -> bool:
        """Whether rows hold numbers of different quantities, rather than a run each."""
        return any(not isinstance(v, str | Undefined) for row in self.rows for v in row.values)

    def cells(self, before_range: str = " ") -> list[list[str]]:
        """Return the text of each row's cells; a raised number refers to a footnote."""
        marks = self._marks()
        return [
            [s.text(row.format, before_range) + marks.get(s.note, "") for s in row.summaries]
            for row in self.rows
        ]

    def prose(self) -> set[int]:
        """Return the columns with a text that is read in lines, which are aligned left."""
        return {
            place for line in self.cells() for place, text in enumerate(line) if len(text) > _PROSE
        }

    def lines(self, before_range: str = " ") -> Iterator[tuple[str, Row, list[str]]]:
        """Yield each row with its cells, after its section's heading if it is the first there."""
        section = ""
        for row, cells in zip(self.rows, self.cells(before_range), strict=True):
            yield row.section if row.section != section else "", row, cells
            section = row.section

    def footnotes(self) -> list[str]:
        """Return the lines below the table: numbered reasons, then the table's notes."""
        return [*(f"{mark} {reason}" for reason, mark in self._marks().items()), *self.notes]

    def transposed(self) -> Table:
        """Return the table with a row for each column, as text, for many columns."""
        cells, rows = self.cells(), []
        for place, column in enumerate(self.columns):
            best = [number for number, row in enumerate(self.rows) if place in row.best]
            rows.append(Row(column, [line[place] for line in cells], best=best))
        return Table(self.title, [row.heading for row in self.rows], rows, self.footnotes())

    def records(self) -> list[dict[str, Any]]:
        """Return one flat record per cell, in full precision, ready for JSON.

        Its keys are section, quantity, unit, column, and those of `Summary`.
        """
        return [
            {"section": row.section, "quantity": row.name, "unit": row.unit, "column": column}
            | asdict(summary)
            for row in self.rows
            for column, summary in zip(self.columns, row.summaries, strict=True)
        ]

    def to_markdown(self) -> str:
        """Return GitHub Markdown: the title, the table, the footnotes."""
        rows = [["", *self.columns], [":--", *["--:"] * len(self.columns)]]
        lines = [_markdown_line(row) for row in rows]
        for section, row, cells in self.lines():
            if section:
                lines.append(f"| **{_escaped(section)}** |{' |' * len(self.columns)}")
            lines.append(_markdown_line([row.heading, *cells], {1 + i for i in row.best}))
        title = f"**{_escaped(self.title)}**" if self.title else ""
        notes = "  \n".join(map(_escaped, self.footnotes()))
        return "\n\n".join(part for part in (title, "\n".join(lines), notes) if part) + "\n"

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Show the table; columns that do not fit beside the others go below them."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable
        from rich.text import Text

        def shown(text: str) -> str:
            """Replace what the output's encoding does not have, such as "↑"."""
            return text.encode(options.encoding, "hebae.replacement").decode(options.encoding)

        # The range over seeds goes below the median, which saves width.
        lines = [
            (shown(section), shown(row.heading), row.best, [*map(shown, cells)])
            for section, row, cells in self.lines(before_range="\n")
        ]
        widths = []
        for place, column in enumerate(self.columns):
            texts = [line for *_, cells in lines for line in cells[place].splitlines()]
            widths.append(1 + max([min(len(column), _LETTERS), *map(len, texts)]))
        width = options.max_width
        longest = max((len(text) for line in lines for text in line[:2]), default=0)
        heading_width = min(max(24, width // 3, width - sum(widths) - 1), longest)
        parts: list[list[int]] = []
        used = width
        for place, column_width in enumerate(widths):
            if used + column_width > width:
                parts.append([])
                used = heading_width + 1
            parts[-1].append(place)
            used += column_width
        if self.title:
            yield Text(shown(self.title), style="bold")
        for part in parts:
            table = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
            table.add_column("", max_width=heading_width, overflow="fold")
            for place in part:
                name = Text(shown(self.columns[place]))
                table.add_column(name, justify="right", overflow="fold")
            for section, heading, best, cells in lines:
                if section:
                    table.add_section()
                    table.add_row(Text(section, style="bold italic"))
                styled = (Text(cells[i], "bold" if i in best else "") for i in part)
                table.add_row(Text(heading), *styled)
            yield table
        if self.footnotes():
            yield Text("\n".join(map(shown, self.footnotes())), style="dim")

    def _marks(self) -> dict[str, str]:
        """Return the raised number of each reason."""
        notes = (summary.note for row in self.rows for summary in row.summaries if summary.note)
        reasons = enumerate(dict.fromkeys(notes), 1)
        return {reason: str(number).translate(_RAISED) for number, reason in reasons}


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV under a header; keys that a record lacks are empty."""
    text = StringIO()
    names = dict.fromkeys(name for record in records for name in record)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _replacement(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for a character: ASCII signs, a Greek letter's name, or "?"."""
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    plain = _REPLACEMENTS.get(character) or unicodedata.normalize("NFKD", character)[0]
    name = unicodedata.name(plain, "") if len(plain) == 1 else ""
    if name.startswith("GREEK"):
        plain = name.rsplit(" ", 1)[-1].lower()
    return plain if plain.isascii() else "?", error.start + 1


codecs.register_error("hebae.replacement", _replacement)


def _markdown_line(cells: Sequence[str], bold: Collection[int] = ()) -> str:
    shown = [f"**{cell}**" if i in bold else cell for i, cell in enumerate(map(_escaped, cells))]
    return f"| {' | '.join(shown)} |"


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows each character of it, on one line."""
    return re.sub(r"([\\`*|<])", r"\\\1", " ".join(text.split()))
