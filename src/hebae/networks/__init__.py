"""Encoders and decoders, built by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import nn

from hebae.networks.convolutional import (
    convolutional_decoder,
    convolutional_encoder,
    freeze_batch_norm,
    initialise_normal,
)
from hebae.networks.mlp import mlp_decoder, mlp_encoder

__all__ = ["NETWORKS", "Architecture", "freeze_batch_norm", "initialise_normal"]


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
