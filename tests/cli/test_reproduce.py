"""``hebae reproduce`` as a user sees it."""

import pytest
from command_line import refused

from hebae import paper
from hebae.paper.budgets import BUDGETS
from hebae.paper.study import Findings, Study

TINY = {"epochs": 1, "encoder_widths": (4,), "decoder_widths": (4,), "latent_dim": 2}


@pytest.fixture
def one_run(monkeypatch):
    """A study of one run in place of the others."""

    def plan(budget):
        return [budget.run("mnist", "vae", **TINY)]

    made = Study("figure2", plan, ("elbo",), lambda budget, runs: Findings([]))
    monkeypatch.setattr(paper, "choose", lambda names: [made])


def test_a_study_ends_with_its_page_and_resumes(hebae, one_run, tmp_path):
    first = hebae("reproduce", "figure2", "--output", "out", "--train-only")
    assert first.status == 0, first
    assert "Trained: out/runs" in " ".join(first.out.split())
    assert "1 of 1 runs" in first.err
    second = hebae("reproduce", "figure2", "--output", "out")
    assert second.status == 0, second
    assert "out/results/figure2.md" in second.out
    assert "1 of 1 runs" not in second.err  # it was trained before
    assert "elbo (1 of 1)" in second.err
    page = (tmp_path / "out/results/figure2.md").read_text()
    assert page.startswith("# Figure 2: the latent code\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["name a study, or all", "figure1a"]),
        (["figure2", "--budget", "huge"], ["huge"]),
        (["figure2", "--device", "tpu"], ["tpu"]),
        (["figure3", "--samples", "3"], ["--samples", "10"]),
    ],
)
def test_bad_words_are_refused(hebae, arguments, parts):
    refused(hebae("reproduce", *arguments), *parts)


def test_missing_data_are_refused_before_anything_is_trained(hebae, tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HEBAE_DATA_DIR", raising=False)
    (tmp_path / "data").mkdir()
    asked = ["reproduce", "figure4", "--budget", "small", "--data-dir", tmp_path / "data"]
    refused(hebae(*asked, "--output", "out"), "mnist")
    assert not list((tmp_path / "out/runs").iterdir())


def test_features_that_are_not_known_are_refused_before_anything_is_trained(hebae, tmp_path):
    asked = ["reproduce", "figure3", "--features", "flow", "--output", "out"]
    refused(hebae(*asked), "'flow'", "efficientnet-lite0")
    assert not list((tmp_path / "out/runs").iterdir())


def test_the_help_names_every_study_and_budget(hebae):
    said = hebae("reproduce", "--help").out
    for name in (*paper.NAMES, *BUDGETS):
        assert name in said
