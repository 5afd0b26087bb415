"""Runs and measurements are reused; what cannot work is refused before any training."""

import html
import json
from dataclasses import replace

import pytest
from command_line import require_movable

from hebae.errors import HebaeError
from hebae.experiments import runner
from hebae.folders import locked
from hebae.paper import study as studies
from hebae.paper.budgets import Budget
from hebae.paper.page import stored
from hebae.paper.reproduce import reproduce
from hebae.paper.statements import compare
from hebae.paper.study import Findings, Study
from hebae.training.many import Result, Watcher

TINY = {"data": "mnist-mini", "epochs": 1, "latent_dim": 2, "batch_size": 500}
TINY |= {"encoder_widths": (4,), "decoder_widths": (4,)}
BUDGET = Budget("tiny", (0,), (0,), {"mnist": TINY}, {})


@pytest.fixture(autouse=True)
def texts(monkeypatch):
    """Texts of studies that only exist here."""
    for name in ("first", "second", "bad", "both"):
        words = {"title": name, "paper": "Nothing.", "deviations": []}
        words["statements"] = {"elbo": {"text": "It is high", "what": "ELBO", "form": ".1f"}}
        monkeypatch.setitem(studies.STUDIES, name, words)


def plan(*methods):
    return lambda budget: [budget.run("mnist", method) for method in methods]


def conclude(budget, runs):
    return Findings([compare("first", "elbo", {run.method: [run.value("elbo")] for run in runs})])


def study(name, *methods):
    return Study(name, plan(*methods), ("elbo",), conclude)


class Counting(Watcher):
    """Lists the methods of the runs that are trained."""

    def __init__(self):
        self.trained = []

    def on_result(self, result):
        self.trained.append(result.job.prepared.settings.method)


def go(output, *studies, **changes):
    watcher = Counting()
    pages = reproduce(studies, BUDGET, output, command="test", watcher=watcher, **changes)
    return pages, watcher.trained


def test_studies_are_trained_and_measured_and_share_their_runs(tmp_path):
    output = tmp_path / "out"
    assert go(output, study("first", "vae", "ae"), train_only=True) == ([], ["ae", "vae"])
    assert not list(output.rglob("evaluation.json"))
    (page,), trained = go(output, study("first", "vae", "ae"))
    assert trained == []
    values = json.loads(page.with_suffix(".json").read_text())
    assert values["statements"][0]["numbers"]["vae"] < 0
    assert values["statements"][0]["numbers"]["ae"] is None  # it has no ELBO
    assert "AE undefined" in page.read_text()
    assert page.with_suffix(".csv").read_text().startswith("run,method,k,")
    assert "mnist-mini (10,000 training" in values["provenance"]["data"]
    kept = {path: path.read_bytes() for path in output.rglob("evaluation.json")}

    pages, trained = go(output, study("first", "vae", "ae"), study("second", "vae", "hebae"))
    assert trained == ["hebae"]
    assert [page.stem for page in pages] == ["first", "second"]
    assert {path: path.read_bytes() for path in kept} == kept  # nothing was measured again


def test_a_run_that_diverged_is_not_trained_again_and_is_reported(tmp_path):
    def runs(budget):
        return [budget.run("mnist", "vae", learning_rate=1e9), budget.run("mnist", "ae")]

    made = Study("first", runs, ("elbo",), conclude)
    (page,), trained = go(tmp_path / "out", made)
    assert sorted(trained) == ["ae", "vae"]
    assert f"- {runs(BUDGET)[0].label} diverged: " in page.read_text()
    assert go(tmp_path / "out", made)[1] == []


def test_an_interrupt_is_not_an_end(tmp_path, monkeypatch):
    def interrupted(jobs, **_):
        return [Result(job, "interrupted") for job in jobs]

    monkeypatch.setattr(runner, "train_all", interrupted)
    assert go(tmp_path / "out", study("first", "vae"))[0] is None


def test_settings_that_cannot_work_are_found_before_any_training(tmp_path):
    def bad(budget):
        return [budget.run("mnist", "vae"), budget.run("mnist", "hebae", latent_dim=600)]

    with pytest.raises(HebaeError, match=r"500.*600"):
        go(tmp_path / "out", Study("bad", bad, (), conclude))
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_a_folder_that_is_in_use_or_holds_something_else_is_left_alone(tmp_path):
    with locked(tmp_path), pytest.raises(HebaeError, match="in use"):
        go(tmp_path, study("first", "vae"))
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(HebaeError, match=r"thesis\.tex"):
        go(tmp_path, study("first", "vae"))
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_missing_data_are_refused_or_left_out_with_a_note_where_they_are_optional(tmp_path):
    def both(budget):
        return [budget.run("mnist", "vae"), budget.run("mnist", "vae", data="absent-faces")]

    made, notes = Study("both", both, ("elbo",), conclude), []
    with pytest.raises(HebaeError, match="absent-faces"):
        go(tmp_path / "out", made)
    assert not list((tmp_path / "out" / "runs").iterdir())
    made = replace(made, optional=("absent-faces",))
    pages, trained = go(tmp_path / "out", made, tell=notes.append)
    assert (len(pages), trained) == (1, ["vae"])
    assert any("1 of its 2 runs" in note and "absent-faces" in note for note in notes)


@pytest.mark.parametrize(("name", "figures"), [("figure1b", 1), ("figure3", 3)])
def test_a_study_ends_with_a_page_numbers_and_figures(smoke, name, figures):
    values = stored(smoke)[name]
    assert (smoke / f"{name}.md").read_text().startswith(f"# {values['title']}\n")
    assert len(list(smoke.glob(f"{name}*.png"))) == len(values["figures"]) == figures
    assert values["records"]
    require_movable(smoke)
    # The page shows the studies of both commands, and maps of the last.
    page = (smoke / "report.html").read_text(encoding="utf-8")
    assert "run <code>hebae reproduce figure1b</code>" in page
    assert html.escape(values["title"], quote=False) in page and "maps" in page
    assert "<code>smoke</code>" in page and "**" not in page.partition("<script type")[0]
    assert {one["verdict"] for one in values["statements"]} == {""}
    for one in values["statements"]:
        assert None not in one["numbers"].values(), one


def test_the_table_of_figure_3_has_the_distances_of_samples(smoke):
    [table] = stored(smoke)["figure3"]["tables"]
    names = [row["name"] for row in table["rows"] if row["name"].startswith("frechet")]
    assert len(names) == 3
    assert all("[pixels@100/100]" in name for name in names), names


def test_made_up_faces_are_not_called_celeba_and_may_be_published(smoke):
    for study in stored(smoke).values():
        titles = [one["title"] for one in (*study["figures"], *study["tables"])]
        assert not any("CelebA" in title for title in titles)
    assert not (smoke / "faces").exists()
