"""Features of networks that need no training here: random, from timm, or exported to a file."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.evaluation.features.base import (
    FeatureExtractor,
    Prepared,
    file_hash,
    first_line,
    tensor_hash,
)

WIDTHS = (32, 64, 128, 256)
SUFFIXES = (".pt", ".ts", ".pt2")
PROBES = 3  # example inputs often have 2: this finds a batch size that is fixed


def random_convolutional_features(
    channels: int, *, device: str | torch.device = "cpu"
) -> FeatureExtractor:
    """Return features of an untrained network: an image's mean colour and the means of four layers.

    For images of any size that no trained network fits: 480 features and one per channel. Filters
    of 5 x 5, stride 2, weights N(0, 2 / inputs). Those of the first layer sum to 0, so it sees only
    edges: otherwise brightness would dominate. Such distances are no FID.

    Source: Naeem et al. (2020), "Reliable fidelity and diversity metrics for generative models".
    """
    network = _RandomConvolutional(channels)
    return FeatureExtractor(
        network, "random-convolutional", channels + sum(WIDTHS), tensor_hash(network), device=device
    )


class _RandomConvolutional(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # NumPy's numbers are the same on every machine and in every version.
        random = np.random.default_rng(0)
        self.layers = nn.ModuleList()
        for before, after in zip((channels, *WIDTHS), WIDTHS, strict=False):
            # Made empty: PyTorch's initial weights would change the caller's random state.
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


def timm_features(name: str, *, device: str | torch.device = "cpu") -> FeatureExtractor:
    """Return the pooled features of ``timm.create_model(name, pretrained=True, num_classes=0)``.

    Whole images are resized to the model's input size, by its interpolation with antialiasing, and
    normalised by its mean and standard deviation; grey ones are repeated in three colours. Raises
    `HebaeError` if timm cannot be imported, has no such model, or cannot get its weights.
    """
    try:
        timm = importlib.import_module("timm")
        configuration_of = importlib.import_module("timm.data").resolve_data_config
    except ImportError as error:
        raise HebaeError(
            f"timm features need the package timm, with a torchvision that fits this torch "
            f"({error}): pip install 'hebae[timm]'."
        ) from None
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub, the network and the disk raise all kinds
        raise HebaeError(
            f"timm could not make {name} with its pretrained weights ({first_line(error)}); check "
            "the name against timm.list_pretrained(), and the network connection."
        ) from error
    configuration = configuration_of({}, model=model)
    size, mode = tuple(configuration["input_size"][1:]), configuration["interpolation"]
    mode = mode if mode in ("bilinear", "bicubic") else "bicubic"
    mean, std = (torch.tensor(configuration[key]).view(1, -1, 1, 1) for key in ("mean", "std"))

    def prepare(images: Tensor) -> Tensor:
        x = images.expand(-1, 3, -1, -1).float() / 255
        x = F.interpolate(x, size, mode=mode, antialias=True).clamp(0, 1)
        return (x - mean.to(x)) / std.to(x)

    parts = (tensor_hash(model), size, mode, mean.tolist(), std.tolist())
    return FeatureExtractor(
        Prepared(model.eval(), prepare),
        name=f"timm-{name}",
        dimension=int(model.num_features),
        fingerprint=hashlib.sha256(repr(parts).encode()).hexdigest(),
        batch_size=64,
        device=device,
    )


def exported_features(
    path: Path, dataset: Dataset, *, device: str | torch.device = "cpu"
) -> FeatureExtractor:
    """Return the features of a network in a TorchScript (.pt, .ts) or torch.export (.pt2) file.

    It takes float32 images (n, c, h, w) from 0 to 1, in the shape of the data and for any n, does
    its own preprocessing, and gives features (n, d). Its name here: "file", the file's stem, and
    eight digits of its SHA-256. Raises `HebaeError` if the file is missing or of another kind.
    """
    fingerprint = file_hash(path)
    network = Prepared(_read(path), lambda x: x.float() / 255)
    probe = torch.zeros(PROBES, *dataset.shape, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            features = network(probe)
    except Exception as error:  # a foreign network may raise anything
        raise HebaeError(
            f"the network in {path} does not take images {tuple(probe.shape)} "
            f"({first_line(error)}); export it for the shape of {dataset.name} and any number of "
            "images."
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != PROBES:
        given = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise HebaeError(
            f"the network in {path} gave {given} for images {tuple(probe.shape)}; it must give one "
            "tensor (n, d)."
        )
    return FeatureExtractor(
        network,
        name=f"file-{path.stem}-{fingerprint[:8]}",
        dimension=features.shape[1],
        fingerprint=fingerprint,
        shape=dataset.shape,
        device=device,
    )


def _read(path: Path) -> nn.Module:
    try:
        if path.suffix == ".pt2":
            return torch.export.load(path).module()
        network: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # torch has no single kind of error for a bad file
        raise HebaeError(
            f"{path} cannot be read ({first_line(error)}); write it with torch.jit.save "
            "(.pt, .ts) or torch.export.save (.pt2). A pickled module is not accepted."
        ) from None
    return network.eval()
