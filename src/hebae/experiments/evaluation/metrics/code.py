"""The latent code: its moments, its collapse, its shape, and what it tells of x."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.evaluation import information, latent, normality
from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.maximal_information import index_dependence
from hebae.evaluation.normality import energy_distance_to_normal, sliced_wasserstein_to_normal
from hebae.experiments.evaluation.measurement import Better, Measurement, measured
from hebae.experiments.evaluation.subject import Subject

__all__ = ["DRAW", "MEAN", "information_of", "moments", "normality_of", "rank_information"]

MEAN, DRAW = "mean of q(z|x)", "z"
BINS, RANGE = 80, 5.0
INDICES, DRAWS = 1000, 5


def moments(subject: Subject) -> Iterator[Measurement]:
    """Covariance and correlation of mu and of z; collapse."""
    codes, counts = subject.codes, {"examples": len(subject.values)}
    N = latent.noise_covariance(subject.model)
    of_mean = latent.covariance(codes.mean)
    of_code = latent.aggregate_covariance(codes.mean, codes.log_scale, N)
    mean = codes.mean.mean(axis=0, dtype=np.float64)
    for name, covariance, values in ((MEAN, of_mean, codes.mean), (DRAW, of_code, subject.z)):
        # The code that is decoded from is z: means of q(z|x) with the moments of N(0, I) leave no
        # room for noise, and to rank a VAE by them would be to compare unlike things.
        better: Better = "lower" if name == DRAW else ""
        yield measured(
            f"mean |correlation| of {name}",
            lambda covariance=covariance: _correlation(covariance),
            better=better,
            counts=counts,
            arrays={"covariance": covariance.tolist(), **_histogram(values)},
            format=".4f",
        )
        least, greatest = latent.variance_range(covariance)
        for which, value in (("least", least), ("greatest", greatest)):
            yield Measurement(
                name=f"{which} variance of {name}", value=value, counts=counts, format=".4f"
            )
        yield measured(
            f"KL of {name}'s normal to N(0, I)",
            lambda covariance=covariance: latent.kl_to_standard_normal(mean, covariance),
            unit="nats",
            better=better,
            counts=counts,
            format=".3f",
        )
    yield from _collapse(codes, N, counts)


def _collapse(
    codes: inference.Codes, N: npt.NDArray[np.float64], counts: dict[str, int]
) -> Iterator[Measurement]:
    yield Measurement(
        name="active units",
        value=float(latent.active_units(codes.mean).sum()),
        counts=counts | {"dimensions": codes.mean.shape[1]},
        note="dimensions whose posterior means have a variance above 0.01",
        format=".0f",
    )
    by_dimension = cache(lambda: latent.kl_by_dimension(codes.mean, codes.log_scale, N))
    least = measured(
        "least KL of a dimension",
        lambda: by_dimension().min(),
        unit="nats",
        counts=counts,
        format=".4f",
    )
    if least.value is not None:
        least = replace(least, arrays={"divergence": by_dimension().tolist()})
    yield least
    yield measured(
        "share of dimensions collapsed",
        lambda: latent.collapsed_share(codes.mean, codes.log_scale, N),
        better="lower",
        counts=counts,
        note="KL below 0.01 nats for 99 % of the examples",
        format=".3f",
    )


def normality_of(subject: Subject) -> Iterator[Measurement]:
    """How far mu and z are from N(0, I), beside what a normal sample of the size would show."""
    for name, codes in ((MEAN, subject.codes.mean), (DRAW, subject.z)):
        yield from _normality(name, codes, subject.seed, headline=name == DRAW)


def _normality(
    name: str, codes: npt.NDArray[np.floating], seed: int, *, headline: bool
) -> Iterator[Measurement]:
    smirnov = normality.kolmogorov_smirnov(codes)
    mardia = cache(lambda: normality.mardia(codes))
    statistics: dict[str, Callable[[], normality.Compared]] = {
        "greatest Kolmogorov-Smirnov distance": lambda: smirnov,
        "Mardia's skewness": lambda: mardia().skewness,
        "Mardia's kurtosis": lambda: mardia().kurtosis,
        "energy distance to N(0, I)": lambda: energy_distance_to_normal(codes, seed=seed),
        "sliced Wasserstein-2 to N(0, I)": lambda: sliced_wasserstein_to_normal(codes, seed=seed),
    }
    for statistic, find in statistics.items():
        yield from _beside_normal(f"{statistic} of {name}", find, headline=headline)
    yield Measurement(
        name=f"dimensions of {name} found not normal",
        value=float(smirnov.rejected),
        counts={"examples": smirnov.count, "dimensions": smirnov.dimensions},
        note=f"Kolmogorov-Smirnov at {smirnov.level:g}, corrected by Holm's procedure; least "
        f"corrected p {smirnov.smallest_p_value:.2g}",
        headline=headline,
        format=".0f",
    )


def _beside_normal(
    name: str, find: Callable[[], normality.Compared], *, headline: bool
) -> Iterator[Measurement]:
    """Yield a statistic, and what as many normal codes would show."""
    try:
        found = find()
    except UndefinedMetric as reason:
        yield Measurement(name=name, undefined=str(reason), headline=headline)
        return
    counts = {"examples": found.count}
    note = f"{found.standard_score:.3g} spreads above what normal codes show"
    if isinstance(found, normality.MardiaStatistic):
        note += f"; p {found.p_value:.2g}"
    yield Measurement(name=name, value=found.value, counts=counts, note=note, headline=headline)
    yield Measurement(
        name=f"{name}, were it normal",
        value=found.normal_mean,
        standard_error=found.normal_spread,
        counts=counts,
        note="mean and spread over standard normal samples of the same size",
        headline=headline,
    )


def information_of(subject: Subject) -> Iterator[Measurement]:
    """I(i; z), and the most that it could be."""
    found = information.mutual_information(subject.model, subject.values, seed=subject.seed)
    counts = {"examples": len(subject.values)}
    yield measured(
        f"I(i; z) of {len(subject.values)} examples",
        lambda: found,
        unit="nats",
        counts=counts,
        note=f"at most log N = {found.ceiling:.3f}, reached by a code that names its example",
        format=".3f",
    )
    yield Measurement(
        name="log N, the most that it can be",
        value=found.ceiling,
        unit="nats",
        counts=counts,
        format=".3f",
    )


def rank_information(subject: Subject) -> Iterator[Measurement]:
    """MIC_e and TIC_e between index and code, beside their null (Fig. 2c, d)."""
    rows = subject.some_rows(INDICES)
    scales = subject.codes.log_scale
    codes = inference.Codes(subject.codes.mean[rows], None if scales is None else scales[rows])
    draws = [inference.draw(subject.model, codes, subject.seed + draw) for draw in range(DRAWS)]
    found = index_dependence(np.stack(draws, axis=1).astype(np.float64), seed=subject.seed)
    counts = {"examples": len(rows), "draws": DRAWS}
    for name, value, null in (
        ("MIC_e", found.mic, found.null_mic),
        ("TIC_e", found.tic, found.null_tic),
    ):
        yield Measurement(
            name=f"{name}(i, z), mean over dimensions", value=value, counts=counts, format=".3f"
        )
        yield Measurement(
            name=f"{name} of permuted indices",
            value=null,
            counts=counts,
            note="the null: what the coefficient shows where there is nothing to find",
            format=".3f",
        )


def _correlation(covariance: npt.NDArray[np.float64]) -> float:
    value = latent.mean_absolute_off_diagonal(latent.correlation(covariance))
    if value is None:
        raise UndefinedMetric("it takes two dimensions that vary")
    return value


def _histogram(values: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Densities of each dimension within `RANGE`; what lies outside counts in the whole alone."""
    edges = np.linspace(-RANGE, RANGE, BINS + 1)
    share = 1 / (len(values) * (edges[1] - edges[0]))
    densities = [np.histogram(dimension, edges)[0] * share for dimension in values.T]
    return {"edges": edges.tolist(), "densities": np.round(densities, 5).tolist()}
