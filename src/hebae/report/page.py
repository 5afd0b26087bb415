"""A self-contained HTML page: no script, no font, no file from elsewhere.

Its template is ``page.html``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from hebae.files import write_text
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
    """Write the page, atomically; equal content gives equal files."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["png"] = _base64
    template = (resources.files("hebae.report") / "page.html").read_text(encoding="utf-8")
    html = environment.from_string(template).render(title=title, sections=sections)
    write_text(Path(path), html)


def _base64(picture: Picture) -> str:
    png = picture.image
    if not isinstance(png, bytes):
        from hebae.report.style import render

        png = render(png)
    return base64.b64encode(png).decode("ascii")
