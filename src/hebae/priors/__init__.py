"""Priors p(z): a part of a model, or fitted to the codes of a trained one (then: samplers)."""

from hebae.priors.base import Prior, StandardNormal
from hebae.priors.choice import NAMES, Samplers, check_name, fit_samplers
from hebae.priors.fitting import MixtureFit, fit_mixture
from hebae.priors.mixture import FittedNormal, Mixture

__all__ = [
    "NAMES",
    "FittedNormal",
    "Mixture",
    "MixtureFit",
    "Prior",
    "Samplers",
    "StandardNormal",
    "check_name",
    "fit_mixture",
    "fit_samplers",
]
