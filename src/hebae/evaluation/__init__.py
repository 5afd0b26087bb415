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
from hebae.evaluation.index_dependence import IndexDependence, index_dependence
from hebae.evaluation.information import Information, mutual_information
from hebae.evaluation.kernel_distance import kernel_distance
from hebae.evaluation.maximal_information import (
    characteristic_matrix,
    mic_and_tic,
    mic_approx,
    mic_e,
    tic_approx,
    tic_e,
)

__all__ = [
    "DensityCoverage",
    "Estimate",
    "FeatureMoments",
    "IndexDependence",
    "Information",
    "PrecisionRecall",
    "characteristic_matrix",
    "density_coverage",
    "frechet_distance",
    "frechet_extrapolated",
    "frechet_from_moments",
    "index_dependence",
    "kernel_distance",
    "mic_and_tic",
    "mic_approx",
    "mic_e",
    "mutual_information",
    "precision_recall",
    "tic_approx",
    "tic_e",
]
