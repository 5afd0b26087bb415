"""Samples and reconstructions beside real examples, in one feature space or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy.typing as npt

from hebae.evaluation import coverage, frechet
from hebae.evaluation.copying import Copying, copying_ratio
from hebae.evaluation.estimate import Estimate, UndefinedMetric
from hebae.evaluation.features import FeatureExtractor, metric_name, pixel_features
from hebae.evaluation.frechet import kernel_distance
from hebae.experiments.evaluation.measurement import Measurement, measured
from hebae.experiments.evaluation.subject import Subject

__all__ = ["SAMPLERS", "copies", "density_coverage", "frechet_distances", "kernel", "precision"]

SAMPLERS = {
    "normal": "N(0, I), the paper's",
    "fitted-normal": "fitted normal",
    "mixture": "mixture",
}
"""Every metric of samples is taken for each."""
BLOCK = 1000
"""Examples in a block of the kernel distance."""

Array = npt.NDArray[Any]


def frechet_distances(subject: Subject, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Frechet distance of samples and reconstructions, each beside how much is copied; of real."""
    real = subject.reference(extractor)
    allowed = subject.settings.allow_rank_deficient
    for what, words in _kinds(subject):
        features = subject.features(what, extractor)
        distance = partial(_frechet, real=real, extractor=extractor, allow_rank_deficient=allowed)
        yield _of("frechet", words, distance, features, real, extractor)
        if subject.settings.extrapolate and what != "reconstructions":
            limit = partial(
                _extrapolated,
                real=real,
                extractor=extractor,
                allow_rank_deficient=allowed,
                seed=subject.seed,
            )
            note = "to infinitely many samples and references (Chong & Forsyth 2020)"
            yield _of("frechet-extrapolated", words, limit, features, real, extractor, note=note)
        yield from _copying(subject, words, features, extractor)
    for words, features, note in (
        (
            "training codes, decoded",
            subject.features("training codes", extractor),
            "z drawn from q(z|x) of real training examples: what a perfect sampler would reach",
        ),
        (
            "training examples",
            subject.reference(extractor, "train"),
            "real against real: what perfect samples would have",
        ),
    ):
        measure = _of_itself if subject.settings.split == "train" else distance
        yield _of("frechet", words, measure, features, real, extractor, better="", note=note)


def _of_itself(features: Array) -> float:
    raise UndefinedMetric("the references are training examples themselves; take --split test")


