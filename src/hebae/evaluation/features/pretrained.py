"""Features of a pretrained network of timm, with the preprocessing that it was trained with."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebae.errors import HebaeError
from hebae.evaluation.features.base import NetworkFeatures, tensor_hash

__all__ = ["timm_features"]


def timm_features(name: str, *, device: str | torch.device = "cpu") -> NetworkFeatures:
    """Return the pooled features of ``timm.create_model(name, pretrained=True, num_classes=0)``.

    Images are resized whole to the model's input size, by its interpolation with antialiasing, and
    normalised by its mean and standard deviation; grey ones are repeated in three colours.

    Parameters
    ----------
    name : str
        The model's name in timm.
    device : str or torch.device

    Raises
    ------
    HebaeError
        If timm cannot be imported, knows no such model, or cannot get its weights.
    """
    try:
        timm = importlib.import_module("timm")
        configuration_of = importlib.import_module("timm.data").resolve_data_config
    except ImportError as error:
        raise HebaeError(
            f"timm features need the package timm, with a torchvision that goes with this torch "
            f"({error}): pip install 'hebae[timm]'."
        ) from None
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # whatever the hub, the network or the disk raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HebaeError(
            f"timm could not make {name} with its pretrained weights ({reason}): check the name "
            "against timm.list_pretrained(), and the network, or fill the cache of the hub by hand."
        ) from error
    network = _Preprocessed(model.eval(), configuration_of({}, model=model))
    return NetworkFeatures(
        network,
        name=f"timm-{name}",
        dimension=int(model.num_features),
        fingerprint=tensor_hash(network),
        batch_size=64,
        device=device,
    )


class _Preprocessed(nn.Module):
    """A model of timm behind its own resizing and normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, configuration: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.size = tuple(configuration["input_size"][1:])
        interpolation = configuration["interpolation"]
        self.mode = interpolation if interpolation in ("bilinear", "bicubic") else "bicubic"
        self.register_buffer("mean", torch.tensor(configuration["mean"]).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(configuration["std"]).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, d) of uint8 images (n, c, h, w), c = 1 or 3."""
        x = images.expand(-1, 3, -1, -1).float() / 255
        x = F.interpolate(x, self.size, mode=self.mode, antialias=True).clamp(0, 1)
        features: Tensor = self.model((x - self.mean) / self.std)
        return features
