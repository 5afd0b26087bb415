"""Evaluation of trained models: pure functions of arrays, or of a model and data.

One family per file. Arrays may be NumPy arrays, lists, tensors or data frames; those of a wrong
shape or type, with NaN or out of range, raise a `HebaeError` that says what is allowed. A quantity
that does not exist raises an `UndefinedMetric` that says why. Functions of a model take an
Autoencoder or a fitted estimator and run on its device. Moments of codes, such as covariance and
correlation, are in ``hebae.evaluation.latent``.
"""

# ruff: noqa: F403
from hebae.deprecation import keep_moved_modules
from hebae.errors import UndefinedMetric
from hebae.evaluation import annealing as _annealing
from hebae.evaluation import bounds as _bounds
from hebae.evaluation import counts as _counts
from hebae.evaluation import frechet as _frechet
from hebae.evaluation import genotypes as _genotypes
from hebae.evaluation import information as _information
from hebae.evaluation import linkage as _linkage
from hebae.evaluation import maximal_information as _maximal_information
from hebae.evaluation import mixing as _mixing
from hebae.evaluation import neighbours as _neighbours
from hebae.evaluation import normality as _normality
from hebae.evaluation import tables as _tables
from hebae.evaluation import usage as _usage
from hebae.evaluation.annealing import *
from hebae.evaluation.bounds import *
from hebae.evaluation.counts import *
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.features import extractor, reference_features
from hebae.evaluation.features.base import FeatureExtractor, metric_name
from hebae.evaluation.frechet import *
from hebae.evaluation.genotypes import *
from hebae.evaluation.information import *
from hebae.evaluation.latent import active_units, collapsed_share, kl_by_dimension
from hebae.evaluation.linkage import *
from hebae.evaluation.maximal_information import *
from hebae.evaluation.mixing import *
from hebae.evaluation.neighbours import *
from hebae.evaluation.normality import *
from hebae.evaluation.tables import *
from hebae.evaluation.usage import *

__all__ = [
    "Estimate",
    "FeatureExtractor",
    "UndefinedMetric",
    "active_units",
    "collapsed_share",
    "extractor",
    "kl_by_dimension",
    "metric_name",
    "reference_features",
]
__all__ += _annealing.__all__ + _bounds.__all__ + _frechet.__all__ + _information.__all__
__all__ += _genotypes.__all__ + _linkage.__all__ + _counts.__all__ + _tables.__all__
__all__ += _maximal_information.__all__ + _neighbours.__all__ + _normality.__all__
__all__ += _usage.__all__ + _mixing.__all__

keep_moved_modules(__name__)
