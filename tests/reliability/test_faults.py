"""Faults caused on purpose: kills, full and read-only disks, clocks, folders that vanish."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import killing
import numpy as np
import pytest
from command_line import SMALL, command, in_a_process, refused, small
from test_cli_runs import without_roots_privileges

from hebae.data.cache import cached_folder
from hebae.run_folder import RunFolder
from hebae.training.callbacks import Callback

WORDS = ("train", "--data", "vectors.npy", *small(epochs=4, log_every=1))


def killed(folder: Path, seed: int, kills: int) -> dict:
    words = [sys.executable, killing.__file__, str(folder), str(seed), str(kills)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_fifty_killed_trainings_resume_bit_by_bit(tmp_path, count):
    found = killed(tmp_path / "killed", 0, 50)
    count("killed trainings", kills=found["kills"], problems=len(found["problems"]))
    assert found["kills"] >= 50
    assert not found["problems"], found["problems"]


def test_killed_trainings_resume_bit_by_bit(tmp_path):
    found = killed(tmp_path / "killed", 1, 2)
    assert found["kills"] >= 2
    assert not found["problems"], found["problems"]


class At(Callback):
    """Do something at a step, once."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_log(self, step, epoch, means):
        if step >= self.step:
            self.step = 10**9
            self.action()


@pytest.fixture
def whole(hebae, vectors, tmp_path):
    """The weights of a training that nothing happens to."""
    assert hebae(*WORDS, "--output", "whole").status == 0
    return (tmp_path / "whole" / "model.safetensors").read_bytes()


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MB, where the system lets one be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)]
    mounted = shutil.which("mount") and os.geteuid() == 0
    if (
        not mounted
        or subprocess.run(["mount", *options], capture_output=True, check=False).returncode
    ):
        pytest.skip("no disk can be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_keeps_the_last_checkpoint(hebae, whole, small_disk, monkeypatch):
    """The disk is full from step 20 on, with a little more room each time."""
    run = small_disk / "run"

    def fill():
        with (small_disk / "filler").open("wb") as file:
            file.write(bytes(shutil.disk_usage(small_disk).free - 8192))

    monkeypatch.setattr("hebae.training.callbacks.ProgressBar", lambda *_: At(20, fill))
    result = hebae(*WORDS, "--output", run)
    refused(result, "No space left on device", "cannot write")
    monkeypatch.undo()
    refused(hebae("train", "--resume", "--output", run), "No space left on device")
    (small_disk / "filler").unlink()
    assert not [p.name for p in run.iterdir() if p.name.endswith(".tmp")]
    assert hebae("train", "--resume", "--output", run).status == 0
    assert weights(run) == whole


def test_a_folder_that_vanishes_is_said_to_be_gone(hebae, vectors, tmp_path, monkeypatch):
    gone = At(12, lambda: shutil.rmtree(tmp_path / "run"))
    monkeypatch.setattr("hebae.training.callbacks.ProgressBar", lambda *_: gone)
    refused(hebae(*WORDS, "--output", "run"), "run", "No such file or directory")
    assert not (tmp_path / "run").exists()


def test_a_clock_that_jumps_changes_nothing(hebae, whole, tmp_path, monkeypatch):
    jumps = iter(1e9 * np.random.default_rng(0).standard_normal(10**5).cumsum())
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    assert hebae(*WORDS, "--output", "run").status == 0
    assert weights(tmp_path / "run") == whole
    for path in (tmp_path / "run").iterdir():
        os.utime(path, (4e9, 4e9))  # in the year 2096
    assert hebae("train", "--resume", "--output", "run", "--epochs", 5).status == 0
    assert hebae("show", "run").status == 0


def test_without_a_home_training_works_and_downloads_say_what_to_set(hebae, vectors, monkeypatch):
    def unknown(*_):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "HEBAE_CACHE_DIR", "XDG_CACHE_HOME", "HEBAE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert hebae(*WORDS, "--output", "run").status == 0
    assert hebae("train", "--resume", "--output", "run", "--epochs", 5).status == 0
    assert hebae("data", "list").status in (0, 2)
    result = hebae("train", "--data", "mnist", "--dry-run")
    refused(result, "HEBAE_CACHE_DIR")


@pytest.mark.long
def test_a_read_only_run_is_refused_before_training(hebae, vectors, tmp_path):
    assert hebae(*WORDS, "--output", "run").status == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("[!.]*")}
    (tmp_path / "run").chmod(0o555)
    resume = ("train", "--resume", "--output", "run", "--epochs", 6)
    try:
        done = in_a_process(*resume, cwd=tmp_path, preexec_fn=without_roots_privileges)
    finally:
        (tmp_path / "run").chmod(0o755)
    refused(done, "run", "may write to")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").glob("[!.]*")} == before


PREPARING = """
import sys, time
from pathlib import Path
from hebae.data.cache import cached_folder

def build(folder):
    (Path(sys.argv[1]) / f"built-{sys.argv[2]}").touch()
    (folder / "half").write_text("1")
    time.sleep(1.0)
    (folder / "whole").write_text("2")

print(sorted(path.name for path in cached_folder("made", build).iterdir()))
"""


def test_two_processes_prepare_one_cache_once(tmp_path):
    env = os.environ | {"HEBAE_CACHE_DIR": str(tmp_path / "cache")}
    words = [sys.executable, "-c", PREPARING, str(tmp_path)]
    both = [
        subprocess.Popen([*words, str(n)], stdout=subprocess.PIPE, text=True, env=env)
        for n in range(2)
    ]
    assert [one.communicate()[0] for one in both] == ["['half', 'whole']\n"] * 2
    assert len(list(tmp_path.glob("built-*"))) == 1


def test_a_cache_of_a_process_that_was_killed_is_prepared_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path))
    words = [sys.executable, "-c", PREPARING, str(tmp_path), "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as first:
        while not (tmp_path / "made.partial" / "half").exists():
            time.sleep(0.01)
        first.kill()
    made = cached_folder("made", lambda folder: (folder / "other").touch())
    assert [path.name for path in made.iterdir()] == ["other"]


@pytest.mark.long
def test_two_commands_on_one_folder(tmp_path, vectors):
    """The second is refused, whatever it is; the first ends as if it had been alone."""
    words = ("train", "--data", "vectors.npy", *small(epochs=400), "--output")
    assert in_a_process(*words, "whole", cwd=tmp_path).status == 0
    with subprocess.Popen(command(*words, "run"), cwd=tmp_path, stderr=subprocess.DEVNULL) as first:
        while not RunFolder(tmp_path / "run").checkpoint.exists():
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # or it could end before the others have begun
        for more in (("--overwrite",), ("--resume",)):
            again = words if "--overwrite" in more else ("train", "--output")
            refused(in_a_process(*again, "run", *more, cwd=tmp_path), f"process {first.pid}")
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 401))


@pytest.mark.long
def test_two_evaluations_beside_each_other_lose_nothing(tmp_path, vectors):
    assert (
        in_a_process(
            "train", "--data", "vectors.npy", *SMALL, "--output", "run", cwd=tmp_path
        ).status
        == 0
    )
    named = ("moments,reconstruction", "objective,elbo")
    both = [
        subprocess.Popen(command("evaluate", "run", "--metrics", names), cwd=tmp_path)
        for names in named
    ]
    assert [one.wait() for one in both] == [0, 0]
    stored = json.loads((tmp_path / "run" / "evaluation.json").read_text())["metrics"]
    assert {"moments", "reconstruction", "objective", "elbo"} <= set(stored)
