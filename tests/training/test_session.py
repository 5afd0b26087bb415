"""A run folder in training: locked, resumed on what rounds alike, refused if memory is short."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import SMALL, refused

from hebae.building import build
from hebae.config import Settings
from hebae.data import Examples
from hebae.errors import HebaeError
from hebae.model import Step
from hebae.run_folder import RunFolder
from hebae.training import machine, session, state

HELD = """
import sys, time
from pathlib import Path
from hebae.folders import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_in_use_is_refused_by_host_and_process(trained, hebae, vectors):
    before = {path.name: path.read_bytes() for path in trained.glob("[a-z]*")}
    longer = ["train", "--output", trained, "--resume", "--epochs", "5"]
    anew = ["train", "--output", trained, "--overwrite", "--data", vectors, *SMALL]
    other = subprocess.Popen([sys.executable, "-c", HELD, trained], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for words in (longer, anew):
            facts = (trained.name, f"process {other.pid}", socket.gethostname())
            refused(hebae(*words), *facts)
    finally:
        other.kill()
        other.wait()
    assert {path.name: path.read_bytes() for path in trained.glob("[a-z]*")} == before
    # A process that was killed holds nothing.
    assert hebae(*longer).status == hebae(*anew).status == 0


def test_a_resumed_run_does_not_change_its_device_silently(
    dataset, settings, tmp_path, monkeypatch
):
    """As on a machine whose GPU is gone: "auto" is another device than it was."""
    path = tmp_path / "run"
    auto = settings.replace(device="auto")
    monkeypatch.setattr(state, "device_type", lambda settings: "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    session.run(session.prepare(auto, dataset), path)
    monkeypatch.undo()
    longer = session.prepare(auto.replace(epochs=5, device="auto"), dataset)
    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU")
    with pytest.raises(HebaeError, match=r"'cuda'.*'cpu'.*--device cpu"):
        session.run(longer, path, resuming=True)
    assert RunFolder(path).is_finished  # nothing was given up
    named = session.prepare(auto.replace(epochs=5, device="cpu"), dataset)
    assert session.run(named, path, resuming=True).steps == 5 * 9
    entry = RunFolder(path).read_checkpoint()["rounding"]
    assert entry == {"device": "cpu", "program": "plain"}


def test_a_change_that_rounds_differently_is_told(trained, hebae):
    """On a CPU, "auto" compiles nothing, as "off" does; a GPU rounds differently."""
    resume = ["train", "--resume", "--output", trained]
    state, told = RunFolder(trained).read_checkpoint(), "does not equal that of an uninterrupted"
    RunFolder(trained).write_checkpoint(
        state | {"rounding": {"device": "cuda", "program": "plain"}}
    )
    resumed = hebae(*resume, "--epochs", 3, "--device", "cpu")
    assert resumed.status == 0
    assert told in " ".join(resumed.err.split())
    resumed = hebae(*resume, "--epochs", 4, "--device", "cpu", "--compile", "off")
    assert resumed.status == 0
    assert told not in " ".join(resumed.err.split())


def test_a_model_that_does_not_fit_into_memory_is_refused_before_training(
    hebae, tmp_path, monkeypatch
):
    """300 x 300 RGB with the default network: 424 million weights, four times in float32."""
    images = np.zeros((200, 3, 300, 300), np.uint8)
    images[:, 0, 0, 0] = np.arange(200)
    np.save(tmp_path / "x.npy", images)
    monkeypatch.setattr(machine, "free_memory", lambda device: 4e9)
    for words in (["--dry-run"], ["--output", "run"]):
        given = ["--data", tmp_path / "x.npy", "--device", "cpu", "--validation-size", 20, *words]
        refused(hebae("train", *given), "GB", "4.0 GB are free", "--encoder-widths")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(machine, "free_memory", lambda device: 40e9)
    assert hebae("train", *given[:-2], "--dry-run").status == 0


NETWORKS = {
    "mlp": ({}, (1, 28, 28)),
    "convolutional": (
        {"network": "convolutional", "encoder_widths": (8, 16), "decoder_widths": (16, 8)},
        (3, 32, 32),
    ),
    "critic": ({"method": "wae-gan", "critic_widths": (2000, 2000)}, (1, 8, 8)),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_estimate_is_near_what_a_step_keeps(network):
    changes, shape = NETWORKS[network]
    settings = Settings(likelihood="bernoulli", **changes)
    need = machine.estimate_memory(settings, Examples(np.zeros((1, *shape), np.float32)))
    model = build(settings, shape)
    assert need.count == sum(p.numel() for p in model.parameters())
    assert need.weights == 4 * 4 * need.count
    kept: dict[int, int] = {}

    def note(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    m = settings.batch_size
    noise = {name: torch.zeros(size) for name, size in model.noise_shapes(m).items()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step: Step = model(torch.rand(m, *shape), noise)
    step.loss.backward()
    stored = {p.data_ptr() for p in model.parameters()}
    measured = sum(size for address, size in kept.items() if address not in stored)
    # Not less than the forward pass keeps, and not many times as much: gradients come on top.
    assert measured <= need.batch <= 5 * measured


def test_free_memory_heeds_the_limit_of_a_container(tmp_path, monkeypatch):
    for name, text in {
        "memory.max": "3000000000",
        "memory.current": "2500000000",
        "memory.stat": "anon 1500000000\ninactive_file 1000000000",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path)
    assert machine.free_memory("cpu") <= 1.5e9
    (tmp_path / "memory.max").write_text("max")
    assert machine.free_memory("cpu") > 0


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"compile": "on", "devices": 2, "batch_size": 32}, "one process"),
        ({"compile": "on", "device": "mps"}, "mps"),
        ({"compile": "on", "device": "cuda", "precision": "16-mixed"}, "16-mixed"),
        ({"network": "convolutional", "encoder_widths": None, "decoder_widths": None}, "images"),
        ({"batch_norm": "frozen"}, "frozen"),
        ({"method": "vae", "warm_up_epochs": 5}, "warm-up-epochs 5 is more than --epochs 4"),
        ({"method": "vae", "free_bits": 0.1, "prior": "flow"}, "free-bits .* --prior normal"),
        ({"method": "dip-vae-i", "batch_size": 1}, "DIP-VAE-I .* needs at least 2 examples"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    settings, dataset, monkeypatch, changes, parts
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(HebaeError, match=parts):
        session.prepare(settings.replace(**changes), dataset)


def test_compile_on_needs_a_compiler_and_says_so_before_training(settings, dataset, monkeypatch):
    def no_compiler(*arguments, **named):
        raise RuntimeError("No working C++ compiler found")

    machine._compile_something.cache_clear()
    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(HebaeError, match=r"No working C\+\+ compiler found.*--compile off"):
        session.prepare(settings.replace(compile="on"), dataset)


def test_precision_auto_is_exact_and_what_was_decided_is_saved(settings, dataset, tmp_path):
    auto = settings.replace(precision="auto", epochs=1)
    session.run(session.prepare(auto, dataset), tmp_path / "run")
    stored = RunFolder(tmp_path / "run").settings()
    assert (stored.precision, stored.likelihood) == ("32-true", "bernoulli")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["precision"] == "32-true"
