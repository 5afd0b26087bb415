"""All metrics of `hebae evaluate`: one module per family, each a generator of `Measurement`.

``catalogue.yaml`` lists the stable ids of all measurements, with the texts that people read. A new
metric is a function in the module of its family, its texts there, and a line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hebae.errors import HebaeError, suggestion
from hebae.experiments.measurement import Measurement
from hebae.experiments.metrics import bounds, code, counts, genotypes, samples, tables
from hebae.experiments.trained_run import TrainedRun

BASIC = ("split", "evaluation_seed")
IWAE = (*BASIC, "iwae_samples", "iwae_examples")
AIS = (*BASIC, "ais_temperatures", "ais_chains", "ais_examples")
OF_SAMPLES = (*BASIC, "samples", "samplers")
FRECHET = (*OF_SAMPLES, "allow_rank_deficient", "extrapolate")
OBJECTIVE, BOUNDS, CODE = "Objective", "Bounds on log p(x)", "Latent code"
SAMPLES, INFORMATION, USE = "Samples and reconstructions", "Information", "Use of the code"
GENOTYPES, COUNTS, TABLE = "Genotypes", "Counts", "Table"


@dataclass(frozen=True)
class Metric:
    """Measurements that are taken, stored and reused together."""

    name: str
    """As ``--metrics`` takes it."""
    section: str
    """Section of the table."""
    measure: Callable[..., Iterator[Measurement]]
    """From a `TrainedRun`, and a feature extractor if `of_features`, to measurements."""
    depends: tuple[str, ...] = BASIC
    """Evaluation settings that the values depend on."""
    fast: bool = False
    """Whether ``--metrics fast`` includes it."""
    applies: Callable[[TrainedRun], bool] = lambda run: True
    """Whether it is for the kind of data of a run."""
    of_features: bool = False
    """Whether it is taken in a feature space."""
    version: int = 1
    """Increase it if the code behind the metric changes its values: they are measured again."""


def _of(kind: str) -> Callable[[TrainedRun], bool]:
    return lambda run: run.kind == kind


def _by_means(run: TrainedRun) -> bool:
    """Whether means E[x | z] are comparable with examples, which counts and categories are not."""
    return run.kind == "images" or (run.kind == "table" and run.columns is None)


def _named(run: TrainedRun) -> bool:
    train = run.dataset.train
    return run.kind == "table" and bool(train.feature_names or train.condition_columns)


_IN_FEATURES: dict[str, Any] = {"of_features": True, "applies": _by_means}

_ALL = (
    Metric("objective", OBJECTIVE, bounds.objective, fast=True),
    Metric("reconstruction", BOUNDS, bounds.reconstruction, fast=True),
    Metric("elbo", BOUNDS, bounds.elbo, fast=True),
    Metric("iwae", BOUNDS, bounds.iwae, IWAE),
    Metric("ais", BOUNDS, bounds.ais, AIS),
    Metric("frechet", SAMPLES, samples.frechet_distances, FRECHET, fast=True, **_IN_FEATURES),
    Metric("kernel", SAMPLES, samples.kernel, OF_SAMPLES, **_IN_FEATURES),
    Metric("precision-recall", SAMPLES, samples.precision, OF_SAMPLES, **_IN_FEATURES),
    Metric("density-coverage", SAMPLES, samples.density_coverage, OF_SAMPLES, **_IN_FEATURES),
    Metric("copying", SAMPLES, samples.copies, OF_SAMPLES, applies=_by_means),
    Metric("moments", CODE, code.moments, fast=True),
    Metric("normality", CODE, code.normality_of, fast=True),
    Metric("samplers", CODE, code.code_likelihood, (*BASIC, "samplers")),
    Metric("information", INFORMATION, code.information_of, fast=True),
    Metric("mic", INFORMATION, code.rank_information),
    Metric("labels", USE, code.labels),
    Metric("mixing", USE, code.mixing_of, fast=True, applies=code.has_batches),
    Metric("robustness", USE, code.robustness, fast=True),
    Metric("smoothness", USE, code.smoothness, fast=True, **_IN_FEATURES),
    Metric("genotypes", GENOTYPES, genotypes.samples, OF_SAMPLES, True, _of("genotypes")),
    Metric("imputation", GENOTYPES, genotypes.imputation, BASIC, True, _of("genotypes")),
    Metric("counts", COUNTS, counts.samples, OF_SAMPLES, True, _of("counts")),
    Metric("marginals", TABLE, tables.marginals, OF_SAMPLES, True, _of("table")),
    Metric("associations", TABLE, tables.associations, OF_SAMPLES, True, _of("table")),
    Metric("utility", TABLE, tables.utility, (*OF_SAMPLES, "target"), True, _named),
    Metric("privacy", TABLE, tables.privacy, OF_SAMPLES, True, _of("table")),
)
METRICS = {metric.name: metric for metric in _ALL}


def choose(names: Sequence[str]) -> list[Metric]:
    """Return the metrics of ``all``, ``fast``, or of these names, in the order of the table.

    A HebaeError is raised if a name is unknown, or none is given.
    """
    groups = {"all": set(METRICS), "fast": {m.name for m in METRICS.values() if m.fast}}
    chosen: set[str] = set()
    for name in _split(names):
        if name not in groups and name not in METRICS:
            raise HebaeError(
                f"--metrics: {name!r} is unknown{suggestion(name, METRICS)}; allowed are all, "
                f"fast, {', '.join(METRICS)}."
            )
        chosen |= groups.get(name, {name})
    if not chosen:
        raise HebaeError(f"--metrics names none; allowed are all, fast, {', '.join(METRICS)}.")
    return [metric for name, metric in METRICS.items() if name in chosen]


def is_fast(names: Sequence[str]) -> bool:
    """Whether these names include ``fast`` and not ``all``."""
    chosen = _split(names)
    return "fast" in chosen and "all" not in chosen


def _split(names: Sequence[str]) -> list[str]:
    return [name.strip() for text in names for name in text.split(",") if name.strip()]
