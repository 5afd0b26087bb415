"""Genotypes: samples compared with real people, and imputation of calls that were hidden."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.data import Examples
from hebae.errors import UndefinedMetric
from hebae.evaluation import genotypes as measures
from hebae.evaluation import linkage
from hebae.evaluation.estimate import Estimate
from hebae.experiments.measurement import Measurement, attempt, measured, part
from hebae.experiments.metrics.samples import KINDS
from hebae.experiments.trained_run import TrainedRun

MOST_PEOPLE, MOST_CALLS = 1000, 2**26
"""In a set that is compared: distances grow with the square of the people."""
HIDDEN = 0.1
"""Share of the calls that are hidden to be imputed."""
DRAWN = 1000
"""Variants and people whose numbers are stored for figures."""
BY_VARIANT = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Edges of distances in variants, for data without positions."""

Array = npt.NDArray[Any]


def samples(run: TrainedRun) -> Iterator[Measurement]:
    """Compare draws x ~ p(x | z) by each sampler, and training people, with real people."""
    real, train = _calls(_some(run, run.split)), _calls(_some(run, "train"))
    for kind in (*run.sampler_names, "training-examples"):
        if kind != "training-examples":
            fake = run.drawn(kind, _people(run))
            np.clip(np.rint(fake, out=fake), 0, 2, out=fake)
        elif run.split == "train":
            continue
        else:
            fake = train
        yield from _compared(run, kind, real, train, fake)


def _compared(
    run: TrainedRun, kind: str, real: Array, train: Array, fake: Array
) -> Iterator[Measurement]:
    few = fake[: len(real)]  # these measures depend on the number of samples
    unit = "variants" if run.dataset.variants is None else "bp"
    rng = np.random.default_rng(run.seed)
    shown = np.sort(rng.permutation(real.shape[1])[:DRAWN])

    def measure(id: str, value: Any, count: int, **fields: Any) -> Measurement:
        counts = {
            "samples": count,
            "reference": len(train if id == "frequencies_training" else real),
        }
        words = {"kind": KINDS[kind], "unit": unit}
        return measured(f"genotypes.{id}.{kind}", value, counts, words=words, **fields)

    p, q = (measures.allele_frequencies(x[:, shown]) for x in (real, fake))
    known = ~np.isnan(p) & ~np.isnan(q)
    value = attempt(measures.allele_frequency_correlation, real, fake)
    arrays: dict[str, Any] = {"real": p[known].round(4), "fake": q[known].round(4)}
    yield measure("frequencies", value, len(fake), arrays=arrays)

    if kind != "training-examples":
        value = attempt(measures.allele_frequency_correlation, train, fake)
        yield measure("frequencies_training", value, len(fake))

    decay = _linkage(run, real, fake)
    known = decay.pairs > 0
    middle = (decay.edges[:-1] + decay.edges[1:]) / 2
    lines = {"distance": middle, "real": decay.r2[0], "fake": decay.r2[1]}
    arrays = {name: line[known].round(5) for name, line in lines.items()} | {"unit": unit}
    value = attempt(lambda: decay.difference)
    yield measure("linkage", value, len(fake), arrays=arrays if known.any() else None)

    overlap = attempt(measures.pca_overlap, train, real, few)
    scores = {name: part(overlap, name) for name in ("real", "fake")}
    arrays = {
        name: points[:DRAWN, :2].round(3)
        for name, points in scores.items()
        if not isinstance(points, UndefinedMetric) and points.shape[1] > 1
    }
    yield measure("pca_coverage", part(overlap, "coverage"), len(few), arrays=arrays)
    yield measure("pca_distance", part(overlap, "distance"), len(few))

    score = measures.adversarial_accuracy(real, few, seed=run.seed).score
    yield measure("adversarial", score, len(few))
    if kind != "training-examples":
        score = measures.adversarial_accuracy(train[: len(real)], few, seed=run.seed).score
        yield measure("adversarial_training", score, len(few))


def _linkage(run: TrainedRun, real: Array, fake: Array) -> linkage.LinkageDecay:
    variants = run.dataset.variants
    if variants is None:
        places: dict[str, Any] = {"positions": np.arange(real.shape[1]), "edges": BY_VARIANT}
    else:
        places = {"positions": variants.position, "chromosomes": variants.chromosome}
    return linkage.linkage_decay(real, fake, **places, seed=run.seed)


def imputation(run: TrainedRun) -> Iterator[Measurement]:
    """Hide calls and impute them: by the model, the most frequent genotype, and PCA."""
    people, train = _some(run, run.split), _calls(_some(run, "train", 2 * MOST_PEOPLE))
    truth = _calls(people)
    hidden = measures.hide_calls(truth, HIDDEN, run.seed)
    masked = np.where(hidden, np.float32(np.nan), truth)
    counts = {"examples": len(truth), "calls": int(hidden.sum())}
    k = run.model.latent_dim

    def measure(id: str, imputed: Any) -> Measurement:
        value: Estimate | UndefinedMetric = imputed
        if not isinstance(imputed, UndefinedMetric):
            value = attempt(measures.imputation_accuracy, truth, imputed, hidden)
        words = {"share": HIDDEN, "components": k}
        return measured(f"imputation.{id}", value, counts, words=words)

    of_model = replace(people, values=masked, missing=None, pixels=None)  # keeps conditions
    by_model = np.clip(inference.impute(run.model, of_model), 0, 2)
    yield measure("model", measures.most_probable_genotypes(by_model))
    frequent = measures.most_frequent_genotypes(train)
    yield measure("most_frequent", np.broadcast_to(frequent, truth.shape))
    by_pca = attempt(measures.pca_imputation, train, masked, k)
    if not isinstance(by_pca, UndefinedMetric):
        by_pca = measures.most_probable_genotypes(by_pca)
    yield measure("pca", by_pca)


def _people(run: TrainedRun, most: int = MOST_PEOPLE) -> int:
    by_calls = max(50, MOST_CALLS // math.prod(run.examples.shape))
    return min(run.evaluation.samples, most, by_calls)


def _some(run: TrainedRun, split: str, most: int = MOST_PEOPLE) -> Examples:
    """Return random people of a split, in random order: files are often sorted by population."""
    examples = run.dataset.train if split == "train" else run.examples
    order = np.random.default_rng(run.seed).permutation(len(examples))
    return examples[order[: _people(run, most)]]


def _calls(people: Examples) -> Array:
    """Return genotypes as float32 (n, d), NaN where one is missing."""
    return people.rows(slice(None)).astype(np.float32, copy=False)
