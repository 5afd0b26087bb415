"""Priors to decode from, fitted to the training codes of a model (mathematics, section 6)."""

from hebae.samplers.base import Sampler
from hebae.samplers.choice import NAMES, Samplers, codes_of, fit_samplers
from hebae.samplers.fitting import MixtureFit, fit_mixture
from hebae.samplers.mixture import Mixture
from hebae.samplers.normal import FittedNormal, StandardNormal
from hebae.samplers.stored import (
    Stored,
    fitted_samplers,
    read_samplers,
    samplers_of,
    write_samplers,
)
from hebae.samplers.training_data import training_values

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
