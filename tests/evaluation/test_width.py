"""Widths of q(z | x) against closed forms of linear-Gaussian models."""

import math

import numpy as np
import pytest
import torch
from linear_gaussian import LinearGaussian

from hebae import WAE, HebaeError, data
from hebae.evaluation.bounds import fit_width, iwae


@pytest.mark.parametrize("method", ["wae", "hebae"])
def test_one_sample_finds_the_best_independent_dimensions(method):
    """Where log p(x | z) is quadratic, the ELBO is best at 1 / sqrt(diagonal of the precision)."""
    linear = LinearGaussian(n=100)
    found = fit_width(linear.model(method), linear.x, samples=1, steps=400, batch_size=32)
    np.testing.assert_allclose(found, linear.best_width, rtol=0.1)
    assert np.abs(np.log(found / linear.best_width.numpy())).mean() < 0.03


@pytest.mark.parametrize(("samples", "tolerance"), [(1, 1e-3), (20, 0.05)])
def test_the_exact_posterior_is_found(samples, tolerance):
    """Where q can be p(z | x), the gradient has no noise there."""
    linear = LinearGaussian(mixing=0, n=100)
    found = fit_width(linear.model("wae"), linear.x, samples=samples, steps=300)
    np.testing.assert_allclose(found, linear.best_width, rtol=tolerance)


def test_dimensions_that_the_decoder_does_not_use_get_the_priors_width():
    linear = LinearGaussian(n=100)
    model = linear.model("wae")
    with torch.no_grad():
        model.decoder.weight[:, :2] = 0
        model.encoder.weight[:2] = 0  # so that their codes have no spread to begin with
        model.encoder.bias[:2] = 0
    found = fit_width(model, linear.x, samples=1, steps=300)
    np.testing.assert_allclose(found[:2], 1, rtol=1e-3)
    assert (found[2:] < 0.8).all()


def test_several_samples_make_wider_and_better_proposals():
    """Where dimensions depend on each other given x, which q cannot follow."""
    linear = LinearGaussian(mixing=0.5, n=200)
    model = linear.model("wae")
    bounds, widths = [], []
    for samples in (1, 20):
        widths.append(fit_width(model, linear.x, samples=samples))
        bound = iwae(model, linear.x, samples=200, proposal="gaussian-width", width=widths[-1])
        bounds.append(bound.per_example)
    assert (widths[1] > widths[0]).all()
    gain = bounds[1] - bounds[0]
    assert gain.mean() > 4 * gain.std(ddof=1) / math.sqrt(len(gain))


def test_images_are_scored_better_than_with_other_widths():
    dataset = data.load("mnist-mini")
    x = dataset.train.values[:500]
    wae = WAE(3, epochs=3, encoder_widths=(64,), decoder_widths=(64,), random_state=0).fit(x)
    module = wae.module_.train()
    module.zero_grad(set_to_none=True)
    width = fit_width(wae, x)
    assert width.shape == (3,)
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    best, *others = (
        iwae(wae, x[:50], samples=50, proposal="gaussian-width", width=factor * width).value
        for factor in (1, 1 / 3, 3)
    )
    assert best > max(others)


def test_the_seed_decides():
    linear = LinearGaussian()
    model = linear.model("wae")
    first, same, other = (fit_width(model, linear.x, steps=5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"training_values": np.zeros((5, 3))}, r"data has shape \(5, 3\)"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(arguments, sentence):
    linear = LinearGaussian()
    arguments = {"model": linear.model("wae"), "training_values": linear.x} | arguments
    with pytest.raises(HebaeError, match=sentence):
        fit_width(**arguments)


def test_weights_that_are_not_finite_are_found():
    linear = LinearGaussian()
    model = linear.model("wae")
    with torch.no_grad():
        model.decoder.weight.fill_(math.nan)
    with pytest.raises(HebaeError, match="no width was found"):
        fit_width(model, linear.x)
