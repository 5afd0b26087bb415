"""Feature extractors by name."""

from __future__ import annotations

from pathlib import Path

import torch

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.evaluation.features.base import FeatureExtractor, require_images
from hebae.evaluation.features.classifier import classifier_features
from hebae.evaluation.features.classifier_network import Progress
from hebae.evaluation.features.exported import SUFFIXES, exported_features
from hebae.evaluation.features.inception import inception_features
from hebae.evaluation.features.pixels import pixel_features
from hebae.evaluation.features.pretrained import timm_features
from hebae.evaluation.features.random_convolutional import random_convolutional_features

__all__ = ["extractor"]


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
        "pixels": the examples themselves, named "values" where they are not images in [0, 1].
        "classifier": see `classifier_features`. "random": see `random_convolutional_features`.
        "inception": see `inception_features`. "timm:NAME": see `timm_features`. A path to a .pt,
        .ts or .pt2 file: see `exported_features`.
    dataset : Dataset
        The data to compare with.
    weights : str or Path, optional
        The weights of "inception", if they are at hand.
    device : str or torch.device
        Where networks calculate features.
    progress : callable, optional
        Told the steps done, and how many there are, while a classifier is trained.

    Raises
    ------
    UndefinedMetric
        If these features do not exist for these data.
    HebaeError
        If the name is not known, or what it stands for cannot be had.
    """
    kind = str(spec)
    if weights is not None and kind != "inception":
        raise HebaeError(f"weights are given for inception alone, and the features are {kind}.")
    if kind == "pixels":
        return pixel_features(dataset)
    if kind == "classifier":
        return classifier_features(dataset, device=device, progress=progress)
    if kind == "random":
        require_images(dataset, kind)
        return random_convolutional_features(dataset.shape[0], device=device)
    if kind == "inception":
        require_images(dataset, kind)
        return inception_features(None if weights is None else Path(weights), device=device)
    if kind.startswith("timm:") and len(kind) > len("timm:"):
        require_images(dataset, kind)
        return timm_features(kind.removeprefix("timm:"), device=device)
    if Path(kind).suffix in SUFFIXES:
        require_images(dataset, kind)
        return exported_features(Path(kind).expanduser(), dataset, device=device)
    raise HebaeError(
        f"features are {kind!r}; choose pixels, classifier, random, inception, timm:NAME (a "
        "model of timm), or the path of a TorchScript (.pt, .ts) or torch.export (.pt2) file."
    )
