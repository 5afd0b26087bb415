"""What a feature extractor is; pixels and values as features; networks in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hebae.data import Dataset
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.blocks import GreyLevels
from hebae.report.pixels import to_uint8

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """Maps examples to the features by which sets of them are compared, in batches.

    Parameters
    ----------
    network : nn.Module
        Maps examples (b, *shape), by default images as a uint8 tensor, to features (b, d); it does
        its own preprocessing.
    name : str
        Part of the name of every number computed with these features.
    dimension : int
        Number of features, d.
    fingerprint : str
        SHA-256 (hexadecimal) of what is computed: of weights, and versions of code.
    minimum : int, optional
        Fewest examples of a set for the Frechet distance; default d + 1, for full rank.
    shape : tuple of int, optional
        The only shape of examples that it takes, if there is one.
    batch_size, device
        How examples are processed.
    takes_uint8 : bool
        Whether it takes only uint8 images, and not values in the units of the data.
    accuracy, weights_sha256 : optional
        For a classifier: share of correct labels in the held-out split, if that has any, and the
        SHA-256 of its file of weights in the cache.
    """

    network: nn.Module
    name: str
    dimension: int
    fingerprint: str
    minimum: int = 0
    shape: tuple[int, ...] | None = None
    batch_size: int = 256
    device: str | torch.device = "cpu"
    accuracy: float | None = None
    weights_sha256: str = ""
    takes_uint8: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "minimum", self.minimum or self.dimension + 1)
        self.network.to(self.device).eval().requires_grad_(False)

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Features (n, d) of examples (n, *shape)."""
        values = np.asarray(examples)
        if self.takes_uint8 and values.dtype != np.uint8:
            raise HebaeError(
                f"{self.name} takes images as uint8, 0 to 255, not {values.dtype}; convert them "
                "once, with hebae.report.pixels.to_uint8."
            )
        if values.dtype != np.uint8 and values.dtype.kind != "f":
            raise HebaeError(f"{self.name} takes floats or uint8, not {values.dtype}.")
        is_image = values.ndim == 4 and values.shape[1] in (1, 3)
        if 0 in values.shape or (self.takes_uint8 and not is_image):
            raise HebaeError(
                f"{self.name} takes images (n, c, h, w) with c = 1 or 3; got an array "
                f"{values.shape}."
            )
        if self.shape is not None and values.shape[1:] != self.shape:
            raise HebaeError(
                f"{self.name} takes examples of shape {self.shape}; these have {values.shape[1:]}."
            )
        features = np.empty((len(values), self.dimension), np.float32)
        for start in range(0, len(values), self.batch_size):
            batch = torch.from_numpy(np.array(values[start : start + self.batch_size]))
            with torch.inference_mode():
                part = self.network(batch.to(self.device))
            if tuple(part.shape) != (len(batch), self.dimension):
                raise HebaeError(
                    f"{self.name} gave features of shape {tuple(part.shape)} for {len(batch)} "
                    f"images; it must give {(len(batch), self.dimension)}."
                )
            features[start : start + len(batch)] = part.float().cpu()
        return features

    def of_data(self, values: npt.NDArray[np.generic]) -> Floats:
        """Features of examples in the units of the data, rounded to bytes if it takes bytes."""
        return self(as_uint8(values) if self.takes_uint8 else values)

    def compact(self, values: npt.NDArray[np.generic]) -> Any:
        """Return what `of_data` does, in less memory if there is a way."""
        return self.of_data(values)


@dataclass(frozen=True, eq=False)
class PixelExtractor(FeatureExtractor):
    """The pixels of images in [0, 1], or other numbers as they are."""

    def compact(self, values: npt.NDArray[np.generic]) -> Any:
        """See `FeatureExtractor`."""
        if not self.takes_uint8:
            return values.reshape(len(values), -1)
        return GreyLevels(as_uint8(values).reshape(len(values), -1))


NetworkFeatures = FeatureExtractor  # its name in 0.1.0


def metric_name(
    metric: str, extractor: FeatureExtractor, count_samples: int, count_reference: int
) -> str:
    """Name a number by all that it depends on: ``frechet[classifier-mnist@10000/10000]``."""
    return f"{metric}[{extractor.name}@{count_samples}/{count_reference}]"


def pixel_features(dataset: Dataset) -> FeatureExtractor:
    """Return images in [0, 1] as features ("pixels"), or other data as they are ("values")."""
    is_image = is_image_data(dataset)
    name = "pixels" if is_image else "values"
    fingerprint = hashlib.sha256(f"hebae {name} 1".encode()).hexdigest()
    network = Prepared(nn.Flatten(), lambda x: x.float() / (255 if x.dtype == torch.uint8 else 1))
    size, shape = prod(dataset.shape), dataset.shape
    return PixelExtractor(network, name, size, fingerprint, shape=shape, takes_uint8=is_image)


class Prepared(nn.Module):
    """A network behind a function that prepares images; it keeps the mode that it has."""

    def __init__(self, network: nn.Module, prepare: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.prepare = network, prepare

    def forward(self, images: Tensor) -> Any:
        """Features of images: the first output if there are several."""
        output = self.network(self.prepare(images))
        return output[0] if isinstance(output, tuple) else output

    def train(self, mode: bool = True) -> Prepared:
        """Keep the mode, which a program of torch.export cannot change."""
        return self


def as_uint8(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Images of a data set as uint8: unchanged, or rounded and clipped as samples are."""
    return values.view(np.uint8) if values.dtype == np.uint8 else to_uint8(values)


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
