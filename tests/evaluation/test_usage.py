"""Classification of codes; the decoder's error, robustness and smoothness, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hebae.building import build
from hebae.config import ModelSettings
from hebae.errors import HebaeError
from hebae.evaluation.estimate import UndefinedMetric, mean_estimate, ratio_of_means
from hebae.evaluation.usage import (
    knn_accuracy,
    logistic_accuracy,
    reconstruction_error,
    robustness,
    smoothness,
)

CLASSIFIERS = [knn_accuracy, logistic_accuracy]


def classes(n, seed=0, apart=3.0, k=2):
    """Codes about one of three corners, and the corner's name."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    return rng.standard_normal((n, k)) + apart * np.eye(3, k)[labels], np.array([*"abc"])[labels]


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_classes_far_apart_are_classified_without_error(classifier):
    result = classifier(*classes(200, apart=30), *classes(100, seed=1, apart=30))
    assert (result.value, result.standard_error) == (1, 0)
    assert (result.train_count, result.test_count) == (200, 100)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_codes_without_classes_are_classified_by_chance(classifier):
    result = classifier(*classes(300, apart=0), *classes(2000, seed=1, apart=0))
    assert result.value == pytest.approx(1 / 3, abs=4 * result.standard_error)
    assert result.standard_error == pytest.approx(math.sqrt(2 / 9 / 2000), rel=0.1)
    _, labels = classes(2000, seed=1)
    assert result.chance == max((labels == name).mean() for name in "abc")


def test_what_cannot_be_classified():
    x, labels = classes(20)
    with pytest.raises(UndefinedMetric, match="not converged in 1 iterations"):
        logistic_accuracy(x, labels, x, labels, max_iterations=1)
    with pytest.raises(UndefinedMetric, match="one class"):
        logistic_accuracy(x, np.zeros(20), x, labels)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def decoder_of(function, k=2, d=3, encoder=None, **settings):
    """An autoencoder in float64 whose decoder is this function, with a Gaussian of scale 1."""
    settings = {"likelihood": "gaussian", "likelihood_scale": 1.0} | settings
    return build(
        ModelSettings(method="ae", latent_dim=k, **settings),
        (d,),
        encoder=Function(encoder or (lambda x: x[:, :k])),
        decoder=Function(function),
    ).double()


A = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
codes = np.random.default_rng(0).standard_normal((3000, 2)) * [1.0, 0.1] + 4


def linear(z):
    return z @ A.to(z) + 1


def test_reconstruction_error_is_summed_over_an_example():
    model = decoder_of(lambda z: torch.stack([z[:, 0], z[:, 1], 0 * z[:, 0]], dim=1))
    values = np.random.default_rng(0).standard_normal((2500, 3))
    result = reconstruction_error(model, values)
    squares = values[:, 2] ** 2
    assert result.count == 2500
    assert result.squared_error.value == pytest.approx(squares.mean(), rel=1e-6)
    error = squares.std(ddof=1) / math.sqrt(2500)
    assert result.squared_error.standard_error == pytest.approx(error, rel=1e-5)
    nll = 0.5 * squares.mean() + 1.5 * math.log(2 * math.pi)
    assert result.negative_log_likelihood.value == pytest.approx(nll, rel=1e-6)
    assert result.negative_log_likelihood.standard_error == pytest.approx(error / 2, rel=1e-5)
    grey = np.array([[0, 255, 51], [255, 255, 255]], dtype=np.uint8)  # 0 to 255 is 0 to 1
    constant = decoder_of(lambda z: torch.zeros(len(z), 3).to(z), likelihood="bernoulli")
    error = reconstruction_error(constant, grey).squared_error.value
    assert error == pytest.approx((0.5 + 0.3**2 + 0.75) / 2)


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_robustness_of_an_isometry(scale):
    """Noise moves a decoded normal code by scale * E|eps|, a pair is sqrt 2 E|eps| apart."""
    model = decoder_of(lambda z: torch.cat([z, z[:, :1] * 0], dim=1))
    z = np.random.default_rng(0).standard_normal((3000, 2))
    result = robustness(model, z, scale=scale)
    mean_norm = math.sqrt(math.pi / 2)
    expected = (scale * mean_norm, math.sqrt(2) * mean_norm, scale / math.sqrt(2))
    for estimate, value in zip(
        (result.distance, result.pair_distance, result.relative), expected, strict=True
    ):
        assert estimate.value == pytest.approx(value, abs=5 * estimate.standard_error)
        assert 0 < estimate.standard_error < 0.02 * value
    assert (result.scale, result.count) == (scale, 3000)


def test_a_decoder_that_ignores_its_code_has_no_relative_robustness():
    with pytest.raises(UndefinedMetric, match="All codes decode to the same"):
        robustness(decoder_of(lambda z: linear(0 * z)), codes)
    with pytest.raises(UndefinedMetric, match="All codes decode to the same"):
        robustness(decoder_of(linear), codes[:1].repeat(5, axis=0))


@pytest.mark.parametrize("steps", [3, 11, 50])
def test_curvature_of_lines_and_parabolas_does_not_depend_on_the_steps(steps):
    """f = b t + c t^2 has 2 |c| / |b + c|, here with c = 3 and b + c = 4 in one dimension."""
    result = smoothness(decoder_of(linear), codes[:100], codes[100:200], steps=steps)
    assert result.value == pytest.approx(0, abs=1e-3)  # float32, twice differentiated
    assert (result.pairs, result.steps) == (100, steps)
    model = decoder_of(lambda z: torch.cat([z + 3 * z**2, 0 * z, 0 * z], dim=1), k=1)
    result = smoothness(model, np.zeros((5, 1)), np.ones((5, 1)), steps=steps)
    assert result.value == pytest.approx(6 / 4, rel=1e-3)
    assert result.standard_error == pytest.approx(0, abs=1e-4)


def test_curvature_in_features():
    model = decoder_of(linear, k=2)
    seen = []

    def features(images):
        seen.append(images.shape)
        return images[:, :1].astype(float) ** 2

    begin, end = np.zeros((300, 2)), np.tile([1.0, 0], (300, 1))
    result = smoothness(model, begin, end, steps=11, features=features)
    assert result.value == pytest.approx(2 / 3, rel=1e-4)  # (1 + t)^2 = 1 + 2 t + t^2
    assert sum(shape[0] for shape in seen) == 3300
    assert max(shape[0] for shape in seen) <= 1000
    assert {shape[1:] for shape in seen} == {(3,)}


def test_averages_and_ratios():
    result = mean_estimate(np.array([1.0, 2.0, 3.0]))
    assert (result.value, result.standard_error) == (2, 1 / math.sqrt(3))
    with pytest.raises(HebaeError, match="there are 1"):
        mean_estimate(np.ones(1))
    with pytest.raises(UndefinedMetric, match="the sentence"):
        ratio_of_means(np.ones(3), np.zeros(3), "the sentence")
    rng = np.random.default_rng(0)
    result = []
    for _ in range(400):
        y = rng.exponential(size=200)
        result.append(ratio_of_means(2 * y + rng.standard_normal(200), y, ""))
    errors = [estimate.standard_error for estimate in result]
    assert np.std([ratio.value for ratio in result]) == pytest.approx(np.mean(errors), rel=0.15)
