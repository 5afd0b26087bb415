"""Networks for any shape and widths, those of Appendix B, and their initial weights."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hebae.networks import (
    NETWORKS,
    convolutional_decoder,
    convolutional_encoder,
    initialised,
    mlp_decoder,
    mlp_encoder,
)

shapes = st.sampled_from([(7,), (28, 28), (1, 5, 4), (3, 2, 2)])
widths = st.lists(st.integers(1, 12), max_size=4)


def kinds(network):
    return [type(layer) for layer in network]


def dense(network):
    return [
        (layer.in_features, layer.out_features)
        for layer in network.modules()
        if isinstance(layer, nn.Linear)
    ]


@given(shape=shapes, widths=widths, k=st.integers(1, 9))
def test_any_shape_goes_through_any_widths(shape, widths, k):
    encoder, decoder = mlp_encoder(shape, k, widths), mlp_decoder(k, shape, widths)
    assert encoder(torch.randn(3, *shape)).shape == (3, k)
    assert decoder(torch.randn(3, k)).shape == (3, *shape)
    assert dense(encoder) == list(itertools.pairwise([math.prod(shape), *widths, k]))
    assert dense(decoder) == list(itertools.pairwise([k, *widths, math.prod(shape)]))


@pytest.mark.parametrize("output_dim", [20, 21, 40])
def test_default_widths_are_those_of_appendix_b1(output_dim):
    """784-784-800-(k x p) and k-800-800-784, with ReLU between and nothing after the last."""
    mlp = NETWORKS["mlp"]
    encoder = mlp.encoder((1, 28, 28), output_dim, mlp.encoder_widths)
    decoder = mlp.decoder(20, (1, 28, 28), mlp.decoder_widths)
    assert dense(encoder) == [(784, 784), (784, 800), (800, output_dim)]
    assert dense(decoder) == [(20, 800), (800, 800), (800, 784)]
    between = [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert kinds(encoder) == [nn.Flatten, *between]
    assert kinds(decoder) == [*between, nn.Unflatten]


@pytest.fixture(scope="module")
def paper():
    """Encoder (k = 64, vector scale) and decoder for 3 x 64 x 64 at full size, without weights."""
    convolutional = NETWORKS["convolutional"]
    with torch.device("meta"):
        return (
            convolutional.encoder((3, 64, 64), 128, convolutional.encoder_widths),
            convolutional.decoder(64, (3, 64, 64), convolutional.decoder_widths),
        )


def sizes(network, x):
    """Shape of one example after each layer."""
    found = []
    for layer in network:
        x = layer(x)
        found.append(tuple(x.shape[1:]))
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 64), (48, 16)])
@pytest.mark.parametrize("widths", [(2, 3, 4, 5), (3, 4), (4,)])
def test_images_of_any_size_divisible_by_the_strides(channels, height, width, widths):
    encoder = convolutional_encoder((channels, height, width), 7, widths)
    decoder = convolutional_decoder(5, (channels, height, width), widths[::-1])
    assert encoder(torch.randn(2, channels, height, width)).shape == (2, 7)
    assert decoder(torch.randn(2, 5)).shape == (2, channels, height, width)


def test_encoder_is_that_of_appendix_b2(paper):
    """Four times convolution (5 x 5, stride 2), batch normalisation, ReLU; then one dense layer."""
    encoder, _ = paper
    block = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(layer) for layer in encoder] == [*block * 4, nn.Flatten, nn.Linear]
    convolutions = [layer for layer in encoder if isinstance(layer, nn.Conv2d)]
    assert all(c.kernel_size == (5, 5) and c.stride == (2, 2) for c in convolutions)
    found = sizes(encoder, torch.empty(2, 3, 64, 64, device="meta"))
    assert found[2::3][:4] == [(128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    assert found[-1] == (128,)


def test_decoder_is_that_of_appendix_b2(paper):
    """Dense to 8 x 8 x 1024, normalised; three doublings; a last layer of 3 channels, stride 1."""
    _, decoder = paper
    block = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(layer) for layer in decoder] == [
        nn.Linear,
        nn.Unflatten,
        nn.BatchNorm2d,
        nn.ReLU,
        *block * 3,
        nn.ConvTranspose2d,
    ]
    found = sizes(decoder, torch.empty(2, 64, device="meta"))
    assert found[1] == (1024, 8, 8)
    assert found[6::3] == [(512, 16, 16), (256, 32, 32), (128, 64, 64)]
    assert found[-1] == (3, 64, 64)
    last = decoder[-1]
    assert (last.out_channels, last.kernel_size, last.stride) == (3, (5, 5), (1, 1))
    transposed = [layer for layer in decoder[:-1] if isinstance(layer, nn.ConvTranspose2d)]
    assert all(c.kernel_size == (5, 5) and c.stride == (2, 2) for c in transposed)


def test_a_layer_that_is_normalised_has_no_bias_of_its_own(paper):
    """Batch normalisation takes the mean away again."""
    for network in paper:
        for layer, following in zip(network, [*network[1:], None], strict=True):
            normalised = isinstance(following, nn.BatchNorm2d | nn.Unflatten)
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                assert (layer.bias is None) is normalised


@pytest.mark.parametrize("make", [convolutional_encoder, convolutional_decoder])
@pytest.mark.parametrize("shape", [(3, 64, 60), (1, 28, 28), (64, 64), (784,), (3, 0, 16)])
def test_unsuitable_shapes_are_refused_by_their_names(make, shape):
    arguments = (shape, 4) if make is convolutional_encoder else (4, shape)
    with pytest.raises(ValueError) as caught:
        make(*arguments, (2, 2, 2, 2))
    assert f"examples of shape {shape}" in str(caught.value)
    assert "divisible by 16" in str(caught.value)
    assert "4 widths" in str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_normal_initial_weights_have_mean_0_and_deviation_002(name):
    """N(0, 0.02^2) for weights, 0 for biases; batch normalisation starts as the identity."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    decoder = initialised(lambda: network.decoder(8, (3, 16, 16), (16, 16)), 0, 0.02)
    encoder = initialised(lambda: network.encoder((3, 16, 16), 8, (16, 16)), 1, 0.02)
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weights = layer.weight.detach().flatten().double()
            n = len(weights)
            assert abs(weights.mean()) < 4.5 * 0.02 / math.sqrt(n)
            assert abs(weights.std() / 0.02 - 1) < 4.5 / math.sqrt(2 * n)
            beyond = (weights.abs() > 0.04).double().mean()  # two deviations: 4.55 %
            assert abs(beyond - 0.0455) < 4.5 * math.sqrt(0.0455 / n)
            assert layer.bias is None or (layer.bias == 0).all()
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
