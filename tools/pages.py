"""Make every page and number of README and docs that comes from a JSON file.

    python tools/pages.py

writes three kinds of text, and a test fails where the repository differs from them:

- the pages of ``docs/results/reproduction``, from the JSON files of the studies;
- every file that has a template beside it (``NAME.jinja`` for ``NAME``);
- numbers, rows of tables and measurements between markers in README and docs (`fill_markers`).

A template can call ``stored(FILE)`` for the content of a JSON or JSONL file of its folder,
``number(ROW, COLUMN)`` for a cell of the table that ``hebae evaluate --output`` wrote,
``text(FILE)``, and ``rows(FILE, ROW, ...)`` for rows of a Markdown table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from hebae.errors import HebaeError
from hebae.gaussian import penalty_floor
from hebae.paper import page
from hebae.report.tables import Table

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EVALUATION = "evaluation-table.json"
NOTE = (
    "Version 0.1.0 gave verdicts on single runs and on the order of medians. The verdicts on this "
    "page were recomputed by the rule above from the same JSON files. No number has changed."
)

_UNIT = re.compile(r"( \([a-z ]+\))?(\s[↑↓])?$")
"""What follows the name in the heading of a row."""
_NUMBER = re.compile(
    r"(<!-- number: (\S+) (\S+) (\S+) (\S+) -->)(.*?)(<!-- /number -->)", re.DOTALL
)
_MEASURED = re.compile(r"(<!-- measured: (\S+) -->\n)(.*?)(<!-- /measured -->)", re.DOTALL)
_ROWS = re.compile(r"(<!-- rows: ([^;\n]+?)(?:; ([^\n]+?))? -->\n)(.*?)(<!-- /rows -->)", re.DOTALL)

Studies = Mapping[str, Mapping[str, Any]]
"""The content of each study's JSON file, by name."""


def texts() -> dict[Path, str]:
    """Return what each page should contain."""
    made = {path.with_suffix(""): rendered(path) for path in sorted(DOCS.rglob("*.jinja"))}
    folder = DOCS / "results" / "reproduction"
    studies = page.stored(folder)
    for name, values in studies.items():
        tables = [page.table_from_json(table) for table in values["tables"]]
        made[folder / f"{name}.md"] = page.page(values, tables)
    made[folder / "README.md"] = page.index(studies, NOTE)
    for path in sorted({ROOT / "README.md", *DOCS.rglob("*.md")} - {*made}):
        made[path] = fill_markers(path.read_text(encoding="utf-8"), studies, path)
    return made


def rendered(template: Path) -> str:
    """Return the page of a template.

    Raises
    ------
    jinja2.UndefinedError, KeyError
        If the template names something that does not exist.
    """
    folder = template.parent

    def text(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    def stored(name: str) -> Any:
        if name.endswith(".jsonl"):
            return [json.loads(line) for line in text(name).splitlines()]
        return json.loads(text(name))

    def number(row: str, column: str, field: str = "value") -> float:
        """Return the "value", "minimum" or "maximum" of a cell."""
        for record in stored(EVALUATION)["table"]:
            if (record["quantity"], record["column"]) == (row, column):
                return float(record[field])
        raise KeyError(f"{EVALUATION} of {folder.name} has no {row!r} of {column!r}")

    def rows(name: str, *names: str) -> str:
        return rows_of(text(name), names)

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown of our own, not HTML from elsewhere
    )
    environment.filters["fixed"] = lambda value, digits: f"{value:,.{digits}f}"
    environment.globals |= {
        "number": number,
        "penalty_floor": penalty_floor,
        "rows": rows,
        "stored": stored,
        "text": text,
    }
    return environment.from_string(text(template.name)).render()


