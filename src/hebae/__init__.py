"""Train, compare and evaluate generative autoencoders: HEBAE, VAE, WAE and others.

The public names are imported when they are first used, so that ``import hebae`` is instant.
"""

from __future__ import annotations

import importlib
from typing import Any

from hebae import _renamed
from hebae._version import __version__
from hebae.errors import HebaeError

_ESTIMATORS = ("AE", "HEBAE", "VAE", "WAE", "load")
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
__all__ = [*_ESTIMATORS, "HebaeError", "__version__", *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"hebae.{name}")
    if new_name := _renamed.RENAMED.get(f"hebae.{name}"):
        _renamed.warn(f"hebae.{name}", new_name)
        return importlib.import_module(new_name)
    if name in _ESTIMATORS:
        return getattr(importlib.import_module("hebae.estimator"), name)
    raise AttributeError(f"module 'hebae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
