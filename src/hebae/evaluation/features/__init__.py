"""Features by which sets of images are compared, chosen by name; those of reference examples."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from hebae.data import Dataset
from hebae.data.cache import cached_folder
from hebae.deprecation import old_names
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.features.base import (
    FeatureExtractor,
    Floats,
    metric_name,
    pixel_features,
    require_images,
)
from hebae.evaluation.features.classifier import Progress, classifier_features
from hebae.evaluation.features.networks import (
    EFFICIENTNET,
    SUFFIXES,
    efficientnet_features,
    exported_features,
    inception_features,
    random_convolutional_features,
    timm_features,
)

Split = Literal["train", "validation", "test"]
NAMES = ("pixels", "classifier", "random", EFFICIENTNET, "inception")
"""Names of features; others are timm:NAME and paths of files."""
REFERENCE_FORMAT = 2  # raise it when what is kept of references changes
REFERENCE_BLOCK = 1000


def extractor(
    spec: str | Path,
    *,
    dataset: Dataset,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> FeatureExtractor:
    """Return the feature extractor of a name, ready for the examples of a data set.

    Parameters
    ----------
    spec : str or Path
        "pixels": the examples themselves, named "values" if they are not images in [0, 1].
        "classifier", "random", "efficientnet-lite0", "inception", "timm:NAME": see
        `classifier_features`, `random_convolutional_features`, `efficientnet_features`,
        `inception_features`, `timm_features`. A path to a .pt, .ts or .pt2 file: see
        `exported_features`.
    dataset : Dataset
        The data to compare with.
    weights : str or Path, optional
        File of weights, for "inception" only.
    device : str or torch.device
        Where features are computed.
    progress : callable, optional
        See `classifier_features`.

    Raises
    ------
    UndefinedMetric
        If these features do not exist for these data.
    """
    kind = str(spec)
    if weights is not None and kind != "inception":
        raise HebaeError(
            f"weights are given, but the features are {kind!r}; only 'inception' takes weights."
        )
    is_timm = kind.startswith("timm:") and len(kind) > len("timm:")
    is_file = Path(kind).suffix in SUFFIXES
    if not (kind in NAMES or is_timm or is_file):
        raise HebaeError(
            f"features are {kind!r}; choose {', '.join(NAMES)}, timm:NAME (a model of timm), or "
            "the path of a TorchScript (.pt, .ts) or torch.export (.pt2) file."
        )
    if kind == "pixels":
        made = pixel_features(dataset)
    else:
        require_images(dataset, kind)
        if kind == "classifier":
            made = classifier_features(dataset, progress=progress)
        elif kind == "random":
            made = random_convolutional_features(dataset.shape[0])
        elif kind == EFFICIENTNET:
            made = efficientnet_features()
        elif kind == "inception":
            made = inception_features(weights)
        elif is_timm:
            made = timm_features(kind.removeprefix("timm:"))
        else:
            made = exported_features(Path(kind).expanduser(), dataset)
    return dataclasses.replace(made, device=device)


def reference_features(
    dataset: Dataset, split: Split, count: int, extractor: FeatureExtractor, seed: int = 0
) -> Floats:
    """Features, float32 (count, d), of `count` examples of a split, chosen by `reference_rows`."""
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
        for start in range(0, count, REFERENCE_BLOCK):
            part = slice(start, start + REFERENCE_BLOCK)
            values = examples.rows(rows[part])
            if values.dtype != np.uint8 and np.isnan(values).any():
                raise UndefinedMetric(
                    f"examples of the {split} split of {dataset.name} have missing values, but "
                    "features need complete examples; fill them first, for instance with hebae "
                    "impute"
                )
            features[part] = extractor.of_data(values)
        np.save(folder / "features.npy", features)

    data = (REFERENCE_FORMAT, dataset.fingerprint, split, len(examples), count, seed)
    parts = (*data, extractor.name, extractor.fingerprint)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    path = cached_folder(f"features/{key[:32]}", build) / "features.npy"
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


__getattr__ = old_names(
    __name__,
    {
        "ClassifierFeatures": (lambda: FeatureExtractor, "use hebae.evaluation.FeatureExtractor"),
        "NetworkFeatures": (lambda: FeatureExtractor, "use hebae.evaluation.FeatureExtractor"),
        "metric_name": (lambda: metric_name, "import it from hebae.evaluation"),
    },
)
