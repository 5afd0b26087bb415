"""Features of the data that samples are held against, calculated once and kept in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np

from hebae.data import Dataset, Examples
from hebae.data.cache import cached_folder
from hebae.errors import HebaeError
from hebae.evaluation.features.base import FeatureExtractor, Floats, as_uint8

__all__ = ["Split", "reference_features", "reference_rows"]

Split = Literal["train", "validation", "test"]
FORMAT = 1  # to be raised when what is written changes
FILE = "features.npy"
BLOCK = 1000


def reference_features(
    dataset: Dataset, split: Split, count: int, extractor: FeatureExtractor, seed: int = 0
) -> Floats:
    """Return the features of `count` examples of a split, in the order of `reference_rows`.

    Float images are rounded to uint8 for extractors that take these, as samples are.

    Parameters
    ----------
    dataset : Dataset
    split : {"train", "validation", "test"}
    count : int
    extractor : FeatureExtractor
    seed : int
        Of the choice of examples.

    Returns
    -------
    array of float32, shape (count, d)

    Raises
    ------
    HebaeError
        If the data have no such split, it has fewer than `count` examples, or the cache cannot be
        written or is damaged.
    """
    examples = _split(dataset, split)
    rows = reference_rows(len(examples), count, seed, f"the {split} split of {dataset.name}")

    def build(folder: Path) -> None:
        features = np.empty((count, extractor.dimension), np.float32)
        for start in range(0, count, BLOCK):
            values = examples.values[rows[start : start + BLOCK]]
            values = as_uint8(values) if extractor.takes_uint8 else values
            features[start : start + BLOCK] = extractor(values)
        np.save(folder / FILE, features)

    parts = (
        FORMAT,
        dataset.fingerprint,
        split,
        len(examples),
        count,
        seed,
        extractor.name,
        extractor.fingerprint,
    )
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    path = cached_folder(f"features/{key[:32]}", build) / FILE
    try:
        features: Floats = np.load(path)
        if features.shape != (count, extractor.dimension):
            raise ValueError(f"shape {features.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise HebaeError(
            f"the reference features in {path.parent} are damaged ({error}): delete that folder, "
            "and they will be calculated anew."
        ) from None
    return features


def reference_rows(
    available: int, count: int, seed: int = 0, source: str = "the data"
) -> np.ndarray:
    """Which examples are the reference: the first `count` of one permutation of them all.

    The permutation depends on `available` and `seed` alone, so that a smaller reference is the
    beginning of a larger one.

    Raises
    ------
    HebaeError
        If `count` is not from 1 to `available`.
    """
    if not 1 <= count <= available:
        raise HebaeError(
            f"{count} reference examples were asked for, but {source} has {available}; choose from "
            f"1 to {available}."
        )
    return np.random.default_rng(seed).permutation(available)[:count]


def _split(dataset: Dataset, split: Split) -> Examples:
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    present = {name: examples for name, examples in splits.items() if examples is not None}
    if split not in present:
        raise HebaeError(
            f"{dataset.name} has no split {split}; it has {', '.join(present)} to compare with."
        )
    return present[split]
