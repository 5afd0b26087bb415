"""No run is done twice: claims are exclusive, end with their owner, and are taken over."""

import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from hebae.experiments.reproduction import claiming
from hebae.experiments.reproduction.claiming import claim, holder

NAMES = [f"run{i}" for i in range(20)]


def test_what_is_claimed_is_not_free_until_the_block_ends(tmp_path):
    with claim(tmp_path, ["a", "b"]) as first:
        with claim(tmp_path, ["b", "c"]) as second:
            assert (first, second) == (["a", "b"], ["c"])
            assert f"process {os.getpid()}" in holder(tmp_path, "a")
        assert holder(tmp_path, "c") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_claim_ends_with_an_error_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), claim(tmp_path, ["a"]):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def _take_all(folder, barrier, queue):
    barrier.wait()
    with claim(folder, NAMES) as mine:
        queue.put(mine)
        barrier.wait()


@pytest.mark.parametrize("abandoned", [False, True])
def test_of_processes_that_claim_at_once_each_run_has_one(tmp_path, abandoned):
    if abandoned:
        for name in NAMES:
            _write(tmp_path, name, pid=_dead_process())
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=_take_all, args=(tmp_path, barrier, queue)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    taken = [name for _ in processes for name in queue.get(timeout=30)]
    for process in processes:
        process.join(timeout=30)
    assert sorted(taken) == sorted(NAMES)
    assert list(tmp_path.iterdir()) == []


def _write(folder, name, **owner):
    here = json.loads(claiming._owner())
    (folder / f"{name}.lock").write_text(json.dumps(here | owner))


def _dead_process():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_claim_of_a_process_that_is_gone_is_taken_over(tmp_path):
    _write(tmp_path, "a", pid=_dead_process())
    with claim(tmp_path, ["a"]) as mine:
        assert mine == ["a"]


def test_another_machines_claim_holds_while_it_gives_signs_of_life(tmp_path):
    _write(tmp_path, "a", host="another", pid=1)
    with claim(tmp_path, ["a"]) as mine:
        assert mine == []
    long_ago = time.time() - claiming.STALE - 60
    os.utime(tmp_path / "a.lock", (long_ago, long_ago))
    with claim(tmp_path, ["a"]) as mine:
        assert mine == ["a"]


def test_signs_of_life_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr(claiming, "BEAT", 0.01)
    with claim(tmp_path, ["a"]):
        os.utime(tmp_path / "a.lock", (0, 0))
        deadline = time.monotonic() + 10
        while (tmp_path / "a.lock").stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_claim_that_another_took_over_is_left_to_it(tmp_path):
    with claim(tmp_path, ["a"]):
        _write(tmp_path, "a", host="another")
    assert "on another" in holder(tmp_path, "a")


def test_a_lock_that_is_just_being_written_is_respected(tmp_path):
    (tmp_path / "a.lock").touch()
    with claim(tmp_path, ["a"]) as mine:
        assert mine == []
    assert holder(tmp_path, "a") == "another process"
