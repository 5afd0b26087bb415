"""Many trainings: each as it would be alone, told of, gone on with, and none stopped by another."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hebae.config import Settings
from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.training import session
from hebae.training.many import Job, Result, Watcher, train_all

Make = Callable[..., Job]


class Told(Watcher):
    """Keeps what it is told; `on_step` may do more."""

    def __init__(self, on_step: Callable[[int], None] = lambda taken: None) -> None:
        self.on_step = on_step
        self.promised = self.taken = self.spared = 0
        self.earlier: list[str] = []
        self.over: list[tuple[str, str]] = []
        self.ended = 0

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        self.earlier = [result.job.label for result in results]
        self.promised = steps

    def on_steps(self, count: int) -> None:
        assert count >= 0
        self.taken += count
        self.on_step(self.taken)

    def on_spared(self, count: int) -> None:
        assert count >= 0
        self.spared += count

    def on_result(self, result: Result) -> None:
        self.over.append((result.job.label, result.state))

    def on_end(self) -> None:
        self.ended += 1


@pytest.fixture
def job(dataset: Dataset, settings: Settings, tmp_path: Path) -> Make:
    def make(label: str, path: str = "", **changes: object) -> Job:
        prepared = session.prepare(settings.replace(**changes), dataset)
        return Job(label, prepared, tmp_path / (path or label))

    return make


def states(results: Sequence[Result]) -> list[tuple[str, str]]:
    return [(result.job.label, result.state) for result in results]


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_each_run_is_what_it_would_be_alone(job: Make, train_run: Callable[..., object]) -> None:
    jobs = [job("a", seed=1), job("b", method="vae", penalty_weight=3.0), job("c", latent_dim=2)]
    results = train_all(jobs, command="test")
    assert states(results) == [("a", "finished"), ("b", "finished"), ("c", "finished")]
    assert [result.job for result in results] == jobs
    train_run("alone", method="vae", penalty_weight=3.0)
    assert weights(jobs[1].path) == weights(jobs[1].path.with_name("alone"))


def test_the_watcher_is_told_of_every_step_and_job(job: Make) -> None:
    told = Told()
    jobs = [job("a"), job("b", epochs=2, batch_size=20, drop_last=True)]
    train_all(jobs, command="test", watcher=told)
    # 270 examples: nine steps an epoch by 32; by 20, thirteen that are full.
    assert told.promised == told.taken == 4 * 9 + 2 * 13
    assert (told.spared, told.ended) == (0, 1)
    assert told.over == [("a", "finished"), ("b", "finished")]


def test_a_finished_run_is_kept(job: Make) -> None:
    train_all([job("a")], command="test")
    before = {path.name: path.stat().st_mtime_ns for path in job("a").path.iterdir()}
    told = Told()
    results = train_all([job("b", seed=1), job("a")], command="test", watcher=told)
    assert states(results) == [("b", "finished"), ("a", "finished")]
    assert told.earlier == ["a"]
    assert told.promised == told.taken == 4 * 9
    assert {path.name: path.stat().st_mtime_ns for path in job("a").path.iterdir()} == before


@pytest.mark.parametrize("alone", [False, True])
def test_one_that_diverges_is_marked_and_stops_no_other(job: Make, alone: bool) -> None:
    jobs = [job("bad", learning_rate=1e30, latent_dim=2 if alone else 3), job("good")]
    told = Told()
    bad, good = train_all(jobs, command="test", watcher=told)
    assert (bad.state, good.state) == ("diverged", "finished")
    assert "not a finite number" in bad.message
    assert not bad.job.folder.is_finished
    assert told.promised == told.taken + told.spared
    assert told.spared > 0 or not alone
    again = Told()
    results = train_all(jobs, command="test", watcher=again)
    assert results[0].message == bad.message  # it would diverge again
    assert (again.earlier, again.promised) == (["bad", "good"], 0)


def by_exception() -> None:
    raise KeyboardInterrupt


def by_signal() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("interrupt", [by_exception, by_signal])
def test_after_an_interrupt_the_same_call_goes_on(job: Make, interrupt: Callable[[], None]) -> None:
    def pair(prefix: str = "") -> list[Job]:
        return [job("a", f"{prefix}a"), job("b", f"{prefix}b", latent_dim=2)]

    once = [interrupt]
    # Steps are told of at every fifth and at the end of an epoch of nine: this is within the third.
    stopped = Told(lambda taken: once.pop()() if taken >= 20 and once else None)
    results = train_all(pair(), command="test", watcher=stopped)
    assert states(results) == [("a", "interrupted"), ("b", "interrupted")]
    assert stopped.ended == 1
    told = Told()
    results = train_all(pair(), command="test", watcher=told)
    assert states(results) == [("a", "finished"), ("b", "finished")]
    assert told.promised == told.taken + told.spared
    train_all(pair("whole-"), command="test")
    for finished, whole in zip(pair(), pair("whole-"), strict=True):
        assert weights(finished.path) == weights(whole.path)


@pytest.mark.parametrize(
    ("changes", "named"), [({"penalty_weight": 2.0}, "penalty_weight"), ({"epochs": 9}, "epochs")]
)
def test_a_run_with_other_settings_is_refused_before_training(
    job: Make, changes: dict[str, object], named: str
) -> None:
    train_all([job("a")], command="test")
    with pytest.raises(HebaeError, match=rf"{named} .* is asked for; name another --output"):
        train_all([job("b"), job("a", **changes)], command="test")
    assert not job("b").path.exists()


def test_what_leaves_the_steps_alone_may_differ(job: Make) -> None:
    train_all([job("a")], command="test")
    assert states(train_all([job("a", log_every=7)], command="test")) == [("a", "finished")]


def test_a_folder_of_something_else_is_refused_before_training(job: Make, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").touch()
    with pytest.raises(HebaeError, match="holds files"):
        train_all([job("b"), job("a")], command="test")
    assert not job("b").path.exists()


def test_two_jobs_cannot_share_a_folder(job: Make, tmp_path: Path) -> None:
    with pytest.raises(HebaeError, match="two jobs would train into"):
        train_all([job("a", "same"), job("b", "same", seed=1)], command="test")
    assert not (tmp_path / "same").exists()
