"""MNIST with the digit as a condition: samples of the digit that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import COLOURS, Array, fitted
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression

import hebae
from hebae.data import Dataset, load
from hebae.evaluation import density_coverage, extractor
from hebae.priors import fit_samplers
from hebae.report.pixels import to_uint8
from hebae.report.style import INK, describe, new_figure, styled

TRAINED, DRAWN, JUDGED = 20_000, 1000, 5_000
SETTINGS: dict[str, Any] = {
    "latent_dim": 16,
    "condition_encoder": True,
    "epochs": 10,
    "encoder_widths": (256, 256),
    "decoder_widths": (256, 256),
}
METHODS: dict[str, dict[str, Any]] = {
    "HEBAE": {"rate_weight": 1.0},
    "VAE": {},
}


def dataset() -> Dataset:
    """Return MNIST, of which the first examples are trained on."""
    return load("mnist", validation_size=0)


class Judge:
    """A classifier of real digits: hebae's network for features, and a logistic regression."""

    def __init__(self, digits: Dataset, quick: bool) -> None:
        rows = slice(0, 500 if quick else JUDGED)
        self.features = extractor("classifier", dataset=digits)
        self.head = LogisticRegression(C=0.1, max_iter=300)
        train = digits.train[rows]
        self.head.fit(self.features(train.values), train.labels)

    def __call__(self, images: Array) -> Array:
        """Return the digit of each image (n, 1, 28, 28)."""
        return self.head.predict(self.features(images))  # type: ignore[no-any-return]


def measure(work: Path, seed: int, quick: bool) -> dict[str, Any]:
    """Train with the digit as a condition, and ask a classifier what the samples are."""
    digits = dataset()
    judge = Judge(digits, quick)
    test = digits.test
    assert test is not None and test.labels is not None
    count = 20 if quick else DRAWN
    record: dict[str, Any] = {
        "examples": min(TRAINED, len(digits.train)),
        "test images": {"agreement": float((judge(test.values) == test.labels).mean())},
    }
    for method, options in METHODS.items():
        settings = SETTINGS | options | ({"epochs": 1} if quick else {})
        model = getattr(hebae, method)(random_state=seed, **settings)
        folder = work / f"{method}-{seed}"
        model = fitted(folder, model, digits.train[:TRAINED], condition="label")
        labels = digits.train.labels[:TRAINED]
        by_digit, marginal, shown, coverage = [], [], [], []
        of_all = drawn(model.codes_, count, seed)
        for digit in range(10):
            condition = {"label": digit}
            images = to_uint8(model.inverse_transform(of_all, condition=condition))
            marginal.append(float((judge(images) == digit).mean()))
            z = drawn(model.codes_[labels == digit], count, seed)
            images = to_uint8(model.inverse_transform(z, condition=condition))
            by_digit.append(float((judge(images) == digit).mean()))
            shown.append(images[:10])
            real = judge.features(test.values[test.labels == digit][:count])
            found = density_coverage(real, judge.features(images)[: len(real)], k=5)
            coverage.append(float(found.coverage))
        np.savez(folder / "samples.npz", *shown)
        record[method] = {
            "agreement": float(np.mean(by_digit)),
            "by_digit": by_digit,
            "agreement, one sampler": float(np.mean(marginal)),
            "coverage": float(np.mean(coverage)),
        }
    return record


def drawn(codes: Array, count: int, seed: int) -> Array:
    """Draw codes from a mixture of normals that is fitted to codes."""
    return fit_samplers(codes, seed, ("mixture",))["mixture"].sample(count, seed)


@styled()
def figure(work: Path, seeds: dict[str, Any]) -> Figure:
    """Draw a row of samples per digit, and the agreement of each digit."""
    figure = new_figure(9.6, 5.2, seeds, "MNIST: samples of the digit that is asked for")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    rows = np.load(work / f"HEBAE-{next(iter(seeds))}" / "samples.npz").values()
    image = np.concatenate([np.concatenate(list(row[:, 0]), axis=1) for row in rows])
    left.imshow(255 - image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    left.set_yticks(14 + 28 * np.arange(10), [str(d) for d in range(10)])
    left.set(xticks=[], ylabel="asked for")
    left.grid(False)
    describe(left, "HEBAE, ten draws each", "not selected")
    width = 0.4
    for place, method in enumerate(("HEBAE", "VAE")):
        shares = np.mean([record[method]["by_digit"] for record in seeds.values()], axis=0)
        y = np.arange(10) + (place - 0.5) * width
        mean = shares.mean()
        label = f"{method}: {mean:.3f}"
        right.barh(y, shares, 0.9 * width, color=COLOURS[method], label=label)
    right.set(xlim=(0, 1), ylim=(9.6, -0.6), xlabel="share of samples")
    right.set_yticks(range(10))
    right.axvline(0.95, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    right.grid(axis="y", visible=False)
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    real = np.mean([record["test images"]["agreement"] for record in seeds.values()])
    describe(
        right, "A classifier sees the digit", f"draws per digit: 1,000; test images: {real:.3f}"
    )
    return figure
