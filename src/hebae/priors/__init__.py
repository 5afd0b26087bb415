"""Priors p(z): a part of a model, or fitted to the codes of a trained one (then: samplers)."""

from typing import Any

from hebae.priors.base import Prior, StandardNormal
from hebae.priors.choice import NAMES, Samplers, check_name, fit_samplers
from hebae.priors.fitting import MixtureFit, fit_mixture
from hebae.priors.flow import Flow
from hebae.priors.mixture import FittedNormal, Mixture

LEARNED = {  # name of a prior that is learned with the model: name of the class
    "flow": "Flow",
}

PRIORS: dict[str, Any] = {"normal": StandardNormal} | {n: globals()[c] for n, c in LEARNED.items()}
"""Classes of the priors that a model can have; they take k and their `options`."""

__all__ = [
    "LEARNED",
    "NAMES",
    "PRIORS",
    "FittedNormal",
    "Flow",
    "Mixture",
    "MixtureFit",
    "Prior",
    "Samplers",
    "StandardNormal",
    "check_name",
    "fit_mixture",
    "fit_samplers",
]
