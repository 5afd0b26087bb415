"""Pages and numbers are made from the JSON alone, and what is committed agrees with it."""

import json
from pathlib import Path

import pytest

from hebae.errors import HebaeError
from hebae.experiments.reproduction import excerpts, pages
from hebae.experiments.reproduction.stored_tables import from_json, to_json
from hebae.report.tables import Measured, Row, Table, Undefined

TABLE = Table(
    "Numbers",
    ["HEBAE", "VAE", "AE"],
    [
        Row("ELBO", [-103.25, Measured(-99.5, 0.25), Undefined("no density")], "nats", ".2f"),
        Row("seeds", [[1.0, 3.0, None], "words", None], better="lower", section="S", best=(0,)),
    ],
    ["A note."],
)

VALUES = {
    "study": "figure9",
    "title": "Figure 9",
    "paper": "The paper shows it.",
    "claims": [
        {
            "key": "best",
            "says": "HEBAE is | best",
            "found": "{hebae:.1f} against {vae:.1f}",
            "numbers": {"hebae": 1.25, "vae": None},
            "verdict": "cannot be told",
            "whose": "paper",
        }
    ],
    "figures": [
        {"name": "figure9", "title": "Lines", "caption": "Said.", "shows_faces": False},
        {"name": "figure9-f", "title": "Faces", "caption": "Said.", "shows_faces": True},
    ],
    "tables": [to_json(TABLE)],
    "notes": ["One seed."],
    "deviations": ["half"],
    "budget": "small",
    "provenance": {
        "commit": "abc",
        "runs": "3",
        "epochs": "12",
        "seeds": "0, 1",
        "data": "mnist (70,000 examples)",
    },
}


def test_a_table_comes_back_from_json_as_it_was():
    again = from_json(json.loads(json.dumps(to_json(TABLE), allow_nan=False)))
    assert again.to_markdown() == TABLE.to_markdown()
    assert again.records() == TABLE.records()


def test_a_number_that_is_none_becomes_null():
    stored = to_json(Table("", ["a", "b"], [Row("x", [float("nan"), [float("inf"), 1.0]])]))
    assert stored["rows"][0]["values"] == [None, [None, 1.0]]


def test_a_page_tells_claim_finding_verdict_and_deviations():
    page = pages.page(VALUES)
    assert "| HEBAE is \\| best | 1.2 against undefined | **cannot be told** |" in page
    assert "![Lines](figure9.png)" in page
    assert "figure9-f.png" not in page  # faces are not published
    assert "hebae reproduce figure9" in page
    assert "| Eq. 11, 16, 17 | the factor 1/2 is missing | kept |" in page
    assert TABLE.to_markdown().strip() in page
    assert "- commit: abc" in page
    assert "budget `small`, 3 runs of 12 epochs, seeds 0, 1; data: mnist (70,000" in page


def test_the_index_tells_every_verdict_the_papers_claims_first():
    ours = VALUES | {"claims": [VALUES["claims"][0] | {"whose": "ours", "verdict": "holds"}]}
    index = pages.index({"figure8": ours, "figure9": VALUES})
    found = "1.2 against undefined"
    line = f"| HEBAE is \\| best | {found} | **cannot be told** | [figure9](figure9.md), small |"
    other = f"| HEBAE is \\| best | {found} | **holds** | [figure9](figure8.md), small |"
    assert index.index("What the paper says") < index.index(line)
    assert index.index(line) < index.index("What the paper does not say") < index.index(other)
    assert "Of 1, cannot be told: 1." in index
    assert "What we aimed at" not in index


def test_numbers_between_markers_follow_the_json():
    text = "It is <!-- number: figure9 best hebae .2f -->7<!-- /number --> nats."
    filled = excerpts.fill_in(text, {"figure9": VALUES}, Path("README.md"))
    assert filled == "It is <!-- number: figure9 best hebae .2f -->1.25<!-- /number --> nats."
    assert excerpts.fill_in(filled, {"figure9": VALUES}, Path("README.md")) == filled


