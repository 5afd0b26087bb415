"""Priors p(z): a part of a model, or fitted to the codes of a trained one (then: samplers)."""

from typing import Any

from hebae.priors.base import Prior, StandardNormal
from hebae.priors.choice import NAMES, Samplers, check_name, fit_samplers
from hebae.priors.fitted_flow import FittedFlow
from hebae.priors.fitting import MixtureFit, fit_mixture
from hebae.priors.flow import Flow
from hebae.priors.flow_matching import FlowMatching
from hebae.priors.learned_mixture import LearnedMixture
from hebae.priors.mixture import FittedNormal, Mixture, MixtureOfNormals
from hebae.priors.two_stage import TwoStage
from hebae.priors.vamp import VampPrior

LEARNED = {  # name of a prior that is learned with the model: name of the class
    "mixture": "LearnedMixture",
    "vamp": "VampPrior",
    "flow": "Flow",
}

PRIORS: dict[str, Any] = {"normal": StandardNormal} | {n: globals()[c] for n, c in LEARNED.items()}
"""Classes of the priors that a model can have; they take k and their `options`."""

__all__ = [
    "LEARNED",
    "NAMES",
    "PRIORS",
    "FittedFlow",
    "FittedNormal",
    "Flow",
    "FlowMatching",
    "LearnedMixture",
    "Mixture",
    "MixtureFit",
    "MixtureOfNormals",
    "Prior",
    "Samplers",
    "StandardNormal",
    "TwoStage",
    "VampPrior",
    "check_name",
    "fit_mixture",
    "fit_samplers",
]
