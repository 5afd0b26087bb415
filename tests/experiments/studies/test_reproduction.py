"""Runs are made up where they are missing, and kept where they are there."""

import json
import threading
import time
from dataclasses import replace

import pytest

from hebae.errors import HebaeError
from hebae.experiments.reproduction import training
from hebae.experiments.reproduction.budgets import Budget
from hebae.experiments.reproduction.claiming import claim
from hebae.experiments.reproduction.datasets import Datasets
from hebae.experiments.reproduction.reproduce import reproduce
from hebae.experiments.reproduction.study import Claim, Findings, Study
from hebae.storage import RunFolder
from hebae.training.many import Result, Watcher

TINY = {
    "data": "mnist-mini",
    "epochs": 1,
    "encoder_widths": (4,),
    "decoder_widths": (4,),
    "latent_dim": 2,
    "batch_size": 500,
}
BUDGET = Budget("tiny", (0,), (0,), {"mnist": TINY}, {})


def plan(*methods):
    return lambda budget: [budget.run("mnist", method) for method in methods]


def conclude(budget, runs):
    numbers = {run.method: run.value("elbo", "ELBO") for run in runs}
    said = ", ".join(f"{name} {{{name}:.1f}}" for name in numbers)
    return Findings(
        [Claim("elbo", "It is high", said, numbers, "holds")],
        [],
        [{"method": run.method, "elbo": run.value("elbo", "ELBO")} for run in runs],
        [],
    )


def study(name, *methods):
    return Study(name, name, "Nothing.", plan(*methods), lambda b, r: ("elbo",), conclude)


class Counting(Watcher):
    """Counts the runs that are trained."""

    def __init__(self):
        self.trained = []

    def on_result(self, result):
        self.trained.append(result.job.prepared.settings.method)


def go(output, *studies, **changes):
    watcher = Counting()
    pages = reproduce(studies, BUDGET, output, command="test", watcher=watcher, **changes)
    return pages, watcher.trained


def test_a_study_is_trained_measured_and_concluded_and_shares_its_runs(tmp_path):
    output = tmp_path / "out"
    (page,), trained = go(output, study("first", "vae", "ae"))
    assert sorted(trained) == ["ae", "vae"]
    values = json.loads(page.with_suffix(".json").read_text())
    assert values["claims"][0]["numbers"]["vae"] < 0
    assert values["claims"][0]["numbers"]["ae"] is None  # it has no ELBO, and gets no number
    assert "ae undefined" in page.read_text()
    assert page.with_suffix(".csv").read_text().startswith("method,elbo\nae,\nvae,-")
    assert values["provenance"]["epochs"] == "1"
    assert "mnist-mini (10,000 training" in values["provenance"]["data"]
    kept = {p: p.read_bytes() for p in output.rglob("evaluation.json")}

    pages, trained = go(output, study("first", "vae", "ae"), study("second", "vae", "hebae"))
    assert trained == ["hebae"]
    assert [page.stem for page in pages] == ["first", "second"]
    assert {p: p.read_bytes() for p in kept} == kept  # nothing was measured again
    assert sorted(p.name for p in output.iterdir()) == ["results", "runs"]
    assert not list(output.rglob("*.lock"))


def test_train_only_leaves_the_measuring_to_another_call(tmp_path):
    pages, trained = go(tmp_path / "out", study("first", "vae"), train_only=True)
    assert (pages, trained) == ([], ["vae"])
    assert not list(tmp_path.rglob("evaluation.json"))
    pages, trained = go(tmp_path / "out", study("first", "vae"))
    assert (len(pages), trained) == (1, [])


def test_a_run_that_diverged_is_not_trained_again_and_is_told(tmp_path):
    (run,) = plan("vae")(BUDGET)
    folder = RunFolder(tmp_path / "out" / "runs" / run.name)
    folder.path.mkdir(parents=True)
    folder.write_settings(run.settings)
    folder.add_provenance({"commit": "abc", "machine": "it"})
    folder.mark_diverged("the loss is NaN")
    (page,), trained = go(tmp_path / "out", study("first", "vae"))
    assert trained == []
    assert f"- {run.name} diverged: the loss is NaN" in page.read_text()


