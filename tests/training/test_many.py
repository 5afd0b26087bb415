"""Many trainings: each as it would be alone, told of, gone on with, and none stopped by another."""

import os
import signal
from collections.abc import Callable

import pytest
from training_runs import Told

from hebae.errors import HebaeError
from hebae.training.many import Job, train_all

Make = Callable[..., Job]


def states(results):
    return [(result.job.label, result.state) for result in results]


def weights(path):
    return (path / "model.safetensors").read_bytes()


def test_each_run_is_what_it_would_be_alone_and_the_watcher_is_told_of_every_step(job, train_run):
    told = Told()
    changes = {"method": "vae", "epochs": 2, "batch_size": 20, "drop_last": True}
    jobs = [job("a", seed=1), job("b", **changes)]
    results = train_all(jobs, command="test", watcher=told)
    assert [result.job for result in results] == jobs
    assert told.over == states(results) == [("a", "finished"), ("b", "finished")]
    # 270 examples: nine steps per epoch by 32; by 20, thirteen that are full.
    assert told.promised == told.taken == 4 * 9 + 2 * 13
    assert (told.spared, told.ended) == (0, 1)
    train_run("alone", **changes)
    assert weights(jobs[1].path) == weights(jobs[1].path.with_name("alone"))


def test_a_finished_run_is_kept_whatever_leaves_its_steps_alone(job):
    train_all([job("a")], command="test")
    before = {path.name: path.stat().st_mtime_ns for path in job("a").path.iterdir()}
    told = Told()
    results = train_all([job("b", seed=1), job("a", log_every=7)], command="test", watcher=told)
    assert states(results) == [("b", "finished"), ("a", "finished")]
    assert told.earlier == ["a"]
    assert told.promised == told.taken == 4 * 9
    assert {path.name: path.stat().st_mtime_ns for path in job("a").path.iterdir()} == before


@pytest.mark.parametrize("alone", [False, True])
def test_one_that_diverges_is_marked_and_stops_no_other(job, alone):
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


def by_exception():
    raise KeyboardInterrupt


def by_signal():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("interrupt", [by_exception, by_signal])
def test_after_an_interrupt_the_same_call_goes_on(job, interrupt):
    def pair(prefix=""):
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
    ("changes", "message"),
    [
        ({"penalty_weight": 2.0}, "penalty_weight .* was requested; choose another --output"),
        ({"epochs": 9}, "epochs .* was requested; choose another --output"),
        ({"path": "thesis"}, "holds files"),
        ({"path": "b"}, "two jobs would train into"),
    ],
)
def test_a_folder_that_is_not_the_jobs_is_refused_before_training(job, tmp_path, changes, message):
    train_all([job("a")], command="test")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    with pytest.raises(HebaeError, match=message):
        train_all([job("b"), job("a", **changes)], command="test")
    assert not job("b").path.exists()
