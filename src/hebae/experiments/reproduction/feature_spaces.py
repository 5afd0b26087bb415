"""In which features the samples of a study are judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from hebae.data import Dataset
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.features import FeatureExtractor, extractor
from hebae.evaluation.features.inception import inception_features
from hebae.experiments.evaluation.judges import extractors_for
from hebae.experiments.evaluation.metrics import Metric
from hebae.experiments.evaluation.settings import EvaluationSettings
from hebae.experiments.evaluation.subject import examples_of

__all__ = ["Missing", "feature_spaces"]


@dataclass(frozen=True)
class Missing:
    """Features that cannot be had: whatever is measured in them is undefined, and says why."""

    name: str
    reason: str
    dimension: int = 0
    minimum: int = 0
    fingerprint: str = ""
    takes_uint8: bool = True

    def __call__(self, examples: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Raise an `UndefinedMetric` with the reason."""
        raise UndefinedMetric(self.reason)


def feature_spaces(
    dataset: Dataset,
    metrics: Sequence[Metric],
    settings: EvaluationSettings,
    *,
    told: Callable[[str], None],
    progress: Callable[[str], None],
) -> dict[str, FeatureExtractor]:
    """Return the judges of ``hebae evaluate``, or networks where it would have pixels that fail.

    Images without labels whose pixels outnumber the examples, as those of CelebA, have no Frechet
    distance in pixels. They are judged by an untrained network, and by Inception if torch-fidelity
    is installed and its weights can be had.
    """
    if not any(metric.of_features for metric in metrics):
        return {}
    if settings.features is not None or not _needs_network(dataset, settings):
        return extractors_for(dataset, metrics, settings, told=told, progress=progress)
    progress("features: networks")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {
        "random": extractor("random", dataset=dataset, device=device),
        "inception": _inception(device),
    }


def _needs_network(dataset: Dataset, settings: EvaluationSettings) -> bool:
    if dataset.train.labels is not None or len(dataset.shape) != 3:
        return False
    count = min(settings.samples, len(examples_of(dataset, settings.split)))
    return count <= math.prod(dataset.shape)


@cache  # so that weights that cannot be had are not asked for again with each run
def _inception(device: str) -> FeatureExtractor:
    try:
        return inception_features(device=device)
    except HebaeError as error:
        return Missing("inception", str(error))
