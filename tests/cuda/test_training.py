"""Training on the device: with and without the CUDA graph, stacked, resumed."""

import pytest
import torch
from device_tools import relative_error, small_settings, weights

from hebae.building import build
from hebae.objectives import OBJECTIVES
from hebae.run_folder import RunFolder
from hebae.storage import load_model
from hebae.training.many import Job, train_all
from hebae.training.session import prepare, resume, run

VARIANTS = {
    "hebae, rate": {"rate_weight": 1.0},
    "hebae, flow": {"rate_weight": 1.0, "prior": "flow"},
    "infovae, mixture": {"prior": "mixture", "prior_components": 5},
    "vae, vamp": {"prior": "vamp", "prior_components": 5},
    "hebae, running moments": {"moments": "running"},
    "hebae, clipped": {"gradient_clip": 1.0},
    "hebae, odd last batch": {"batch_size": 17},
    "vae, gaussian": {"likelihood": "gaussian"},
    "vae, learned scale": {"likelihood": "gaussian", "likelihood_scale": "learned"},
    "vae, conditions": {"condition": ("label",), "condition_encoder": True},
    "vae, bf16": {"precision": "bf16-mixed"},
    "vae, float64": {"precision": "64-true"},
    "hebae, convolutional": {
        "network": "convolutional",
        "encoder_widths": (8,),
        "decoder_widths": (8,),
        "precision": "bf16-mixed",
    },
} | {method: {} for method in OBJECTIVES}
LIMIT = 1e-4
"""Relative: float32 sums in another order, over 20 steps of Adam."""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_captured_step_trains_as_the_plain_one_does(name, train):
    changes = VARIANTS[name] | {"method": name.split(",")[0]}
    _, plain = train("plain", compile="off", **changes)
    _, captured = train("captured", compile="on", **changes)
    assert relative_error(weights(captured), weights(plain)) < LIMIT
    for key, value in plain.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(captured.state_dict()[key].cpu(), value.cpu(), 1e-2, 1e-3), key


def test_a_training_without_noise_is_that_of_the_cpu(train):
    """In float64, where nothing is rounded to TF32: the order of examples is the same too."""
    _, reference = train("cpu", torch.device("cpu"), method="ae", precision="64-true")
    _, model = train("device", method="ae", precision="64-true")
    assert relative_error(weights(model), weights(reference)) < 1e-8


@pytest.mark.parametrize("method", ["hebae", "vae", "wae"])
def test_a_training_ends_near_that_of_the_cpu(method, train):
    """Noise comes from another generator and products are TF32; the loss falls as far."""
    first, _ = train("cpu", torch.device("cpu"), method=method, epochs=3)
    second, _ = train("device", method=method, epochs=3)
    ends = [RunFolder(path).history()[-1]["held_out"]["objective"] for path in (first, second)]
    assert ends[1] == pytest.approx(ends[0], rel=0.02)


@pytest.mark.parametrize("compile", ["on", "off"])
@pytest.mark.parametrize("method", ["hebae", "wae"])
def test_a_resumed_training_ends_as_one_that_was_never_stopped(method, compile, train):
    _, whole = train("whole", method=method, compile=compile, epochs=2)
    path, _ = train("parts", method=method, compile=compile, epochs=1)
    prepared = resume(path, {"epochs": 2})
    assert run(prepared, path, resuming=True).steps == 40
    assert relative_error(weights(prepared.model), weights(whole)) < 1e-6


def test_a_run_of_the_cpu_is_resumed_on_the_device_and_back(train, device):
    path, _ = train("run", torch.device("cpu"), epochs=1)
    for epochs, where in ((2, device.type), (3, "cpu")):
        prepared = resume(path, {"epochs": epochs, "device": where})
        assert run(prepared, path, resuming=True).steps == 20 * epochs
    assert len(RunFolder(path).history()) == 3


def test_a_model_trained_on_the_device_is_stored_for_the_cpu(train, device):
    path, model = train("run")
    loaded, config = load_model(path)
    assert config["method"] == "hebae"
    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"cpu"}
    assert relative_error(weights(loaded), weights(model)) == 0


@pytest.mark.filterwarnings("error:steps are not captured")
@pytest.mark.parametrize("method", ["hebae", "vae", "wae"])
def test_stacked_models_end_as_each_alone(method, images, tmp_path, train, device):
    jobs, alone = [], []
    for seed in range(3):
        changes = {"method": method, "seed": seed, "penalty_weight": 1.0 + seed}
        settings = small_settings(device=device.type, **changes)
        jobs.append(Job(f"seed {seed}", prepare(settings, images), tmp_path / f"stacked{seed}"))
        alone.append(train(f"alone{seed}", **changes)[1])
    results = train_all(jobs, command="pytest")
    assert [result.state for result in results] == ["finished"] * 3
    for job, model in zip(jobs, alone, strict=True):
        start = weights(build(job.prepared.settings, (1, 8, 8), seed=job.prepared.settings.seed))
        moved = weights(model) - start
        # TF32 rounds the products of a stack otherwise than those of one model.
        assert relative_error(weights(load_model(job.path)[0]) - start, moved) < 0.05
