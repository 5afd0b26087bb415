"""Whole arrays in blocks: as all at once, and never more than a block in the networks."""

import numpy as np
import pytest
import torch

from hebae import inference
from hebae.config import Settings
from hebae.model import build

IMAGE = (3, 8, 8)


@pytest.fixture(scope="module")
def model():
    settings = Settings(
        network="convolutional",
        encoder_widths=(4, 4),
        decoder_widths=(4, 4),
        latent_dim=3,
        likelihood="bernoulli",
        batch_size=16,
    )
    return build(settings, IMAGE)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (25, *IMAGE), np.uint8)


@pytest.fixture
def sizes(model, monkeypatch):
    """How many examples go through the encoder or the decoder, call by call."""
    found = []
    for network in (model.encoder, model.decoder):
        forward = network.forward
        monkeypatch.setattr(
            network, "forward", lambda x, forward=forward: found.append(len(x)) or forward(x)
        )
    return found


FUNCTIONS = {
    "encode": lambda model, images: inference.encode(model, images).mean,
    "log-scales": lambda model, images: inference.encode(model, images).log_scale,
    "decode": lambda model, images: inference.decode(model, images[:, 0, 0, :3] / np.float32(99)),
    "reconstruct": inference.reconstruct,
    "log_likelihood": inference.log_likelihood,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_blocks_give_what_all_at_once_gives(name, model, images, sizes, monkeypatch):
    whole = FUNCTIONS[name](model, images)
    assert set(sizes) == {25}
    sizes.clear()
    monkeypatch.setattr(inference, "LARGEST_BLOCK_NUMBERS", 10 * 192 + 191)
    blocks = FUNCTIONS[name](model, images)
    assert set(sizes) == {10, 5}
    assert blocks.dtype == np.float32
    np.testing.assert_allclose(blocks, whole, rtol=1e-4, atol=1e-5)


def test_small_examples_go_by_a_number_and_large_ones_one_by_one(model, images, sizes, monkeypatch):
    monkeypatch.setattr(inference, "LARGEST_BLOCK", 20)
    inference.encode(model, images)
    assert sizes == [20, 5]
    sizes.clear()
    monkeypatch.setattr(inference, "LARGEST_BLOCK_NUMBERS", 1)
    inference.encode(model, images[:3])
    assert sizes == [1, 1, 1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_examples_give_an_empty_result_of_the_right_shape(name, model, images):
    expected = FUNCTIONS[name](model, images).shape[1:]
    assert FUNCTIONS[name](model, images[:0]).shape == (0, *expected)


def test_no_gradients_are_kept_and_the_mode_is_put_back(model, images):
    model.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with inference.evaluating(model):
        assert torch.is_inference_mode_enabled() and not model.training
    inference.reconstruct(model, images)
    assert model.training
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