@pytest.mark.parametrize("words", ["figure8 best hebae", "figure9 worst hebae", "figure9 best ae"])
def test_a_number_that_is_not_there_is_refused(words):
    text = f"<!-- number: {words} .2f -->7<!-- /number -->"
    with pytest.raises(HebaeError, match=r"README\.md names the number"):
        excerpts.fill_in(text, {"figure9": VALUES}, Path("README.md"))


def test_rows_between_markers_are_those_of_the_table_with_their_footnotes():
    text = "Before\n<!-- rows: figure9; ELBO -->\n7\n<!-- /rows -->\nafter"
    filled = excerpts.fill_in(text, {"figure9": VALUES}, Path("README.md"))
    assert "| ELBO (nats) | -103.25 | -99.50 ± 0.25 | undefined¹ |\n\n¹ no density\n" in filled
    assert "seeds" not in filled
    assert filled.startswith("Before\n<!-- rows: figure9; ELBO -->\n|  | HEBAE | VAE | AE |")
    assert filled.endswith("<!-- /rows -->\nafter")
    assert excerpts.fill_in(filled, {"figure9": VALUES}, Path("README.md")) == filled
    both = excerpts.fill_in(
        text.replace("ELBO -->", "seeds; ELBO -->"), {"figure9": VALUES}, Path("README.md")
    )
    assert both.index("| seeds") < both.index("| ELBO")
    assert "**S**" not in both  # the heading of a section that is not whole


@pytest.mark.parametrize("words", ["figure8; ELBO", "figure9; ELBO; entropy"])
def test_rows_that_are_not_there_are_refused(words):
    text = f"<!-- rows: {words} -->\n<!-- /rows -->"
    with pytest.raises(HebaeError, match=r"README\.md names rows of figure\d, and there is no"):
        excerpts.fill_in(text, {"figure9": VALUES}, Path("README.md"))


def test_pages_and_other_files_are_rewritten_from_the_json(tmp_path):
    (tmp_path / "figure9.json").write_text(json.dumps(VALUES))
    readme = tmp_path / "numbers.md"
    readme.write_text("<!-- number: figure9 best hebae .1f --><!-- /number -->")
    pages.write(pages.rewrite(tmp_path, [readme]))
    assert (tmp_path / "figure9.md").read_text() == pages.page(VALUES)
    assert "-->1.2<!--" in readme.read_text()


MARKDOWN = """**A table**

|  | HEBAE | VAE |
| :-- | --: | --: |
| **Section** | | |
| -log p(x \\| mu(x)) (nats) ↓ | 62.6 | **75.1** |
| I(i; z) | 9.2 | undefined¹ |

¹ no density
"""


def test_rows_can_come_from_a_markdown_file_beside_the_text(tmp_path):
    (tmp_path / "judged.md").write_text(MARKDOWN)
    text = "<!-- rows: judged.md; -log p(x | mu(x)) -->\n7\n<!-- /rows -->"
    filled = excerpts.fill_in(text, {}, tmp_path / "README.md")
    head, line = MARKDOWN.splitlines()[2:4], MARKDOWN.splitlines()[5]
    assert filled.splitlines()[1:-1] == [*head, line]
    whole = excerpts.fill_in("<!-- rows: judged.md -->\n<!-- /rows -->", {}, tmp_path / "a.md")
    assert whole.splitlines()[1:-1] == MARKDOWN.splitlines()[2:7]


@pytest.mark.parametrize("words", ["none.md; I(i; z)", "judged.md; I(i; z); entropy"])
def test_rows_of_a_file_that_are_not_there_are_refused(tmp_path, words):
    (tmp_path / "judged.md").write_text(MARKDOWN)
    with pytest.raises(HebaeError, match="names rows of"):
        excerpts.fill_in(f"<!-- rows: {words} -->\n<!-- /rows -->", {}, tmp_path / "README.md")


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "figure9.json").write_text("{")
    with pytest.raises(HebaeError, match=r"figure9\.json is altered"):
        pages.rewrite(tmp_path)
