"""Features of a network that was exported to a file, by TorchScript or torch.export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.evaluation.features.base import NetworkFeatures, file_hash

__all__ = ["SUFFIXES", "exported_features"]

SUFFIXES = (".pt", ".ts", ".pt2")
PROBES = 3  # unlike the 2 that many an example input has, so that a fixed batch is found out


def exported_features(
    path: Path, dataset: Dataset, *, device: str | torch.device = "cpu"
) -> NetworkFeatures:
    """Return the features of a network in a TorchScript (.pt, .ts) or torch.export (.pt2) file.

    It takes float32 images (n, c, h, w) from 0 to 1, in the size and colours of the data and for
    any n, and gives features (n, d): its own preprocessing is part of it. Name: "file", the file's
    stem, and eight digits of its SHA-256.

    Parameters
    ----------
    path : Path
    dataset : Dataset
        Whose shape of images it takes.
    device : str or torch.device

    Raises
    ------
    HebaeError
        If the file is missing, of another kind, or does not map (n, c, h, w) to (n, d).
    """
    found = file_hash(path)
    network = _FromUnit(_read(path))
    probe = torch.zeros(PROBES, *dataset.shape, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            features = network(probe)
    except Exception as error:  # a foreign network may raise anything
        raise HebaeError(
            f"the network in {path} does not take images {tuple(probe.shape)} "
            f"({str(error).splitlines()[0]}): export it for the shape of {dataset.name} and any "
            "number of images."
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != PROBES:
        given = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise HebaeError(
            f"the network in {path} gave {given} for images {tuple(probe.shape)}; it must give one "
            "tensor (n, d)."
        )
    return NetworkFeatures(
        network,
        name=f"file-{path.stem}-{found[:8]}",
        dimension=features.shape[1],
        fingerprint=found,
        shape=dataset.shape,
        device=device,
    )


class _FromUnit(nn.Module):
    """A network that takes images from 0 to 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, d) of uint8 images (n, c, h, w)."""
        features: Tensor = self.network(images.float() / 255)
        return features

    def train(self, mode: bool = True) -> _FromUnit:
        """Stay as exported, which a program of torch.export cannot leave."""
        return self


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, or its kind if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _read(path: Path) -> nn.Module:
    try:
        if path.suffix == ".pt2":
            return torch.export.load(path).module()
        network: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # torch has no one kind of error for a bad file
        raise HebaeError(
            f"{path} cannot be read ({_reason(error)}): write it with torch.jit.save "
            "(.pt, .ts) or torch.export.save (.pt2); a pickled module is not taken."
        ) from None
    return network.eval()
