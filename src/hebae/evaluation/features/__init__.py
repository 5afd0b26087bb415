"""Features by which sets of images are compared, chosen by name."""

from __future__ import annotations

from pathlib import Path

import torch

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.evaluation.features.base import (
    FeatureExtractor,
    metric_name,
    pixel_features,
    require_images,
)
from hebae.evaluation.features.classifier import ClassifierFeatures, Progress, classifier_features
from hebae.evaluation.features.inception import inception_features
from hebae.evaluation.features.networks import (
    SUFFIXES,
    exported_features,
    random_convolutional_features,
    timm_features,
)

__all__ = [
    "ClassifierFeatures",
    "FeatureExtractor",
    "classifier_features",
    "exported_features",
    "extractor",
    "inception_features",
    "metric_name",
    "pixel_features",
    "random_convolutional_features",
    "timm_features",
]


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
        "classifier", "random", "inception", "timm:NAME": see `classifier_features`,
        `random_convolutional_features`, `inception_features`, `timm_features`. A path to a .pt,
        .ts or .pt2 file: see `exported_features`.
    dataset : Dataset
        The data to compare with.
    weights : str or Path, optional
        File of weights, for "inception" only.
    device, progress
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
    if kind == "pixels":
        return pixel_features(dataset)
    if kind == "classifier":
        return classifier_features(dataset, device=device, progress=progress)
    is_timm = kind.startswith("timm:") and len(kind) > len("timm:")
    is_file = Path(kind).suffix in SUFFIXES
    if not (kind in ("random", "inception") or is_timm or is_file):
        raise HebaeError(
            f"features are {kind!r}; choose pixels, classifier, random, inception, timm:NAME (a "
            "model of timm), or the path of a TorchScript (.pt, .ts) or torch.export (.pt2) file."
        )
    require_images(dataset, kind)
    if kind == "random":
        return random_convolutional_features(dataset.shape[0], device=device)
    if kind == "inception":
        return inception_features(None if weights is None else Path(weights), device=device)
    if is_timm:
        return timm_features(kind.removeprefix("timm:"), device=device)
    return exported_features(Path(kind).expanduser(), dataset, device=device)
