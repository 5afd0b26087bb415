"""Synthetic faces: small colour drawings, for trying out a convolutional network."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import NamedSource

SIDE = 12
EDGE = 0.12
"""Width over which an outline fades, in half sides of the image."""

Floats = npt.NDArray[np.float64]


def draw_faces(count: int, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw (count, 3, 12, 12) images of an ellipse, two eyes and a mouth on a plain ground.

    They differ in place, size and colours.
    """
    at = (np.arange(SIDE) + 0.5) * 2 / SIDE - 1
    y, x = at[None, :, None], at[None, None, :]

    def uniform(low: float, high: float) -> Floats:
        return random.uniform(low, high, (count, 1, 1))

    def ellipse(dx: Floats, dy: Floats, width: Floats | float, height: Floats | float) -> Floats:
        """Return 1 inside, 0 outside, and values between on the outline."""
        distance = np.hypot((x - dx) / width, (y - dy) / height)
        return np.clip((1 - distance) / EDGE + 0.5, 0, 1)

    cx, cy = uniform(-0.15, 0.15), uniform(-0.15, 0.15)
    size, bend, gap = uniform(0.55, 0.8), uniform(-0.25, 0.25), uniform(0.32, 0.45)
    ground = random.uniform(0, 1, (count, 3, 1, 1))
    light = random.uniform(0.45, 1, (count, 1, 1, 1))
    skin = light * np.array([1.0, 0.8, 0.65]).reshape(1, 3, 1, 1)
    ink = 0.3 * light * random.uniform(0, 1, (count, 3, 1, 1))

    images = np.broadcast_to(ground, (count, 3, SIDE, SIDE))
    layers = [(ellipse(cx, cy, 0.85 * size, size), skin)]
    layers += [
        (ellipse(cx + side * gap * size, cy - 0.3 * size, 0.16, 0.16), ink) for side in (-1, 1)
    ]
    # The mouth is a parabola.
    line = cy + 0.45 * size + bend * (1 - ((x - cx) / (0.4 * size)) ** 2)
    mouth = (np.abs(x - cx) < 0.4 * size) & (np.abs(y - line) < 0.12)
    layers.append((mouth.astype(np.float64), ink))
    for where, colour in layers:
        images = images + where[:, None] * (colour - images)
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


@cache
def _dataset(name: str) -> Dataset:
    """Draw the images, which are always the same."""
    images = draw_faces(2500, np.random.default_rng(0))
    train, test = (Examples(part, pixels=True) for part in (images[:2000], images[2000:]))
    digest = fingerprint({"train": train, "test": test})
    return Dataset(name, train, None, test, digest)


SYNTHETIC_FACES = NamedSource(
    name="synthetic-faces",
    description="Drawings of faces, computed",
    licence="none needed",
    shape=(3, SIDE, SIDE),
    counts={"train": 2000, "test": 500},
    read=lambda _, source: _dataset(source.name),
)
