"""Fully connected networks of any widths (Appendix B.1: 784-784-800-(k x p), k-800-800-784)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn


def mlp_encoder(input_shape: Sequence[int], output_dim: int, widths: Sequence[int]) -> nn.Module:
    """Map examples (m, *input_shape) to (m, output_dim) through ReLU layers of the given widths."""
    layers = _layers(math.prod(input_shape), widths, output_dim)
    return nn.Sequential(nn.Flatten(), *layers)


def mlp_decoder(latent_dim: int, output_shape: Sequence[int], widths: Sequence[int]) -> nn.Module:
    """Map codes (m, latent_dim) to (m, *output_shape) through ReLU layers of the given widths."""
    layers = _layers(latent_dim, widths, math.prod(output_shape))
    return nn.Sequential(*layers, nn.Unflatten(1, tuple(output_shape)))


def _layers(input_dim: int, widths: Sequence[int], output_dim: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(input_dim, width), nn.ReLU()]
        input_dim = width
    return [*layers, nn.Linear(input_dim, output_dim)]
