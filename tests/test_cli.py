"""The command line as its users meet it: what works, and what is refused in one sentence."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import SMALL, Result, refused, small
from PIL import Image


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """300 vectors of 12 numbers in [0, 1]."""
    path = tmp_path / "vectors.npy"
    np.save(path, np.random.default_rng(0).random((300, 12), dtype=np.float32))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """200 training and 40 test images of 16 x 16 grey levels."""
    generator = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    make = lambda n: generator.integers(0, 256, (n, 1, 16, 16), dtype=np.uint8)  # noqa: E731
    np.savez(path, x_train=make(200), x_test=make(40))
    return path


# ---- what works ---------------------------------------------------------------------------------


def test_help_fits_80_columns_and_names_every_setting(hebae: Callable[..., Result]) -> None:
    from hebae.config import Settings

    text = hebae("train", "--help").out
    assert max(map(len, text.splitlines())) <= 80
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
    overview = hebae("--help").out
    for command in ("train", "compare", "sample", "reconstruct", "interpolate", "show", "data"):
        assert command in overview


def test_train_show_sample_reconstruct_interpolate(
    hebae: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    assert hebae("train", "--data", images, *SMALL, "--output", "run").status == 0
    found = {path.name for path in (tmp_path / "run").iterdir()}
    assert found == {
        "config.yaml",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "resume.pt",
        "provenance.json",
    }
    shown = hebae("show", "run")
    assert shown.status == 0
    assert "latent_dim" in shown.out
    assert "reconstruction" in shown.out
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures == {"samples", "reconstructions", "interpolations", "loss-curves", "codes"}

    assert hebae("sample", "run", "--count", 9, "--output", "s.png").status == 0
    assert hebae("sample", "run", "--count", 9, "--output", "s.npy").status == 0
    drawn = np.load(tmp_path / "s.npy")
    assert drawn.shape == (9, 1, 16, 16)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert Image.open(tmp_path / "s.png").size[0] >= 48

    assert hebae("reconstruct", "run", "--count", 5, "--output", "r.npy").status == 0
    originals, _ = np.load(tmp_path / "r.npy")
    np.testing.assert_allclose(originals, np.load(images)["x_test"][:5] / 255, rtol=1e-6)
    arguments = ("run", "--pairs", 2, "--steps", 4, "--output", "i.npy")
    assert hebae("interpolate", *arguments).status == 0
    assert np.load(tmp_path / "i.npy").shape == (2, 4, 1, 16, 16)


def test_the_same_seed_samples_the_same(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    hebae("train", "--data", vectors, *SMALL, "--output", "run")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        hebae("sample", "run", "--seed", seed, "--output", f"{name}.npy")
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_samples_come_from_the_sampler_that_is_asked_for(
    hebae: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    hebae("train", "--data", images, *SMALL, "--output", "run")
    stored = tmp_path / "run" / "samplers.safetensors"
    assert hebae("sample", "run", "--sampler", "normal", "--output", "normal.npy").status == 0
    assert not stored.exists()
    first = hebae("sample", "run", "--output", "auto.npy")
    said = " ".join(first.err.split())
    assert "codes of 200 training examples" in said  # and none of the 40 held out
    assert "sampler auto chose" in said
    for name in ("normal", "fitted-normal", "mixture"):
        assert name in said
    chosen = said.split("sampler auto chose ")[1].split(":")[0].split(" (")[0]
    before = stored.read_bytes()
    images.rename(tmp_path / "moved.npz")  # from now on they come from what was stored
    for name in ("fitted-normal", "mixture"):
        result = hebae("sample", "run", "--sampler", name, "--output", f"{name}.npy")
        assert result.status == 0
        assert "training examples" not in result.err
    assert stored.read_bytes() == before
    drawn = {n: np.load(tmp_path / f"{n}.npy") for n in ("auto", "normal", "fitted-normal")}
    drawn["mixture"] = np.load(tmp_path / "mixture.npy")
    assert np.array_equal(drawn["auto"], drawn[chosen])
    assert not np.array_equal(drawn["normal"], drawn["fitted-normal"])
    assert drawn["mixture"].shape == (64, 1, 16, 16)


def test_normal_samples_are_the_decoded_draws_of_the_paper(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    from hebae import inference
    from hebae.storage import load_model

    hebae("train", "--data", vectors, *SMALL, "--output", "run")
    hebae("sample", "run", "--sampler", "normal", "--seed", 3, "--output", "s.npy")
    z = np.random.default_rng(3).standard_normal((64, 3), dtype=np.float32)
    model, _ = load_model(tmp_path / "run")
    assert np.array_equal(np.load(tmp_path / "s.npy"), inference.decode(model, z))


def test_a_sampler_finds_moved_data_and_refuses_other_data(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    hebae("train", "--data", vectors, *SMALL, "--output", "run")
    vectors.rename(tmp_path / "moved.npy")
    sample = ("sample", "run", "--output", "s.npy")
    refused(hebae(*sample), "vectors.npy", "--data", "--data-dir", "--sampler normal")
    assert hebae(*sample, "--sampler", "normal").status == 0
    np.save(tmp_path / "other.npy", np.random.default_rng(9).random((300, 12), dtype=np.float32))
    refused(hebae(*sample, "--data", "other.npy"), "content", "SHA-256", "--sampler normal")
    assert not (tmp_path / "run" / "samplers.safetensors").exists()
    assert hebae(*sample, "--data", "moved.npy").status == 0


def test_more_epochs_refit_the_samplers_and_overwriting_clears_them(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    hebae("train", "--data", vectors, *SMALL, "--output", "run")
    sample = ("sample", "run", "--output", "s.npy")
    assert "training examples" in hebae(*sample).err
    assert "training examples" not in hebae(*sample).err
    assert hebae("train", "--resume", "--output", "run", "--epochs", 3).status == 0
    assert "training examples" in hebae(*sample).err
    again = ("train", "--data", vectors, *SMALL, "--output", "run", "--overwrite")
    assert hebae(*again).status == 0
    assert not (tmp_path / "run" / "samplers.safetensors").exists()


def test_a_damaged_sampler_is_refused(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    hebae("train", "--data", vectors, *SMALL, "--output", "run")
    hebae("sample", "run", "--output", "s.npy")
    tamper(tmp_path / "run" / "samplers.safetensors", "truncated")
    refused(hebae("sample", "run", "--output", "s.npy"), "samplers.safetensors", "remove it")


def test_a_model_saved_from_python_samples_by_its_codes(
    hebae: Callable[..., Result], tmp_path: Path
) -> None:
    from hebae import VAE

    X = np.random.default_rng(0).random((200, 12), dtype=np.float32)
    model = VAE(3, encoder_widths=(16,), decoder_widths=(16,), epochs=2, random_state=0).fit(X)
    model.save(tmp_path / "saved")
    arguments = ("sample", "saved", "--count", 5, "--seed", 1, "--output", "s.npy")
    assert hebae(*arguments).status == 0
    assert np.array_equal(np.load(tmp_path / "s.npy"), model.sample(5, random_state=1))
    (tmp_path / "saved" / "samplers.safetensors").unlink()
    refused(hebae(*arguments), "saved from Python", "'normal'")


def test_flags_go_over_the_file_and_the_file_over_the_preset(
    hebae: Callable[..., Result], tmp_path: Path
) -> None:
    text = "latent_dim: 7\nepochs: 3\nmethods: {wae: {penalty_weight: 5}}\n"
    (tmp_path / "own.yaml").write_text(text)
    base = ("train", "--preset", "mnist-mini", "--config", "own.yaml", "--dry-run")
    result = hebae(*base, "--epochs", 2, "--method", "wae")
    settings = yaml.safe_load(result.out)
    assert settings["epochs"] == 2
    assert settings["latent_dim"] == 7
    assert settings["penalty_weight"] == 5
    assert settings["schedule"] == "exponential"
    assert yaml.safe_load(hebae(*base).out)["penalty_weight"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]  # a dry run leaves nothing


def test_dry_run_resolves_what_depends_on_the_data(
    hebae: Callable[..., Result], vectors: Path
) -> None:
    settings = yaml.safe_load(hebae("train", "--data", vectors, *SMALL, "--dry-run").out)
    assert settings["likelihood"] == "bernoulli"
    assert settings["learning_rate"] == 0.003
    assert settings["drop_last"] is False
    assert settings["encoder_widths"] == [16]
    settings = yaml.safe_load(hebae("train", "--dry-run").out)
    assert (settings["encoder_widths"], settings["decoder_widths"]) == ([784, 800], [800, 800])
    assert (settings["batch_size"], settings["learning_rate"]) == (128, 1e-3)


def test_compare_leaves_runs_figures_and_a_table_in_four_notations(
    hebae: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    arguments = ("--methods", "hebae", "vae", "wae", "ae", "--seeds", "0", "1")
    result = hebae("compare", "--data", images, *SMALL, *arguments, "--output", "all")
    assert result.status == 0, result.err
    for name in ("HEBAE", "VAE", "WAE-MMD", "AE", "reconstruction", "noise floor", "sigma"):
        assert name in result.out
    folder = tmp_path / "all"
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert runs == {f"{m}-seed{s}" for m in ("hebae", "vae", "wae", "ae") for s in (0, 1)}
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {
        ".json",
        ".csv",
        ".md",
        ".html",
    }
    stored = json.loads((folder / "comparison.json").read_text())
    assert {*stored["provenance"]} >= {"command", "commit", "data", "seeds", "machine", "versions"}
    assert len(stored["measures"]["hebae"]) == 2
    assert stored["measures"]["wae"][0]["median_sigma"] is None
    first = stored["measures"]["hebae"][0]
    from hebae.gaussian import penalty_floor

    expected = first["penalty"]["moments"] - penalty_floor(32, 3)
    assert first["excess"] == pytest.approx(expected)
    refused(hebae("compare", "--data", images, *SMALL, *arguments, "--output", "all"), "--resume")
    again = ("compare", "--data", images, *SMALL, *arguments, "--output", "all", "--resume")
    assert hebae(*again).status == 0
    refused(hebae(*again, "--penalty-weight", 3), "other settings")


def test_compared_methods_start_alike_and_see_the_same_batches(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    """WAE without a penalty is the plain autoencoder: equal, number for number."""
    arguments = ("--methods", "wae", "ae", "--output", "pair")
    config = "methods: {wae: {penalty_weight: 0}}\n"
    (tmp_path / "c.yaml").write_text(config)
    hebae("compare", "--data", vectors, *SMALL, "--config", "c.yaml", *arguments)
    measures = json.loads((tmp_path / "pair" / "comparison.json").read_text())["measures"]
    assert measures["wae"][0]["reconstruction"] == measures["ae"][0]["reconstruction"]


def test_tensorboard_files_are_written_on_request(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="the extra hebae[tensorboard] is not installed")
    hebae("train", "--data", vectors, *SMALL, "--tensorboard", "--output", "run")
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_data_list_and_prepare(hebae: Callable[..., Result], images: Path) -> None:
    listed = hebae("data", "list").out
    for name in ("mnist-mini", "mnist", "fashion-mnist", "celeba"):
        assert name in listed
    prepared = hebae("data", "prepare", images).out
    assert "200 train" in prepared
    assert "40 test" in prepared


# ---- a run that stops ---------------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hebae", *map(str, arguments)]


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_a_killed_or_interrupted_run_resumes_to_the_same_weights(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path, number: int, status: int
) -> None:
    arguments = ("train", "--data", vectors, *small(epochs=60))
    with subprocess.Popen(
        command(*arguments, "--output", "stopped"),
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_for_lines(tmp_path / "stopped" / "metrics.jsonl", 3, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    if number == signal.SIGINT:
        assert "hebae train --resume --output stopped" in " ".join(err.split())
    refused(hebae("sample", "stopped"), "--resume")
    assert "Not finished" in hebae("show", "stopped").out
    assert hebae("train", "--resume", "--output", "stopped").status == 0
    assert hebae(*arguments, "--output", "whole").status == 0
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("stopped", "whole")]
    assert weights[0] == weights[1]


def test_resume_refuses_what_would_change_the_run(
    hebae: Callable[..., Result], vectors: Path
) -> None:
    hebae("train", "--data", vectors, *SMALL, "--output", "run")
    go_on = ("train", "--resume", "--output", "run")
    refused(hebae(*go_on), "finished after 2 epochs", "--epochs")
    refused(hebae(*go_on, "--epochs", 1), "2 epochs already")
    refused(hebae(*go_on, "--epochs", 4, "--latent-dim", 4), "latent_dim 3")
    refused(hebae(*go_on, "--preset", "mnist"), "--preset")
    refused(hebae("train", "--resume"), "--output")
    refused(hebae("train", "--resume", "--output", "nowhere"), "no folder nowhere")
    assert hebae(*go_on, "--epochs", 3).status == 0


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--batch-size", "3"), ("batch_size 3", "latent_dim 3", "--batch-size", "shrunk")),
        (("--batch-size", "2"), ("batch_size 2", "latent_dim 3")),
        (("--batch-size", "89"), ("last batch", "hold 3", "at least 4", "--drop-last")),
        (("--batch-size", "269", "--no-drop-last"), ("last batch", "hold 1")),
        (("--method", "wae", "--batch-size", "1"), ("MMD", "at least 2")),
        (("--batch-size", "500", "--drop-last"), ("270 training examples", "batch of 500")),
        (("--latent-dim", "0"), ("--latent-dim", "'0'", "at least 1")),
        (("--latent-dim", "two"), ("--latent-dim", "'two'", "whole number")),
        (("--penalty-weight", "-1"), ("--penalty-weight", "'-1'", "at least 0")),
        (("--penalty-weight", "nan"), ("--penalty-weight",)),
        (("--rate-weight", "-0.5"), ("--rate-weight", "at least 0")),
        (("--method", "gan"), ("--method", "'gan'", "'hebae'", "'vae'", "'wae'", "'ae'")),
        (("--preset", "mnits"), ("preset 'mnits'", "did you mean 'mnist'")),
        (("--data", "mnits"), ("mnits", "did you mean mnist")),
        (("--epoch", "3"), ("--epoch",)),
        (("--likelihood-scale", "wide"), ("--likelihood-scale", "'wide'", "'optimal'")),
        (("--method", "vae", "--kernel", "rbf"), ("--kernel", "wae", "vae")),
        (("--method", "ae", "--penalty-weight", "2"), ("--penalty-weight", "no effect", "ae")),
        (("--network", "convolutional", "--encoder-widths", "8"), ("(12,)", "mlp")),
        (("--early-stopping", "2", "--validation-size", "0"), ("validation",)),
        (("--validation-size", "300"), ("validation_size", "300")),
        (("--device", "mps"), ("--device mps", "not available")),
        (("--config", "nothere.yaml"), ("nothere.yaml",)),
        (("--encoder-widths", "0"), ("--encoder-widths", "at least 1")),
        (("--decoder-widths", "-5"), ("--decoder-widths", "at least 1")),
        (("--encoder-widths",), ("--encoder-widths",)),
        (("--latent-dim", "1000000000000", "--method", "vae"), ("--latent-dim", "at most")),
        (("--batch-size", "100000000000000000000"), ("--batch-size", "at most")),
        (("--seed", "-1"), ("--seed", "at least 0")),
        (("--seed", "18446744073709551616"), ("--seed", "below")),
        (("--likelihood-scale", "-3"), ("--likelihood-scale", "above 0")),
        (("--moments", "running", "--moments-decay", "0", "--batch-size", "3"), ("batch_size 3",)),
        (("--moments", "shrunk", "--latent-dim", "280"), ("270 training", "latent_dim 280")),
        (("--early-stopping", "2", "--validation-size", "3"), ("at least 4 validation",)),
        (("--devices", "3"), ("batch_size 32", "3 devices")),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    hebae: Callable[..., Result],
    vectors: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    flags = dict(zip(SMALL[::2], SMALL[1::2], strict=True)) | {"--data": str(vectors)}
    rest = [word for pair in flags.items() if pair[0] not in arguments for word in pair]
    refused(hebae("train", *rest, *arguments, "--output", "run"), *parts)
    assert {path.name for path in tmp_path.iterdir()} == {"vectors.npy"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("latent_dims: 3", ("'latent_dims'", "own.yaml", "did you mean 'latent_dim'")),
        ("latent_dim: {a: 1}", ("latent_dim", "own.yaml")),
        ("- 3", ("own.yaml", "key: value")),
        ("a: [", ("own.yaml", "YAML")),
        ("methods: 3", ("methods", "own.yaml")),
        ("methods: {hebae: 3}", ("methods", "own.yaml")),
        ("methods: {heabe: {epochs: 3}}", ("methods", "own.yaml", "hebae, vae, wae, ae")),
        ("method: [a]", ("method", "own.yaml")),
        ("data: 3", ("data", "own.yaml")),
        ("methods: {hebae: {epoch: 3}}", ("'epoch'", "own.yaml", "epochs")),
    ],
)
def test_a_bad_file_of_settings_is_refused_by_name(
    hebae: Callable[..., Result], tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    refused(hebae("train", "--config", "own.yaml", "--output", "run"), *parts)
    assert not (tmp_path / "run").exists()


def test_data_that_do_not_fit_the_likelihood_are_refused(
    hebae: Callable[..., Result], tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    np.save(tmp_path / "normal.npy", values)
    for likelihood in ("bernoulli", "continuous_bernoulli"):
        arguments = ("--data", "normal.npy", *SMALL, "--likelihood", likelihood)
        refused(hebae("train", *arguments, "--output", "run"), likelihood, "[0, 1]", "gaussian")
    values[3, 2] = np.nan
    np.save(tmp_path / "holes.npy", values)
    refused(hebae("train", "--data", "holes.npy", *SMALL, "--output", "run"), "holes.npy")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_with_advice_and_can_be_resumed_from(
    hebae: Callable[..., Result], tmp_path: Path
) -> None:
    np.save(tmp_path / "flat.npy", np.full((300, 12), 0.5, dtype=np.float32))
    result = hebae("train", "--data", "flat.npy", *SMALL, "--output", "run")
    refused(result, "step 1", "moments nan", "smallest eigenvalue of Sigma", "shrunk")
    assert (tmp_path / "run" / "resume.pt").exists()


@pytest.fixture
def trained(hebae: Callable[..., Result], vectors: Path, tmp_path: Path) -> Path:
    assert hebae("train", "--data", vectors, *SMALL, "--output", "run").status == 0
    return tmp_path / "run"


def test_an_existing_run_is_kept_unless_told_otherwise(
    hebae: Callable[..., Result], vectors: Path, trained: Path
) -> None:
    before = (trained / "model.safetensors").read_bytes()
    arguments = ("train", "--data", vectors, *SMALL, "--seed", 1, "--output", "run")
    refused(hebae(*arguments), "holds a run already", "--resume", "--overwrite")
    worse = ("train", "--data", vectors, *small(batch_size=2), "--output", "run")
    refused(hebae(*worse, "--overwrite"), "batch_size 2")
    assert (trained / "model.safetensors").read_bytes() == before
    assert hebae(*arguments, "--overwrite").status == 0
    assert (trained / "model.safetensors").read_bytes() != before


def test_a_folder_that_is_no_run_is_never_overwritten(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for name in ("train", "compare"):
        arguments = (name, "--data", vectors, *SMALL, "--output", "mine", "--overwrite")
        refused(hebae(*arguments), "mine", "another")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_config_of_ones_own_is_no_run_and_foreign_files_stay(
    hebae: Callable[..., Result], vectors: Path, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("my: project")
    (trained / "thesis.tex").write_text("years of work")
    arguments = ("train", "--data", vectors, *SMALL, "--overwrite", "--output")
    refused(hebae(*arguments, "mine"), "config.yaml")
    refused(hebae(*arguments, "run"), "thesis.tex", "overwritten")
    assert (tmp_path / "mine" / "config.yaml").read_text() == "my: project"
    assert (trained / "model.safetensors").exists()


def test_a_failed_resume_leaves_the_finished_model(
    hebae: Callable[..., Result], trained: Path
) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    tamper(trained / "resume.pt", "truncated")
    refused(hebae("train", "--resume", "--output", "run", "--epochs", 3), "resume.pt")
    for name in ("model.safetensors", "config.yaml", "metrics.jsonl"):
        assert (trained / name).read_bytes() == before[name]


def test_a_run_lost_before_its_first_checkpoint_begins_again(
    hebae: Callable[..., Result], vectors: Path, trained: Path
) -> None:
    weights = (trained / "model.safetensors").read_bytes()
    for name in ("resume.pt", "model.safetensors", "metrics.jsonl"):
        (trained / name).unlink()
    assert hebae("train", "--resume", "--output", "run").status == 0
    assert (trained / "model.safetensors").read_bytes() == weights


def test_a_run_can_be_used_from_any_folder(
    hebae: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    np.save(tmp_path / "deep" / "x.npy", np.random.default_rng(0).random((300, 12)))
    hebae("train", "--data", "deep/x.npy", *SMALL, "--output", "run")
    monkeypatch.chdir(tmp_path / "deep")
    assert hebae("reconstruct", "../run", "--output", "r.npy").status == 0
    assert hebae("show", "../run").status == 0
    assert hebae("train", "--resume", "--output", "../run", "--epochs", 3).status == 0


def test_paths_are_printed_as_they_are(hebae: Callable[..., Result], vectors: Path) -> None:
    result = hebae("train", "--data", vectors, *SMALL, "--output", "[red]:smile:k")
    assert result.status == 0
    assert "[red]:smile:k" in result.out
    assert "[red]:smile:k" in hebae("show", "[red]:smile:k").out
    refused(hebae("sample", "[red]:smile:k", "--output", "[b]/s.npy"), "[b]/s.npy")


def test_home_folders_in_flags_are_expanded(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell expands ~ only at the beginning of a word, not in --output=~/run."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    vectors.rename(tmp_path / "home" / "vectors.npy")
    assert hebae("train", "--data=~/vectors.npy", *SMALL, "--output=~/run").status == 0
    assert (tmp_path / "home" / "run" / "model.safetensors").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_is_written_in_any_encoding(trained: Path, encoding: str) -> None:
    renamed = trained.rename(trained.with_name("Läufe—日本"))
    result = subprocess.run(
        command("show", renamed),
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding, "COLUMNS": "200"},
    )
    assert result.returncode == 0, result.stderr
    assert {"ascii": "Laufe-??", "cp1252": "Läufe—??"}[encoding] in result.stdout.decode(encoding)


def test_a_read_only_run_can_be_shown_and_sampled(trained: Path, tmp_path: Path) -> None:
    """The sampler is fitted, used and not stored, and the user is told."""
    before = {path.name for path in trained.iterdir()}
    trained.chmod(0o555)
    try:
        result = subprocess.run(
            command("sample", "run", "--output", "s.npy"),
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
            preexec_fn=without_roots_privileges,
        )
    finally:
        trained.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert "not stored" in " ".join(result.stderr.split())
    assert np.load(tmp_path / "s.npy").shape == (64, 12)
    assert {path.name for path in trained.iterdir()} == before


def without_roots_privileges() -> None:
    """Let file permissions hold for root as well, as in a container: drop CAP_DAC_OVERRIDE."""
    if sys.platform == "linux" and os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP, which exec applies


def test_ctrl_c_while_modules_are_imported_prints_one_line(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    (tmp_path / "cyclopts.py").write_text((tmp_path / "torch.py").read_text())
    for arguments in (("--help",), ("sample", "run")):
        result = subprocess.run(
            command(*arguments),
            text=True,
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        )
        assert (result.returncode, result.stdout) == (130, "")
        assert result.stderr.split() == ["Interrupted."]
        (tmp_path / "cyclopts.py").unlink(missing_ok=True)


def test_compare_refuses_unlike_data_and_keeps_foreign_files(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("methods: {vae: {data: fashion-mnist}}")
    unlike = ("compare", "--config", "c.yaml", "--output", "all")
    refused(hebae(*unlike), "data", "same data")
    arguments = ("compare", "--data", vectors, *SMALL, "--methods", "ae", "--output", "all")
    assert hebae(*arguments).status == 0
    (tmp_path / "all" / "notes.txt").write_text("mine")
    refused(hebae(*arguments, "--overwrite"), "notes.txt")
    (tmp_path / "all" / "notes.txt").unlink()
    assert hebae(*arguments, "--overwrite").status == 0
    (tmp_path / "all" / "comparison.json").write_text("{")
    refused(hebae(*arguments, "--resume"), "comparison.json")


def test_a_convolutional_network_trains_and_refuses_a_last_batch_of_one(
    hebae: Callable[..., Result], tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (33, 3, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    arguments = ["train", "--data", "x.npy", "--network", "convolutional", "--validation-size", "0"]
    arguments += ["--encoder-widths", "4", "8", "--decoder-widths", "8", "4", "--method", "vae"]
    arguments += ["--latent-dim", "3", "--epochs", "2", "--output", "run", "--batch-size"]
    refused(hebae(*arguments, 32), "last batch", "hold 1", "--drop-last")
    assert hebae(*arguments, 11).status == 0
    assert hebae("sample", "run").status == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("optimizer"),
        lambda state: state.pop("data_fingerprint"),
        lambda state: state.update(epoch="two"),
        lambda state: state.update(model=[1]),
        lambda state: state.update(metrics_size=10**9),
        lambda state: state.update(best={}),
        lambda state: state["optimizer"]["state"][0].update(exp_avg=state["noise"].float()),
        lambda state: next(iter(state["model"].values())).fill_(float("nan")),
    ],
)
def test_a_checkpoint_that_training_could_not_go_on_from_is_refused(
    hebae: Callable[..., Result], trained: Path, change: Callable[[dict[str, object]], object]
) -> None:
    import torch

    state = torch.load(trained / "resume.pt", weights_only=True)
    change(state)
    torch.save(state, trained / "resume.pt")
    refused(hebae("train", "--resume", "--output", "run", "--epochs", 3), "resume.pt")
    assert (trained / "model.safetensors").exists()


def test_unwritable_output_is_refused(
    hebae: Callable[..., Result], vectors: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for output in ("file", "file/run", "/proc/hebae"):
        arguments = ("train", "--data", vectors, *SMALL, "--output", output)
        refused(hebae(*arguments), output)
    refused(hebae("compare", "--data", vectors, *SMALL, "--output", "file/all"), "file/all")


def test_a_disk_too_small_is_found_before_training(
    hebae: Callable[..., Result],
    vectors: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    result = hebae("train", "--data", vectors, *SMALL, "--output", "run")
    refused(result, "run", "MB left", "needs")
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_leaves_no_half_written_file(vectors: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    arguments = ("train", "--data", vectors, *SMALL, "--output", "run")
    result = subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
        env=os.environ | {"COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    refused(Result(result.returncode, result.stdout, result.stderr), "resume.pt", "Free some space")
    found = {path.name for path in (tmp_path / "run").iterdir()}
    assert found == {"config.yaml", "provenance.json"}


def tamper(path: Path, kind: str) -> None:
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "altered":
        path.write_bytes(b"\0" * 64 + path.read_bytes()[64:])
    elif kind == "replaced":
        path.write_text("root:x:0:0:root:/root:/bin/bash")
    else:
        path.unlink()


@pytest.mark.parametrize("kind", ["truncated", "altered", "missing", "replaced"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "resume.pt"])
def test_files_of_a_run_that_are_not_whole_are_refused(
    hebae: Callable[..., Result], trained: Path, name: str, kind: str
) -> None:
    tamper(trained / name, kind)
    if name == "resume.pt":
        result = hebae("train", "--resume", "--output", "run", "--epochs", 3)
        refused(result, "resume.pt", "--overwrite")
    else:
        refused(hebae("sample", "run", "--output", "s.npy"), "run")
        assert not Path("s.npy").exists()


def test_a_checkpoint_of_another_architecture_is_refused_by_the_tensor_that_differs(
    hebae: Callable[..., Result], vectors: Path, trained: Path
) -> None:
    hebae("train", "--data", vectors, *small(latent_dim=4), "--output", "wider")
    for name in ("model.safetensors", "resume.pt"):
        shutil.copy(trained.parent / "wider" / name, trained / name)
    refused(hebae("sample", "run", "--output", "s.npy"), "another architecture", "(4, 4)", "(3, 3)")
    resumed = hebae("train", "--resume", "--output", "run", "--epochs", 3)
    refused(resumed, "another architecture")


def test_no_code_can_run_from_a_checkpoint(
    hebae: Callable[..., Result], trained: Path, tmp_path: Path
) -> None:
    import torch

    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'exploited'}",)

    torch.save({"model": Exploit()}, trained / "resume.pt")
    refused(hebae("train", "--resume", "--output", "run", "--epochs", 3), "resume.pt")
    shutil.copy(trained / "resume.pt", trained / "model.safetensors")
    refused(hebae("sample", "run", "--output", "s.npy"), "run")
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("sample", "nowhere"), ("no folder nowhere",)),
        (("sample", "run", "--count", "0"), ("--count", "at least 1")),
        (("sample", "run", "--sampler", "flow"), ("--sampler", "flow", "mixture")),
        (("sample", "run", "--output", "s.jpg"), ("s.jpg", ".png", ".npy")),
        (("sample", "run", "--output", "no/s.png"), ("no/s.png",)),
        (("sample", "run"), ("not images", ".npy")),
        (("interpolate", "run", "--steps", "1"), ("--steps", "at least 2")),
        (("reconstruct", "run", "--count", "31", "--output", "r.npy"), ("30 validation",)),
        (("reconstruct", "run", "--data", "mnist-mini"), ("(1, 28, 28)", "(12,)")),
        (("sample", "run", "--seed", "-1"), ("--seed", "at least 0")),
        (("sample", "run", "--count", "1000000000000", "--output", "s.npy"), ("memory",)),
        (("compare", "--methods", "vae", "gan"), ("gan",)),
        (("compare", "--methods", "vae", "vae"), ("--methods", "once")),
        (("compare", "--devices", "2"), ("--devices",)),
        (("compare", "--resume", "--overwrite"), ("--resume", "--overwrite")),
        (("compare", "--method", "vae"), ("--methods",)),
        (("compare", "--seeds", "1", "1"), ("--seeds", "twice")),
        (("trian",), ("trian",)),
        (("show", "nowhere"), ("nowhere",)),
        (("data", "prepare", "nowhere"), ("nowhere", "mnist-mini")),
    ],
)
def test_bad_commands_are_refused(
    hebae: Callable[..., Result],
    trained: Path,
    arguments: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    refused(hebae(*arguments), *parts)
