"""Adult census: generated rows that a classifier learns from in place of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import COLOURS, Array, command_line, data_directory, fitted
from matplotlib.figure import Figure

import hebae
from hebae.data import Dataset, Examples, load
from hebae.evaluation import tables
from hebae.report.style import INK, describe, new_figure, styled

NAMES = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation"),
    *("relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week"),
    *("native_country", "income"),
]
TARGET = "income"
FEW_VALUES = ("capital_gain", "capital_loss", "education_num", "hours_per_week")
"""Whole numbers with few different values, which models take as categories."""
SETTINGS: dict[str, Any] = {
    "latent_dim": 10,
    "epochs": 20,
    "encoder_widths": (128, 128),
    "decoder_widths": (128, 128),
}
METHODS: dict[str, dict[str, Any]] = {"HEBAE": {}, "VAE": {}}
INDEPENDENT = "columns drawn one by one"
NEAREST = 3000
"""Rows whose closest records are looked for."""


def frame(name: str) -> pd.DataFrame:
    """Read a file as a data frame; the labels of the test file end in a dot."""
    path = data_directory() / "tables" / name
    rows = pd.read_csv(
        path, names=NAMES, na_values="?", skipinitialspace=True, comment="|", low_memory=False
    )
    return rows.assign(income=rows[TARGET].str.rstrip("."))


def dataset() -> Dataset:
    """Return the training rows."""
    return load(frame("adult.data.gz"), validation_size=0)


def measure(work: Path, seed: int, quick: bool) -> dict[str, Any]:
    """Generate as many rows as there are, and compare them with the real ones."""
    train = dataset().train
    test = load(frame("adult.test.gz"), validation_size=0, columns=train.columns).train
    kinds = tuple(f"{name}=category" for name in FEW_VALUES)
    rows = load(frame("adult.data.gz"), validation_size=0, column_kinds=kinds).train
    rng = np.random.default_rng(seed)
    values = train.rows(slice(None))
    shuffled = np.column_stack([rng.permutation(column) for column in values.T])
    record: dict[str, Any] = {
        "rows": [len(train), len(test)],
        "real rows": compared(train, test, train, seed, work / f"real-{seed}.npz"),
        INDEPENDENT: compared(train, test, shuffled, seed, work / f"independent-{seed}.npz"),
    }
    for method, options in METHODS.items():
        settings = SETTINGS | options | ({"epochs": 1} if quick else {})
        model = getattr(hebae, method)(random_state=seed, **settings)
        folder = work / f"{method}-{seed}"
        fitted(folder, model, rows)
        output = folder / "synthetic.csv"
        command_line("sample", folder, "--count", len(train), "--seed", seed, "--output", output)
        fake = load(output, validation_size=0, columns=train.columns).train
        record[method] = compared(train, test, fake, seed, folder / "curves.npz")
    return record


def compared(
    train: Examples, test: Examples, fake: Examples | Array, seed: int, file: Path
) -> dict[str, float]:
    """Return utility, marginals, associations and privacy of rows in place of the training rows."""
    assert train.feature_names is not None and train.columns is not None
    categorical = [bool(column.categories) for column in train.columns]
    target = train.feature_names.index(TARGET)
    learned = tables.prediction(fake, test, target, categorical, seed=seed)
    found = [tables.associations(x, categorical) for x in (train, fake)]
    order = np.random.default_rng(seed).permutation(len(test))
    chosen, others = order[:NEAREST], test[order[NEAREST : 2 * NEAREST]]
    some = fake[chosen] if fake is not train else test[chosen]
    closest = tables.closest_records(some, train, others, categorical, seed=seed)
    np.savez(file, curve=learned.curve, nearest=closest.distances, held_out=closest.held_out)
    return {
        "auc": learned.score.value,
        "auc_error": learned.score.standard_error,
        "marginals": float(np.nanmean(tables.marginal_distances(train, fake, categorical))),
        "associations": tables.association_difference(*found),
        "copies": closest.copies,
        "nearer": closest.nearer_to_training.value,
        "nearest": float(np.median(closest.distances)),
        "nearest_held_out": float(np.median(closest.held_out)),
    }


@styled()
def figure(work: Path, seeds: dict[str, Any]) -> Figure:
    """Draw ROC curves, an association, a marginal, and distances to the closest record."""
    figure = new_figure(9.6, 7.0, seeds, "Adult census: 32,561 generated rows")
    (left, right), (lower, last) = figure.subplots(2, 2)
    first = next(iter(seeds))
    files = {
        "real rows": work / f"real-{first}.npz",
        "HEBAE": work / f"HEBAE-{first}" / "curves.npz",
        "VAE": work / f"VAE-{first}" / "curves.npz",
    }
    colours = {**COLOURS, "real rows": INK}
    for name, file in files.items():
        area = np.mean([record[name]["auc"] for record in seeds.values()])
        curve = np.load(file)["curve"]
        left.plot(*curve.T, color=colours[name], label=f"{name}: {area:.3f}")
    left.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    left.legend(title="AUC, trained on", loc="lower right", alignment="left")
    describe(left, "Income above 50K", "gradient boosting, tested on 16,281 real rows")

    real = frame("adult.data.gz")
    fake = pd.read_csv(work / f"HEBAE-{first}" / "synthetic.csv")
    order = real.groupby("education")["education_num"].first().sort_values().index
    sets = {"real rows": real, "HEBAE": fake}
    shares = {n: (x[TARGET] == ">50K").groupby(x["education"]).mean() for n, x in sets.items()}
    for name, share in shares.items():
        right.plot(share.reindex(order), range(len(order)), "o-", color=colours[name], label=name)
    right.set_yticks(range(len(order)), order)
    right.set(xlabel="share with an income above 50K")
    right.legend(loc="lower right")
    describe(right, "Income by education")

    bins = np.arange(15, 92, 2)
    style: dict[str, Any] = {"bins": bins, "density": True, "histtype": "step", "linewidth": 1.5}
    for name, x in sets.items():
        lower.hist(x["age"], **style, color=colours[name], label=name)
    lower.set(xlabel="age", ylabel="density")
    lower.legend()
    describe(lower, "Age")

    stored = np.load(files["HEBAE"])
    high = np.quantile(stored["held_out"], 0.995)
    near = {"held-out real rows": stored["held_out"], "HEBAE": stored["nearest"]}
    for name, distances in near.items():
        style["bins"] = np.linspace(0, high, 50)
        last.hist(distances, **style, color=colours.get(name, INK), label=name)
    last.set(xlabel="distance to the closest training row", ylabel="density")
    last.legend()
    describe(last, "Privacy", "generated rows nearer than real ones would be copies")
    return figure
