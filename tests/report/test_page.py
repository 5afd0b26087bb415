"""The HTML page: well formed, complete in itself, nothing let through unescaped."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from hebae.report.images import sample_table
from hebae.report.page import Picture, Section, write_page
from hebae.report.style import render
from hebae.report.tables import Row, Table, Undefined

VOID = {"meta", "img", "br"}
NASTY = "<script>alert(1)</script> & \"quoted\" 'too'"


class Page(HTMLParser):
    """Tags with their attributes, text by innermost tag; fails where tags do not match."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and data.strip():
            self.text.append((self.open[-1], data.strip()))

    def all(self, tag):
        return [text for inside, text in self.text if inside == tag]

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def figure():
    return sample_table({"": {"vae": np.random.default_rng(0).random((4, 1, 5, 5))}})


@pytest.fixture
def page(tmp_path):
    rows = [Row("ELBO", [[-1.0, -2.0, -3.0], Undefined(NASTY)], "nats", ".1f", "higher")]
    table = Table(NASTY, ["VAE", NASTY], rows, ["A note."])
    sections = [
        Section("Scores", ["Some words.", NASTY, table]),
        Section(NASTY, [Picture(figure(), alt=NASTY, caption=NASTY), {"seed": 0, NASTY: NASTY}]),
    ]
    write_page(tmp_path / "report.html", NASTY, sections)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_structure_and_words(page):
    assert page.all("title") == page.all("h1") == [NASTY]
    assert page.all("h2") == ["Scores", NASTY]
    assert page.all("p")[:2] == ["Some words.", NASTY]
    assert page.all("figcaption") == [NASTY]
    assert page.all("caption") == [NASTY]
    assert list(zip(page.all("dt"), page.all("dd"), strict=True)) == [("seed", "0"), (NASTY, NASTY)]
    assert page.attributes("html") == [{"lang": "en"}]


def test_the_table_has_headings_and_footnotes(page):
    assert page.all("th") == ["VAE", NASTY, "ELBO (nats)\N{NO-BREAK SPACE}↑"]
    assert [a["scope"] for a in page.attributes("th")] == ["col", "col", "row"]
    assert page.all("span") == ["-2.0", "[-3.0, -1.0]", "undefined¹"]
    assert page.all("p")[2:] == [f"¹ {NASTY}", "A note."]


def test_the_picture_is_inside_and_described(page):
    (image,) = page.attributes("img")
    assert image["alt"] == NASTY
    kind, data = image["src"].split(",")
    assert kind in ("data:image/png;base64", "data:image/webp;base64")
    shown, drawn = (
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        for content in (base64.b64decode(data), render(figure()))
    )
    np.testing.assert_array_equal(shown, drawn)


def test_nothing_comes_from_elsewhere_and_only_its_own_scripts_run(page):
    names = {tag for tag, _ in page.tags}
    assert not names & {"link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert not {"href", "srcset", "background", "action", "style"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")
    (style,) = page.all("style")
    assert not re.search(r"url\(|@import|https?:", style)
    policies = [a for a in page.attributes("meta") if a.get("http-equiv")]
    policy = policies[0]["content"]
    assert policy.startswith("default-src 'none'")
    scripts = page.all("script")
    assert len(scripts) == policy.count("'sha256-") == 2
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]


def test_a_table_has_sections_and_sets_off_the_best_and_a_folded_section_is_closed(tmp_path):
    rows = [
        Row("ELBO", [1.0, 2.0], section="Bounds", best=(1,)),
        Row("KID", [5.0, 6.0], section="Samples"),
    ]
    sections = [
        Section("Summary", [Table("", ["a", "b"], rows)]),
        Section("All", ["runs/\udcff"], folded=True),  # a name that UTF-8 cannot hold
    ]
    write_page(tmp_path / "p.html", "t", sections)
    made = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert made.all("th") == ["a", "b", "Bounds", "ELBO", "Samples", "KID"]
    cells = [cell.get("class") for cell in made.attributes("td") if "colspan" not in cell]
    assert cells == [None, None, "best", None, None]
    assert made.all("h2") == ["Summary", "All"]
    assert made.all("p") == ["runs/?"]
    names = [tag for tag, _ in made.tags]
    assert names.index("section") < names.index("details") < names.index("summary")
    assert made.attributes("details") == [{}]  # not open


def test_a_heading_is_aligned_like_its_column_and_a_wide_table_is_printed_in_landscape(tmp_path):
    rows = [Row("a", ["word " * 20, "holds"]), Row("b", ["short", "–"])]
    wide = Table("", [str(column) for column in range(9)], [Row("c", [1.0] * 9)])
    section = Section("s", [Table("", ["result", "verdict"], rows), wide])
    write_page(tmp_path / "page.html", "t", [section])
    page = Page((tmp_path / "page.html").read_text())
    headings = [a.get("class") for a in page.attributes("th") if a["scope"] == "col"]
    assert headings == ["text", *[None] * 10]
    cells = [a.get("class") for a in page.attributes("td")]
    assert cells == [None, "text", None, "text", None, *[None] * 10]
    assert [a["class"] for a in page.attributes("div")] == ["wide", "wide many"]


def test_texts_have_code_and_bold_and_a_flag_is_not_broken(tmp_path):
    text = "With **2 < 3**, use `mean`, --early-stopping or a--b."
    write_page(tmp_path / "page.html", "t", [Section("s", [text])])
    html = (tmp_path / "page.html").read_text()
    assert "With <strong>2 &lt; 3</strong>, use <code>mean</code>, " in html
    assert '<span class="flag">--early-stopping</span> or a--b.' in html
