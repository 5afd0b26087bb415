"""What version 0.1.0 had under other names: it works until version 0.3, with a warning."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_MOVED_MODULES = {
    "data.array_files": "data.arrays",
    "data.download": "data.cache",
    "data.idx_source": "data.idx",
    "data.layout": "data.image_files",
    "data.made_faces": "data.synthetic_faces",
    "data.prepared": "data.images",
    "data.progress": "data.cache",
    "estimator.loading": "estimator",
    "estimator.methods": "estimator",
    "evaluation.annealing_path": "evaluation.annealing",
    "evaluation.averages": "evaluation.estimate",
    "evaluation.bidirectional": "evaluation.annealing",
    "evaluation.collapse": "evaluation.latent",
    "evaluation.copying": "evaluation.neighbours",
    "evaluation.coverage": "evaluation.neighbours",
    "evaluation.decoder_likelihood": "evaluation.annealing",
    "evaluation.distances": "evaluation.neighbours",
    "evaluation.energy": "evaluation.normality",
    "evaluation.features.choose": "evaluation.features",
    "evaluation.features.classifier_network": "evaluation.features.classifier",
    "evaluation.features.exported": "evaluation.features.networks",
    "evaluation.features.inception": "evaluation.features.networks",
    "evaluation.features.pixels": "evaluation.features.base",
    "evaluation.features.pretrained": "evaluation.features.networks",
    "evaluation.features.random_convolutional": "evaluation.features.networks",
    "evaluation.index_dependence": "evaluation.maximal_information",
    "evaluation.kernel_distance": "evaluation.frechet",
    "evaluation.reference": "evaluation.features",
    "evaluation.sliced": "evaluation.normality",
    "evaluation.width": "evaluation.bounds",
    "networks.convolutional": "networks",
    "networks.mlp": "networks",
    "report.convergence": "report.lines",
    "report.curves": "report.lines",
    "report.dimensions": "report.codes",
    "report.heatmaps": "report.codes",
    "report.histograms": "report.codes",
    "report.line_grid": "report.lines",
    "report.records": "report.tables",
    "samplers.base": "priors.base",
    "samplers.choice": "priors.choice",
    "samplers.em": "priors.fitting",
    "samplers.fitting": "priors.fitting",
    "samplers.mixture": "priors.mixture",
    "samplers.normal": "samplers",
    "samplers.stored": "samplers",
    "samplers.training_data": "samplers",
    "training.capture": "training.step",
    "training.checkpoint": "training.state",
    "training.precision": "training.step",
    "training.preflight": "training.checks",
    "training.prefetch": "training.batches",
    "training.schedule": "training.loop",
    "training.subnormal": "training.denormals",
    "training.trial": "training.checks",
}
"""Old and new place within the package."""


def warn(old: str, advice: str, stacklevel: int = 3) -> None:
    """Warn the caller's caller that it uses something of version 0.1.0."""
    text = f"{old} is deprecated and will be removed in version 0.3: {advice}."
    warnings.warn(text, DeprecationWarning, stacklevel)


def old_parameters(**advice: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that has parameters of version 0.1.0: warn if one is given.

    `advice` says, for each of them, what to do instead.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        order = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def accepting(*arguments: P.args, **options: P.kwargs) -> R:
            for name in advice.keys() & {*order[: len(arguments)], *options}:
                warn(f"{name} of {function.__name__}", advice[name])
            return function(*arguments, **options)

        return accepting

    return decorate


def old_names(
    module: str, names: Mapping[str, tuple[Callable[[], Any], str]]
) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module with names of version 0.1.0.

    `names` holds for each of them a function that returns the object, and what to do instead.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        make, advice = names[name]
        warn(f"{module}.{name}", advice)
        return make()

    return get


class _MovedModule(ModuleType):
    """A module of version 0.1.0, whose names are found in another one."""

    def __init__(self, name: str, target: str) -> None:
        super().__init__(name, f"The old place of `{target}`.")
        self.__target = target

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        new = importlib.import_module(self.__target)
        if not hasattr(new, name):
            raise AttributeError(
                f"{self.__name__}.{name} of version 0.1.0 is gone; see CHANGELOG.md, or the names "
                f"in {self.__target}"
            )
        warn(f"{self.__name__}", f"import {name} from {self.__target}")
        return getattr(new, name)


def keep_moved_modules(package: str) -> None:
    """Let the modules of version 0.1.0 that were in a package be imported from there.

    They are no attributes of the package, which has functions of the same names.
    """
    for old, new in _MOVED_MODULES.items():
        name = f"hebae.{old}"
        if name.startswith(f"{package}."):
            sys.modules.setdefault(name, _MovedModule(name, f"hebae.{new}"))
