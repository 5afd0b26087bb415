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


class _Space:
    """A feature space with the references in it: real examples of the split."""

    def __init__(self, run: TrainedRun, extractor: FeatureExtractor) -> None:
        self.run, self.extractor = run, extractor
        self.real = run.reference(extractor)

    def kinds(self) -> Iterator[tuple[str, Array]]:
        """Yield the features of samples by sampler, then of reconstructions."""
        for kind in (*self.run.sampler_names, "reconstructions"):
            yield kind, self.run.features(kind, self.extractor)

    def measure(
        self, id: str, kind: str, features: Array, value: Callable[[], Any], references: int = 0
    ) -> Measurement:
        return measured(
            f"{id}.{kind}",
            value,
            {"samples": len(features), "reference": references or len(self.real)},
            words={"space": self.extractor.name, "kind": KINDS[kind]},
            features=self.extractor.name,
        )

    def copying(
        self, kind: str, features: Array, held_out: Array | None = None
    ) -> Iterator[Measurement]:
        held_out = self.real if held_out is None else held_out
        train = self.run.reference(self.extractor, "train")

        @cache
        def found() -> Copying:
            if self.run.split == "train":
                raise UndefinedMetric(
                    "copies are detected with held-out examples; use --split test"
                )
            return copying_ratio(features, train, held_out, seed=self.run.seed)

        for id, value in (
            ("copying", lambda: found().ratio),
            ("nearer_to_training", lambda: found().closer_to_train),
            ("near_copies", lambda: found().near_copies),
        ):
            yield self.measure(id, kind, features, value, min(len(train), len(held_out)))

    def require_count(self, features: Array, minimum: int) -> None:
        count = min(len(features), len(self.real))
        if count < minimum and not self.run.evaluation.allow_rank_deficient:
            raise UndefinedMetric(
                f"the Frechet distance in {self.extractor.name} needs at least {minimum} samples "
                f"and references, and there are {count}; choose other --features, or pass "
                "--allow-rank-deficient"
            )


def frechet_distances(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Frechet distances of samples and reconstructions, with copying; and of real examples."""
    space = _Space(run, extractor)

    def distance(features: Array) -> float:
        # The minimum is the convention of the field: 2,048 for Inception's 2,048 features.
        space.require_count(features, extractor.minimum)
        return frechet.frechet_distance(features, space.real, allow_rank_deficient=True)

    def extrapolated(features: Array) -> Any:
        # The fit takes subsets of several sizes, each with more examples than features.
        space.require_count(features, extractor.dimension + 2)
        allowed = run.evaluation.allow_rank_deficient
        return frechet.frechet_extrapolated(
            features, space.real, allow_rank_deficient=allowed, seed=run.seed
        )

    def of_training(features: Array) -> float:
        if run.split == "train":
            raise UndefinedMetric("the references are the training examples; use --split test")
        return distance(features)

    for kind, features in space.kinds():
        yield space.measure("frechet", kind, features, partial(distance, features))
        if run.evaluation.extrapolate and kind != "reconstructions":
            limit = partial(extrapolated, features)
            yield space.measure("frechet_extrapolated", kind, features, limit)
        yield from space.copying(kind, features)
    for kind, features in (
        ("training-codes", run.features("training-codes", extractor)),
        ("training-examples", run.reference(extractor, "train")),
    ):
        yield space.measure("frechet", kind, features, partial(of_training, features))


def kernel(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Unbiased kernel distance over blocks (KID, for Inception's features)."""
    space = _Space(run, extractor)
    for kind, features in space.kinds():
        # Ten blocks give a useful standard error; two would not.
        block = max(2, min(BLOCK, min(len(features), len(space.real)) // 10))
        distance = partial(kernel_distance, features, space.real, block_size=block, seed=run.seed)
        yield space.measure("kernel", kind, features, distance)


def precision(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Improved precision and recall."""
    space = _Space(run, extractor)
    for kind, features in space.kinds():
        found = coverage.precision_recall(space.real, features, k=3)
        for id, value in zip(("precision", "recall"), found, strict=True):
            yield space.measure(id, kind, features, lambda value=value: value)


def density_coverage(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Density and coverage."""
    space = _Space(run, extractor)
    for kind, features in space.kinds():
        found = coverage.density_coverage(space.real, features, k=5)
        for id, value in zip(("density", "coverage"), found, strict=True):
            yield space.measure(id, kind, features, lambda value=value: value)


def copies(run: TrainedRun) -> Iterator[Measurement]:
    """Whether samples are nearer to training examples than to held-out ones, in pixels.

    For comparison, one half of the real held-out examples is measured against the other half.
    """
    space = _Space(run, pixel_features(run.dataset))
    for kind, features in space.kinds():
        yield from space.copying(kind, features)
    half = len(space.real) // 2
    yield from space.copying("held-out-examples", space.real[:half], space.real[half:])
