"""What the code is good for: labels, steadiness, smoothness; and which prior fits it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hebae import priors
from hebae.evaluation import decoding, usage
from hebae.evaluation.estimate import UndefinedMetric, mean_estimate
from hebae.evaluation.features import FeatureExtractor
from hebae.experiments.evaluation.measurement import Measurement, measured
from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.evaluation.subject import Subject

__all__ = ["code_likelihood", "labels", "robustness", "smoothness"]

NOISE = 0.1
"""Of robustness, in standard deviations of each latent dimension."""
CODES = 1000
"""That robustness is taken over."""
PAIRS, STEPS = 500, 11
"""Of the interpolations."""


def labels(subject: Subject) -> Iterator[Measurement]:
    """Accuracy of two classifiers on the posterior means; undefined without labels."""
    train, test = subject.dataset.train.labels, subject.examples.labels
    for name, classify in (
        ("10 nearest neighbours", usage.knn_accuracy),
        ("logistic regression", usage.logistic_accuracy),
    ):

        def accuracy(classify=classify):  # type: ignore[no-untyped-def]
            if subject.settings.split == "train":
                raise UndefinedMetric("the classifier would be judged on what it learned from")
            if train is None or test is None:
                raise UndefinedMetric(f"{subject.dataset.name} has no labels")
            return classify(subject.training_codes.mean, train, subject.codes.mean, test)

        yield measured(
            f"accuracy of {name} on the code",
            accuracy,
            better="higher",
            counts={"train": len(subject.dataset.train), "examples": len(subject.values)},
            format=".4f",
        )


def robustness(subject: Subject) -> Iterator[Measurement]:
    """How far a reconstruction moves under small noise on its code."""
    rows = subject.some_rows(CODES)
    found = decoding.robustness(
        subject.model, subject.codes.mean[rows], scale=NOISE, seed=subject.seed
    )
    counts = {"examples": len(rows)}
    yield measured(
        "robustness: shift of x under latent noise",
        lambda: found.relative,
        better="lower",
        counts=counts,
        note=f"noise of {NOISE} standard deviations in each dimension; over the distance between "
        "the reconstructions of random pairs",
        format=".4f",
    )
    yield measured(
        "shift of x under latent noise, in units of x",
        lambda: found.distance,
        counts=counts,
        headline=False,
    )


def smoothness(subject: Subject, extractor: FeatureExtractor) -> Iterator[Measurement]:
    """Curvature of the decoded lines between codes, in a feature space."""
    rows = subject.some_rows(2 * PAIRS)
    codes = subject.codes.mean[np.random.default_rng(subject.seed).permutation(rows)]
    half = len(codes) // 2
    # Second differences of pixels would mostly see their rounding to bytes.
    plain = extractor.name in ("pixels", "values")
    features = None if plain else lambda images: subject.extract(images, extractor)
    yield measured(
        f"curvature of interpolations[{extractor.name}]",
        lambda: decoding.smoothness(
            subject.model, codes[:half], codes[half : 2 * half], steps=STEPS, features=features
        ),
        better="lower",
        counts={"pairs": half, "steps": STEPS},
        note="mean second difference along decoded lines, over the distance of their ends and the "
        "step squared",
        format=".2f",
    )


def code_likelihood(subject: Subject) -> Iterator[Measurement]:
    """Log density of the codes under each sampler; by that of held-out ones `auto` chooses."""
    fitted, counts = subject.fitted, {"examples": len(subject.values)}
    for name in subject.sampler_names:
        yield measured(
            f"log density of z, {SAMPLERS[name]}",
            lambda name=name: mean_estimate(fitted[name].log_density(subject.z)),
            unit="nats",
            counts=counts,
            note="codes have scales of their own: compare samplers of a model, not models",
            format=".2f",
        )
    mixture = fitted.by_name.get("mixture")
    if isinstance(mixture, samplers.Mixture):
        yield Measurement(
            name="components of the mixture",
            value=float(mixture.components),
            note=str(fitted) if set(fitted.held_out) == set(priors.NAMES) else "",
            arrays={"held_out": {str(n): density for n, density in fitted.curve.items()}},
            format=".0f",
        )
