"""Make every page and number of README and docs that stands in a JSON file, from it.

    python docs/pages.py

writes the pages of ``docs/results/reproduction``, whatever has a template beside it (``NAME.jinja``
for ``NAME``), and what README and docs hold between markers. A test fails where they differ.

A template has, of the folder it lies in, ``stored(FILE)``, what a JSON or JSONL file holds;
``number(ROW, COLUMN)``, of the table that ``hebae evaluate --output`` wrote; ``text(FILE)``, and
``rows(FILE, ROW, ...)`` of a Markdown table, as a command wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from hebae.experiments.reproduction import excerpts, pages
from hebae.gaussian import penalty_floor

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EVALUATION = "evaluation-table.json"


def texts() -> dict[Path, str]:
    """Return what each page should hold."""
    made = {path.with_suffix(""): rendered(path) for path in sorted(DOCS.rglob("*.jinja"))}
    studies = DOCS / "results" / "reproduction"
    others = {ROOT / "README.md", *DOCS.rglob("*.md")} - {*made, *studies.iterdir()}
    return made | pages.rewrite(studies, sorted(others))


def rendered(template: Path) -> str:
    """Return a template's page.

    Raises
    ------
    jinja2.UndefinedError, KeyError
        If it names what is not there.
    """
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown of our own, and no HTML of a stranger
    )
    environment.filters["fixed"] = lambda value, digits: f"{value:,.{digits}f}"
    environment.globals |= Folder(template.parent).functions()
    return environment.from_string(template.read_text(encoding="utf-8")).render()


@dataclass(frozen=True)
class Folder:
    """Results of a folder, as its template asks for them."""

    path: Path

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return what a template can call."""
        own = {f.__name__: f for f in (self.text, self.stored, self.number, self.rows)}
        return own | {"penalty_floor": penalty_floor}

    def text(self, name: str) -> str:
        """Return a file's text."""
        return (self.path / name).read_text(encoding="utf-8")

    def stored(self, name: str) -> Any:
        """Return what a JSON file holds, or the list of what the lines of a JSONL file do."""
        text = self.text(name)
        lines = name.endswith(".jsonl")
        return [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)

    def number(self, row: str, column: str, field: str = "value") -> float:
        """Return a number of the evaluation's table: its "value", "minimum" or "maximum"."""
        for record in self.stored(EVALUATION)["table"]:
            if (record["quantity"], record["column"]) == (row, column):
                return float(record[field])
        raise KeyError(f"{EVALUATION} of {self.path.name} has no {row!r} of {column!r}")

    def rows(self, name: str, *names: str) -> str:
        """Return rows of the table in a Markdown file."""
        return excerpts.rows_of(self.text(name), names)


if __name__ == "__main__":
    made = texts()
    pages.write(made)
    print(*(path.relative_to(ROOT) for path in made), sep="\n")
