"""Every number of README and docs that a JSON file holds is the file's."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hebae.cli.compare import compare
from hebae.cli.sweep import sweep
from hebae.cli.train import train
from hebae.config import Settings, preset_names, resolve
from hebae.experiments.measures import Measures
from hebae.experiments.summary import summarise

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    """The module docs/pages.py."""
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "docs" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_committed_pages_are_what_the_json_files_make_of_them(docs: ModuleType) -> None:
    made = docs.texts()
    assert {ROOT / "README.md", *RESULTS.glob("*/README.md")} - {
        RESULTS / "speed" / "README.md"  # by benchmarks/run.py; see tests/benchmarks
    } <= set(made)
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path} differs: run make pages"


def test_a_number_that_changes_in_the_json_changes_on_the_page(
    docs: ModuleType, tmp_path: Path
) -> None:
    folder = RESULTS / "mnist-hebae"
    for path in folder.iterdir():
        if path.suffix in (".jinja", ".jsonl", ".json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    history = tmp_path / "metrics.jsonl"
    history.write_text(history.read_text().replace('"objective": -78.48', '"objective": -77.48'))
    before = (folder / "README.md").read_text(encoding="utf-8")
    after = docs.rendered(tmp_path / "README.md.jinja")
    assert after == before.replace("-78.49", "-77.49") != before


def test_a_row_that_is_not_there_is_an_error(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "evaluation-table.json").write_text('{"table": []}')
    template = tmp_path / "page.md.jinja"
    template.write_text('{{ number("ELBO", "VAE") | fixed(1) }}')
    with pytest.raises(KeyError, match="no 'ELBO' of 'VAE'"):
        docs.rendered(template)


def test_the_demonstrations_table_is_that_of_its_json() -> None:
    stored = json.loads((RESULTS / "demo" / "comparison.json").read_text(encoding="utf-8"))
    measured = {
        method: [Measures(**numbers, covariance=np.empty(0)) for numbers in seeds]
        for method, seeds in stored["measures"].items()
    }
    settings = {run["method"]: Settings(**run) for run in stored["runs"].values()}
    table = summarise(measured, settings, (1, 28, 28))
    written = (RESULTS / "demo" / "comparison.md").read_text(encoding="utf-8")
    assert table.to_markdown() == written


def test_the_evaluations_table_is_that_of_its_json() -> None:
    """Each cell's numbers are the median, least and greatest, as far as their digits go."""
    folder = RESULTS / "mnist-evaluation"
    records = json.loads((folder / "evaluation-table.json").read_text(encoding="utf-8"))["table"]
    lines = [
        re.split(r"(?<!\\)\|", line)[1:-1]
        for line in (folder / "evaluation.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    columns = [cell.strip() for cell in lines[0][1:]]
    rows = [line for line in lines[2:] if any(cell.strip() for cell in line[1:])]
    assert len(rows) * len(columns) == len(records)
    cells = [cell for row in rows for cell in row[1:]]
    for record, cell in zip(records, cells, strict=True):
        shown = NUMBER.findall(cell) if record["value"] is not None else []
        known = [record[name] for name in ("value", "minimum", "maximum")]
        for text, value in zip(shown, known, strict=bool(shown)):
            _, _, decimals = text.partition(".")
            assert abs(float(text.replace(",", "")) - value) <= 0.501 * 10 ** -len(decimals), record
        assert shown or "undefined" in cell
    with (folder / "evaluation.csv").open(encoding="utf-8", newline="") as file:
        assert [r["value"] for r in csv.DictReader(file)] == [
            "" if r["value"] is None else str(r["value"]) for r in records
        ]


def test_every_preset_is_named_where_people_look() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for command in (train, compare, sweep):
        words = " ".join((command.__doc__ or "").split())
        listed = words.partition("Settings that come with hebae: ")[2].partition(".")[0]
        assert sorted(listed.split(", ")) == preset_names()
    assert all(f"`{name}`" in reference for name in preset_names())


def test_the_preset_of_the_rate_term_is_the_best_point_of_its_study() -> None:
    stored = json.loads((RESULTS / "reproduction" / "rate.json").read_text(encoding="utf-8"))
    best = next(c["numbers"] for c in stored["claims"] if c["key"] == "at-once")
    preset = resolve("mnist-rate", None, {"method": "hebae"})
    assert (preset.penalty_weight, preset.rate_weight) == (best["lambda"], best["gamma"])
    others = {"method", "rate_weight"}
    for method in ("hebae", "vae", "wae"):
        as_in_the_paper = resolve("mnist", None, {"method": method})
        here = resolve("mnist-rate", None, {"method": method})
        assert here.model_dump(exclude=others) == as_in_the_paper.model_dump(exclude=others)
