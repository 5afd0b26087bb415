"""``hebae train`` with several processes: stopped, killed, resumed, diverged."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
import torch
from command_line import Result, command, in_a_process, refused, small, stopped
from training_runs import history, weights

from hebae.errors import HebaeError
from hebae.run_folder import RunFolder
from hebae.training import processes

# 27 does not divide the 270 training examples evenly among two processes.
OPTIONS = {"batch_size": 27, "method": "wae", "precision": "64-true", "epochs": 30}


def training(**changes):
    return ["train", "--data", "vectors.npy", *small(**OPTIONS | changes)]


def agree(first, second):
    """Sums over processes are in another order; the stored weights are float32."""
    torch.testing.assert_close(weights(first), weights(second), rtol=1e-6, atol=1e-7)
    losses = [[record["train"]["objective"] for record in history(run)] for run in (first, second)]
    np.testing.assert_allclose(*losses, rtol=1e-9)


def began(folder, epochs=3):
    lines = folder / "metrics.jsonl"
    return lines.exists() and lines.read_text().count("\n") >= epochs


def test_two_processes_stopped_by_ctrl_c_resume_as_two_and_as_one(hebae, tmp_path, vectors):
    two = [*training(), "--devices", 2, "--output", "two"]
    status, err = stopped(*two, cwd=tmp_path, when=lambda: began(tmp_path / "two"))
    assert status == 130
    assert err.count("Stopped and saved. Resume with: hebae train --resume --output two") == 1
    assert err.count("likelihood bernoulli") == 1  # one process prints
    shutil.copytree(tmp_path / "two", tmp_path / "again")
    resumed = hebae("train", "--resume", "--output", "two", "--devices", 1)
    assert resumed.status == 0
    assert "devices changed" in resumed.err
    resumed = hebae("train", "--resume", "--output", "again")
    assert resumed.status == 0
    assert "devices changed" not in resumed.err
    assert hebae(*training(), "--output", "one").status == 0
    agree(tmp_path / "one", tmp_path / "two")
    agree(tmp_path / "one", tmp_path / "again")


# ---- who started the processes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "devices", "expected"),
    [
        ({}, 2, False),
        ({"SLURM_JOB_ID": "7"}, 2, False),  # a shell on a node, without srun
        ({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, 2, True),
        ({"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"}, 2, True),
        ({"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}, 1, False),  # 4 trainings
        ({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, 1, "torchrun starts 4 .* --devices 4"),
        ({"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}, 2, "--ntasks-per-node=4"),
        ({"SLURM_NTASKS": "4"}, 4, "--ntasks-per-node=None"),
    ],
)
def test_processes_that_were_started_are_recognised(monkeypatch, variables, devices, expected):
    for name in os.environ:
        if name.startswith(("SLURM_", "LOCAL_", "OMPI_", "PMI_", "LSB_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, str):
        with pytest.raises(HebaeError, match=expected):
            processes.are_started(devices)
    else:
        assert processes.are_started(devices) is expected


def test_machines_are_counted(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert processes.machines(4) == 2
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setenv("SLURM_NNODES", "3")
    assert processes.machines(4) == 3
    assert processes.machines(1) == 1


# ---- what ends them ------------------------------------------------------------------------------

SLEEP = "import time; time.sleep(60)"
FAIL = "import sys; sys.exit('Error: the disk is full')"
LOST = "import sys; sys.exit(70)"
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
SAVE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5 * {rank}), sys.exit(143)))
import os; os.kill(os.getppid(), signal.SIGTERM) if {rank} else None
time.sleep(60)
"""

