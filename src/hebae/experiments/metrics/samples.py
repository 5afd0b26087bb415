"""Samples and reconstructions compared with real examples, in one or several feature spaces.

Ids: ``frechet.KIND``, ``frechet_extrapolated.KIND``, ``kernel.KIND``, ``precision.KIND``,
``recall.KIND``, ``density.KIND``, ``coverage.KIND``, ``copying.KIND``, ``nearer_to_training.KIND``,
``near_copies.KIND``. KIND is the name of a sampler (``normal``, ``fitted-normal``, ``mixture``) or
``reconstructions``; for ``frechet`` also ``training-codes`` and ``training-examples``; for
``copying`` and its companions also ``held-out-examples``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy.typing as npt

from hebae.errors import UndefinedMetric
from hebae.evaluation import coverage, frechet
from hebae.evaluation.copying import Copying, copying_ratio
from hebae.evaluation.features import FeatureExtractor, metric_name, pixel_features
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
BLOCK = 1000
"""Examples per block of the kernel distance."""

Array = npt.NDArray[Any]


def frechet_distances(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Frechet distances of samples and reconstructions, with copying; and of real examples."""
    real = run.reference(extractor)
    allowed = run.evaluation.allow_rank_deficient

    def distance(features: Array) -> float:
        if not allowed:
            _require_count(features, real, extractor.minimum, extractor)
        # The extractor's minimum is the convention of its field: 2,048 for Inception's 2,048
        # features.
        return frechet.frechet_distance(features, real, allow_rank_deficient=True)

    def extrapolated(features: Array) -> Any:
        if not allowed:
            # The fit takes subsets of several sizes, each with more examples than features.
            _require_count(features, real, extractor.dimension + 2, extractor)
        return frechet.frechet_extrapolated(
            features, real, allow_rank_deficient=allowed, seed=run.seed
        )

    def of_itself(features: Array) -> float:
        raise UndefinedMetric("the references are the training examples; use --split test")

    for kind in _kinds(run):
        features = run.features(kind, extractor)
        yield _of("frechet", kind, distance, features, real, extractor)
        if run.evaluation.extrapolate and kind != "reconstructions":
            note = "to infinitely many samples and references (Chong & Forsyth 2020)"
            id = "frechet_extrapolated"
            yield _of(id, kind, extrapolated, features, real, extractor, note=note)
        yield from _copying(run, kind, features, extractor)
    real_training = of_itself if run.evaluation.split == "train" else distance
    for kind, features, note in (
        (
            "training-codes",
            run.features("training-codes", extractor),
            "z drawn from q(z|x) of real training examples: what a perfect sampler would reach",
        ),
        (
            "training-examples",
            run.reference(extractor, "train"),
            "real against real: what perfect samples would reach",
        ),
    ):
        yield _of("frechet", kind, real_training, features, real, extractor, better="", note=note)


def kernel(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Unbiased kernel distance over blocks (KID, for Inception's features)."""
    real = run.reference(extractor)
    for kind in _kinds(run):
        features = run.features(kind, extractor)
        # Ten blocks give a useful standard error; two would not.
        block = max(2, min(BLOCK, min(len(features), len(real)) // 10))
        measure = partial(kernel_distance, block_size=block, seed=run.seed)
        note = f"unbiased, in blocks of {block}; it may be negative"
        yield _of(
            "kernel",
            kind,
            lambda features, measure=measure: measure(features, real),
            features,
            real,
            extractor,
            note=note,
        )


def precision(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Improved precision and recall."""
    measure = partial(coverage.precision_recall, k=3)
    yield from _pairs(run, extractor, measure, ("precision", "recall"), 3)


def density_coverage(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Density and coverage."""
    measure = partial(coverage.density_coverage, k=5)
    yield from _pairs(run, extractor, measure, ("density", "coverage"), 5)


def copies(run: TrainedRun) -> Iterator[Measurement]:
    """Whether samples are nearer to training examples than to held-out ones, in pixels.

    For comparison, one half of the real held-out examples is measured against the other half.
    """
    pixels = pixel_features(run.dataset)
    for kind in _kinds(run):
        yield from _copying(run, kind, run.features(kind, pixels), pixels)
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
    size = min(len(train), len(held_out))

    @cache
    def found() -> Copying:
        if run.evaluation.split == "train":
            raise UndefinedMetric("copies are detected with held-out examples; use --split test")
        return copying_ratio(features, train, held_out, seed=run.seed)

    for id, name, pick, note in (
        (
            "copying",
            "copying",
            lambda: found().ratio,
            "distance to the nearest training example over that to the nearest held-out one: "
            "clearly below 1 if examples are copied",
        ),
        (
            "nearer_to_training",
            "nearer to training",
            lambda: found().closer_to_train,
            "share of samples; 0.5 without copying",
        ),
        (
            "near_copies",
            "near copies",
            lambda: found().near_copies,
            "share of samples less than half as far from training as from held-out examples, minus "
            "the reverse; 0 without copying",
        ),
    ):
        yield measured(
            f"{id}.{kind}",
            f"{name}[{extractor.name}@{len(features)}/{size}], {KINDS[kind]}",
            pick,
            features=extractor.name,
            note=note,
            counts={"samples": len(features), "reference": size},
            headline=id == "copying",
            format=".3f",
        )


def _kinds(run: TrainedRun) -> list[str]:
    """List what is compared with real examples: samples by sampler, then reconstructions."""
    return [*run.sampler_names, "reconstructions"]


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
    names: tuple[str, str],
    neighbours: int,
) -> Iterator[Measurement]:
    real = run.reference(extractor)
    for kind in _kinds(run):
        features = run.features(kind, extractor)
        for name, value in zip(names, measure(real, features), strict=True):
            yield _of(
                name,
                kind,
                lambda _, value=value: value,
                features,
                real,
                extractor,
                better="higher" if name != "density" else "",
                note=f"balls that reach the {neighbours} nearest neighbours",
            )


def _of(
    id: str,
    kind: str,
    measure: Callable[[Array], Any],
    features: Array,
    real: Array,
    extractor: FeatureExtractor,
    **fields: Any,
) -> Measurement:
    name = metric_name(id.replace("_", "-"), extractor, len(features), len(real))
    return measured(
        f"{id}.{kind}",
        f"{name}, {KINDS[kind]}",
        lambda: measure(features),
        features=extractor.name,
        **(
            {"better": "lower", "counts": {"samples": len(features), "reference": len(real)}}
            | fields
        ),
    )
