"""Samples and reconstructions compared with real examples, in one or several feature spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy.typing as npt

from hebae.errors import UndefinedMetric
from hebae.evaluation import coverage, frechet
from hebae.evaluation.copying import Copying, copying_ratio
from hebae.evaluation.features import FeatureExtractor, pixel_features
from hebae.evaluation.frechet import kernel_distance
from hebae.experiments.measurement import Measurement, measured
from hebae.experiments.trained_run import TrainedRun

__all__ = ["SAMPLERS", "copies", "density_coverage", "frechet_distances", "kernel", "precision"]

SAMPLERS = {
    "normal": "N(0, I), the paper's",
    "fitted-normal": "fitted normal",
    "mixture": "mixture",
}
"""Display names of the samplers."""
KINDS = SAMPLERS | {
    "reconstructions": "reconstructions",
    "training-codes": "training codes, decoded",
    "training-examples": "training examples",
    "held-out-examples": "held-out examples",
}
"""Display names of everything that is compared with real examples."""
BLOCK = 1000
"""Examples per block of the kernel distance."""

Array = npt.NDArray[Any]


def frechet_distances(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Frechet distances of samples and reconstructions, with copying; and of real examples."""
    real, allowed = run.reference(extractor), run.evaluation.allow_rank_deficient

    def distance(features: Array) -> float:
        # The minimum is the convention of the field: 2,048 for Inception's 2,048 features.
        _require_count(features, real, 0 if allowed else extractor.minimum, extractor)
        return frechet.frechet_distance(features, real, allow_rank_deficient=True)

    def extrapolated(features: Array) -> Any:
        # The fit takes subsets of several sizes, each with more examples than features.
        _require_count(features, real, 0 if allowed else extractor.dimension + 2, extractor)
        return frechet.frechet_extrapolated(
            features, real, allow_rank_deficient=allowed, seed=run.seed
        )

    def of_training(features: Array) -> float:
        if run.evaluation.split == "train":
            raise UndefinedMetric("the references are the training examples; use --split test")
        return distance(features)

    for kind, features in _kinds(run, extractor):
        yield _compare("frechet", kind, distance, features, real, extractor)
        if run.evaluation.extrapolate and kind != "reconstructions":
            yield _compare("frechet_extrapolated", kind, extrapolated, features, real, extractor)
        yield from _copying(run, kind, features, extractor)
    codes, train = run.features("training-codes", extractor), run.reference(extractor, "train")
    yield _compare("frechet", "training-codes", of_training, codes, real, extractor)
    yield _compare("frechet", "training-examples", of_training, train, real, extractor)


def kernel(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Unbiased kernel distance over blocks (KID, for Inception's features)."""
    real = run.reference(extractor)
    for kind, features in _kinds(run, extractor):
        # Ten blocks give a useful standard error; two would not.
        block = max(2, min(BLOCK, min(len(features), len(real)) // 10))
        measure = partial(kernel_distance, block_size=block, seed=run.seed)
        distance = lambda features, measure=measure: measure(features, real)  # noqa: E731
        yield _compare("kernel", kind, distance, features, real, extractor)


def precision(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Improved precision and recall."""
    measure = partial(coverage.precision_recall, k=3)
    yield from _pairs(run, extractor, measure, ("precision", "recall"))


def density_coverage(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Density and coverage."""
    measure = partial(coverage.density_coverage, k=5)
    yield from _pairs(run, extractor, measure, ("density", "coverage"))


def copies(run: TrainedRun) -> Iterator[Measurement]:
    """Whether samples are nearer to training examples than to held-out ones, in pixels.

    For comparison, one half of the real held-out examples is measured against the other half.
    """
    pixels = pixel_features(run.dataset)
    for kind, features in _kinds(run, pixels):
        yield from _copying(run, kind, features, pixels)
    real = run.reference(pixels)
    half = len(real) // 2
    yield from _copying(run, "held-out-examples", real[:half], pixels, against=real[half:])


def _copying(
    run: TrainedRun,
    kind: str,
    features: Array,
    extractor: FeatureExtractor,
    against: Array | None = None,
) -> Iterator[Measurement]:
    held_out = run.reference(extractor) if against is None else against
    train = run.reference(extractor, "train")
    reference = train[: min(len(train), len(held_out))]

    @cache
    def found() -> Copying:
        if run.evaluation.split == "train":
            raise UndefinedMetric("copies are detected with held-out examples; use --split test")
        return copying_ratio(features, train, held_out, seed=run.seed)

    for id, pick in (
        ("copying", lambda _: found().ratio),
        ("nearer_to_training", lambda _: found().closer_to_train),
        ("near_copies", lambda _: found().near_copies),
    ):
        yield _compare(id, kind, pick, features, reference, extractor)


def _kinds(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[tuple[str, Array]]:
    """Yield the features of samples by sampler, then of reconstructions."""
    for kind in (*run.sampler_names, "reconstructions"):
        yield kind, run.features(kind, extractor)


def _require_count(features: Array, real: Array, minimum: int, extractor: FeatureExtractor) -> None:
    count = min(len(features), len(real))
    if count < minimum:
        raise UndefinedMetric(
            f"the Frechet distance in {extractor.name} needs at least {minimum} samples and "
            f"references, and there are {count}; choose other --features, or pass "
            "--allow-rank-deficient"
        )


def _pairs(
    run: TrainedRun,
    extractor: FeatureExtractor,
    measure: Callable[[Array, Array], tuple[float, float]],
    ids: tuple[str, str],
) -> Iterator[Measurement]:
    real = run.reference(extractor)
    for kind, features in _kinds(run, extractor):
        for id, value in zip(ids, measure(real, features), strict=True):
            yield _compare(id, kind, lambda _, value=value: value, features, real, extractor)


def _compare(
    id: str,
    kind: str,
    measure: Callable[[Array], Any],
    features: Array,
    real: Array,
    extractor: FeatureExtractor,
) -> Measurement:
    return measured(
        f"{id}.{kind}",
        lambda: measure(features),
        {"samples": len(features), "reference": len(real)},
        words={"space": extractor.name, "kind": KINDS[kind]},
        features=extractor.name,
    )
