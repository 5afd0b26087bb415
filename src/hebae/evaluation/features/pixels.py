"""The examples themselves as features: pixels, or the values of data that are not images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.evaluation.features.base import (
    FeatureExtractor,
    Floats,
    Shape,
    check_images,
    is_image_data,
)

__all__ = ["PixelFeatures", "ValueFeatures", "pixel_features"]


@dataclass(frozen=True)
class _Flattened:
    """The numbers of an example, one after the other."""

    shape: Shape

    @property
    def dimension(self) -> int:
        """Numbers of an example, d."""
        return prod(self.shape)

    @property
    def minimum(self) -> int:
        """With which covariances can have full rank."""
        return self.dimension + 1


@dataclass(frozen=True)
class PixelFeatures(_Flattened):
    """Pixels of uint8 images, from 0 to 1."""

    name = "pixels"
    takes_uint8 = True
    fingerprint = hashlib.sha256(b"hebae pixels 1").hexdigest()

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Pixels (n, d) of uint8 images (n, c, h, w), over 255."""
        images = check_images(examples, self.name, self.shape)
        return (images.reshape(len(images), -1) / np.float32(255)).astype(np.float32, copy=False)


@dataclass(frozen=True)
class ValueFeatures(_Flattened):
    """Values in the units that a model sees, of data that are not images in [0, 1]."""

    name = "values"
    takes_uint8 = False
    fingerprint = hashlib.sha256(b"hebae values 1").hexdigest()

    def __call__(self, examples: npt.NDArray[np.generic]) -> Floats:
        """Values (n, d) of examples (n, *shape): floats as they are, uint8 over 255."""
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


def pixel_features(dataset: Dataset) -> FeatureExtractor:
    """Pixels if the data are images in [0, 1], else their values."""
    return (PixelFeatures if is_image_data(dataset) else ValueFeatures)(dataset.shape)
