"""Terms of the loss, lined up over epochs and seeds."""

import math

from hebae.report.histories import by_seed, curve, penalties


def record(epoch: int, value: float, held_out: float | None = None) -> dict:
    return {
        "epoch": epoch,
        "train": {"objective": -value, "reconstruction": value, "kl": 1.0},
        "held_out": None if held_out is None else {"objective": -held_out},
    }


def test_one_run_is_one_seed_and_runs_without_an_epoch_are_none():
    run = [record(1, 3.0), record(2, 2.0)]
    assert by_seed(run) == [run]
    assert by_seed([run, [], run]) == [run, run]
    assert by_seed([]) == []


def test_median_and_range_over_seeds():
    seeds = [[record(e, v * e) for e in (1, 2, 3)] for v in (5.0, 1.0, 2.0)]
    line = curve(seeds, "train", "reconstruction")
    assert line.epochs == [1, 2, 3]
    assert line.middle == [2.0, 4.0, 6.0]
    assert line.low == [1.0, 2.0, 3.0]
    assert line.high == [5.0, 10.0, 15.0]


def test_an_epoch_that_a_seed_lacks_is_left_out():
    seeds = [
        [record(1, 1.0), record(2, math.nan), record(3, 1.0), record(4, 1.0)],
        [record(1, 1.0), record(2, 1.0), record(3, 1.0)],
    ]
    assert curve(seeds, "train", "reconstruction").epochs == [1, 3]


def test_held_out_may_be_absent_or_none():
    run = [record(1, 1.0), record(2, 1.0, held_out=7.0), {"epoch": 3, "train": {}}]
    run += [{"epoch": 4, "train": {}, "held_out": {"objective": None}}]
    line = curve([run], "held_out", "objective")
    assert (line.epochs, line.middle) == ([2], [-7.0])
    assert curve([], "train", "objective").epochs == []


def test_penalties_are_the_other_terms_each_once():
    histories = {
        "vae": [[record(1, 1.0), record(2, 1.0)]],
        "hebae": [[{"epoch": 1, "train": {"objective": 0.0, "aggregate": 1.0, "rate": 2.0}}]],
        "ae": [],
    }
    assert penalties(histories) == ["kl", "aggregate", "rate"]
