"""What the command line does to the files of a run: it keeps, resumes, checks and refuses them."""

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import SMALL, in_a_process, refused, small, stopped

from hebae.run_folder import RunFolder

RESUME = ("train", "--resume", "--output", "run", "--epochs", 3)


def files(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


# ---- a run that stops ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_a_killed_or_interrupted_run_resumes_to_the_same_weights(
    hebae, vectors, tmp_path, number, status
):
    arguments = ("train", "--data", vectors, *small(epochs=60))
    lines = tmp_path / "stopped" / "metrics.jsonl"
    found, err = stopped(
        *(*arguments, "--output", "stopped"),
        cwd=tmp_path,
        when=lambda: lines.exists() and lines.read_text().count("\n") >= 3,
        number=number,
    )
    assert found == status
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    if number == signal.SIGINT:
        assert "hebae train --resume --output stopped" in " ".join(err.split())
    refused(hebae("sample", "stopped"), "--resume")
    assert "Not finished" in hebae("show", "stopped").out
    assert hebae("train", "--resume", "--output", "stopped").status == 0
    assert hebae(*arguments, "--output", "whole").status == 0
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("stopped", "whole")]
    assert weights[0] == weights[1]


def test_resume_refuses_what_would_change_the_run(hebae, trained):
    resume = ("train", "--resume", "--output", "run")
    refused(hebae(*resume), "2 epochs", "--epochs")
    refused(hebae(*resume, "--epochs", 1), "2 epochs", "1")
    refused(hebae(*resume, "--epochs", 4, "--latent-dim", 4), "latent_dim", "3", "4")
    refused(hebae(*resume, "--preset", "mnist"), "--preset")
    refused(hebae("train", "--resume"), "--output")
    refused(hebae("train", "--resume", "--output", "nowhere"), "nowhere")
    assert hebae(*RESUME).status == 0


def test_a_loss_that_is_not_finite_stops_with_advice_and_a_checkpoint(hebae, tmp_path):
    flat = np.full((300, 12), 0.5, dtype=np.float32)
    flat[:4] = np.random.default_rng(0).random((4, 12))  # few batches hold two of them
    np.save(tmp_path / "flat.npy", flat)
    result = hebae("train", "--data", "flat.npy", *SMALL, "--output", "run")
    refused(result, "step 1", "nan", "smallest eigenvalue of Sigma", "shrunk")
    assert (tmp_path / "run" / "resume.pt").exists()


def test_a_run_lost_before_its_first_checkpoint_begins_again(hebae, trained):
    weights = (trained / "model.safetensors").read_bytes()
    for name in ("resume.pt", "model.safetensors", "metrics.jsonl"):
        (trained / name).unlink()
    assert hebae("train", "--resume", "--output", "run").status == 0
    assert (trained / "model.safetensors").read_bytes() == weights


