"""Whole arrays in blocks: as all at once, and never more than a block in the networks."""

import numpy as np
import pytest
import torch
from torch import nn

from hebae import inference
from hebae.likelihoods import Bernoulli
from hebae.model import Autoencoder
from hebae.objectives import VAE


class Counting(nn.Module):
    """Mean over an example, or a code repeated; notes how many examples come at a time."""

    def __init__(self, output_shape):
        super().__init__()
        self.output_shape, self.sizes = output_shape, []

    def forward(self, x):
        self.sizes.append(len(x))
        mean = x.flatten(1).mean(1)
        return mean.view(-1, *[1] * len(self.output_shape)).expand(-1, *self.output_shape)


def model_of(shape):
    model = Autoencoder(Counting((4,)), Counting(shape), VAE(), Bernoulli(), shape, 2)
    return model.eval(), model.encoder.sizes, model.decoder.sizes


FUNCTIONS = {
    "encode": lambda model, x: inference.encode(model, x).mean,
    "log-scales": lambda model, x: inference.encode(model, x).log_scale,
    "decode": lambda model, x: inference.decode(
        model, x.astype(np.float32)[..., :2].sum((*range(1, x.ndim - 1),))
    ),
    "reconstruct": inference.reconstruct,
    "log_likelihood": inference.log_likelihood,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_blocks_give_what_all_at_once_gives(name):
    """2,500 small examples go by 1,000, and each as it would alone."""
    x = np.random.default_rng(0).random((2500, 3), np.float32)
    model, *sizes = model_of((3,))
    whole = FUNCTIONS[name](model, x)
    assert {size for found in sizes for size in found} == {1000, 500}
    assert whole.dtype == np.float32
    for rows in (slice(0, 1), slice(990, 1010)):
        np.testing.assert_allclose(FUNCTIONS[name](model, x[rows]), whole[rows], rtol=1e-5)


def test_large_examples_go_by_as_many_as_memory_allows():
    """At most 2^21 numbers at a time."""
    x = np.zeros((5, 2**20), np.uint8)
    model, encoded, _ = model_of((2**20,))
    inference.encode(model, x)
    assert encoded == [2, 2, 1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_examples_give_an_empty_result_of_the_right_shape(name):
    model, *_ = model_of((2, 3))
    x = np.random.default_rng(0).integers(0, 256, (7, 2, 3), np.uint8)
    expected = FUNCTIONS[name](model, x).shape[1:]
    assert FUNCTIONS[name](model, x[:0]).shape == (0, *expected)


def test_no_gradients_are_kept_and_the_mode_is_restored():
    model, *_ = model_of((3,))
    model.train()
    with inference.evaluating(model):
        assert torch.is_inference_mode_enabled()
        assert not model.training
    assert model.training


def test_samples_come_from_the_models_own_prior_and_repeat_with_the_seed():
    model, *_ = model_of((3,))
    first, again, other = (inference.sample(model, 6, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(first, inference.decode(model, model.prior.sample(6, 1)))
