"""A trained model on the device gives what it gives on the CPU: 1e-4 in float32."""

import copy

import numpy as np
import pytest
import torch
from device_tools import relative_error

import hebae
from hebae import inference
from hebae.evaluation import ais, elbo, iwae
from hebae.experiments.measure import take
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.trained_run import TrainedRun
from hebae.storage import load_model


@pytest.fixture
def models(train, device):
    """A model trained on the CPU, and its copy on the device."""
    path, _ = train("run", torch.device("cpu"), epochs=2, likelihood="continuous_bernoulli")
    model, _ = load_model(path)
    return model, copy.deepcopy(model).to(device)


def test_codes_reconstructions_and_samples_agree(models, images):
    values = images.validation.values
    for function in (
        lambda model: inference.encode(model, values).mean,
        lambda model: inference.encode(model, values).log_scale,
        lambda model: inference.draw(model, inference.encode(model, values), seed=0),
        lambda model: inference.reconstruct(model, values),
        lambda model: inference.sample(model, 50, seed=0),
        lambda model: inference.log_likelihood(model, values),
    ):
        expected, actual = (function(model) for model in models)
        assert isinstance(actual, np.ndarray)
        assert relative_error(actual, expected) < 1e-4


@pytest.mark.parametrize(
    "bound",
    [
        lambda model, x: elbo(model, x, draws=5),
        lambda model, x: iwae(model, x, samples=200),
        lambda model, x: ais(model, x, temperatures=30, chains=4),
    ],
    ids=["elbo", "iwae", "ais"],
)
def test_bounds_of_the_likelihood_agree(bound, models, images):
    """In float64: rounding must not decide which proposals annealing accepts."""
    values = images.validation.values[:16]
    expected, actual = (bound(model.double(), values) for model in models)
    assert actual.value == pytest.approx(expected.value, rel=1e-6)
    assert actual.standard_error == pytest.approx(expected.standard_error, rel=1e-4)


@pytest.mark.parametrize("sampler", ["fitted-normal", "mixture"])
def test_an_estimator_fits_and_samples_on_the_device(sampler, images, device):
    values = images.train.values
    model = hebae.HEBAE(
        latent_dim=4,
        encoder_widths=(32,),
        decoder_widths=(32,),
        batch_size=16,
        epochs=1,
        device=device.type,
    ).fit(values)
    assert model.transform(values).shape == (320, 4)
    samples = model.sample(20, sampler=sampler)
    assert samples.shape == (20, 1, 8, 8)
    assert np.isfinite(samples).all()


def test_measurements_agree(train, images, device):
    """``hebae evaluate --device`` measures on the device what it measures on the CPU."""
    path, _ = train("run", torch.device("cpu"), epochs=2, likelihood="continuous_bernoulli")
    found = []
    for name in ("cpu", device.type):
        evaluation = EvaluationSettings(split="validation", device=name, iwae_samples=10)
        run = TrainedRun(path, images, evaluation)
        assert run.model.population_mean.device.type == name
        found.append(take(run, ["reconstruction", "elbo", "iwae", "moments"]))
    for expected, actual in zip(*found, strict=True):
        assert actual.id == expected.id
        assert actual.value == pytest.approx(expected.value, rel=1e-3, abs=1e-4), actual.id
