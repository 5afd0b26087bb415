"""Spectral normalisation of a network: each weight divided by its largest singular value.

Miyato, Kataoka, Koyama, Yoshida (2018), "Spectral Normalization for Generative Adversarial
Networks". Not ``torch.nn.utils.parametrizations``, whose modules cannot be pickled and draw from
the global generator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import normalize

FIRST_ITERATIONS = 30
"""Power iterations when the network is wrapped; each training step takes one more."""

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


class SpectralNorm(nn.Module):
    """A network with the weights W / s, s the largest singular value of W as a matrix.

    Linear layers and convolutions are normalised; a convolution's matrix has one row per output
    channel. Biases and batch normalisation are left as they are. s is estimated by power iteration:
    each call in training mode takes one step, from where the last one ended; in evaluation mode
    nothing changes.

    Parameters
    ----------
    network : nn.Module
        Its own weights stay as they are and are the ones that are trained.
    seed : int
        Seed of the first singular vectors.

    Raises
    ------
    ValueError
        If there is no layer to normalise, or one whose weights are all 0.
    """

    left_0: Tensor

    def __init__(self, network: nn.Module, seed: int) -> None:
        super().__init__()
        self.network = network
        self.transposed: dict[str, bool] = {}  # by the name of the weight
        parameters = dict(network.named_parameters())
        for name, layer in network.named_modules():
            weight = f"{name}.weight" if name else "weight"
            if isinstance(layer, _LAYERS) and weight in parameters:
                self.transposed[weight] = isinstance(layer, _TRANSPOSED)
        if not self.transposed:
            raise ValueError(
                "spectral normalisation needs a decoder with linear or convolutional layers, but "
                f"this {type(network).__name__} has none; use another decoder or method."
            )
        generator = torch.Generator().manual_seed(seed)
        for index, name in enumerate(self.transposed):
            matrix = self._matrix(name, parameters[name].detach())
            left = torch.randn(len(matrix), generator=generator).to(matrix)
            for _ in range(FIRST_ITERATIONS):
                left = normalize(matrix @ (matrix.mT @ left), dim=0)
            if not left.any():
                raise ValueError(
                    f"the decoder's {name} is all zeros, which spectral normalisation cannot "
                    "divide by its largest singular value; initialise it with other numbers."
                )
            self.register_buffer(f"left_{index}", left)

    def _matrix(self, name: str, weight: Tensor) -> Tensor:
        return (weight.transpose(0, 1) if self.transposed[name] else weight).flatten(1)

    def normalised_weights(self) -> dict[str, Tensor]:
        """Return the weights that the network is applied with, by name."""
        weights = {}
        with torch.autocast(self.left_0.device.type, enabled=False):
            for index, name in enumerate(self.transposed):
                weight, stored = self.network.get_parameter(name), self.get_buffer(f"left_{index}")
                matrix = self._matrix(name, weight)
                with torch.no_grad():
                    right = normalize(matrix.mT @ stored, dim=0)
                    if self.training:
                        stored.copy_(normalize(matrix @ right, dim=0))
                        right = normalize(matrix.mT @ stored, dim=0)
                    left = stored.clone()  # the next call must not change what the gradient needs
                weights[name] = weight / (left @ (matrix @ right))
        return weights

    def forward(self, z: Tensor) -> Tensor:
        """Apply the network with normalised weights."""
        output: Tensor = functional_call(self.network, self.normalised_weights(), (z,))
        return output
