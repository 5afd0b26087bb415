"""Features of a convolutional network that nobody trained: for images that no other judge fits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hebae.evaluation.features.base import NetworkFeatures, tensor_hash

__all__ = ["random_convolutional_features"]

WIDTHS = (32, 64, 128, 256)
SEED = 0


def random_convolutional_features(
    channels: int, *, device: str | torch.device = "cpu"
) -> NetworkFeatures:
    """Return features of images of any size: their mean colour, and the means of four layers.

    480 and a feature a channel. 5 x 5 filters, stride 2, ReLU, weights N(0, 2 / inputs); those of
    the first layer sum to 0, so that it sees edges alone, and so blur and noise: with the means
    left in, brightness would outweigh all else. Naeem et al. judge by random networks where data
    are far from ImageNet; such distances order models on one data set, and are no FID.

    Parameters
    ----------
    channels : int
        Of the images, 1 or 3.
    device : str or torch.device

    References
    ----------
    Naeem, Oh, Uh, Choi, Yoo (2020), "Reliable fidelity and diversity metrics for generative
    models", section 4.
    """
    network = _RandomConvolutional(channels)
    return NetworkFeatures(
        network, "random-convolutional", channels + sum(WIDTHS), tensor_hash(network), device=device
    )


class _RandomConvolutional(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # NumPy's numbers are the same on every machine and in every version.
        random = np.random.default_rng(SEED)
        self.layers = nn.ModuleList()
        for before, after in zip((channels, *WIDTHS), WIDTHS, strict=False):
            # Made empty: PyTorch's own initial weights would move the caller's random state.
            layer = nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False, device="meta")
            layer.to_empty(device="cpu")
            deviation = np.sqrt(2 / layer.weight[0].numel())
            weights = deviation * random.standard_normal(layer.weight.shape)
            if before == channels:
                weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
            layer.weight.data = torch.from_numpy(weights.astype(np.float32))
            self.layers.append(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, c + 480) of uint8 images (n, c, h, w)."""
        x = images.float() / 127.5 - 1
        means = [x.mean(dim=(2, 3))]
        for layer in self.layers:
            x = layer(x).relu()
            means.append(x.mean(dim=(2, 3)))
        return torch.cat(means, dim=1)
