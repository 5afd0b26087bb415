"""Likelihoods p(x | z), one file for each or for a family.

To add one, write its class and add a line to `CLASSES`.
"""

from importlib import import_module

from hebae.likelihoods.base import EMPTY, Context, Likelihood, adopt_statistics
from hebae.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli, log_normaliser
from hebae.likelihoods.binomial import Binomial
from hebae.likelihoods.columns import Categorical, Columns
from hebae.likelihoods.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from hebae.likelihoods.gaussian import Gaussian, GaussianColumns, optimal_log_scale

CLASSES = {  # name of the likelihood: its file and class
    "bernoulli": "bernoulli.Bernoulli",
    "continuous_bernoulli": "bernoulli.ContinuousBernoulli",
    "gaussian": "gaussian.Gaussian",
    "gaussian_columns": "gaussian.GaussianColumns",
    "poisson": "counts.Poisson",
    "negative_binomial": "counts.NegativeBinomial",
    "zero_inflated_negative_binomial": "counts.ZeroInflatedNegativeBinomial",
    "binomial": "binomial.Binomial",
    "categorical": "columns.Categorical",
    "columns": "columns.Columns",
}

LIKELIHOODS: dict[str, type[Likelihood]] = {}
for _name, _path in CLASSES.items():
    _file, _class = _path.split(".")
    LIKELIHOODS[_name] = getattr(import_module(f"hebae.likelihoods.{_file}"), _class)

__all__ = [
    "CLASSES",
    "EMPTY",
    "LIKELIHOODS",
    "Bernoulli",
    "Binomial",
    "Categorical",
    "Columns",
    "Context",
    "ContinuousBernoulli",
    "Gaussian",
    "GaussianColumns",
    "Likelihood",
    "NegativeBinomial",
    "Poisson",
    "ZeroInflatedNegativeBinomial",
    "adopt_statistics",
    "log_normaliser",
    "optimal_log_scale",
]
