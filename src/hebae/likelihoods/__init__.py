"""Likelihoods p(x | z), one file for each or for a family.

To add one, write its class and add a line to `CLASSES`.
"""

from importlib import import_module

from hebae.likelihoods.base import EMPTY, Context, Likelihood
from hebae.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli, log_normaliser
from hebae.likelihoods.gaussian import Gaussian, optimal_log_scale

CLASSES = {  # name of the likelihood: its file and class
    "bernoulli": "bernoulli.Bernoulli",
    "continuous_bernoulli": "bernoulli.ContinuousBernoulli",
    "gaussian": "gaussian.Gaussian",
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
    "Context",
    "ContinuousBernoulli",
    "Gaussian",
    "Likelihood",
    "log_normaliser",
    "optimal_log_scale",
]
