"""The latent code: moments, normality, information, and what it is useful for.

Ids, with ``OF`` either ``mean`` (of q(z|x)) or ``z``: ``moments.mean_abs_correlation.OF``,
``moments.least_variance.OF``, ``moments.greatest_variance.OF``, ``moments.kl_to_normal.OF``,
``moments.median_sigma``, ``moments.active_units``, ``moments.least_kl``,
``moments.collapsed_share``; ``normality.STATISTIC.OF`` and ``normality.STATISTIC.OF.if_normal``
with STATISTIC one of ``kolmogorov_smirnov``, ``mardia_skewness``, ``mardia_kurtosis``, ``energy``,
``sliced_wasserstein``; ``normality.rejected_dimensions.OF``; ``samplers.log_density.SAMPLER``,
``samplers.components``; ``information.mutual``, ``information.ceiling``; ``mic.mic``,
``mic.mic_if_independent``, ``mic.tic``, ``mic.tic_if_independent``; ``labels.nearest_neighbours``,
``labels.logistic_regression``; ``robustness.relative``, ``robustness.distance``;
``smoothness.curvature``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference, priors
from hebae.errors import UndefinedMetric
from hebae.evaluation import decoding, information, latent, normality, usage
from hebae.evaluation.estimate import mean_estimate
from hebae.evaluation.features import FeatureExtractor
from hebae.evaluation.maximal_information import index_dependence
from hebae.evaluation.normality import energy_distance_to_normal, sliced_wasserstein_to_normal
from hebae.experiments.measurement import Better, Measurement, measured
from hebae.experiments.metrics.samples import SAMPLERS
from hebae.experiments.trained_run import TrainedRun

__all__ = [
    "CODES",
    "code_likelihood",
    "information_of",
    "labels",
    "moments",
    "normality_of",
    "rank_information",
    "robustness",
    "smoothness",
]

CODES = {"mean": "mean of q(z|x)", "z": "z"}
"""Display names of the two kinds of code."""
BINS, RANGE = 80, 5.0  # of histograms
INDICES, DRAWS = 1000, 5  # of MIC and TIC
NOISE, NOISY_CODES = 0.1, 1000  # of the robustness: standard deviations, examples
PAIRS, STEPS = 500, 11  # of the interpolations


def moments(run: TrainedRun) -> Iterator[Measurement]:
    """Covariance and correlation of mu and of z; collapse of dimensions."""
    codes, counts = run.codes, {"examples": len(run.values)}
    N = latent.noise_covariance(run.model)
    mean = codes.mean.mean(axis=0, dtype=np.float64)
    for of, covariance, values in (
        ("mean", latent.covariance(codes.mean), codes.mean),
        ("z", latent.aggregate_covariance(codes.mean, codes.log_scale, N), run.z),
    ):
        # Only z is decoded. Means of q(z|x) with the moments of N(0, I) leave no room for noise, so
        # it would be wrong to rank a VAE by them.
        better: Better = "lower" if of == "z" else ""
        yield measured(
            f"moments.mean_abs_correlation.{of}",
            f"mean |correlation| of {CODES[of]}",
            lambda covariance=covariance: _correlation(covariance),
            better=better,
            counts=counts,
            arrays={"covariance": covariance.tolist(), **_histogram(values)},
            format=".4f",
        )
        for which, value in zip(
            ("least", "greatest"), latent.variance_range(covariance), strict=True
        ):
            yield Measurement(
                id=f"moments.{which}_variance.{of}",
                name=f"{which} variance of {CODES[of]}",
                value=value,
                counts=counts,
                format=".4f",
            )
        yield measured(
            f"moments.kl_to_normal.{of}",
            f"KL of {CODES[of]}'s normal to N(0, I)",
            lambda covariance=covariance: latent.kl_to_standard_normal(mean, covariance),
            unit="nats",
            better=better,
            counts=counts,
            format=".3f",
        )
    sigma = latent.median_scale(codes.log_scale)
    yield Measurement(
        id="moments.median_sigma",
        name="median sigma",
        value=sigma,
        undefined="" if sigma is not None else "the encoder is deterministic",
        counts=counts,
        headline=False,
        format=".3g",
    )
    yield Measurement(
        id="moments.active_units",
        name="active units",
        value=float(latent.active_units(codes.mean).sum()),
        counts=counts | {"dimensions": codes.mean.shape[1]},
        note="dimensions whose posterior means have a variance above 0.01",
        format=".0f",
    )
    by_dimension = cache(lambda: latent.kl_by_dimension(codes.mean, codes.log_scale, N))
    least = measured(
        "moments.least_kl",
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
        "moments.collapsed_share",
        "share of dimensions collapsed",
        lambda: latent.collapsed_share(codes.mean, codes.log_scale, N),
        better="lower",
        counts=counts,
        note="KL below 0.01 nats for 99 % of the examples",
        format=".3f",
    )


def normality_of(run: TrainedRun) -> Iterator[Measurement]:
    """How far mu and z are from N(0, I), compared with normal samples of the same size."""
    for of, codes in (("mean", run.codes.mean), ("z", run.z)):
        yield from _normality(of, codes, run.seed)


def _normality(of: str, codes: npt.NDArray[np.floating], seed: int) -> Iterator[Measurement]:
    smirnov = normality.kolmogorov_smirnov(codes)
    mardia = cache(lambda: normality.mardia(codes))
    statistics: tuple[tuple[str, str, Callable[[], normality.Compared]], ...] = (
        ("kolmogorov_smirnov", "greatest Kolmogorov-Smirnov distance", lambda: smirnov),
        ("mardia_skewness", "Mardia's skewness", lambda: mardia().skewness),
        ("mardia_kurtosis", "Mardia's kurtosis", lambda: mardia().kurtosis),
        (
            "energy",
            "energy distance to N(0, I)",
            lambda: energy_distance_to_normal(codes, seed=seed),
        ),
        (
            "sliced_wasserstein",
            "sliced Wasserstein-2 to N(0, I)",
            lambda: sliced_wasserstein_to_normal(codes, seed=seed),
        ),
    )
    headline = of == "z"
    for statistic, title, compare in statistics:
        id, name = f"normality.{statistic}.{of}", f"{title} of {CODES[of]}"
        try:
            found = compare()
        except UndefinedMetric as reason:
            yield Measurement(id=id, name=name, undefined=str(reason), headline=headline)
            continue
        detail = f"{found.standard_score:+.3g} standard deviations from normal samples"
        if isinstance(found, normality.MardiaStatistic):
            detail += f"; p {found.p_value:.2g}"
        counts = {"examples": found.count}
        yield Measurement(
            id=id, name=name, value=found.value, counts=counts, detail=detail, headline=headline
        )
        yield Measurement(
            id=f"{id}.if_normal",
            name=f"{name}, were it normal",
            value=found.normal_mean,
            standard_error=found.normal_spread,
            counts=counts,
            note="mean and standard deviation over standard normal samples of the same size",
            headline=headline,
        )
    yield Measurement(
        id=f"normality.rejected_dimensions.{of}",
        name=f"dimensions of {CODES[of]} found not normal",
        value=float(smirnov.rejected),
        counts={"examples": smirnov.count, "dimensions": smirnov.dimensions},
        note=f"Kolmogorov-Smirnov at {smirnov.level:g}, corrected by Holm's procedure",
        detail=f"smallest corrected p {smirnov.smallest_p_value:.2g}",
        headline=headline,
        format=".0f",
    )


def code_likelihood(run: TrainedRun) -> Iterator[Measurement]:
    """Log density of the codes under each sampler."""
    fitted, counts = run.fitted, {"examples": len(run.values)}
    for name in run.sampler_names:
        yield measured(
            f"samplers.log_density.{name}",
            f"log density of z, {SAMPLERS[name]}",
            lambda name=name: mean_estimate(fitted[name].log_density(run.z)),
            unit="nats",
            counts=counts,
            note="codes have different scales: compare the samplers of one model, not models",
            format=".2f",
        )
    mixture = fitted.by_name.get("mixture")
    if isinstance(mixture, priors.Mixture):
        yield Measurement(
            id="samplers.components",
            name="components of the mixture",
            value=float(mixture.components),
            detail=str(fitted) if set(fitted.held_out) == set(priors.NAMES) else "",
            arrays={"held_out": {str(n): density for n, density in fitted.curve.items()}},
            format=".0f",
        )


def information_of(run: TrainedRun) -> Iterator[Measurement]:
    """I(i; z) between the index of an example and its code, and its maximum."""
    found = information.mutual_information(run.model, run.values, seed=run.seed)
    fields: dict[str, Any] = {
        "unit": "nats",
        "counts": {"examples": len(run.values)},
        "format": ".3f",
    }
    yield measured(
        "information.mutual",
        f"I(i; z) of {len(run.values)} examples",
        lambda: found,
        note="at most log N, which a code reaches that identifies its example",
        **fields,
    )
    yield Measurement(
        id="information.ceiling",
        name="log N, the most that it can be",
        value=found.ceiling,
        **fields,
    )


def rank_information(run: TrainedRun) -> Iterator[Measurement]:
    """MIC_e and TIC_e between index and code, and for permuted indices (Fig. 2c, d)."""
    rows = run.some_rows(INDICES)
    scales = run.codes.log_scale
    codes = inference.Codes(run.codes.mean[rows], None if scales is None else scales[rows])
    draws = [inference.draw(run.model, codes, run.seed + draw) for draw in range(DRAWS)]
    found = index_dependence(np.stack(draws, axis=1).astype(np.float64), seed=run.seed)
    counts = {"examples": len(rows), "draws": DRAWS}
    for id, name, value, null in (
        ("mic", "MIC_e", found.mic, found.null_mic),
        ("tic", "TIC_e", found.tic, found.null_tic),
    ):
        yield Measurement(
            id=f"mic.{id}",
            name=f"{name}(i, z), mean over dimensions",
            value=value,
            counts=counts,
            format=".3f",
        )
        yield Measurement(
            id=f"mic.{id}_if_independent",
            name=f"{name} of permuted indices",
            value=null,
            counts=counts,
            note="the value of the coefficient where there is no dependence",
            format=".3f",
        )


def labels(run: TrainedRun) -> Iterator[Measurement]:
    """Accuracy of two classifiers on the posterior means; undefined without labels."""
    train, test = run.dataset.train.labels, run.examples.labels
    for id, name, classify in (
        ("nearest_neighbours", "10 nearest neighbours", usage.knn_accuracy),
        ("logistic_regression", "logistic regression", usage.logistic_accuracy),
    ):

        def accuracy(classify: Callable[..., Any] = classify) -> Any:
            if run.evaluation.split == "train":
                raise UndefinedMetric("the classifier would be tested on its training examples")
            if train is None or test is None:
                raise UndefinedMetric(f"{run.dataset.name} has no labels")
            return classify(run.training_codes.mean, train, run.codes.mean, test)

        yield measured(
            f"labels.{id}",
            f"accuracy of {name} on the code",
            accuracy,
            better="higher",
            counts={"train": len(run.dataset.train), "examples": len(run.values)},
            format=".4f",
        )


def robustness(run: TrainedRun) -> Iterator[Measurement]:
    """How far a reconstruction moves if small noise is added to its code."""
    rows = run.some_rows(NOISY_CODES)
    found = decoding.robustness(run.model, run.codes.mean[rows], scale=NOISE, seed=run.seed)
    counts = {"examples": len(rows)}
    yield measured(
        "robustness.relative",
        "robustness: shift of x under latent noise",
        lambda: found.relative,
        better="lower",
        counts=counts,
        note=f"noise of {NOISE} standard deviations in each dimension; relative to the distance "
        "between the reconstructions of random pairs",
        format=".4f",
    )
    yield measured(
        "robustness.distance",
        "shift of x under latent noise, in units of x",
        lambda: found.distance,
        counts=counts,
        headline=False,
    )


def smoothness(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Curvature of decoded lines between codes, in a feature space."""
    rows = run.some_rows(2 * PAIRS)
    codes = run.codes.mean[np.random.default_rng(run.seed).permutation(rows)]
    half = len(codes) // 2
    # Second differences of pixels would mostly measure their rounding to bytes.
    plain = extractor.name in ("pixels", "values")
    features = None if plain else lambda images: run.extract(images, extractor)
    yield measured(
        "smoothness.curvature",
        f"curvature of interpolations[{extractor.name}]",
        lambda: decoding.smoothness(
            run.model, codes[:half], codes[half : 2 * half], steps=STEPS, features=features
        ),
        features=extractor.name,
        better="lower",
        counts={"pairs": half, "steps": STEPS},
        note="mean second difference along decoded lines, relative to the distance of their ends "
        "and the squared step",
        format=".2f",
    )


def _correlation(covariance: npt.NDArray[np.float64]) -> float:
    value = latent.mean_absolute_off_diagonal(latent.correlation(covariance))
    if value is None:
        raise UndefinedMetric("it needs two dimensions that vary")
    return value


def _histogram(values: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Densities of each dimension within `RANGE`, relative to all examples."""
    edges = np.linspace(-RANGE, RANGE, BINS + 1)
    share = 1 / (len(values) * (edges[1] - edges[0]))
    densities = [np.histogram(dimension, edges)[0] * share for dimension in values.T]
    return {"edges": edges.tolist(), "densities": np.round(densities, 5).tolist()}
