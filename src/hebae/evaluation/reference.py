"""Features of the data that samples are compared with, computed once and kept in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np

from hebae.data import Dataset
from hebae.data.cache import cached_folder
from hebae.errors import HebaeError
from hebae.evaluation.features.base import FeatureExtractor, Floats, as_uint8

Split = Literal["train", "validation", "test"]
FORMAT = 1  # raise it when what is written changes
FILE = "features.npy"
BLOCK = 1000


def reference_features(
    dataset: Dataset, split: Split, count: int, extractor: FeatureExtractor, seed: int = 0
) -> Floats:
    """Features, float32 (count, d), of `count` examples of a split, chosen by `reference_rows`.

    Raises
    ------
    HebaeError
        If the data have no such split or too few examples, or the cache is damaged.
    """
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    present = {name: part for name, part in splits.items() if part is not None}
    if split not in present:
        raise HebaeError(
            f"{dataset.name} has no split {split!r} to compare with; it has {', '.join(present)}."
        )
    examples = present[split]
    rows = reference_rows(len(examples), count, seed, f"the {split} split of {dataset.name}")

    def build(folder: Path) -> None:
        features = np.empty((count, extractor.dimension), np.float32)
        for start in range(0, count, BLOCK):
            values = examples.values[rows[start : start + BLOCK]]
            values = as_uint8(values) if extractor.takes_uint8 else values
            features[start : start + BLOCK] = extractor(values)
        np.save(folder / FILE, features)

    data = (FORMAT, dataset.fingerprint, split, len(examples), count, seed)
    parts = (*data, extractor.name, extractor.fingerprint)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    path = cached_folder(f"features/{key[:32]}", build) / FILE
    try:
        features: Floats = np.load(path)
        if features.shape != (count, extractor.dimension):
            raise ValueError(f"shape {features.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise HebaeError(
            f"the reference features in {path.parent} are damaged ({error}); delete that folder, "
            "and they will be computed again."
        ) from None
    return features


def reference_rows(
    available: int, count: int, seed: int = 0, source: str = "the data"
) -> np.ndarray:
    """Choose reference examples: the first `count` of one permutation of all.

    It depends on `available` and `seed` alone, so a smaller reference is the start of a larger one.
    """
    if not 1 <= count <= available:
        raise HebaeError(
            f"count is {count}, but {source} has {available} reference examples; choose from 1 to "
            f"{available}."
        )
    return np.random.default_rng(seed).permutation(available)[:count]