def test_what_another_process_has_claimed_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "POLL", 0.05)
    runs = plan("vae", "ae")(BUDGET)
    claimed, said = threading.Event(), []

    def hold():
        with claim(tmp_path, [runs[0].name]):
            claimed.set()
            deadline = time.monotonic() + 30
            while not any("waiting for 1 runs" in words for words in said):
                assert time.monotonic() < deadline
                time.sleep(0.01)

    other = threading.Thread(target=hold)
    other.start()
    claimed.wait()
    watcher = Counting()
    done = training.train(
        runs, tmp_path, Datasets(), command="test", watcher=watcher, progress=said.append
    )
    other.join()
    assert done
    # The free one first; then, given up by the other process unfinished, the claimed one.
    assert watcher.trained == ["ae", "vae"]


def test_a_group_is_claimed_when_its_turn_comes(tmp_path):
    """So that several machines share a study's runs, a grid each."""
    runs = plan("ae", "vae")(BUDGET)
    seen = []

    class Looking(Counting):
        def on_steps(self, count):
            seen.append(sorted(path.stem for path in tmp_path.glob("*.lock")))
            super().on_steps(count)

    watcher = Looking()
    assert training.train(runs, tmp_path, Datasets(), command="test", watcher=watcher)
    assert watcher.trained == ["ae", "vae"]
    assert {len(locks) for locks in seen} == {1}
    assert [locks for locks in seen if locks == seen[0]] != seen


def test_an_interrupt_is_told_from_an_end(tmp_path, monkeypatch):
    def interrupted(jobs, **_):
        return [Result(job, "interrupted") for job in jobs]

    monkeypatch.setattr(training, "train_all", interrupted)
    pages, _ = go(tmp_path / "out", study("first", "vae"))
    assert pages is None
    assert not list(tmp_path.rglob("*.lock"))


def test_settings_that_cannot_work_are_found_before_anything_is_trained(tmp_path):
    def bad(budget):
        return [budget.run("mnist", "vae"), budget.run("mnist", "hebae", latent_dim=600)]

    made = Study("bad", "bad", "", bad, lambda b, r: (), conclude)
    with pytest.raises(HebaeError, match="too small for HEBAE"):
        go(tmp_path / "out", made)
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(HebaeError, match=r"thesis\.tex"):
        go(tmp_path, study("first", "vae"))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.fixture
def two_data_sets():
    """A study of mnist-mini and, if it is there, of another."""

    def make(**fields):
        def both(budget):
            return [budget.run("mnist", "vae"), budget.run("mnist", "vae", data="absent-faces")]

        return Study("both", "both", "", both, lambda b, r: ("elbo",), conclude, **fields)

    return make


def test_optional_data_that_are_not_there_are_left_out_and_it_is_said(tmp_path, two_data_sets):
    said = []
    made = two_data_sets(optional=("absent-faces",))
    pages, trained = go(tmp_path / "out", made, told=said.append)
    assert (len(pages), trained) == (1, ["vae"])
    assert any("both leaves out 1 of its 2 runs: absent-faces is neither" in n for n in said)


def test_other_data_that_are_not_there_are_refused(tmp_path, two_data_sets):
    with pytest.raises(HebaeError, match="absent-faces is neither"):
        go(tmp_path / "out", two_data_sets())
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_a_page_says_what_its_data_have_to_say(tmp_path, monkeypatch):
    (run,) = plan("vae")(BUDGET)
    dataset = replace(Datasets().of(run.settings), notes=("It is a subset.",))
    monkeypatch.setattr(Datasets, "of", lambda self, settings: dataset)
    (page,), _ = go(tmp_path / "out", study("first", "vae"))
    assert "- mnist-mini: It is a subset." in page.read_text()
