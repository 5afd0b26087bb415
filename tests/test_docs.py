"""Every number of README and docs that a JSON file holds is that of the file."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hebae.config import resolve
from hebae.errors import HebaeError
from hebae.paper.page import table_from_json, table_to_json
from hebae.report.tables import Measured, Row, Table, Undefined
from hebae.yaml_files import preset_names

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")


@pytest.fixture(scope="module")
def pages(tool):
    """The module tools/pages.py."""
    return tool("pages")


def test_committed_pages_have_the_numbers_of_the_json_files(pages):
    made = pages.texts()
    assert {ROOT / "README.md", *RESULTS.glob("*/README.md")} - {
        RESULTS / "speed" / "README.md"  # by benchmarks/run.py; see tests/benchmarks
    } <= set(made)
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} differs: run make pages"


def test_a_number_that_changes_in_the_json_changes_on_the_page(pages, tmp_path):
    folder = RESULTS / "mnist-hebae"
    for path in folder.iterdir():
        if path.suffix in (".jinja", ".jsonl", ".json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    history = tmp_path / "metrics.jsonl"
    history.write_text(history.read_text().replace('"objective": -78.48', '"objective": -77.48'))
    before = (folder / "README.md").read_text(encoding="utf-8")
    after = pages.rendered(tmp_path / "README.md.jinja")
    assert after == before.replace("-78.49", "-77.49") != before


def test_a_row_that_does_not_exist_is_an_error(pages, tmp_path):
    (tmp_path / "evaluation-table.json").write_text('{"table": []}')
    template = tmp_path / "page.md.jinja"
    template.write_text('{{ number("ELBO", "VAE") | fixed(1) }}')
    with pytest.raises(KeyError, match="no 'ELBO' of 'VAE'"):
        pages.rendered(template)


TABLE = Table(
    "Numbers",
    ["HEBAE", "VAE", "AE"],
    [
        Row("ELBO", [-103.25, Measured(-99.5, 0.25), Undefined("no density")], "nats", ".2f"),
        Row("seeds", [[1.0, 3.0, None], "words", None], better="lower", section="S", best=(0,)),
    ],
    ["A note."],
)
STATEMENT = {"key": "best", "numbers": {"hebae": 1.25, "vae": None}}
STUDIES = {"figure9": {"statements": [STATEMENT], "tables": [table_to_json(TABLE)]}}


def test_a_table_comes_back_from_json():
    stored = json.loads(json.dumps(table_to_json(TABLE), allow_nan=False))
    again = table_from_json(stored)
    assert again.to_markdown() == TABLE.to_markdown()
    assert again.records() == TABLE.records()
    infinite = table_to_json(Table("", ["a", "b"], [Row("x", [np.nan, [np.inf, 1.0]])]))
    assert infinite["rows"][0]["values"] == [None, [None, 1.0]]


def test_text_between_markers_follows_the_json(pages, tmp_path):
    (tmp_path / "table.md").write_text(TABLE.to_markdown())
    text = (
        "It is <!-- number: figure9 best hebae .2f -->7<!-- /number --> nats.\n"
        "<!-- rows: figure9; ELBO -->\n7\n<!-- /rows -->\n"
        "<!-- rows: table.md; seeds; ELBO -->\n<!-- /rows -->\nafter"
    )
    filled = pages.fill_markers(text, STUDIES, tmp_path / "README.md")
    assert filled.startswith("It is <!-- number: figure9 best hebae .2f -->1.25<!-- /number --> n")
    head = "|  | HEBAE | VAE | AE |\n| :-- | --: | --: | --: |\n"
    elbo = "| ELBO (nats) | -103.25 | -99.50 ± 0.25 | undefined¹ |\n"
    assert f"figure9; ELBO -->\n{head}{elbo}\n¹ no density\n<!-- /rows -->" in filled
    rows = filled.partition("table.md; seeds; ELBO -->\n")[2].splitlines()
    assert rows[2].startswith("| seeds")
    assert rows[3] + "\n" == elbo
    assert rows[4:] == ["<!-- /rows -->", "after"]
    assert pages.fill_markers(filled, STUDIES, tmp_path / "README.md") == filled


def test_measurements_of_a_topic_fill_a_table(pages, tmp_path):
    text = "before\n<!-- measured: speed.json -->\nold\n<!-- /measured -->\nafter"
    filled = pages.fill_markers(text, STUDIES, tmp_path / "page.md")
    assert filled == text.replace("old", "Not measured yet.")
    aims = [{"what": "two workers", "unit": "x", "median": 1.875}, {"what": "none", "median": None}]
    origin = {"machine": "2 cores", "date": "today", "load average before": "0.1"}
    (tmp_path / "speed.json").write_text(json.dumps({"aims": aims, "provenance": origin}))
    filled = pages.fill_markers(text, STUDIES, tmp_path / "page.md")
    assert "| two workers | 1.88 x |\n\n(2 cores; today; load average 0.1 before)\n<!--" in filled
    assert "none" not in filled


@pytest.mark.parametrize(
    "marker",
    [
        "<!-- number: figure8 best hebae .2f -->7<!-- /number -->",
        "<!-- number: figure9 worst hebae .2f -->7<!-- /number -->",
        "<!-- number: figure9 best ae .2f -->7<!-- /number -->",
        "<!-- rows: figure9; entropy -->\n<!-- /rows -->",
        "<!-- rows: none.md; ELBO -->\n<!-- /rows -->",
    ],
)
def test_a_marker_that_names_nothing_is_refused(pages, tmp_path, marker):
    with pytest.raises(HebaeError, match=r"README\.md names"):
        pages.fill_markers(marker, STUDIES, tmp_path / "README.md")


def test_committed_studies_of_one_seed_have_no_verdict():
    for path in (RESULTS / "reproduction").glob("*.json"):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["provenance"]["seeds"] == "0":
            for one in stored["statements"]:
                assert one["verdict"].startswith("undecided ("), (path, one["key"])


@pytest.mark.parametrize("name", ["demo/comparison", "mnist-evaluation/evaluation"])
def test_each_committed_table_has_the_numbers_of_its_csv(name):
    """Each cell's numbers are the median, least and greatest, as far as their digits go."""
    table = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    lines = [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if line.startswith("|")
    ]
    rows = [line for line in lines[2:] if any(cell.strip() for cell in line[1:])]
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    for record, cell in zip(records, (cell for row in rows for cell in row[1:]), strict=True):
        shown = NUMBER.findall(cell) if record["value"] else []
        names = ("value", "minimum", "maximum", "standard_error")
        known = [record[name] for name in names if record[name]]
        for text, value in zip(shown, known, strict=bool(shown)):
            _, _, decimals = text.partition(".")
            difference = abs(float(text.replace(",", "")) - float(value))
            assert difference <= 0.501 * 10 ** -len(decimals), record
        assert shown or "undefined" in cell or "–" in cell


def test_every_preset_is_in_the_reference():
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in reference for name in preset_names())


def test_the_preset_of_the_rate_term_is_the_best_point_of_its_study():
    stored = json.loads((RESULTS / "reproduction" / "rate.json").read_text(encoding="utf-8"))
    best = next(c["numbers"] for c in stored["statements"] if c["key"] == "at-once")
    preset = resolve("mnist-rate", None, {"method": "hebae"})
    assert (preset.penalty_weight, preset.rate_weight) == (best["lambda"], best["gamma"])
    others = {"method", "rate_weight"}
    for method in ("hebae", "vae", "wae"):
        as_in_the_paper = resolve("mnist", None, {"method": method})
        here = resolve("mnist-rate", None, {"method": method})
        assert here.model_dump(exclude=others) == as_in_the_paper.model_dump(exclude=others)
