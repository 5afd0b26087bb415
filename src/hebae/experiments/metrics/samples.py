"""Samples and reconstructions compared with real examples, in one or several feature spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy.typing as npt

from hebae import methods
from hebae.errors import UndefinedMetric
from hebae.evaluation import frechet, neighbours
from hebae.evaluation.features.base import FeatureExtractor, pixel_features
from hebae.experiments.measurement import Measurement, attempt, measured, part
from hebae.experiments.trained_run import TrainedRun

SAMPLERS = {
    name: sampler.display_name
    for name, sampler in (methods.SAMPLERS | {"prior": methods.OWN}).items()
}
"""Display names of the samplers."""
KINDS = SAMPLERS | {
    "reconstructions": "reconstructions",
    "training-codes": "training codes, decoded",
    "training-examples": "training examples",
    "held-out-examples": "held-out examples",
}
"""Display names of everything that is compared with real examples."""
COPYING = {
    "copying": "ratio",
    "nearer_to_training": "closer_to_train",
    "near_copies": "near_copies",
}
"""Ids of the measurements of copies, and the attributes of `Copying` that hold them."""
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
        self, id: str, kind: str, features: Array, value: Any, references: int = 0
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
        if self.run.split == "train":
            advice = "copies are detected with held-out examples; use --split test"
            found: Any = UndefinedMetric(advice)
        else:
            found = attempt(neighbours.copying_ratio, features, train, held_out, seed=self.run.seed)
        size = min(len(train), len(held_out))
        for id, name in COPYING.items():
            yield self.measure(id, kind, features, part(found, name), size)

    def frechet(self, features: Array, minimum: int, distance: Callable[..., Any]) -> Any:
        """Return a Frechet distance; undefined with less than `minimum` examples on a side."""
        count = min(len(features), len(self.real))
        if count < minimum and not self.run.evaluation.allow_rank_deficient:
            return UndefinedMetric(
                f"the Frechet distance in {self.extractor.name} needs at least {minimum} samples "
                f"and references, but there are {count}; choose other --features, or pass "
                "--allow-rank-deficient"
            )
        return attempt(distance, features, self.real)


def frechet_distances(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Frechet distances of samples and reconstructions, with copying; and of real examples."""
    space = _Space(run, extractor)
    # The convention of the field: 2,048 for Inception's 2,048 features.
    minimum = extractor.minimum
    distance = partial(frechet.frechet_distance, allow_rank_deficient=True)
    # The fit takes subsets of several sizes, each with more examples than features.
    enough_to_fit = extractor.dimension + 2
    allowed = run.evaluation.allow_rank_deficient
    extrapolated = partial(
        frechet.frechet_extrapolated, allow_rank_deficient=allowed, seed=run.seed
    )
    for kind, features in space.kinds():
        yield space.measure("frechet", kind, features, space.frechet(features, minimum, distance))
        if run.evaluation.extrapolate and kind != "reconstructions":
            limit = space.frechet(features, enough_to_fit, extrapolated)
            yield space.measure("frechet_extrapolated", kind, features, limit)
        yield from space.copying(kind, features)
    for kind, features in (
        ("training-codes", run.features("training-codes", extractor)),
        ("training-examples", run.reference(extractor, "train")),
    ):
        value = space.frechet(features, minimum, distance)
        if run.split == "train":
            value = UndefinedMetric("the references are the training examples; use --split test")
        yield space.measure("frechet", kind, features, value)


def kernel(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Unbiased kernel distance over blocks (KID, for Inception's features)."""
    space = _Space(run, extractor)
    for kind, features in space.kinds():
        # Ten blocks give a useful standard error; two would not.
        block = max(2, min(BLOCK, min(len(features), len(space.real)) // 10))
        distance = attempt(
            frechet.kernel_distance, features, space.real, block_size=block, seed=run.seed
        )
        yield space.measure("kernel", kind, features, distance)


def precision(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Improved precision and recall."""
    compare = partial(neighbours.precision_recall, k=3)
    return _by_neighbours(run, extractor, compare, ("precision", "recall"))


def density_coverage(run: TrainedRun, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Density and coverage."""
    compare = partial(neighbours.density_coverage, k=5)
    return _by_neighbours(run, extractor, compare, ("density", "coverage"))


def _by_neighbours(
    run: TrainedRun, extractor: FeatureExtractor, compare: Callable[..., Any], ids: tuple[str, str]
) -> Iterator[Measurement]:
    space = _Space(run, extractor)
    for kind, features in space.kinds():
        for id, value in zip(ids, compare(space.real, features), strict=True):
            yield space.measure(id, kind, features, value)


def copies(run: TrainedRun) -> Iterator[Measurement]:
    """Whether samples are nearer to training examples than to held-out ones, in pixels.

    For comparison, one half of the real held-out examples is measured against the other half.
    """
    space = _Space(run, pixel_features(run.dataset))
    for kind, features in space.kinds():
        yield from space.copying(kind, features)
    half = len(space.real) // 2
    yield from space.copying("held-out-examples", space.real[:half], space.real[half:])
