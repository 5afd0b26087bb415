"""The latent code: moments, normality, information, and what it is useful for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference, priors
from hebae.errors import UndefinedMetric
from hebae.evaluation import information, latent, mixing, normality, usage
from hebae.evaluation.estimate import Estimate, mean_estimate
from hebae.evaluation.features.base import FeatureExtractor
from hebae.evaluation.maximal_information import index_dependence
from hebae.experiments.measurement import Measurement, attempt, measured, part
from hebae.experiments.metrics.samples import SAMPLERS
from hebae.experiments.trained_run import TrainedRun

CODES = {"mean": "mean of q(z|x)", "z": "z"}
"""Display names of the two kinds of code."""
BINS, RANGE = 80, 5.0  # of histograms
INDICES, DRAWS = 1000, 5  # of MIC and TIC
NOISE, NOISY_CODES = 0.1, 1000  # of the robustness: standard deviations, examples
PAIRS, STEPS = 500, 11  # of the interpolations
NEIGHBOURS, MOST = 15, 5000  # of the mixing: neighbours, examples of the silhouette

Array = npt.NDArray[Any]


def moments(run: TrainedRun) -> Iterator[Measurement]:
    """Covariance and correlation of mu and of z; collapse of dimensions."""
    codes, counts = run.codes, {"examples": len(run.examples)}
    if len(run.examples) < 2:
        raise UndefinedMetric("moments of codes need at least two examples")
    N = latent.noise_covariance(run.model)
    mean = codes.mean.mean(axis=0, dtype=np.float64)
    for of, covariance, values in (
        ("mean", latent.covariance(codes.mean), codes.mean),
        ("z", latent.aggregate_covariance(codes.mean, codes.log_scale, N), run.z),
    ):
        take = partial(measured, counts=counts, words={"code": CODES[of]})
        arrays = {"covariance": covariance, **_histogram(values)}
        correlation = latent.mean_absolute_off_diagonal(latent.correlation(covariance))
        why = "it needs two dimensions that vary"
        yield take(f"moments.mean_abs_correlation.{of}", correlation, arrays=arrays, undefined=why)
        least, greatest = latent.variance_range(covariance)
        yield take(f"moments.least_variance.{of}", least)
        yield take(f"moments.greatest_variance.{of}", greatest)
        divergence = attempt(latent.kl_to_standard_normal, mean, covariance)
        yield take(f"moments.kl_to_normal.{of}", divergence)
    sigma, why = latent.median_scale(codes.log_scale), latent.DETERMINISTIC
    yield measured("moments.median_sigma", sigma, counts, undefined=why)
    active = latent.active_units(codes.mean)
    yield measured("moments.active_units", active.sum(), counts | {"dimensions": len(active)})
    divergence = attempt(latent.kl_by_dimension, codes.mean, codes.log_scale, N)
    least_kl = divergence if isinstance(divergence, UndefinedMetric) else divergence.min()
    yield measured("moments.least_kl", least_kl, counts, arrays={"divergence": divergence})
    collapsed = attempt(latent.collapsed_share, codes.mean, codes.log_scale, N)
    yield measured("moments.collapsed_share", collapsed, counts)


def normality_of(run: TrainedRun) -> Iterator[Measurement]:
    """How far mu and z are from N(0, I), compared with normal samples of the same size."""
    for of, codes in (("mean", run.codes.mean), ("z", run.z)):
        fields = {"words": {"code": CODES[of]}, "headline": of == "z"}
        smirnov = normality.kolmogorov_smirnov(codes)
        mardia = attempt(normality.mardia, codes)
        for statistic, found in {
            "kolmogorov_smirnov": smirnov,
            "mardia_skewness": part(mardia, "skewness"),
            "mardia_kurtosis": part(mardia, "kurtosis"),
            "energy": attempt(normality.energy_distance_to_normal, codes, seed=run.seed),
            "sliced_wasserstein": attempt(
                normality.sliced_wasserstein_to_normal, codes, seed=run.seed
            ),
        }.items():
            yield from _beside_normal(f"normality.{statistic}.{of}", found, fields)
        yield measured(
            f"normality.rejected_dimensions.{of}",
            smirnov.rejected,
            {"examples": smirnov.count, "dimensions": smirnov.dimensions},
            words={"code": CODES[of], "level": smirnov.level},
            detail=f"smallest corrected p {smirnov.smallest_p_value:.2g}",
            headline=of == "z",
        )


def _beside_normal(
    id: str, found: normality.Compared | UndefinedMetric, fields: dict[str, Any]
) -> Iterator[Measurement]:
    """Yield a statistic, and what as many normal codes would show."""
    if isinstance(found, UndefinedMetric):
        yield measured(id, found, **fields)
        return
    detail = f"{found.standard_score:+.3g} standard deviations from normal samples"
    if isinstance(found, normality.MardiaStatistic):
        detail += f"; p {found.p_value:.2g}"
    counts = {"examples": found.count}
    statistic = measured(id, found.value, counts, detail=detail, **fields)
    yield statistic
    note = "mean and standard deviation over standard normal samples of the same size"
    normal = Estimate(found.normal_mean, found.normal_spread)
    name = f"{statistic.name}, if normal"
    yield measured(f"{id}.if_normal", normal, counts, name=name, note=note, **fields)


def code_likelihood(run: TrainedRun) -> Iterator[Measurement]:
    """Log density of the codes under each sampler."""
    fitted, counts = run.fitted, {"examples": len(run.examples)}
    for name in run.sampler_names:
        density = attempt(lambda name: mean_estimate(fitted[name].log_density(run.z)), name)
        bound = "" if fitted[name].exact else ", lower bound"
        words = {"kind": SAMPLERS[name] + bound}
        yield measured(f"samplers.log_density.{name}", density, counts, words=words)
    mixture = fitted.by_name.get("mixture")
    if isinstance(mixture, priors.Mixture):
        detail = str(fitted) if set(priors.NAMES) <= set(fitted.held_out) else ""
        arrays = {"held_out": {str(n): density for n, density in fitted.curve.items()}}
        yield measured("samplers.components", mixture.components, detail=detail, arrays=arrays)


def information_of(run: TrainedRun) -> Iterator[Measurement]:
    """I(i; z) between the index of an example and its code, and its maximum."""
    found = information.mutual_information(run.model, run.examples, seed=run.seed)
    counts = {"examples": len(run.examples)}
    yield measured("information.mutual", found, counts)
    yield measured("information.ceiling", found.ceiling, counts)


def rank_information(run: TrainedRun) -> Iterator[Measurement]:
    """MIC_e and TIC_e between index and code, and for permuted indices (Fig. 2c, d)."""
    rows = run.some_rows(INDICES)
    scales = run.codes.log_scale
    codes = inference.Codes(run.codes.mean[rows], None if scales is None else scales[rows])
    draws = [inference.draw(run.model, codes, run.seed + draw) for draw in range(DRAWS)]
    found = index_dependence(np.stack(draws, axis=1).astype(np.float64), seed=run.seed)
    counts = {"examples": len(rows), "draws": DRAWS}
    yield measured("mic.mic", found.mic, counts)
    yield measured("mic.mic_if_independent", found.null_mic, counts)
    yield measured("mic.tic", found.tic, counts)
    yield measured("mic.tic_if_independent", found.null_tic, counts)


def labels(run: TrainedRun) -> Iterator[Measurement]:
    """Accuracy of two classifiers on the posterior means; undefined without labels."""
    train, test = run.dataset.train.labels, run.examples.labels
    counts = {"train": len(run.dataset.train), "examples": len(run.examples)}
    for name, classify in (
        ("nearest_neighbours", usage.knn_accuracy),
        ("logistic_regression", usage.logistic_accuracy),
    ):
        accuracy, why = None, "the classifier would be tested on its training examples"
        if train is None or test is None:
            why = f"{run.dataset.name} has no labels"
        elif run.split != "train":
            accuracy = attempt(classify, run.training_codes.mean, train, run.codes.mean, test)
        yield measured(f"labels.{name}", accuracy, counts, undefined=why)


def has_batches(run: TrainedRun) -> bool:
    """Whether the examples have a condition of categories."""
    return any(column.categories for column in run.examples.condition_columns or ())


def mixing_of(run: TrainedRun) -> Iterator[Measurement]:
    """Measure how far each condition of categories, such as a batch, is mixed in the codes."""
    examples, codes = run.examples, run.codes.mean
    columns = examples.condition_columns or ()
    assert examples.conditions is not None
    neighbours = min(NEIGHBOURS, len(codes) - 1)
    counts = {"examples": len(codes), "neighbours": neighbours}
    for column, batches in zip(columns, examples.conditions.T, strict=True):
        if not column.categories:
            continue
        words = {"condition": column.name}
        found = attempt(mixing.batch_mixing, codes, batches, neighbours=neighbours)
        yield measured(f"mixing.neighbours.{column.name}", found, counts, words=words)
        found = attempt(mixing.batch_silhouette, codes, batches, limit=MOST, seed=run.seed)
        counts_used = {"examples": min(len(codes), MOST)}
        yield measured(f"mixing.silhouette.{column.name}", found, counts_used, words=words)


def robustness(run: TrainedRun) -> Iterator[Measurement]:
    """How far a reconstruction moves if small noise is added to its code."""
    rows = run.some_rows(NOISY_CODES)
    given = run.examples[rows].conditions
    codes = run.codes.mean[rows]
    found = usage.robustness(run.model, codes, scale=NOISE, seed=run.seed, conditions=given)
    yield measured("robustness.relative", found.relative, {"examples": len(rows)})
    yield measured("robustness.distance", found.distance, {"examples": len(rows)})


def smoothness(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Curvature of decoded lines between codes, in a feature space."""
    rows = run.some_rows(2 * PAIRS)
    rows = np.random.default_rng(run.seed).permutation(rows)
    codes, half = run.codes.mean[rows], len(rows) // 2
    given = run.examples[rows[:half]].conditions if half else None
    # Second differences of pixels would mostly measure their rounding to bytes.
    plain = extractor.name in ("pixels", "values")
    features = None if plain else extractor.of_data
    ends = codes[:half], codes[half : 2 * half]
    options: Any = {"steps": STEPS, "features": features, "conditions": given}
    curvature = attempt(usage.smoothness, run.model, *ends, **options)
    counts, words = {"pairs": half, "steps": STEPS}, {"space": extractor.name}
    id = "smoothness.curvature"
    yield measured(id, curvature, counts, words=words, features=extractor.name)


def _histogram(values: Array) -> dict[str, Any]:
    """Return densities of each dimension within `RANGE`, relative to all examples."""
    edges = np.linspace(-RANGE, RANGE, BINS + 1)
    share = 1 / (len(values) * (edges[1] - edges[0]))
    densities = [np.histogram(dimension, edges)[0] * share for dimension in values.T]
    return {"edges": edges, "densities": np.round(densities, 5)}
