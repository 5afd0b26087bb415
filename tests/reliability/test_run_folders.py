"""Run folders: held by one process, readable by the umask, clean after a kill, with checksums."""

from __future__ import annotations

import json
import os
import socket
import stat
import zipfile

import numpy as np
import pytest
from command_line import SMALL, refused, small
from safetensors.torch import load_file, save_file

import hebae as package
from hebae.errors import HebaeError
from hebae.experiments.measure import Record
from hebae.experiments.measurement import Measurement
from hebae.folders import locked
from hebae.run_folder import RunFolder
from hebae.samplers import read_samplers
from hebae.storage import load_model

WIDTHS = {"encoder_widths": 4, "decoder_widths": 4, "latent_dim": 2}
TINY = small(**WIDTHS, epochs=1)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--output", "out", *TINY),
        ("sweep", "--grid", "seed=0,1", "--output", "out", *TINY),
        ("compare", "--methods", "ae", "vae", "--output", "out", *TINY),
        ("leaderboard", "--methods", "vae", "--output", "out", "--data", "mnist-mini"),
        ("reproduce", "figure4", "--output", "out"),
        ("evaluate", "out"),
    ],
    ids=lambda words: words[0],
)
def test_a_folder_in_use_is_refused_by_every_command(hebae, vectors, tmp_path, words):
    if words[0] == "evaluate":
        assert hebae("train", "--data", vectors, *TINY, "--output", "out").status == 0
    elif words[0] in ("train", "sweep", "compare"):
        words = (*words, "--data", vectors)
    (tmp_path / "out").mkdir(exist_ok=True)
    with locked(tmp_path / "out"):
        before = {path: path.read_bytes() for path in (tmp_path / "out").glob("[!.]*.*")}
        refused(hebae(*words), "out", f"process {os.getpid()} on {socket.gethostname()}")
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("[!.]*.*")} == before


def test_two_evaluations_of_one_run_keep_each_others_measurements(tmp_path):
    path, of = tmp_path / "evaluation.json", {"weights": "w", "data": "d", "examples": "e"}
    records = [Record(path, of), Record(path, of)]  # both began when there was no file
    for number in range(3):
        for which, record in enumerate(records):
            one = Measurement(id="x", name="x", value=float(number))
            record.add(f"metric {which} {number}", {}, 1, [one], {}, 0.1)
    stored = Record(path, of)
    for which in range(2):
        for number in range(3):
            found = stored.find(f"metric {which} {number}", {}, 1)
            assert found is not None
            assert found[0].value == number


LEFT = (".config.yaml.4242.tmp", ".model.safetensors.17.tmp", ".tmpAbC123")


def test_what_a_killed_process_left_is_no_obstacle_and_is_removed(hebae, vectors, tmp_path):
    """Killed while the settings were written: there is nothing to resume, and it can begin."""
    words = ("train", "--data", vectors, *TINY, "--output", "out")
    (tmp_path / "out").mkdir()
    for name in LEFT:
        (tmp_path / "out" / name).write_text("seed:")
    refused(hebae("train", "--resume", "--output", "out"), "out", "without --resume")
    assert hebae(*words).status == 0
    for name in LEFT:
        (tmp_path / "out" / name).write_text("seed:")
    assert hebae(*words, "--overwrite").status == 0
    (tmp_path / "out" / LEFT[0]).write_text("seed:")
    assert hebae("train", "--resume", "--output", "out", "--epochs", 2).status == 0
    assert not set(LEFT) & {path.name for path in (tmp_path / "out").iterdir()}


def test_hidden_files_of_others_are_kept(hebae, vectors, tmp_path):
    """They look like what a killed process leaves, but are folders, or have no process's number."""
    assert hebae("train", "--data", vectors, *TINY, "--output", "out").status == 0
    (tmp_path / "out" / ".tmpbackup" / "data").mkdir(parents=True)
    (tmp_path / "out" / ".backup.17.tmp").mkdir()
    (tmp_path / "out" / ".notes.tmp").write_text("mine")
    assert hebae("evaluate", "out").status == 0
    refused(hebae("train", "--data", vectors, *TINY, "--output", "out", "--overwrite"), ".backup")
    for name in (".tmpbackup/data", ".backup.17.tmp", ".notes.tmp"):
        assert (tmp_path / "out" / name).exists()


def test_what_was_left_among_the_figures_is_removed(hebae, vectors, tmp_path):
    assert hebae("train", "--data", vectors, *TINY, "--output", "out").status == 0
    left = tmp_path / "out" / "figures" / ".samples.png.4242.tmp"
    left.parent.mkdir(exist_ok=True)
    left.write_text("half of a pic")
    assert hebae("evaluate", "out").status == 0
    assert not left.exists()


def test_a_damaged_history_is_refused_before_the_training_goes_on(hebae, vectors, tmp_path):
    words = ("train", "--data", vectors, *small(**WIDTHS, epochs=2), "--output", "out")
    assert hebae(*words).status == 0
    metrics, weights = tmp_path / "out" / "metrics.jsonl", tmp_path / "out" / "model.safetensors"
    first, second = metrics.read_text().splitlines()
    metrics.write_text(f"{first}\n\n{second}\n")
    before = weights.read_bytes()
    refused(hebae("train", "--resume", "--output", "out", "--epochs", 3), "metrics.jsonl")
    assert weights.read_bytes() == before
    metrics.write_text(f"{first}\n{second}\n{{half of a li")  # which the checkpoint does not count
    assert hebae("train", "--resume", "--output", "out", "--epochs", 3).status == 0
    assert len(RunFolder(tmp_path / "out").history()) == 3


