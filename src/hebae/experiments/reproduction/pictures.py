"""Pictures of several models side by side: the same examples, pairs and draws of z for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hebae import inference
from hebae.experiments.evaluation.metrics.samples import SAMPLERS
from hebae.experiments.reproduction.study import Drawing
from hebae.report import images

if TYPE_CHECKING:
    from hebae.experiments.evaluation.subject import Subject

__all__ = ["draw"]

RECONSTRUCTIONS, PAIRS, STEPS = 12, 3, 10
ACROSS, DOWN = 6, 6


def draw(
    subjects: Mapping[str, Subject], ways: Sequence[str], *, of: str, shows_faces: bool
) -> list[Drawing]:
    """Draw reconstructions, interpolations and samples.

    Parameters
    ----------
    subjects : mapping of str to Subject
        By method; nothing is drawn of none.
    ways : sequence of str
        Samplers: the paper's, "normal", and another.
    of : str
        Data and k, for the titles.
    shows_faces : bool
        See `Drawing`.
    """
    if not subjects:
        return []
    some = next(iter(subjects.values())).some(RECONSTRUCTIONS + 2 * PAIRS)
    shown, ends = some[:RECONSTRUCTIONS], some[RECONSTRUCTIONS:]

    def of_each(make: Callable[[Subject], np.ndarray]) -> dict[str, np.ndarray]:
        return {method: make(subject) for method, subject in subjects.items()}

    figures = {
        "Reconstructions": images.reconstructions(
            shown / np.float32(255),
            of_each(lambda subject: inference.reconstruct(subject.model, shown)),
            title=f"Reconstructions of test images, {of}",
        ),
        "Interpolations": images.interpolations(
            of_each(
                lambda subject: inference.interpolate(
                    subject.model, ends[:PAIRS], ends[PAIRS:], STEPS
                )
            ),
            title=f"Interpolations between test images, {of}",
        ),
        "Samples": images.sample_table(
            {
                method: {SAMPLERS[way]: subject.shown(way, ACROSS * DOWN) for way in ways}
                for method, subject in subjects.items()
            },
            ACROSS,
            title=f"Samples, {of}",
        ),
    }
    captions = {
        "Reconstructions": "Test images at random, the same for all methods; x decoded from mu(x).",
        "Interpolations": "Straight lines between the codes of pairs, the same for all methods; "
        "framed, the reconstructed ends.",
        "Samples": "Means of p(x|z), not chosen. Left, z from N(0, I), the paper's way and the "
        "same draws for all methods; right, from a mixture of normals fitted to training codes.",
    }
    return [
        Drawing(title.lower(), figure, title, captions[title], shows_faces)
        for title, figure in figures.items()
    ]
