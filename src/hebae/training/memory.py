"""How much memory a training takes, estimated before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hebae.config import Settings
from hebae.model import build_objective, build_prior
from hebae.networks import NETWORKS


@dataclass(frozen=True)
class Need:
    """Bytes that a training takes on its device."""

    weights: int
    """Weights, their gradients and Adam's two moments."""
    batch: int
    """A batch, what the forward pass keeps of it for the gradient, and the gradient of that."""
    count: int
    """Number of weights."""


def estimate_memory(
    settings: Settings,
    shape: Sequence[int],
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
) -> Need:
    """Estimate the memory of a training from the shapes of its layers; nothing is allocated.

    Parameters
    ----------
    settings : Settings
    shape : sequence of int
        Of one example.
    encoder, decoder : nn.Module, optional
        Networks of the user's own. Of one that is no ``nn.Sequential`` only weights are counted.

    Raises
    ------
    ValueError
        If the network does not take such examples.
    """
    network = NETWORKS[settings.network]
    k = settings.latent_dim
    with torch.device("meta"):  # layers without memory
        encoder = encoder or network.encoder(
            shape,
            k + build_objective(settings).log_scale_dim(k),
            settings.encoder_widths or network.encoder_widths,
        )
        decoder = decoder or network.decoder(
            k, shape, settings.decoder_widths or network.decoder_widths
        )
    size = 8 if settings.precision == "64-true" else 4  # bytes of a number
    parts = (encoder, decoder, build_prior(settings, shape))
    count = sum(p.numel() for part in parts for p in part.parameters())
    layers = sum(_output_sizes(encoder, shape)) + sum(_output_sizes(decoder, (k,)))
    # Of the batch itself and the decoder's output: the loss of each number, and gradients.
    per_example = 2 * layers + 4 * math.prod(shape)
    share = settings.batch_size // settings.devices
    return Need(4 * size * count, size * share * per_example, count)


def _output_sizes(network: nn.Module, shape: Sequence[int]) -> Iterator[int]:
    """Numbers per example that each layer gives, as far as the layers are known."""
    if not isinstance(network, nn.Sequential):
        return
    for layer in network.children():
        if isinstance(layer, nn.Flatten):
            shape = (math.prod(shape),)
        elif isinstance(layer, nn.Unflatten):
            shape = tuple(layer.unflattened_size)
        elif isinstance(layer, nn.Linear):
            shape = (layer.out_features,)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            up = isinstance(layer, nn.ConvTranspose2d)
            sides = [
                side * stride if up else -(-side // stride)  # with padding, as in our networks
                for side, stride in zip(shape[1:], layer.stride, strict=True)
            ]
            shape = (layer.out_channels, *sides)
        else:
            continue  # activations and normalisation: their outputs are in the factor of two
        yield math.prod(shape)


def free_memory(device: str) -> int:
    """Bytes that a training may take on a device: "cpu", "cuda" or "mps"."""
    if device == "cuda":
        unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + unused
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    import psutil

    free = int(psutil.virtual_memory().available)
    folder = Path("/sys/fs/cgroup")  # of a container (control groups, version 2)
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        return min(free, limit - used + int(dict(map(str.split, lines))["inactive_file"]))
    except (OSError, ValueError, KeyError):  # no container, or no limit ("max")
        return free
