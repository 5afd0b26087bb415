"""A self-contained HTML page: no script, no font, no file from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, TypeAlias

from hebae.files import write_atomically
from hebae.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure, or a PNG file's content, with its alternative text and its caption."""

    image: Figure | bytes
    alt: str
    caption: str = ""


Block: TypeAlias = str | Table | Picture | Mapping[str, object]
"""A paragraph, a table, a picture, or named facts, such as a run's provenance."""


@dataclass(frozen=True)
class Section:
    """The blocks under a heading; of a folded section only the heading shows until it is opened."""

    heading: str
    blocks: Sequence[Block]
    folded: bool = False


def write_page(path: Path | str, title: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically; equal content gives equal files.

    Raises
    ------
    HebaeError
        If the file cannot be written.
    """
    body = "\n".join(_section(section) for section in sections)
    html = _PAGE.substitute(title=escape(title), style=_STYLE, body=body)
    # The name of a folder may hold bytes that are not UTF-8.
    content = html.encode("utf-8", "replace")
    write_atomically(Path(path), lambda temporary: temporary.write_bytes(content))


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    heading = f"<h2>{escape(section.heading)}</h2>"
    if section.folded:
        return f"<details>\n<summary>{heading}</summary>\n{blocks}\n</details>"
    return f"<section>\n{heading}\n{blocks}\n</section>"


def _block(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Picture):
        return _picture(block)
    return _facts(block)


def _facts(facts: Mapping[str, object]) -> str:
    items = (f"<dt>{escape(name)}</dt><dd>{escape(str(v))}</dd>" for name, v in facts.items())
    return "\n".join(["<dl>", *items, "</dl>"])


def _picture(picture: Picture) -> str:
    png = picture.image
    if not isinstance(png, bytes):
        from hebae.report.style import to_png

        png = to_png(png)
    data = base64.b64encode(png).decode("ascii")
    caption = f"\n<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        '<figure>\n<div class="wide" tabindex="0">'
        f'<img src="data:image/png;base64,{data}" alt="{escape(picture.alt)}"></div>'
        f"{caption}\n</figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    rows = "\n".join(
        _section_line(section, len(table.columns))
        + f'<tr><th scope="row">{escape(row.heading)}</th>'
        + "".join(_cell(cell, i in row.best) for i, cell in enumerate(cells))
        + "</tr>"
        for section, row, cells in table.lines(before_range="\n")
    )
    notes = "<br>\n".join(map(escape, table.footnotes()))
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}">\n'
        f"<table>\n<caption>{escape(table.title)}</caption>\n"
        f"<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
        + (f'\n<p class="notes">{notes}</p>' if notes else "")
    )


def _section_line(section: str, columns: int) -> str:
    if not section:
        return ""
    heading = f'<th scope="rowgroup" class="section">{escape(section)}</th>'
    return f'<tr>{heading}<td colspan="{columns}"></td></tr>\n'


def _cell(cell: str, best: bool) -> str:
    return f'<td class="best">{_unbroken(cell)}</td>' if best else f"<td>{_unbroken(cell)}</td>"


def _unbroken(cell: str) -> str:
    """Allow a line break between a median and its range only."""
    return " ".join(f"<span>{escape(part)}</span>" for part in cell.splitlines())


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")

_STYLE = """\
:root { color-scheme: light dark; --ink: #222; --quiet: #5c5c5c; --rule: #ddd; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --quiet: #a3a3a3; --rule: #3a3a3a; --paper: #161616; }
}
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.75rem; padding-top: 0.75rem;
  border-top: 1px solid var(--rule); }
p { max-width: 44rem; margin: 0.75rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; border-top: 1px solid var(--rule); margin-top: 2.5rem; }
summary h2 { display: inline-block; border: 0; margin: 0; }
figure { margin: 1.25rem 0; }
/* Figures have a white ground, in dark mode too; on a phone they scroll and stay legible. */
img { display: block; max-width: max(100%, 42rem); height: auto; box-sizing: border-box;
  padding: 0.5rem; background: #fff; border-radius: 6px; }
figcaption, caption, .notes { color: var(--quiet); font-size: 0.9rem; }
figcaption { max-width: 44rem; margin-top: 0.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 0.4rem; }
th, td { padding: 0.35rem 0.9rem; border-bottom: 1px solid var(--rule); }
/* A wide table scrolls within its box; its headings wrap. */
thead th { overflow-wrap: anywhere; min-width: 4rem; vertical-align: bottom; }
td span { white-space: nowrap; }
tbody th { text-align: left; font-weight: normal; padding-left: 0; position: sticky; left: 0;
  background: var(--paper); }
thead th, td { text-align: right; }
tbody th.section { font-weight: 600; padding-top: 1.1rem; }
td.best { font-weight: 700; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.25rem; margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: 0.9rem; }
@media (max-width: 36rem) {
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 0.5rem; }
}
"""