def test_a_run_can_be_used_from_any_folder(hebae, trained, tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert hebae("reconstruct", "../run", "--output", "r.npy").status == 0
    assert hebae("train", "--resume", "--output", "../run", "--epochs", 3).status == 0


# ---- folders ------------------------------------------------------------------------------------


def test_an_existing_run_is_kept_unless_told_otherwise(hebae, vectors, trained):
    expected = {"config.yaml", "config.json", "metrics.jsonl", "model.safetensors", "resume.pt"}
    assert files(trained) == expected | {"provenance.json", "report.html"}
    before = (trained / "model.safetensors").read_bytes()
    arguments = ("train", "--data", vectors, *SMALL, "--seed", 1, "--output", "run")
    refused(hebae(*arguments), "run", "--resume", "--overwrite")
    worse = ("train", "--data", vectors, *small(batch_size=2), "--output", "run")
    refused(hebae(*worse, "--overwrite"), "batch_size")
    assert (trained / "model.safetensors").read_bytes() == before
    assert hebae(*arguments, "--overwrite").status == 0
    assert (trained / "model.safetensors").read_bytes() != before


def test_what_is_not_hebaes_is_never_overwritten(hebae, vectors, trained, tmp_path):
    mine, yours = tmp_path / "mine" / "thesis.tex", tmp_path / "yours" / "config.yaml"
    for path in (mine, yours, trained / "thesis.tex"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("years: of work")
    arguments = ("train", "--data", vectors, *SMALL, "--overwrite", "--output")
    refused(hebae(*arguments, "mine"), "mine")
    refused(hebae(*arguments, "yours"), "config.yaml")
    refused(hebae(*arguments, "run"), "thesis.tex")
    refused(hebae(*arguments, "mine/thesis.tex"), "mine/thesis.tex")
    refused(hebae(*arguments, "mine/thesis.tex/run"), "mine/thesis.tex/run")
    assert mine.read_text() == yours.read_text() == "years: of work"
    assert "model.safetensors" in files(trained)


def without_roots_privileges():
    """Let file permissions hold for root as well, as on a read-only disk."""
    if sys.platform == "linux" and os.geteuid() == 0:
        drop_from_bounding_set, override_permissions = 24, 1  # linux/prctl.h, linux/capability.h
        ctypes.CDLL(None).prctl(drop_from_bounding_set, override_permissions)


def test_a_read_only_run_can_be_shown_and_sampled(trained, tmp_path):
    """The sampler is fitted and used; the user is told that nothing is stored in the run."""
    before = files(trained)
    trained.chmod(0o555)
    commands = (("show", "run"), ("sample", "run", "--output", "s.npy"))
    try:
        shown, sampled = (
            in_a_process(*words, cwd=tmp_path, preexec_fn=without_roots_privileges)
            for words in commands
        )
    finally:
        trained.chmod(0o755)
    assert shown.status == sampled.status == 0, shown.err + sampled.err
    assert "latent_dim" in shown.out
    assert "cannot be written" in " ".join(shown.err.split())
    assert "not stored" in " ".join(sampled.err.split())
    assert np.load(tmp_path / "s.npy").shape == (64, 12)
    assert files(trained) == before


def test_a_disk_too_small_is_found_before_training(hebae, vectors, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    arguments = ("train", "--data", vectors, *SMALL, "--output", "run")
    refused(hebae(*arguments), "run", "MB")
    assert not (tmp_path / "run").exists() or not files(tmp_path / "run")


def test_a_disk_that_fills_up_leaves_no_half_written_file(vectors, tmp_path):
    """A limit on the size of files stands in for a full disk."""
    result = in_a_process(
        *("train", "--data", vectors, *SMALL, "--output", "run"),
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
    )
    refused(result, "resume.pt")
    assert files(tmp_path / "run") <= {"config.yaml", "provenance.json", "metrics.jsonl"}
    refused(in_a_process("sample", "run", cwd=tmp_path), "not finished")


# ---- damaged files ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["truncated", "altered", "missing"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "resume.pt"])
def test_files_of_a_run_that_are_not_whole_are_refused(hebae, trained, name, kind):
    before = {path: path.read_bytes() for path in trained.iterdir() if path.name != name}
    path = trained / name
    content = {"truncated": path.read_bytes()[:-50], "altered": b"\0" * 64 + path.read_bytes()[64:]}
    path.unlink() if kind == "missing" else path.write_bytes(content[kind])
    if name == "resume.pt":
        refused(hebae(*RESUME), "resume.pt", "--overwrite")
    else:
        refused(hebae("sample", "run", "--output", "s.npy"), "run")
        assert not Path("s.npy").exists()
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data_range", [0.0, "x"]),
        ("data_range", [0.0, float("nan")]),
        ("data_range", 1e308),
        ("seen", 5),
        ("seen.kind", "grey"),
        ("seen.kind", 1.5),
        ("seen.columns", 0),
        ("seen.columns", [{"name": "a", "kind": "odd"}]),
        ("seen.conditions", {}),
        ("seen.variants", "x"),
        ("seen.feature_names", [1]),
    ],
)
def test_what_a_model_says_of_its_data_is_checked(hebae, trained, name, value):
    path = trained / "config.json"
    content = json.loads(path.read_text())
    place, _, inner = name.partition(".")
    if inner:
        content[place][inner] = value
    else:
        content[place] = value
    path.write_text(json.dumps(content))
    for command, output in (("encode", "c.npy"), ("sample", "s.npy"), ("export", "new")):
        refused(hebae(command, "run", "--output", output), "config.json", place)


def test_a_folder_that_vanishes_is_what_a_sweep_complains_of(hebae, vectors, tmp_path, monkeypatch):
    def vanish(folder, state):
        shutil.rmtree(tmp_path / "out")
        write(folder, state)

    write = RunFolder.write_checkpoint
    monkeypatch.setattr(RunFolder, "write_checkpoint", vanish)
    words = ("sweep", "--data", vectors, *small(epochs=1), "--grid", "seed=0,1", "--output", "out")
    refused(hebae(*words), "cannot write", "resume.pt")


def test_a_command_goes_on_when_nobody_reads_what_it_prints(vectors, tmp_path):
    words = (*small(epochs=2), "--data", vectors, "--output", "run")
    command = [sys.executable, "-m", "hebae", "train", *map(str, words)]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        ended = subprocess.run(command, cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "run" / "report.html").exists()


def test_a_checkpoint_of_another_architecture_is_refused_by_the_tensor_that_differs(
    hebae, vectors, trained
):
    hebae("train", "--data", vectors, *small(latent_dim=4), "--output", "wider")
    for name in ("model.safetensors", "resume.pt"):
        shutil.copy(trained.parent / "wider" / name, trained / name)
    refused(hebae("sample", "run", "--output", "s.npy"), "(4, 4)", "(3, 3)")
    refused(hebae(*RESUME), "(4, 4)", "(3, 3)")


def test_no_code_can_run_from_a_checkpoint(hebae, trained, tmp_path):
    class Exploit:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'exploited'}",)

    torch.save({"model": Exploit()}, trained / "resume.pt")
    refused(hebae(*RESUME), "resume.pt")
    shutil.copy(trained / "resume.pt", trained / "model.safetensors")
    refused(hebae("sample", "run", "--output", "s.npy"), "run")
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("optimizer"),
        lambda state: state.pop("data_fingerprint"),
        lambda state: state.update(model=[1]),
        lambda state: state.update(metrics_size=10**9),
        lambda state: next(iter(state["model"].values())).fill_(float("nan")),
    ],
)
def test_a_checkpoint_that_cannot_be_resumed_is_refused(hebae, trained, change):
    state = torch.load(trained / "resume.pt", weights_only=True)
    change(state)
    torch.save(state, trained / "resume.pt")
    refused(hebae(*RESUME), "resume.pt")
    assert "model.safetensors" in files(trained)


def test_a_run_with_one_held_out_example_ends_well(hebae, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((12, 3)))
    done = hebae("train", "--data", "x.npy", *small(epochs=1), "--output", "run")
    assert done.status == 0, done.err
    assert "1 drawn" in done.err
