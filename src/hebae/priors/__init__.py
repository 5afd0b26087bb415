"""Priors to decode from, fitted to the training codes of a model (mathematics, section 6)."""

from hebae.priors.base import Sampler
from hebae.priors.choice import NAMES, Samplers, codes_of, fit_samplers
from hebae.priors.fitting import MixtureFit, fit_mixture
from hebae.priors.mixture import Mixture
from hebae.priors.normal import FittedNormal, StandardNormal
from hebae.priors.stored import (
    Stored,
    fitted_samplers,
    read_samplers,
    samplers_of,
    write_samplers,
)
from hebae.priors.training_data import training_values

__all__ = [
    "NAMES",
    "FittedNormal",
    "Mixture",
    "MixtureFit",
    "Sampler",
    "Samplers",
    "StandardNormal",
    "Stored",
    "codes_of",
    "fit_mixture",
    "fit_samplers",
    "fitted_samplers",
    "read_samplers",
    "samplers_of",
    "training_values",
    "write_samplers",
]
