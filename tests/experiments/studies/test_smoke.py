"""The studies of faces and of our own from beginning to end, at the budget `smoke`."""

import json

import pytest

from hebae.experiments.reproduction.budgets import BUDGETS
from hebae.experiments.reproduction.reproduce import reproduce
from hebae.experiments.studies import choose

SMOKE = BUDGETS["smoke"]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """One folder for all, so that they share their runs."""
    return tmp_path_factory.mktemp("smoke") / "out"


def run(name, output):
    (page,) = reproduce(choose([name]), SMOKE, output, command="test")
    return page, json.loads(page.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("figure1b", ["figure1b"]),
        ("figure3", ["figure3-interpolations", "figure3-reconstructions", "figure3-samples"]),
        ("rate", ["rate"]),
        ("ablations", []),
    ],
)
def test_a_study_ends_with_a_page_numbers_and_figures(name, figures, output):
    page, values = run(name, output)
    assert page.read_text().startswith(f"# {values['title']}\n")
    assert {path.stem for path in page.parent.glob(f"{name}*.png")} == set(figures)
    assert values["claims"]
    for claim in values["claims"]:
        assert None not in claim["numbers"].values(), claim
        assert claim["verdict"] != "cannot be told"
    assert values["records"]
    assert values["tables"]
