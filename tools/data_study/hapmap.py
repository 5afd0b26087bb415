"""HapMap3: a map of populations, imputation of hidden calls, and generated genomes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    COLOURS,
    FAINT,
    Array,
    bars,
    data_directory,
    fitted,
    neighbours_accuracy,
    scatter,
    seeds_of,
)
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold

import hebae
from hebae import inference
from hebae.data import Dataset, load
from hebae.evaluation import genotypes as measures
from hebae.report.style import describe, new_figure, styled

FILE = "genotypes/HM3_thinned_autosomal_overlap.bed"
POPULATIONS = "genotypes/relationships_w_pops_121708.txt"
SIZES = (2, 8)
HIDDEN = 0.1
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 48, "epochs": 40}
METHODS: dict[str, dict[str, Any]] = {
    "HEBAE": {"rate_weight": 0.3},
    "HEBAE-rate-1": {"rate_weight": 1.0},
    "VAE": {},
    "AE": {},
}
REGIONS = {
    "Africa": {"YRI": "#7A0403", "LWK": "#C42503", "MKK": "#F8721C", "ASW": "#FBB938"},
    "Europe": {"CEU": "#30123B", "TSI": "#4675ED"},
    "South Asia": {"GIH": "#CC79A7"},
    "Americas": {"MEX": "#222222"},
    "East Asia": {"JPT": "#1AE4B6", "CHB": "#1B9E77", "CHD": "#0B5D44"},
}
POPULATION_COLOURS = {name: c for region in REGIONS.values() for name, c in region.items()}


def dataset() -> Dataset:
    """Return all people."""
    return load(data_directory() / FILE, validation_size=0)


def split(ids: Array) -> tuple[Array, Array, Array]:
    """Return the populations, and the rows of training and of held-out people.

    A fifth of the people is held out, by population. Families stay together, since relatives are
    alike.
    """
    with (data_directory() / POPULATIONS).open(encoding="utf-8") as file:
        table = {row["IID"]: row for row in csv.DictReader(file, delimiter="\t")}
    population, family = (
        np.array([table[str(person)][name] for person in ids]) for name in ("population", "FID")
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    train, test = next(folds.split(population, population, family))
    return population, train, test


def measure(work: Path, seed: int, quick: bool) -> dict[str, Any]:
    """Train every method and compare it on held-out people."""
    people = dataset().train
    population, train, test = split(people.ids)
    seen, real = (people.rows(rows).astype(np.float32) for rows in (train, test))
    hidden = measures.hide_calls(real, HIDDEN, seed)
    masked = replace(people[test], missing=hidden | np.isnan(real))

    def imputed(values: Array) -> dict[str, float]:
        most_probable = measures.most_probable_genotypes(np.clip(values, 0, 2))
        return {"imputation": measures.imputation_accuracy(real, most_probable, hidden).value}

    frequent = np.broadcast_to(measures.most_frequent_genotypes(seen), real.shape)
    record: dict[str, Any] = {
        "people": [len(train), len(test)],
        "hidden": int(hidden.sum()),
        "most frequent": imputed(frequent),
        "training people": generated(seen, real, seen, seed),
    }
    for k in SIZES:
        mean = 2 * np.nan_to_num(measures.allele_frequencies(seen))
        pca = PCA(k, random_state=0).fit(np.nan_to_num(seen - mean))
        codes = {"PCA": [pca.transform(np.nan_to_num(x - mean)) for x in (seen, real)]}
        found = {"PCA": imputed(measures.pca_imputation(seen, masked.rows(slice(None)), k))}
        for method, options in METHODS.items():
            settings = SETTINGS | options | ({"epochs": 2} if quick else {})
            model = getattr(hebae, method.partition("-")[0])(
                latent_dim=k, random_state=seed, **settings
            )
            model = fitted(work / f"{method}-{k}-{seed}", model, people[train])
            codes[method] = [model.transform(people[rows]) for rows in (train, test)]
            fake = draws(model, len(people), seed)
            found[method] = imputed(model.impute(masked))
            found[method] |= generated(seen, real, fake, seed)
            if method == "HEBAE" and k == max(SIZES):
                pair = (measures.allele_frequencies(x) for x in (real, fake))
                np.savez(work / f"frequencies-{seed}.npz", *pair)
        for method, (a, b) in codes.items():
            accuracy = neighbours_accuracy(a, population[train], b, population[test])
            found[method]["accuracy"] = accuracy
            if k == 2:
                np.savez(work / f"{method}-map-{seed}.npz", a, b, population[test])
        record[f"k = {k}"] = found
    return record


def draws(model: Any, count: int, seed: int) -> Array:
    """Draw people x ~ p(x | z) from a fitted model."""
    model.sample(1, random_state=seed)  # fits the samplers
    return inference.sample_examples(model.module_, count, seed, model.samplers_["auto"])


def generated(train: Array, real: Array, fake: Array, seed: int) -> dict[str, float]:
    """Compare generated people with held-out ones, and look for copies of training people."""
    few = fake[np.sort(np.random.default_rng(seed).permutation(len(fake))[: len(real)])]
    record = {
        "frequencies": measures.allele_frequency_correlation(real, fake),
        "frequencies, training": measures.allele_frequency_correlation(train, fake),
        "adversarial accuracy": measures.adversarial_accuracy(real, few, seed=seed).score.value,
    }
    of_held_out = measures.allele_distances(real, train).min(axis=1)
    if fake is train:
        return record | {"nearest": float(of_held_out.min())}
    nearest = measures.allele_distances(few, train).min(axis=1)
    part = train[np.random.default_rng(seed).permutation(len(train))[: len(real)]]
    copied = measures.adversarial_accuracy(part, few, seed=seed).score.value
    return record | {
        "adversarial accuracy, training": copied,
        "nearest": float(nearest.min()),
        "nearer": int((nearest < of_held_out.min()).sum()),
    }


@styled()
def figure(work: Path, seeds: dict[str, Any]) -> Figure:
    """Draw maps of held-out people by PCA and HEBAE, accuracies, and allele frequencies."""
    figure = new_figure(9.6, 7.2, seeds, "HapMap3: 957 people, 14,079 variants")
    (left, right), (lower, last) = figure.subplots(2, 2)
    first = next(iter(seeds))
    for axes, method in ((left, "PCA"), (right, "HEBAE")):
        a, b, population = np.load(work / f"{method}-map-{first}.npz").values()
        axes.scatter(*a.T, s=6, color=FAINT, linewidths=0)
        scatter(axes, b, population, POPULATION_COLOURS)
        accuracy = np.mean([record["k = 2"][method]["accuracy"] for record in seeds.values()])
        describe(axes, f"{method}, k = 2", f"held-out people in colour; accuracy {accuracy:.2f}")
    accuracies = {
        f"k = {k}": seeds_of(seeds, f"k = {k}", "accuracy", ("PCA", "AE", "VAE", "HEBAE"))
        for k in SIZES
    }
    bars(lower, accuracies, COLOURS)
    lower.set_ylim(0, 1)
    describe(
        lower,
        "Population of held-out people",
        f"accuracy of 5 nearest neighbours; dots: {len(seeds)} seeds",
    )
    real, fake = np.load(work / f"frequencies-{first}.npz").values()
    last.scatter(real, fake, s=3, alpha=0.3, linewidths=0, color=COLOURS["HEBAE"])
    last.plot([0, 1], [0, 1], color="#222222", linewidth=1, linestyle=(0, (4, 2)))
    last.set(xlabel="held-out people", ylabel="generated people", aspect="equal")
    correlation = np.mean(
        [record[f"k = {max(SIZES)}"]["HEBAE"]["frequencies"] for record in seeds.values()]
    )
    note = f"HEBAE, k = {max(SIZES)}; correlation {correlation:.3f}"
    describe(last, "Allele frequencies of 957 generated people", note)
    return figure
