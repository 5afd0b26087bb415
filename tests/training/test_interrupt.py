"""Signals stop a training where it can resume, and say by the exit status which it was."""

import os
import signal
import time

import pytest
from command_line import small
from training_runs import history, same, weights

from hebae.run_folder import RunFolder
from hebae.training import interrupt, loop, session
from hebae.training.callbacks import Callback


class Press(Callback):
    """Receive signals at a step, one after the other."""

    def __init__(self, step, *numbers, pause=0.0):
        self.step, self.numbers, self.pause = step, list(numbers), pause

    def on_log(self, step, epoch, means):
        while step >= self.step and self.numbers:
            signal.raise_signal(self.numbers.pop(0))
            time.sleep(self.pause)


@pytest.fixture
def train(dataset, settings, tmp_path):
    settings = settings.replace(log_every=1, epochs=3)

    def run(name, *callbacks, **options):
        prepared = session.prepare(settings, dataset)
        own = lambda settings: callbacks  # noqa: E731
        return session.run(prepared, tmp_path / name, callbacks=own, **options)

    return run


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_exit_status_tells_the_signal(hebae, vectors, monkeypatch, number, status):
    monkeypatch.setattr("hebae.training.callbacks.ProgressBar", lambda *_: Press(5, number))
    done = hebae("train", "--data", vectors, *small(log_every=1), "--output", "run")
    assert done.status == status
    assert "Stopped and saved. Resume with: hebae train --resume --output run" in done.err


def test_a_sweep_tells_it_too(hebae, vectors, monkeypatch):
    class Stopping(Press):
        def __init__(self, watcher, expected):
            super().__init__(5, signal.SIGTERM)
            self.left = 0

    monkeypatch.setattr("hebae.training.many._StepCounter", Stopping)
    words = ["--data", vectors, *small(log_every=1), "--grid", "seed=0..1", "--output", "out"]
    assert hebae("sweep", *words).status == 143


def test_a_second_ctrl_c_stops_at_once_and_says_so(hebae, vectors, monkeypatch):
    presses = Press(5, signal.SIGINT, signal.SIGINT, pause=2 * interrupt.SAME_PRESS)
    monkeypatch.setattr("hebae.training.callbacks.ProgressBar", lambda *_: presses)
    done = hebae("train", "--data", vectors, *small(log_every=1), "--output", "run")
    assert done.status == 130
    assert "Stopped at once. The last checkpoint is kept: use --resume." in done.err


def test_one_press_that_comes_twice_is_one_and_sigterm_may_be_repeated(train):
    assert train("a", Press(5, signal.SIGINT, signal.SIGINT)).interrupted == signal.SIGINT
    twice = Press(5, signal.SIGTERM, signal.SIGTERM, pause=2 * interrupt.SAME_PRESS)
    assert train("b", twice).interrupted == signal.SIGTERM


@pytest.mark.parametrize(
    ("stopped", "calls"),
    [("held_out_estimates", 2), ("store_population", 1), ("store_population", 4)],
)
def test_a_pass_over_the_data_does_not_hold_up_the_checkpoint(
    train, tmp_path, monkeypatch, stopped, calls
):
    """The pass is left; the resumed run makes it again, and ends as if nothing had happened.

    The fourth call of `store_population` is the one after the last epoch.
    """
    train("whole")
    work, count = getattr(loop, stopped), 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == calls:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("the pass goes on")
        return work(*arguments)

    monkeypatch.setattr(loop, stopped, interrupted)
    assert train("stopped").interrupted == signal.SIGTERM
    assert not RunFolder(tmp_path / "stopped").is_finished
    monkeypatch.undo()
    assert not train("stopped", resuming=True).interrupted
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert history(tmp_path / "whole") == history(tmp_path / "stopped")


def test_sighup_stays_ignored_under_nohup(train):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert not train("run", Press(5, signal.SIGHUP)).interrupted
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_a_result_is_written_leaves_nothing_of_it(
    hebae, vectors, tmp_path, monkeypatch, number, status
):
    """Where nothing has to be saved, as in `encode`, a signal ends the command at once."""
    assert hebae("train", "--data", vectors, *small(epochs=1), "--output", "run").status == 0
    monkeypatch.setattr(os, "fsync", lambda file: signal.raise_signal(number))
    before = signal.signal(number, signal.SIG_DFL)  # another test, or nohup, may have set another
    try:
        result = hebae("encode", "run", "--output", "codes.npy")
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert result.status == status
    assert result.err.endswith("Interrupted.\n")
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]
    assert not (tmp_path / "codes.npy").exists()
