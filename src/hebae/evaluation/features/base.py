"""What a feature extractor is, and how its name becomes part of a number's name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.evaluation.estimate import UndefinedMetric

__all__ = [
    "FeatureExtractor",
    "Floats",
    "NetworkFeatures",
    "Pixels",
    "as_uint8",
    "check_images",
    "file_hash",
    "is_image_data",
    "metric_name",
    "require_images",
    "tensor_hash",
]

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, ...]


class FeatureExtractor(Protocol):
    """Maps examples to the features by which sets of them are compared."""

    @property
    def name(self) -> str:
        """Part of the name of every number made with these features."""

    @property
    def dimension(self) -> int:
        """Number of features, d."""

    @property
    def minimum(self) -> int:
        """Fewest examples of a set for the Frechet distance."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of what is computed: of weights, and versions of code."""

    @property
    def takes_uint8(self) -> bool:
        """Whether it takes uint8 images alone, or else values in the units of the data."""

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Features (n, d) of examples (n, c, h, w)."""


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """A network's features of uint8 images, in batches.

    Parameters
    ----------
    network : nn.Module
        Takes images (b, c, h, w) as a uint8 tensor and gives (b, d); it does its own preprocessing.
    name : str
    dimension : int
    fingerprint : str
    minimum : int, optional
        d + 1 if left out, with which covariances can have full rank.
    shape : tuple of int, optional
        The one shape (c, h, w) that it takes, if there is but one.
    batch_size : int
    device : str or torch.device
    """

    network: nn.Module
    name: str
    dimension: int
    fingerprint: str
    minimum: int = 0
    shape: Shape | None = None
    batch_size: int = 256
    device: str | torch.device = "cpu"

    takes_uint8 = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "minimum", self.minimum or self.dimension + 1)
        self.network.to(self.device).eval().requires_grad_(False)

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Features (n, d) of uint8 images (n, c, h, w).

        Raises
        ------
        HebaeError
            If these are not uint8 images, or not of the shape that the network takes.
        """
        images = check_images(examples, self.name, self.shape)
        features = np.empty((len(images), self.dimension), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                rows = slice(start, start + self.batch_size)
                batch = torch.from_numpy(np.array(images[rows])).to(self.device)
                features[rows] = self._checked(self.network(batch), len(batch)).float().cpu()
        return features

    def _checked(self, features: Tensor, count: int) -> Tensor:
        if tuple(features.shape) != (count, self.dimension):
            raise HebaeError(
                f"{self.name} gave features of shape {tuple(features.shape)} for {count} images, "
                f"not {(count, self.dimension)}; it must map (n, c, h, w) to (n, d)."
            )
        return features


def metric_name(
    metric: str, extractor: FeatureExtractor, count_samples: int, count_reference: int
) -> str:
    """Name a number by all that it depends on: ``frechet[classifier-mnist@10000/10000]``."""
    return f"{metric}[{extractor.name}@{count_samples}/{count_reference}]"


def check_images(
    examples: npt.NDArray[np.generic], name: str, shape: Shape | None = None
) -> Pixels:
    """Return `examples` if they are uint8 images (n, c, h, w), of one `shape` if it is given.

    Raises
    ------
    HebaeError
        If not; the sentence calls the extractor `name`.
    """
    images = np.asarray(examples)
    if images.dtype != np.uint8:
        raise HebaeError(
            f"{name} takes images as uint8, 0 to 255, not {images.dtype}; round them once, with "
            "hebae.report.pixels.to_uint8."
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise HebaeError(
            f"{name} takes images (n, c, h, w) with c = 1 or 3; got an array {images.shape}."
        )
    if shape is not None and images.shape[1:] != shape:
        raise HebaeError(f"{name} takes images of shape {shape}; these have {images.shape[1:]}.")
    return images


def as_uint8(values: Pixels | npt.NDArray[np.floating]) -> Pixels:
    """Images of a data set as uint8: as they are, or rounded and clipped as samples are."""
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    levels: Pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return levels


def is_image_data(dataset: Dataset) -> bool:
    """Whether examples are images, grey or of three colours, with values in [0, 1]."""
    low, high = dataset.train.range
    return len(dataset.shape) == 3 and dataset.shape[0] in (1, 3) and 0 <= low <= high <= 1


def require_images(dataset: Dataset, spec: str) -> None:
    """Raise an `UndefinedMetric` unless the data are images that can be held in uint8."""
    if not is_image_data(dataset):
        low, high = dataset.train.range
        raise UndefinedMetric(
            f"{spec} features are of images with values in [0, 1], and an example of "
            f"{dataset.name} has shape {dataset.shape} and values from {low:.3g} to {high:.3g}; "
            "choose pixels, which takes such values as they are."
        )


def file_hash(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file.

    Raises
    ------
    HebaeError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HebaeError(
            f"{path} cannot be read ({error.strerror}): check the path of the network's file."
        ) from None


def tensor_hash(network: nn.Module) -> str:
    """SHA-256 (hexadecimal) of a network's tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
