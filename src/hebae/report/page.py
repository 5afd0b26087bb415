"""A self-contained HTML page: nothing is loaded from elsewhere; figures are drawn by its scripts.

The template is ``page.html``, the style ``page.css``; the scripts are `SCRIPTS`, in this order.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import ArrayLike

from hebae.files import write_text
from hebae.report.charts import Chart
from hebae.report.live import MOST_BYTES as MOST_WEIGHTS
from hebae.report.live import CodeMaps, Explorer
from hebae.report.methods import display_name
from hebae.report.tables import Table

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

SCRIPTS = ("charts.js", "codes.js", "tables.js", "page.js")
MOST_BYTES = 5_000_000
"""Of a page."""
_THEME = """const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => {
  document.documentElement.dataset.theme = prefersDark.matches ? "dark" : "light";
  document.dispatchEvent(new Event("themechange"));
};
prefersDark.addEventListener("change", followTheme);
followTheme();
"""
_INLINE = {  # of Markdown, and flags, which no line ends in
    r"`([^`]+)`": r"<code>\1</code>",
    r"\*\*(\S.*?)\*\*": r"<strong>\1</strong>",
    r"(?<![\w-])--[a-z]+(?:-[a-z]+)*": r'<span class="flag">\g<0></span>',
}
_SIDE = 56  # pixels of an image on the page, about; smaller ones are enlarged by a whole number
_WIDTH = 1080  # pixels for the images of a row: larger ones are shown smaller, down to _SIDE
_MOST_NUMBERS = 2_500_000  # of the images of a gallery


@dataclass(frozen=True)
class Picture:
    """A figure, or a PNG file's content, with its alternative text and its caption."""

    image: Figure | bytes
    alt: str
    caption: str = ""
    photos: bool = False
    """Whether it shows images or a scale of colours, which stay as they are in dark mode."""

    def source(self, scale: float = 1.0) -> str:
        """Return the picture as a data URL; WebP without losses is smaller than PNG."""
        from PIL import Image

        png = self.image
        if not isinstance(png, bytes):
            from hebae.report.style import render

            png = render(png)
        picture = Image.open(BytesIO(png)).convert("RGB")
        if scale < 1:
            size = [max(1, round(side * scale)) for side in picture.size]
            picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
        content = BytesIO()
        picture.save(content, format="WEBP", lossless=True, quality=60, method=3)
        if scale == 1 and len(png) <= len(content.getvalue()):
            return _url("image/png", png)
        return _url("image/webp", content.getvalue())


