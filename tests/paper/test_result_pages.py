"""Pages are made from JSON files."""

import json

import pytest

from hebae.errors import HebaeError
from hebae.paper import page
from hebae.report.tables import Row, Table

TABLE = Table("Numbers", ["HEBAE", "VAE"], [Row("ELBO", [-103.25, -99.5], "nats", ".2f")])
BEST = {
    "key": "best",
    "text": "HEBAE is | best",
    "result": "{hebae:.1f} against {vae:.1f}",
    "numbers": {"hebae": 1.25, "vae": None},
    "verdict": "undecided (one seed)",
    "source": "paper",
}
VALUES = {
    "study": "figure9",
    "title": "Figure 9",
    "paper": "The paper shows it.",
    "budget": "small",
    "statements": [BEST],
    "figures": [
        {"name": "figure9", "title": "Lines", "caption": "A caption.", "shows_faces": False},
        {"name": "figure9-f", "title": "Faces", "caption": "A caption.", "shows_faces": True},
    ],
    "tables": ["stored"],
    "notes": ["There is one seed."],
    "deviations": ["half"],
    "provenance": {"commit": "abc", "runs": "3", "epochs": "12", "seeds": "0, 1", "data": "mnist"},
}


def test_a_page_shows_statements_figures_tables_and_deviations():
    made = page.page(VALUES, [TABLE])
    assert "| HEBAE is \\| best | 1.2 against undefined | **undecided** (one seed) |" in made
    assert "![Lines](figure9.png)" in made
    assert "figure9-f.png" not in made  # faces are not published
    assert "hebae reproduce figure9" in made
    assert "| Eq. 11, 16, 17 |" in made
    assert TABLE.to_markdown().strip() in made
    assert "- commit: abc" in made


def test_the_index_counts_verdicts_the_papers_statements_first():
    ours = VALUES | {"statements": [BEST | {"source": "ours", "verdict": "holds"}]}
    index = page.index({"figure8": ours, "figure9": VALUES}, "A note.")
    first = "| **undecided** (one seed) | [figure9](figure9.md), small |"
    second = "| **holds** | [figure9](figure8.md), small |"
    assert index.index("A note.") < index.index(first) < index.index(second)
    assert "Verdicts: undecided (1)." in index
    assert "Targets" not in index


def test_the_budget_smoke_has_no_verdicts():
    smoke = VALUES | {"budget": "smoke", "statements": [BEST | {"verdict": ""}]}
    for made in (page.page(smoke, []), page.index({"figure9": smoke})):
        assert "| verdict |" not in made
        assert "undecided" not in made
        assert "1.2 against undefined" in made


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "figure9.json").write_text("{")
    with pytest.raises(HebaeError, match=r"figure9\.json cannot be read"):
        page.stored(tmp_path)
    (tmp_path / "figure9.json").write_text(json.dumps(VALUES))
    assert page.stored(tmp_path) == {"figure9": VALUES}
