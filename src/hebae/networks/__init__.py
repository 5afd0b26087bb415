"""Encoders and decoders, built by name, with initial weights from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from hebae.networks.convolutional import convolutional_decoder, convolutional_encoder
from hebae.networks.mlp import mlp_decoder, mlp_encoder


class Architecture(NamedTuple):
    """A pair of builders, and the widths that Appendix B of the paper gives them."""

    encoder: Callable[[Sequence[int], int, Sequence[int]], nn.Module]
    """(input_shape, output_dim, widths) -> module: (m, *input_shape) -> (m, output_dim)."""
    decoder: Callable[[int, Sequence[int], Sequence[int]], nn.Module]
    """(latent_dim, output_shape, widths) -> module: (m, latent_dim) -> (m, *output_shape)."""
    encoder_widths: tuple[int, ...]
    decoder_widths: tuple[int, ...]


NETWORKS = {
    "mlp": Architecture(mlp_encoder, mlp_decoder, (784, 800), (800, 800)),
    "convolutional": Architecture(
        convolutional_encoder,
        convolutional_decoder,
        (128, 256, 512, 1024),
        (1024, 512, 256, 128),
    ),
}


def initialised(
    make: Callable[[], nn.Module], seed: int, standard_deviation: float | None = None
) -> nn.Module:
    """Build a network with random weights that depend on the seed alone.

    Without a standard deviation, weights are drawn as PyTorch's layers draw them, but from a
    generator of their own: no global random state is read or changed, so that networks can be
    built in several threads.

    Parameters
    ----------
    make : callable
        Builds the network.
    seed : int
    standard_deviation : float, optional
        Draw the weights from N(0, standard_deviation^2) and set the biases to 0.
    """
    with torch.device("meta"):  # neither draws nor allocates
        network = make()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight, bias = layer.weight, layer.bias
            if standard_deviation is None:
                nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
                bound = 1 / math.sqrt(weight[0].numel())  # PyTorch's fan-in
            else:
                nn.init.normal_(weight, std=standard_deviation, generator=generator)
                bound = 0.0
            if bias is not None and bound:
                nn.init.uniform_(bias, -bound, bound, generator=generator)
            elif bias is not None:
                nn.init.zeros_(bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return network
