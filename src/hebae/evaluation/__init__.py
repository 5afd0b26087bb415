"""Judging a trained model: pure functions over arrays, one file a family."""

from hebae.evaluation.coverage import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.frechet import (
    FeatureMoments,
    frechet_distance,
    frechet_extrapolated,
    frechet_from_moments,
)
from hebae.evaluation.kernel_distance import kernel_distance

__all__ = [
    "DensityCoverage",
    "Estimate",
    "FeatureMoments",
    "PrecisionRecall",
    "density_coverage",
    "frechet_distance",
    "frechet_extrapolated",
    "frechet_from_moments",
    "kernel_distance",
    "precision_recall",
]
