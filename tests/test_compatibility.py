"""Folders that version 0.1.0 wrote: loaded, shown, sampled, evaluated and resumed by this one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import refused
from safetensors.torch import load_file

import hebae
from hebae._version import __version__
from hebae.config import Settings

OLD = Path(__file__).parent / "fixtures" / "v0.1.0"
RUNS = ["hebae", "vae"]
runs = pytest.mark.parametrize("run", RUNS, indirect=True)


@pytest.fixture
def run(request, tmp_path):
    """A copy of a run that 0.1.0 made."""
    return Path(shutil.copytree(OLD / request.param, tmp_path / request.param))


def images(count=50):
    return np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), np.uint8)


@runs
def test_a_model_encodes_and_samples_with_the_weights_that_were_stored(run):
    estimator = hebae.load(run)
    stored = load_file(run / "model.safetensors")
    for name, tensor in estimator.module_.state_dict().items():
        assert torch.equal(tensor, stored[name]), name
    assert estimator.transform(images()).shape == (50, 3)
    assert np.isfinite(estimator.sample(5, sampler="normal", random_state=0)).all()


@runs
def test_a_run_is_shown_sampled_and_evaluated(run, hebae, tmp_path):
    shown = hebae("show", run)
    assert shown.status == 0, shown.err
    assert run.name in shown.out
    picture = tmp_path / "new.png"
    sampled = hebae("sample", run, "--count", 4, "--sampler", "normal", "--output", picture)
    assert sampled.status == 0, sampled.err
    assert picture.is_file()
    evaluated = hebae("evaluate", run, "--metrics", "objective", "moments")
    assert evaluated.status == 0, evaluated.err


@runs
def test_a_run_is_resumed_from_its_checkpoint(run, hebae):
    before = (run / "metrics.jsonl").read_text().splitlines()
    resumed = hebae("train", "--resume", "--output", run, "--epochs", 3)
    assert resumed.status == 0, resumed.err
    after = (run / "metrics.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    objectives = [json.loads(line)["train"]["objective"] for line in after]
    assert len(objectives) == 3
    assert objectives[2] > objectives[1]


def rewritten(path, **changes):
    """Change keys of a JSON file; None removes one."""
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({n: v for n, v in config.items() if v is not None}))


@pytest.mark.parametrize("run", ["vae"], indirect=True)
@pytest.mark.parametrize("name", ["rate_weight", "kernel", "adam_beta1", "likelihood_scale"])
def test_a_setting_that_is_missing_takes_its_default(run, name):
    rewritten(run / "config.json", **{name: None})
    estimator = hebae.load(run)
    assert getattr(estimator.settings_, name) == getattr(Settings(), name)


@pytest.mark.parametrize("run", ["vae"], indirect=True)
def test_a_likelihood_that_is_missing_is_asked_for(run, hebae):
    """Its default, "auto", was decided by data that are not there."""
    rewritten(run / "config.json", likelihood=None)
    refused(hebae("sample", run), "config.json", "likelihood")


@pytest.mark.parametrize("run", ["vae"], indirect=True)
def test_a_setting_of_a_newer_version_is_refused_naming_both_versions(run, hebae):
    rewritten(run / "config.json", flow_layers=3, hebae_version="9.8.7")
    refused(hebae("sample", run), "flow_layers", "9.8.7", __version__)
    with (run / "config.yaml").open("a") as file:
        file.write("flow_layers: 3\n")
    refused(
        hebae("train", "--resume", "--output", run, "--epochs", 3),
        "flow_layers", "9.8.7", __version__,
    )  # fmt: skip