def test_files_have_the_permissions_that_the_umask_says(hebae, tmp_path, vectors):
    before = os.umask(0o027)
    try:
        assert hebae("train", "--data", vectors, *TINY, "--output", "run").status == 0
        assert hebae("sample", "run", "--output", "s.npy").status == 0
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "run").glob("*.*")}
    assert "samplers.safetensors" in modes
    assert set(modes.values()) == {0o640}, modes


# ---- checksums ----------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    """A model saved from Python, with a sampler."""
    x = np.random.default_rng(0).random((100, 6)).astype(np.float32)
    saved = package.VAE(2, epochs=1, encoder_widths=[4], decoder_widths=[4], random_state=0).fit(x)
    saved.sample(4, sampler="mixture")
    saved.save(tmp_path / "model")
    return tmp_path / "model"


def flipped(content, bit):
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


@pytest.mark.parametrize("name", ["model.safetensors", "samplers.safetensors"])
def test_no_flipped_bit_in_weights_or_samplers_goes_unnoticed(model, name):
    whole, content = load_model(model)[0], (model / name).read_bytes()
    before = read_samplers(model, whole)
    for bit in np.random.default_rng(0).choice(8 * len(content), 60, replace=False).tolist():
        (model / name).write_bytes(flipped(content, bit))
        try:
            if name == "model.safetensors":
                load_model(model)
                pytest.fail(f"bit {bit} was not noticed")
            now = read_samplers(model, whole)
        except HebaeError as error:
            assert name in str(error)
        else:  # the name of the weights was hit, or a name that is not read
            assert now.codes is None or np.array_equal(now.codes, before.codes)
            assert now.samplers is None or now.samplers.seed == before.samplers.seed


def test_show_names_samplers_that_are_damaged(hebae, tmp_path):
    flags = small(**WIDTHS, epochs=1, train_size=100)
    assert hebae("train", *flags, "--output", "run").status == 0
    assert hebae("sample", "run", "--sampler", "mixture", "--output", "s.npy").status == 0
    path = tmp_path / "run" / "samplers.safetensors"
    path.write_bytes(flipped(path.read_bytes(), 8 * path.stat().st_size - 100))
    refused(hebae("show", "run"), "samplers.safetensors")


def test_no_flipped_bit_in_a_checkpoint_goes_unnoticed(hebae, vectors, tmp_path):
    assert hebae("train", "--data", vectors, *SMALL, "--output", "run").status == 0
    folder = RunFolder(tmp_path / "run")
    content, before = folder.checkpoint.read_bytes(), folder.read_checkpoint()
    for bit in np.random.default_rng(0).choice(8 * len(content), 100, replace=False).tolist():
        folder.checkpoint.write_bytes(flipped(content, bit))
        try:
            now = folder.read_checkpoint()
        except HebaeError as error:
            assert "resume.pt" in str(error)
        else:  # where the archive holds only filling
            assert now["model"].keys() == before["model"].keys()
            for key in ("model", "optimizer", "noise", "steps", "epoch"):
                assert str(now[key]) == str(before[key])


def test_weights_that_are_not_finite_are_refused(model):
    tensors = load_file(model / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(HebaeError, match="SHA-256"):
        package.load(model)
    config = json.loads((model / "config.json").read_text())
    del config["weights_sha256"]  # as in a folder of version 0.1.0
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(HebaeError, match="not finite"):
        package.load(model)


def test_an_altered_or_compressed_checkpoint_is_refused(hebae, vectors, tmp_path):
    assert hebae("train", "--data", vectors, *TINY, "--output", "run").status == 0
    folder = RunFolder(tmp_path / "run")
    path, whole = folder.checkpoint, folder.read_checkpoint()
    for place, alteration in (
        ("batch", {"batch": 2**62}),
        ("batch", {"batch": 1}),  # of which no examples are counted
        ("examples", {"monitor": whole["monitor"] | {"count": 5}}),
        ("seconds", {"seconds": float("inf")}),
        ("steps", {"steps": -1}),
    ):
        folder.write_checkpoint(whole | alteration)
        refused(hebae("train", "--resume", "--output", "run", "--epochs", 3), "resume.pt", place)
    folder.write_checkpoint(whole)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
        new.writestr("archive/data/bomb", bytes(10**7))  # which is not unpacked
    refused(hebae("train", "--resume", "--output", "run", "--epochs", 3), "compressed")


def test_a_model_that_claims_to_be_huge_takes_no_memory(model):
    config = json.loads((model / "config.json").read_text())
    config |= {"encoder_widths": [2**20, 2**20], "input_shape": [2**20]}  # 4 TB of weights
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(HebaeError, match="architecture"):
        package.load(model)


def test_names_that_cannot_be_looked_up_are_refused_in_python_too(tmp_path):
    for path in ("x" * 256, "~nosuch/x"):
        with pytest.raises(HebaeError, match=r"cannot be looked up|home folder"):
            package.load(path)
    with pytest.raises(HebaeError, match="empty"):
        package.data.load("")


def test_an_empty_argument_is_not_the_current_folder(hebae):
    for words in (("--data", ""), ("--data=",), ("--output", "")):
        refused(hebae("train", *words, *TINY), "argument is empty")


def test_moments_that_are_shrunk_already_are_not_advised(hebae, vectors):
    words = ("train", "--data", vectors, "--moments", "shrunk", "--batch-size", 1, "--dry-run")
    result = hebae(*words)
    refused(result, "at least 2 examples", "--batch-size 2")
    assert "shrunk" not in result.err
