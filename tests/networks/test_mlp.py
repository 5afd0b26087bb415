"""Fully connected networks: any widths, any shape, and those of Appendix B.1."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hebae.networks import NETWORKS
from hebae.networks.mlp import mlp_decoder, mlp_encoder

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
