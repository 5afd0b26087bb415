"""Every metric of `hebae evaluate`, by name: what it measures, and what it depends on."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hebae.errors import HebaeError
from hebae.experiments.evaluation.measurement import Measurement
from hebae.experiments.evaluation.metrics import bounds, code, samples, use

__all__ = ["METRICS", "Metric", "choose", "is_fast"]

BASIC = ("split", "evaluation_seed")
SAMPLES = "Samples and reconstructions"
OF_SAMPLES = (*BASIC, "samples", "samplers")


@dataclass(frozen=True)
class Metric:
    """A family of measurements that is taken, kept and resumed as one.

    Parameters
    ----------
    name : str
        As ``--metrics`` takes it.
    section : str
        Of the table.
    measure : callable
        From a Subject, and an Extractor if `of_features`, to measurements.
    depends : tuple of str
        Settings that change what comes out.
    fast : bool
        Whether ``--metrics fast`` takes it.
    of_features : bool
        Whether it is taken in a feature space.
    """

    name: str
    section: str
    measure: Callable[..., Iterator[Measurement]]
    depends: tuple[str, ...] = BASIC
    fast: bool = False
    of_features: bool = False

    def key(self, features: str | None) -> str:
        """Return the name under which its measurements are kept."""
        return f"{self.name}[{features}]" if features else self.name


def _in_features(name: str, measure: Callable[..., Any], *more: str, fast: bool = False) -> Metric:
    return Metric(name, SAMPLES, measure, (*OF_SAMPLES, *more), fast, True)


_ALL = (
    Metric("objective", "Objective", bounds.objective, fast=True),
    Metric("reconstruction", "Bounds on log p(x)", bounds.reconstruction, fast=True),
    Metric("elbo", "Bounds on log p(x)", bounds.elbo, fast=True),
    Metric("iwae", "Bounds on log p(x)", bounds.iwae, (*BASIC, "iwae_samples", "iwae_examples")),
    Metric(
        "ais",
        "Bounds on log p(x)",
        bounds.ais,
        (*BASIC, "ais_temperatures", "ais_chains", "ais_examples"),
    ),
    _in_features(
        "frechet", samples.frechet_distances, "allow_rank_deficient", "extrapolate", fast=True
    ),
    _in_features("kernel", samples.kernel),
    _in_features("precision-recall", samples.precision),
    _in_features("density-coverage", samples.density_coverage),
    Metric("copying", SAMPLES, samples.copies, OF_SAMPLES),
    Metric("moments", "Latent code", code.moments, fast=True),
    Metric("normality", "Latent code", code.normality_of, fast=True),
    Metric("samplers", "Latent code", use.code_likelihood, (*BASIC, "samplers")),
    Metric("information", "Information", code.information_of, fast=True),
    Metric("mic", "Information", code.rank_information),
    Metric("labels", "Use of the code", use.labels),
    Metric("robustness", "Use of the code", use.robustness, fast=True),
    Metric("smoothness", "Use of the code", use.smoothness, BASIC, fast=True, of_features=True),
)
METRICS = {metric.name: metric for metric in _ALL}


def choose(names: Sequence[str]) -> list[Metric]:
    """Return the metrics of ``all``, ``fast``, or of these names, in the order of the table.

    Raises
    ------
    HebaeError
        If a name is unknown, or none is given.
    """
    words = _words(names)
    chosen: set[str] = set()
    for word in words:
        if word == "all":
            chosen |= set(METRICS)
        elif word == "fast":
            chosen |= {name for name, metric in METRICS.items() if metric.fast}
        elif word in METRICS:
            chosen.add(word)
        else:
            near = difflib.get_close_matches(word, METRICS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise HebaeError(
                f"--metrics: {word!r} is unknown{hint}; allowed are all, fast, "
                f"{', '.join(METRICS)}."
            )
    if not chosen:
        raise HebaeError(f"--metrics names none; allowed are all, fast, {', '.join(METRICS)}.")
    return [metric for name, metric in METRICS.items() if name in chosen]


def is_fast(names: Sequence[str]) -> bool:
    """Whether these names ask for what is fast, and not for all."""
    words = _words(names)
    return "fast" in words and "all" not in words


def _words(names: Sequence[str]) -> list[str]:
    return [word.strip() for name in names for word in name.split(",") if word.strip()]
