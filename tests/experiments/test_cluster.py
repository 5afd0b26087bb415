"""Runs as tasks of Ray: on a cluster of two nodes, with one CPU each, in this machine."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from command_line import refused, small, stopped
from safetensors.numpy import load_file

from hebae.experiments import cluster
from hebae.experiments.settings import ClusterSettings
from hebae.run_folder import RunFolder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the package ray is not installed"
)

STORE = 80 * 2**20
EPOCHS = 100
ALONE = {"method": "rae-l2", "batch_size": 100, "epochs": EPOCHS}
"""Such runs are not stacked: each is a task, with the same bits wherever it is trained."""


@pytest.fixture(scope="module")
def two_nodes():
    cluster.import_ray()
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": STORE}
    local = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    local.add_node(**node)
    yield local.address
    local.shutdown()


def rows(folder):
    """The table of a sweep, without times."""
    found = list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))
    return [{name: row[name] for name in row if "second" not in name} for row in found]


def kill_one(folder, labels):
    """Kill the worker of the first run with a checkpoint of 10 epochs or more.

    Returns the run, and the lines of its history up to its checkpoint.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for label in labels:
            run = RunFolder(folder / label)
            try:
                process = json.loads((run.path / ".holder").read_text())["pid"]
                if process == os.getpid() or run.read_checkpoint()["epoch"] < 10:
                    continue
                os.kill(process, signal.SIGKILL)
            except (OSError, ValueError):  # it has not begun, or is over
                continue
            lines = run.metrics.read_text().splitlines()
            return label, lines[: run.read_checkpoint()["epoch"]]
        time.sleep(0.01)
    return None, []


def test_a_sweep_with_a_killed_worker_gives_the_results_of_one_process(
    hebae, vectors, tmp_path, two_nodes
):
    words = ["sweep", "--data", vectors, *small(**ALONE), "--grid", "seed=0..1"]
    assert hebae(*words, "--output", "whole").status == 0
    labels = [f"seed={seed}" for seed in range(2)]
    killed = []
    runs = tmp_path / "out" / "runs"
    killer = threading.Thread(target=lambda: killed.append(kill_one(runs, labels)))
    killer.start()
    result = hebae(*words, "--output", "out", "--ray", two_nodes)
    killer.join()
    assert result.status == 0, result.err
    ((victim, kept),) = killed
    assert kept  # it had a checkpoint
    assert f"A worker was lost; its run {victim} is started again." in " ".join(result.err.split())
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    for label in labels:
        one, other = tmp_path / "out" / "runs" / label, tmp_path / "whole" / "runs" / label
        ours, theirs = (load_file(run / "model.safetensors") for run in (one, other))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
        # No run is done twice, and no epoch: a killed one resumes at its last checkpoint.
        assert len(RunFolder(one).origins()) == 1 + (label == victim)
        history = RunFolder(one).history()
        assert [record["epoch"] for record in history] == list(range(1, EPOCHS + 1))
    # What was done up to its checkpoint is not done again: the lines have their old times.
    assert (runs / victim / "metrics.jsonl").read_text().splitlines()[: len(kept)] == kept
    assert "2 of 2 runs, 0 left" in result.err
    assert "raylet" not in result.out + result.err  # Ray is silent


def test_a_task_that_reports_keeps_its_cpu(two_nodes):
    def task(number, report):
        import ray

        waits, ray.get = ray.get, None  # Ray gives the CPU of a task that waits to another one
        try:
            report(number)
        finally:
            ray.get = waits

    with cluster.connected(ClusterSettings(ray=(two_nodes,))) as nodes:
        assert sorted(nodes.run(task, range(2))) == [(0, None), (1, None)]


def test_tasks_go_on_and_report_when_the_actor_of_their_messages_is_killed(two_nodes, tmp_path):
    import ray

    def task(answer, report):
        deadline = time.monotonic() + 60
        while not answer.exists() and time.monotonic() < deadline:
            report("here")
            time.sleep(0.05)
        return answer.exists()

    def watch(number, message):
        if not killed:  # as by a scheduler, whose signal reaches every process
            ray.kill(nodes._messages, no_restart=False)
            killed.append(number)
        else:
            answer.touch()

    killed, answer = [], tmp_path / "answer"
    before = signal.getsignal(signal.SIGTERM)
    with cluster.connected(ClusterSettings(ray=(two_nodes,))) as nodes:
        assert signal.getsignal(signal.SIGTERM) is before  # Ray sets its own, with status 15
        assert list(nodes.run(task, [answer], watch=watch)) == [(0, True)]
    assert killed


def test_what_cannot_work_is_said_before_anything_is_started(
    hebae, vectors, tmp_path, serve, monkeypatch
):
    words = ["sweep", "--data", vectors, *small(), "--grid", "seed=0,1", "--output", "out"]
    other = serve(tmp_path)[0].split("/")[2]  # a web server
    for value, *parts in (
        ["127.0.0.1:1", "no Ray cluster can be reached at 127.0.0.1:1", "refused"],
        [other, "the server at", "is not a Ray cluster", "6379"],
        ["ray://here:10001", "HOST:PORT", "ray job submit"],
        [["here:1", "there:2"], "one address", "there:2"],
    ):
        values = value if isinstance(value, list) else [value]
        refused(hebae(*words, "--ray", *values), *parts)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")  # of ray job submit
    refused(hebae(*words, "--ray"), "RAY_ADDRESS is 'http://127.0.0.1:8265'", "HOST:PORT", "local")
    monkeypatch.delenv("RAY_ADDRESS")
    refused(hebae(*words, "--ray", "--ray-cpus", 1.5), "--ray-cpus is 1.5", "whole number")
    refused(hebae(*words, "--ray", "--ray-gpus", 2), "--ray-gpus is 2", "0 to 1")

    def busy(*arguments, **keywords):
        raise RuntimeError("The current node timed out during startup.\nMore")

    monkeypatch.setattr(cluster.import_ray(), "init", busy)
    for words_of_local in (["--ray"], ["--ray", "local"]):
        refused(hebae(*words, *words_of_local), "timed out during startup", "leave out --ray")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setattr(cluster, "_require_reachable", lambda *arguments: None)
    refused(hebae(*words, "--ray", "here:6379"), "cannot connect to Ray at here", "RAY_AUTH_MODE")
    assert not (tmp_path / "out").exists()


def test_without_ray_the_package_is_named(hebae, vectors, monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    words = ["sweep", "--data", vectors, *small(), "--grid", "seed=0,1"]
    refused(hebae(*words, "--ray"), "pip install 'hebae[ray]'")


@pytest.mark.long
def test_ctrl_c_saves_what_the_workers_do_and_resume_goes_on(hebae, vectors, tmp_path, two_nodes):
    words = ["sweep", "--data", vectors, *small(**ALONE | {"epochs": 300}), "--grid", "seed=0..1"]
    assert hebae(*words, "--output", "whole").status == 0
    runs = tmp_path / "out" / "runs"

    def begun():
        return any(len(path.read_text().splitlines()) > 20 for path in runs.glob("*/metrics.jsonl"))

    words += ["--output", "out", "--ray", two_nodes]
    status, err = stopped(*words, cwd=tmp_path, when=begun)
    assert status == 130
    assert "Stopped and saved." in err
    unfinished = [run for run in map(RunFolder, runs.iterdir()) if not run.is_finished]
    assert unfinished
    assert any(run.checkpoint.is_file() for run in unfinished)
    assert hebae(*words, "--resume").status == 0
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
