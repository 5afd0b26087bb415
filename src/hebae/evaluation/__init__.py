"""Judging a trained model: pure functions over arrays, and over a model; one file a family.

Moments of codes, such as their covariance and correlation, are in ``hebae.evaluation.latent``.
"""

from hebae.evaluation.annealing import Annealed, ais
from hebae.evaluation.bidirectional import Bidirectional, bidirectional
from hebae.evaluation.bounds import (
    ELBO,
    Bound,
    ImportanceWeighted,
    bits_per_dimension,
    elbo,
    iwae,
)
from hebae.evaluation.collapse import active_units, collapsed_share, kl_by_dimension
from hebae.evaluation.copying import Copying, copying_ratio
from hebae.evaluation.coverage import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from hebae.evaluation.decoding import (
    ReconstructionError,
    Robustness,
    Smoothness,
    reconstruction_error,
    robustness,
    smoothness,
)
from hebae.evaluation.energy import energy_distance_to_normal
from hebae.evaluation.estimate import Estimate, UndefinedMetric
from hebae.evaluation.features import FeatureExtractor, extractor, metric_name
from hebae.evaluation.frechet import (
    FeatureMoments,
    frechet_distance,
    frechet_extrapolated,
    frechet_from_moments,
)
from hebae.evaluation.index_dependence import IndexDependence, index_dependence
from hebae.evaluation.information import Information, mutual_information, posterior_information
from hebae.evaluation.kernel_distance import kernel_distance
from hebae.evaluation.maximal_information import (
    characteristic_matrix,
    mic_and_tic,
    mic_approx,
    mic_e,
    tic_approx,
    tic_e,
)
from hebae.evaluation.normality import (
    Compared,
    KolmogorovSmirnov,
    Mardia,
    kolmogorov_smirnov,
    mardia,
)
from hebae.evaluation.reference import reference_features
from hebae.evaluation.sliced import sliced_wasserstein_to_normal
from hebae.evaluation.usage import Accuracy, knn_accuracy, logistic_accuracy
from hebae.evaluation.width import fit_width

__all__ = [
    "ELBO",
    "Accuracy",
    "Annealed",
    "Bidirectional",
    "Bound",
    "Compared",
    "Copying",
    "DensityCoverage",
    "Estimate",
    "FeatureExtractor",
    "FeatureMoments",
    "ImportanceWeighted",
    "IndexDependence",
    "Information",
    "KolmogorovSmirnov",
    "Mardia",
    "PrecisionRecall",
    "ReconstructionError",
    "Robustness",
    "Smoothness",
    "UndefinedMetric",
    "active_units",
    "ais",
    "bidirectional",
    "bits_per_dimension",
    "characteristic_matrix",
    "collapsed_share",
    "copying_ratio",
    "density_coverage",
    "elbo",
    "energy_distance_to_normal",
    "extractor",
    "fit_width",
    "frechet_distance",
    "frechet_extrapolated",
    "frechet_from_moments",
    "index_dependence",
    "iwae",
    "kernel_distance",
    "kl_by_dimension",
    "knn_accuracy",
    "kolmogorov_smirnov",
    "logistic_accuracy",
    "mardia",
    "metric_name",
    "mic_and_tic",
    "mic_approx",
    "mic_e",
    "mutual_information",
    "posterior_information",
    "precision_recall",
    "reconstruction_error",
    "reference_features",
    "robustness",
    "sliced_wasserstein_to_normal",
    "smoothness",
    "tic_approx",
    "tic_e",
]