def fill_markers(text: str, studies: Studies, origin: Path) -> str:
    """Return `text`, the content of the file `origin`, with everything between markers updated.

    A number names study, statement, number and format. Rows name a study, or a Markdown file by
    its path from `origin`, and the rows of its first table; without names, all rows. Columns
    may be named as well::

        <!-- number: figure2 correlation hebae .3f -->0.020<!-- /number -->
        <!-- rows: table; squared error; ELBO; columns: HEBAE; VAE -->
        (the rows)
        <!-- /rows -->

    What a topic of `benchmarks/run.py` measured is named by the path of its file, which need not
    exist yet::

        <!-- measured: ../results/speed/cluster.json -->
        (a table)
        <!-- /measured -->

    Raises
    ------
    HebaeError
        If a marker names something that does not exist.
    """

    def number(match: re.Match[str]) -> str:
        begin, study, key, name, form, _, end = match.groups()
        try:
            numbers = {s["key"]: s["numbers"] for s in studies[study]["statements"]}[key]
            return begin + page.fill(f"{{{name}:{form}}}", numbers) + end
        except KeyError as missing:
            raise HebaeError(
                f"{origin} names the number {study} {key} {name}, but there is no {missing}. See "
                "the JSON files for what exists."
            ) from None

    def rows(match: re.Match[str]) -> str:
        begin, source, named, _, end = match.groups()
        of_rows, _, of_columns = (named or "").partition("; columns: ")
        names, columns = (part.split("; ") if part else [] for part in (of_rows, of_columns))
        try:
            if source.endswith(".md"):
                found = rows_of((origin.parent / source).read_text(encoding="utf-8"), names)
            else:
                table = page.table_from_json(studies[source]["tables"][0])
                found = excerpt(table, names, columns).to_markdown()
        except (KeyError, FileNotFoundError) as missing:
            raise HebaeError(
                f"{origin} names rows of {source}, but there is no {missing}. See the JSON files "
                "and tables for what exists."
            ) from None
        return begin + found + end

    def measured(match: re.Match[str]) -> str:
        begin, name, _, end = match.groups()
        return begin + measurements(origin.parent / name) + end

    return _MEASURED.sub(measured, _ROWS.sub(rows, _NUMBER.sub(number, text)))


def measurements(path: Path) -> str:
    """Return a table of the medians that a topic of `benchmarks/run.py` measured, and where."""
    if not path.is_file():
        return "Not measured yet.\n"
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        f"| {aim['what']} | {aim['median']:,.3g} {aim['unit']} |"
        for aim in record["aims"]
        if aim["median"] is not None
    ]
    origin = record["provenance"]
    where = f"{origin['machine']}; {origin['date']}; load average {origin['load average before']}"
    return "\n".join(["| | measured |", "| :-- | --: |", *rows, "", f"({where} before)", ""])


def rows_of(markdown: str, names: Sequence[str] = ()) -> str:
    """Return the head and the named rows of the first table in Markdown; all rows without names.

    A name is that of the quantity, without its unit. Footnotes are left out.

    Raises
    ------
    KeyError
        If a row does not exist.
    """
    tables = re.findall(r"(?:^\|.*\n?)+", markdown, re.MULTILINE)
    lines = tables[0].splitlines()
    by_name = {_UNIT.sub("", re.split(r"(?<!\\)\|", line)[1].strip()): line for line in lines[2:]}
    chosen = [by_name[name.replace("|", r"\|")] for name in names] if names else lines[2:]
    return "\n".join([*lines[:2], *chosen]) + "\n"


def excerpt(table: Table, names: Sequence[str], columns: Sequence[str] = ()) -> Table:
    """Return the named rows and columns of a table, without title and sections; without names, all.

    The heading of a column is given without its unit.

    Raises
    ------
    KeyError
        If a row or column does not exist.
    """
    if not names:
        return replace(table, title="")
    by_name = {row.name: row for row in table.rows}
    places = {_UNIT.sub("", heading): place for place, heading in enumerate(table.columns)}
    kept = [places[name] for name in columns] if columns else [*places.values()]
    rows = [
        replace(
            by_name[name],
            section="",
            values=[by_name[name].values[place] for place in kept],
            best=[at for at, place in enumerate(kept) if place in by_name[name].best],
        )
        for name in names
    ]
    return Table("", [table.columns[place] for place in kept], rows)


def main() -> None:
    """Write every page and print its path."""
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