def kernel(subject: Subject, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Kernel distance (KID, of Inception's features), unbiased, over blocks."""
    real = subject.reference(extractor)
    for what, words in _kinds(subject):
        features = subject.features(what, extractor)
        # Ten blocks tell how far they scatter; two would not.
        block = max(2, min(BLOCK, min(len(features), len(real)) // 10))
        yield _of(
            "kernel",
            words,
            lambda features, block=block: kernel_distance(
                features, real, block_size=block, seed=subject.seed
            ),
            features,
            real,
            extractor,
            note=f"unbiased, in blocks of {block}; it may be negative",
        )


def precision(subject: Subject, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Improved precision and recall."""
    yield from _pairs(
        subject, extractor, coverage.precision_recall, ("precision", "recall"), neighbours=3
    )


def density_coverage(subject: Subject, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Density and coverage."""
    yield from _pairs(
        subject, extractor, coverage.density_coverage, ("density", "coverage"), neighbours=5
    )


def copies(subject: Subject) -> Iterator[Measurement]:
    """Whether samples lie nearer to training examples than to as many held-out ones, in pixels.

    Real held-out examples, a half of them against the rest, tell what to expect.
    """
    pixels = pixel_features(subject.dataset)
    for what, words in _kinds(subject):
        yield from _copying(subject, words, subject.features(what, pixels), pixels)
    real = subject.reference(pixels)
    half = len(real) // 2
    yield from _copying(subject, "held-out examples", real[:half], pixels, against=real[half:])


def _copying(
    subject: Subject,
    words: str,
    features: Array,
    extractor: FeatureExtractor,
    against: Array | None = None,
) -> Iterator[Measurement]:
    held_out = subject.reference(extractor) if against is None else against
    train = subject.reference(extractor, "train")
    size = min(len(train), len(held_out))
    label = f"[{extractor.name}@{len(features)}/{size}], {words}"
    counts = {"samples": len(features), "reference": size}

    @cache
    def found() -> Copying:
        if subject.settings.split == "train":
            raise UndefinedMetric("copies are told by held-out examples; take --split test")
        return copying_ratio(features, train, held_out, seed=subject.seed)

    for name, pick, note in (
        (
            "copying",
            lambda: found().ratio,
            "nearest training over nearest held-out example: below 1 by more than noise, examples "
            "are copied",
        ),
        (
            "nearer to training",
            lambda: found().closer_to_train,
            "share of samples; 0.5 without copying",
        ),
        (
            "near copies",
            lambda: found().near_copies,
            "share of samples under half as far from training as from held-out examples, less the "
            "reverse; 0 without copying",
        ),
    ):
        headline = name == "copying"
        yield measured(f"{name}{label}", pick, note, counts=counts, headline=headline, format=".3f")


def _kinds(subject: Subject) -> list[tuple[str, str]]:
    """List what is judged, and how it is called: samples by sampler, then reconstructions."""
    named = [(name, SAMPLERS[name]) for name in subject.sampler_names]
    return [*named, ("reconstructions", "reconstructions")]


def _frechet(
    features: Array, real: Array, extractor: FeatureExtractor, allow_rank_deficient: bool
) -> float:
    if not allow_rank_deficient:
        _require_count(features, real, extractor.minimum, extractor)
    # An extractor's minimum is the convention of its field: Inception's 2,048 features take 2,048.
    return frechet.frechet_distance(features, real, allow_rank_deficient=True)


def _extrapolated(
    features: Array,
    real: Array,
    extractor: FeatureExtractor,
    allow_rank_deficient: bool,
    seed: int,
) -> Estimate:
    if not allow_rank_deficient:
        # The line goes through subsets of several sizes, each of more examples than features.
        _require_count(features, real, extractor.dimension + 2, extractor)
    return frechet.frechet_extrapolated(
        features, real, allow_rank_deficient=allow_rank_deficient, seed=seed
    )


def _require_count(features: Array, real: Array, minimum: int, extractor: FeatureExtractor) -> None:
    count = min(len(features), len(real))
    if count < minimum:
        raise UndefinedMetric(
            f"the Frechet distance in {extractor.name} needs at least {minimum} samples and "
            f"references, and there are {count}; choose other --features, or pass "
            "--allow-rank-deficient"
        )


def _pairs(
    subject: Subject,
    extractor: FeatureExtractor,
    measure: Callable[..., tuple[float, float]],
    names: tuple[str, str],
    *,
    neighbours: int,
) -> Iterator[Measurement]:
    real = subject.reference(extractor)
    for what, words in _kinds(subject):
        features = subject.features(what, extractor)
        for name, value in zip(names, measure(real, features, k=neighbours), strict=True):
            yield _of(
                name,
                words,
                lambda _, value=value: value,
                features,
                real,
                extractor,
                better="higher" if name != "density" else "",
                note=f"balls to the {neighbours} nearest neighbours",
            )


def _of(
    metric: str,
    words: str,
    measure: Callable[[Array], Any],
    features: Array,
    real: Array,
    extractor: FeatureExtractor,
    **others: Any,
) -> Measurement:
    counts = {"samples": len(features), "reference": len(real)}
    name = metric_name(metric, extractor, len(features), len(real))
    return measured(
        f"{name}, {words}",
        lambda: measure(features),
        **({"better": "lower", "counts": counts} | others),
    )
