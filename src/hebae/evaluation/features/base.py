"""What a feature extractor is; pixels and values as features; networks in batches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hebae.data import Dataset
from hebae.errors import HebaeError, UndefinedMetric

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, ...]


class FeatureExtractor(Protocol):
    """Maps examples to the features by which sets of them are compared."""

    @property
    def name(self) -> str:
        """Part of the name of every number computed with these features."""

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
        """Whether it takes only uint8 images, and not values in the units of the data."""

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Features (n, d) of examples (n, c, h, w)."""


def metric_name(
    metric: str, extractor: FeatureExtractor, count_samples: int, count_reference: int
) -> str:
    """Name a number by all that it depends on: ``frechet[classifier-mnist@10000/10000]``."""
    return f"{metric}[{extractor.name}@{count_samples}/{count_reference}]"


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """A network's features of uint8 images, in batches.

    The network maps images (b, c, h, w) as a uint8 tensor to features (b, d), with its own
    preprocessing. Other fields are as in `FeatureExtractor`; `minimum` is d + 1 by default, with
    which covariances can have full rank, and `shape` (c, h, w) the only one that it takes, if any.
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
        """Features (n, d) of uint8 images (n, c, h, w)."""
        images = check_images(examples, self.name, self.shape)
        features = np.empty((len(images), self.dimension), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                rows = slice(start, start + self.batch_size)
                batch = torch.from_numpy(np.array(images[rows])).to(self.device)
                found = self.network(batch)
                if tuple(found.shape) != (len(batch), self.dimension):
                    raise HebaeError(
                        f"{self.name} gave features of shape {tuple(found.shape)} for {len(batch)} "
                        f"images; it must give {(len(batch), self.dimension)}."
                    )
                features[rows] = found.float().cpu()
        return features


@dataclass(frozen=True)
class ValueFeatures:
    """Values in the units that a model sees, of data that are not images in [0, 1]."""

    shape: Shape
    name = "values"
    takes_uint8 = False
    fingerprint = hashlib.sha256(b"hebae values 1").hexdigest()

    @property
    def dimension(self) -> int:
        """Numbers per example, d."""
        return prod(self.shape)

    @property
    def minimum(self) -> int:
        """D + 1, with which covariances can have full rank."""
        return self.dimension + 1

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Values (n, d) of examples (n, *shape): floats as they are, uint8 divided by 255."""
        values = np.asarray(examples)
        if values.shape[1:] != self.shape or len(values) == 0:
            raise HebaeError(
                f"{self.name} takes examples of shape {self.shape}; got an array {values.shape}."
            )
        if values.dtype == np.uint8:
            values = values / np.float32(255)
        elif values.dtype.kind != "f":
            raise HebaeError(f"{self.name} takes floats or uint8, not {values.dtype}.")
        return values.reshape(len(values), -1).astype(np.float32, copy=False)


@dataclass(frozen=True)
class PixelFeatures(ValueFeatures):
    """Pixels of uint8 images, from 0 to 1."""

    name = "pixels"
    takes_uint8 = True
    fingerprint = hashlib.sha256(b"hebae pixels 1").hexdigest()

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Pixels (n, d) of uint8 images (n, c, h, w), divided by 255."""
        return super().__call__(check_images(examples, self.name, self.shape))


def pixel_features(dataset: Dataset) -> FeatureExtractor:
    """`PixelFeatures` if the data are images in [0, 1], else `ValueFeatures`."""
    return (PixelFeatures if is_image_data(dataset) else ValueFeatures)(dataset.shape)


def check_images(
    examples: npt.NDArray[np.generic], name: str, shape: Shape | None = None
) -> Pixels:
    """Return `examples` if they are uint8 images (n, c, h, w), of one `shape` if it is given."""
    images = np.asarray(examples)
    if images.dtype != np.uint8:
        raise HebaeError(
            f"{name} takes images as uint8, 0 to 255, not {images.dtype}; convert them once, with "
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
    """Images of a data set as uint8: unchanged, or rounded and clipped as samples are."""
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    levels: Pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return levels


def is_image_data(dataset: Dataset) -> bool:
    """Whether examples are grey or RGB images with values in [0, 1]."""
    low, high = dataset.train.range
    return len(dataset.shape) == 3 and dataset.shape[0] in (1, 3) and 0 <= low <= high <= 1


def require_images(dataset: Dataset, spec: str) -> None:
    """Raise an `UndefinedMetric` unless the data are images that uint8 can hold."""
    if not is_image_data(dataset):
        low, high = dataset.train.range
        raise UndefinedMetric(
            f"{spec} features are of images with values in [0, 1], but an example of "
            f"{dataset.name} has shape {dataset.shape} and values from {low:.3g} to {high:.3g}; "
            "choose pixels, which takes such values as they are."
        )


def file_hash(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file; `HebaeError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HebaeError(
            f"{path} cannot be read ({error.strerror}); check the path of the network's file."
        ) from None


def tensor_hash(network: nn.Module) -> str:
    """SHA-256 (hexadecimal) of a network's tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """First line of an error's message, or its kind if there is none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