@dataclass(frozen=True)
class Cell:
    """A mosaic of a `Gallery`."""

    column: str
    source: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Gallery:
    """Mosaics of images side by side."""

    title: str
    images: Mapping[str, Mapping[str, ArrayLike]]
    """By row and by column, arrays (n, c, h, w) of values in [0, 1], clipped otherwise."""
    columns: int | None = None
    """Images per row of a mosaic."""
    caption: str = ""

    def rows(self) -> Iterator[tuple[str, list[Cell]]]:
        """Yield each row with its mosaics."""
        import numpy as np

        from hebae.report.pixels import embedded, images_across

        cells = sum(len(row) for row in self.images.values())
        across = max(
            sum(images_across(len(np.asarray(values)), self.columns) for values in row.values())
            for row in self.images.values()
        )
        for name, row in self.images.items():
            made = []
            for column, values in row.items():
                array = np.asarray(values)
                most = max(1, _MOST_NUMBERS // max(1, cells * math.prod(array.shape[1:])))
                if self.columns is not None:  # whole rows
                    most = max(1, most // self.columns) * self.columns
                array = array[:most]
                kind, content, width, height = embedded(array, self.columns)
                side = max(array.shape[2:])
                scale: float = max(1, round(_SIDE / side))
                if across * side * scale > _WIDTH:
                    scale = min(scale, max(_SIDE, _WIDTH / across) / side)
                where = ", ".join(filter(None, (display_name(column), display_name(name))))
                alt = f"{self.title}: {where}, {len(array)} images"
                shown = display_name(column)
                size = round(width * scale), round(height * scale)
                made.append(Cell(shown, _url(kind, content), alt, *size))
            yield display_name(name), made


Block: TypeAlias = str | Table | Picture | Gallery | Chart | CodeMaps | Explorer | Mapping[str, Any]
"""A paragraph, a table, a picture, images, something to draw, or named facts."""


@dataclass(frozen=True)
class Section:
    """The blocks under a heading; of a folded section only the heading shows until it is opened."""

    heading: str
    blocks: Sequence[Block]
    folded: bool = False


def write_page(path: Path | str, title: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically; equal content gives equal files.

    A page has at most 5 MB. Decoders that do not fit are left out, with a sentence in their place;
    if that is not enough, figures are made smaller.
    """
    renderer = _Renderer(title)
    explorers = [b for section in sections for b in section.blocks if isinstance(b, Explorer)]
    left_out, scale = list(explorers), 1.0
    html = renderer.render(_without(sections, left_out), scale)
    while len(html) > MOST_BYTES and scale > 0.3:
        scale *= 0.7
        html = renderer.render(_without(sections, left_out), scale)
    for explorer in explorers:
        if explorer.size > MOST_WEIGHTS or len(html) + explorer.size > MOST_BYTES:
            continue
        shown = [one for one in left_out if one is not explorer]
        larger = renderer.render(_without(sections, shown), scale)
        if len(larger) <= MOST_BYTES:
            html, left_out = larger, shown
    write_text(Path(path), html.decode("utf-8"))


def _without(sections: Sequence[Section], explorers: Sequence[Explorer]) -> list[Section]:
    def rest(section: Section) -> list[Block]:
        blocks = [b for b in section.blocks if not any(b is one for one in explorers)]
        names = [one.name for one in explorers if any(b is one for b in section.blocks)]
        if names:
            blocks.append(
                f"This page is limited to {MOST_BYTES // 1_000_000} MB and has no room for the "
                f"decoder{'s' if len(names) > 1 else ''} of {', '.join(names)}. The page of a "
                "single run has its decoder: hebae show RUN writes it."
            )
        return blocks

    return [replace(section, blocks=rest(section)) for section in sections]


class _Renderer:
    """Fills the template; what is drawn and encoded once is kept for the next time."""

    def __init__(self, title: str) -> None:
        from jinja2 import Environment, StrictUndefined

        self.title = title
        self.scale = 1.0
        self.contents: dict[int, str] = {}
        self.urls: dict[tuple[int, float], str] = {}
        environment = Environment(
            autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
        )
        environment.filters["picture"] = self.url
        environment.filters["inline"] = _inline
        environment.filters["id"] = lambda block: self.ids[id(block)]
        self.template = environment.from_string(_text("page.html"))
        self.script = "".join(map(_text, SCRIPTS))
        self.ids: dict[int, str] = {}

    def url(self, picture: Picture) -> str:
        """Return a picture as a data URL."""
        key = id(picture), self.scale
        if key not in self.urls:
            self.urls[key] = picture.source(self.scale)
        return self.urls[key]

    def render(self, sections: Sequence[Section], scale: float) -> bytes:
        """Return the page; figures are shrunk by `scale`."""
        from markupsafe import Markup

        self.scale = scale
        drawn = [
            block
            for section in sections
            for block in section.blocks
            if isinstance(block, Chart | CodeMaps | Explorer)
        ]
        self.ids = {id(block): f"content-{number}" for number, block in enumerate(drawn)}
        for block in drawn:
            if id(block) not in self.contents:
                self.contents[id(block)] = _json(block.content())
        html = self.template.render(
            title=self.title,
            sections=sections,
            contents={self.ids[id(one)]: Markup(self.contents[id(one)]) for one in drawn},
            css=Markup(_text("page.css")),
            theme=Markup(_THEME),
            script=Markup(self.script),
            hashes=Markup(" ".join(map(_hash, (_THEME, self.script)))),
        )
        return html.encode("utf-8", "replace")


def _inline(text: str) -> Markup:
    """Return a text as HTML."""
    from markupsafe import Markup, escape

    html = str(escape(text))
    for pattern, replacement in _INLINE.items():
        html = re.sub(pattern, replacement, html)
    return Markup(html)


def _text(name: str) -> str:
    return (resources.files("hebae.report") / name).read_text(encoding="utf-8")


def _json(content: Mapping[str, Any]) -> str:
    """Return JSON that no HTML parser takes for tags."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _hash(script: str) -> str:
    """Return the only source of scripts that the page allows."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
