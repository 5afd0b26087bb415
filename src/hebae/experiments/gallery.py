"""The figures of trained models: samples, reconstructions, interpolations, curves, heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.data import Dataset
from hebae.evaluation import latent
from hebae.files import make_folder
from hebae.model import Autoencoder
from hebae.report import codes, curves, images, style

__all__ = ["Picture", "Subject", "draw_gallery"]

SAMPLES = 64
RECONSTRUCTIONS = 16
PAIRS, STEPS = 4, 11
SEED = 0


@dataclass(frozen=True)
class Subject:
    """A model to be drawn."""

    model: Autoencoder
    covariance: npt.NDArray[np.float64]
    """Of the held-out codes, shape (k, k)."""


@dataclass(frozen=True)
class Picture:
    """A figure that was written, and what to say of it."""

    path: Path
    title: str
    caption: str


def draw_gallery(
    subjects: Mapping[str, Subject],
    histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    dataset: Dataset,
    folder: Path,
) -> list[Picture]:
    """Draw every figure that the data allow; pictures of examples need images.

    Parameters
    ----------
    subjects : mapping of str to Subject
        One model a method.
    histories : mapping of str to list of histories
        Records of ``metrics.jsonl``, a list for each seed.
    dataset : Dataset
    folder : Path
        Gets the PNG files.
    """
    make_folder(folder)
    split, examples = dataset.held_out() or ("train", dataset.train)
    pictures: list[Picture] = []

    def keep(name: str, figure: Any, title: str, caption: str) -> None:
        style.save(figure, folder / f"{name}.png")
        pictures.append(Picture(folder / f"{name}.png", title, caption))

    if len(dataset.shape) == 3 and dataset.shape[0] in (1, 3):
        models = {label: subject.model for label, subject in subjects.items()}
        keep(
            "samples",
            images.samples(
                {m: inference.sample(models[m], SAMPLES, SEED) for m in models},
                title="Samples: z ~ N(0, I), decoded",
            ),
            "Samples",
            f"{SAMPLES} draws z from the prior N(0, I), decoded; the same z for every method. "
            "HEBAE's codes are matched to the prior in their first two moments alone.",
        )
        shown = examples.values[:RECONSTRUCTIONS]
        originals = shown / 255 if shown.dtype == np.uint8 else shown
        keep(
            "reconstructions",
            images.reconstructions(
                originals,
                {m: inference.reconstruct(models[m], shown) for m in models},
                title=f"Reconstructions of {split} examples",
            ),
            "Reconstructions",
            f"The first {len(shown)} {split} examples, encoded to the posterior mean and decoded.",
        )
        pairs = min(PAIRS, len(examples) // 2)
        if pairs:
            first, second = examples.values[0 : 2 * pairs : 2], examples.values[1 : 2 * pairs : 2]
            keep(
                "interpolations",
                images.interpolations(
                    {m: inference.interpolate(models[m], first, second, STEPS) for m in models},
                    title=f"Interpolations between {split} examples",
                ),
                "Interpolations",
                f"Straight lines between the codes of {pairs} pairs of {split} examples, decoded.",
            )
    held_out = dataset.held_out()
    keep(
        "loss-curves",
        curves.loss_curves(
            histories,
            held_out[0] if held_out else None,
            title=f"Terms of the loss, {dataset.name}",
        ),
        "Terms of the loss",
        "In nats per example, over the epochs. Each method optimises an objective of its own, and "
        "only the VAE's with weight 1 is an ELBO: do not compare objectives or penalties between "
        "methods.",
    )
    matrices = {m: (s.covariance, latent.correlation(s.covariance)) for m, s in subjects.items()}
    keep(
        "codes",
        codes.code_heatmaps(
            matrices, title=f"Covariance and correlation of the codes, {split} examples"
        ),
        "Covariance and correlation of the codes",
        f"Of the posterior means of the {split} examples (Fig. 2a of the paper in form).",
    )
    return pictures
