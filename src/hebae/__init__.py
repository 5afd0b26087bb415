"""hebae: train, compare and judge generative autoencoders, honestly.

The names below are imported when they are first used, so that ``import hebae`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hebae._version import __version__
from hebae.errors import HebaeError

if TYPE_CHECKING:
    from hebae import (
        data,
        evaluation,
        gaussian,
        kernels,
        likelihoods,
        networks,
        objectives,
        priors,
    )
    from hebae.estimator import AE, HEBAE, VAE, WAE, load

__all__ = [
    "AE",
    "HEBAE",
    "VAE",
    "WAE",
    "HebaeError",
    "__version__",
    "data",
    "evaluation",
    "gaussian",
    "kernels",
    "likelihoods",
    "load",
    "networks",
    "objectives",
    "priors",
]

_HOMES = dict.fromkeys(("AE", "HEBAE", "VAE", "WAE", "load"), "hebae.estimator")
_ROOMS = (
    "data",
    "evaluation",
    "gaussian",
    "kernels",
    "likelihoods",
    "networks",
    "objectives",
    "priors",
)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"hebae.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hebae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
