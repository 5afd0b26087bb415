"""Convolutional networks for images (Appendix B.2, after Tolstikhin et al. 2018).

5 x 5 filters, stride 2, batch normalisation and ReLU. The encoder halves the image once per width;
the decoder starts at twice the size (8 x 8 for 64 x 64) and ends in a layer of stride 1, which the
paper's table calls "ConvT_1" and which has as many outputs as the image has channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn


def convolutional_encoder(
    input_shape: Sequence[int], output_dim: int, widths: Sequence[int]
) -> nn.Module:
    """Map images (m, c, h, w) to (m, output_dim).

    Parameters
    ----------
    input_shape : (c, h, w)
        h and w divisible by ``2 ** len(widths)``: 16 for the four widths of the paper.
    output_dim : int
    widths : sequence of int
        Filters per layer, from the image inwards.
    """
    channels, height, width = _check_shape(input_shape, 2 ** len(widths))
    layers: list[nn.Module] = []
    for filters in widths:
        # Batch normalisation subtracts the mean, so that a bias would have no effect.
        layers += [
            nn.Conv2d(channels, filters, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        channels, height, width = filters, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, output_dim))


def convolutional_decoder(
    latent_dim: int, output_shape: Sequence[int], widths: Sequence[int]
) -> nn.Module:
    """Map codes (m, latent_dim) to images (m, c, h, w).

    Parameters
    ----------
    latent_dim : int
    output_shape : (c, h, w)
        h and w divisible by ``2 ** len(widths)``, so that encoder and decoder take the same images.
    widths : sequence of int
        Filters per layer, from the code outwards; the first is the dense layer's channels.
    """
    channels, height, width = _check_shape(output_shape, 2 ** len(widths))
    scale = 2 ** (len(widths) - 1)
    height, width = height // scale, width // scale
    first, *rest = widths
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, first * height * width, bias=False),
        nn.Unflatten(1, (first, height, width)),
        nn.BatchNorm2d(first),
        nn.ReLU(),
    ]
    for filters in rest:
        layers += [
            nn.ConvTranspose2d(
                first, filters, 5, stride=2, padding=2, output_padding=1, bias=False
            ),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        first = filters
    return nn.Sequential(*layers, nn.ConvTranspose2d(first, channels, 5, stride=1, padding=2))


def freeze_batch_norm(module: nn.Module) -> None:
    """Set batch normalisation to evaluation mode, until ``module.train()`` is called again.

    Its running statistics stay as they are: from the start 0 and 1, which normalise nothing, so
    that only its scale and shift are learned.
    """
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def _check_shape(shape: Sequence[int], divisor: int) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[1] % divisor or shape[2] % divisor or not math.prod(shape):
        raise ValueError(
            f"the convolutional network with {divisor.bit_length() - 1} widths takes images "
            f"(channels, height, width) with sides divisible by {divisor}, and was given examples "
            f"of shape {tuple(shape)}; crop or pad the images, or use network 'mlp'."
        )
    channels, height, width = shape
    return channels, height, width
