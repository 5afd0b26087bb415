"""Train, compare and evaluate generative autoencoders: HEBAE, VAE, WAE and others.

The public names are imported when they are first used, so that ``import hebae`` is instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hebae._version import __version__ as __version__
from hebae.errors import HebaeError as HebaeError

_SUBMODULES = (
    "data",
    "evaluation",
    "gaussian",
    "kernels",
    "likelihoods",
    "networks",
    "objectives",
    "priors",
    "samplers",
)

if TYPE_CHECKING:
    from hebae import data as data
    from hebae import evaluation as evaluation
    from hebae import gaussian as gaussian
    from hebae import kernels as kernels
    from hebae import likelihoods as likelihoods
    from hebae import networks as networks
    from hebae import objectives as objectives
    from hebae import priors as priors
    from hebae import samplers as samplers
    from hebae.estimator import Estimator
    from hebae.estimator import load as load

    def __getattr__(name: str) -> type[Estimator]: ...

else:

    def __getattr__(name: str) -> Any:
        if name in (*_SUBMODULES, "autoencoder"):
            return importlib.import_module(f"hebae.{name}")
        if name == "__all__":
            return ["HebaeError", "__version__", "load", *_SUBMODULES, *_estimators()]
        if name == "load" or (not name.startswith("_") and name in _estimators()):
            return getattr(importlib.import_module("hebae.estimator"), name)
        raise AttributeError(f"module 'hebae' has no attribute {name!r}")


def _estimators() -> list[str]:
    from hebae.methods import METHODS

    return [method.class_name for method in METHODS.values()]


def __dir__() -> list[str]:
    return sorted(importlib.import_module("hebae").__all__)