# As C++ code ends that does not expect a KeyboardInterrupt.
ABORT = """
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: os.abort())
os.kill(os.getppid(), signal.SIGINT) if {rank} else None
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("first", "second", "status", "message"),
    [
        ("", "", 0, ""),
        (LOST, KILLED, 1, "process 2 of 2 was ended by SIGKILL.*Resume with: again"),
        (KILLED, LOST, 1, "process 1 of 2 was ended by SIGKILL.*Resume with: again"),
        (SLEEP, KILLED, 1, "process 2 of 2 was ended by SIGKILL"),  # one that hangs is ended
        (KILLED, SLEEP, 1, "process 1 of 2 was ended by SIGKILL"),
        (LOST, FAIL, 1, "^Error: the disk is full$"),
        ("import sys; sys.exit(2)", FAIL, 2, ""),  # the first has printed what all have found
        (LOST, LOST, 1, "lost their connection.*Resume with: again"),
        (SAVE.format(rank=0), SAVE.format(rank=1), 143, ""),
        (ABORT.format(rank=0), ABORT.format(rank=1), 130, ""),
    ],
)
def test_the_first_to_fail_is_named_and_the_others_end(monkeypatch, first, second, status, message):
    script = (
        "import os; exec({0: os.environ['A'], 1: os.environ['B']}[int(os.environ['LOCAL_RANK'])])"
    )
    monkeypatch.setattr(processes, "_command", lambda words: [sys.executable, "-c", script])
    monkeypatch.setenv("A", first)
    monkeypatch.setenv("B", second)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    begun = time.monotonic()
    found = processes.supervise(2, [], "again", grace=0.3)
    assert time.monotonic() - begun < 30
    assert found[0] == status
    assert re.search(message, found[1]) if message else not found[1]
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("started", [1, 2, 3])
def test_a_signal_while_processes_are_started_ends_all(monkeypatch, started):
    asked = []

    def sleep(words):
        asked.append(words)
        if len(asked) == started:
            os.kill(os.getpid(), signal.SIGTERM)
        return [sys.executable, "-c", SLEEP]

    monkeypatch.setattr(processes, "_command", sleep)
    assert processes.supervise(3, [], "again") == (143, "")
    assert len(asked) == started


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_only_ctrl_c_is_handled_where_it_was_ignored(monkeypatch, number, status):
    """A script ignores SIGINT in the commands that it starts in the background."""
    stops = f"import os, time; os.kill(os.getppid(), {number:d}); time.sleep(60 * {status})"
    monkeypatch.setattr(processes, "_command", lambda words: [sys.executable, "-c", stops])
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert processes.supervise(2, [], "again") == (status, "")
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_processes_that_the_system_refuses_end_those_that_were_started(monkeypatch):
    started, begin = [], subprocess.Popen

    def limited(*arguments, **options):
        if len(started) == 2:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(begin(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(processes, "_command", lambda words: [sys.executable, "-c", SLEEP])
    monkeypatch.setattr(subprocess, "Popen", limited)
    with pytest.raises(HebaeError, match=r"--devices is 3, but only 2 .*temporarily unavailable"):
        processes.supervise(3, [], "again")
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


@pytest.fixture
def none_starts(monkeypatch):
    """Fail a test that starts processes."""
    monkeypatch.setattr(processes, "supervise", lambda *_: pytest.fail("processes were started"))


def test_too_many_processes_are_refused_before_one_is_started(
    hebae, trained, none_starts, monkeypatch
):
    data = ["--data", "vectors.npy"]
    few = small(batch_size=3, devices=1000)
    refused(hebae("train", *data, *few), "batch_size 3", "1000 devices")
    more = ["--resume", "--output", "run", "--epochs", 3, "--devices", 1000]
    refused(hebae("train", *more), "batch_size 32", "1000 devices")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device in ("cuda", "auto"):
        flags = small(device=device, devices=2)
        refused(hebae("train", *data, *flags), "this machine has 1 cuda device(s)", "--devices 1")


@contextmanager
def two_processes(folder, *more):
    """Start a training of two processes; give it and the processes, when it has begun."""
    flags = [*training(epochs=100_000), "--devices", 2, "--output", "two", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(*flags), cwd=folder, **pipes) as process:
        deadline = time.monotonic() + 300
        while not began(folder / "two"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        children = psutil.Process(process.pid).children()
        try:
            yield process, {int(c.environ()["LOCAL_RANK"]): c for c in children}
        finally:
            for child in children:
                if child.is_running():
                    child.kill()
            process.kill()


def resumes(hebae, folder):
    """In two processes again, by the command that the message names."""
    done = len(history(folder / "two"))
    assert hebae("train", "--resume", "--output", "two", "--epochs", done + 1).status == 0


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_resumes(hebae, tmp_path, vectors, rank):
    with two_processes(tmp_path) as (process, children):
        children[rank].kill()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.count(f"process {rank + 1} of 2 was ended by SIGKILL") == 1
    assert "hebae train --resume --output two" in err
    assert "Traceback" not in out + err
    resumes(hebae, tmp_path)


@pytest.mark.long
def test_processes_whose_supervisor_is_killed_save_and_end(hebae, tmp_path, vectors):
    with two_processes(tmp_path) as (process, children):
        process.kill()
        _, alive = psutil.wait_procs(children.values(), timeout=60)
        assert not alive
    resumes(hebae, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_schedulers_get_a_checkpoint_in_time(hebae, tmp_path, vectors, number):
    with two_processes(tmp_path, "--checkpoint-every", 10**6) as (process, _):
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Stopped and saved" in err
    before = torch.load(tmp_path / "two" / "resume.pt", weights_only=True)
    assert before["steps"] >= 30
    resumes(hebae, tmp_path)


@pytest.mark.long
def test_a_loss_that_is_not_finite_in_one_process_ends_all_with_its_step(hebae, tmp_path):
    values = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    values[100, 3] = 9e17  # one example, whose squared error over the scale is infinite
    np.save(tmp_path / "vectors.npy", values)
    flags = training(likelihood="gaussian", likelihood_scale=0.01, precision="32-true")
    one = hebae(*flags, "--output", "one")
    two = in_a_process(*flags, "--devices", 2, "--output", "two", cwd=tmp_path)
    messages = [" ".join(r.err[r.err.index("Error:") :].split()) for r in (one, two)]
    assert one.status == two.status == 2
    assert "training stopped at step" in messages[0]
    numbers = [re.sub(r"[-\d.]+e?\+?\d*", "", m) for m in messages]  # rounded differently
    steps = [re.search(r"at step (\d+)", m).group(1) for m in messages]
    assert steps[0] == steps[1]
    assert numbers[0] == numbers[1]


@pytest.mark.long
def test_torchrun_and_slurm_start_the_processes_themselves(hebae, tmp_path, vectors):
    words = training(epochs=2)
    assert hebae(*words, "--output", "one").status == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    started = ["--devices", "2", "--output", "torchrun"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", *command(*words)[1:], *started],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    agree(tmp_path / "one", tmp_path / "torchrun")
    tasks = []
    for rank in range(2):
        variables = {"NTASKS": 2, "NTASKS_PER_NODE": 2, "PROCID": rank, "LOCALID": rank}
        variables |= {"NODEID": 0, "NNODES": 1, "JOB_ID": os.getpid(), "NODELIST": "localhost"}
        place = {f"SLURM_{name}": str(value) for name, value in variables.items()}
        flags = [*words, "--devices", 2, "--output", "slurm"]
        process = subprocess.Popen(
            command(*flags), cwd=tmp_path, env=os.environ | place, stderr=subprocess.PIPE, text=True
        )
        tasks.append(process)
    messages = [task.communicate(timeout=300)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], messages
    assert messages[1] == ""
    agree(tmp_path / "one", tmp_path / "slurm")


@pytest.mark.long
def test_what_every_process_refuses_is_said_once(tmp_path, vectors):
    flags = [
        "train",
        "--data",
        "vectors.npy",
        *small(method="vae", epochs=1, warm_up_epochs=2, devices=2),
    ]
    result: Result = in_a_process(*flags, "--output", "run", cwd=tmp_path)
    refused(result, "--warm-up-epochs 2", "--epochs 1")
    assert result.err.count("Error") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_model_that_breaks_is_refused_by_every_process(tmp_path, vectors):
    """One step, of a method with a critic: its loss is finite, and the weights after it are not."""
    words = small(method="wae-gan", batch_size=300, epochs=1, learning_rate=1e30, validation_size=0)
    given = ["--data", vectors, *words, "--devices", 2, "--output", "run"]
    done = in_a_process("train", *given, cwd=tmp_path)
    assert done.status == 2
    assert done.err.count("Error:") == 1
    assert "not finite" in " ".join(done.err.split())
    assert not RunFolder(tmp_path / "run").is_finished
