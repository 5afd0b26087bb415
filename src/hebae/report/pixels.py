"""Images as bytes: from model output to 8 bits, laid out as a mosaic, written by Pillow."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.files import write_atomically

__all__ = ["images_across", "mosaic", "to_uint8", "write_png"]

_WHITE = 255


def to_uint8(images: ArrayLike) -> NDArray[np.uint8]:
    """Round [0, 1] to 0..255; values outside, as a Gaussian decoder may give, are clipped.

    Parameters
    ----------
    images : array of float, (n, c, h, w)
        c = 1, grey, or 3, red, green and blue. A tensor on the CPU will do.

    Returns
    -------
    array of uint8, (n, c, h, w)

    Raises
    ------
    HebaeError
        If these are not images, hold whole numbers, or hold values that are not finite.
    """
    values = np.asarray(images)
    if values.ndim != 4 or values.shape[1] not in (1, 3) or 0 in values.shape:
        raise HebaeError(
            f"pictures need images, an array (n, c, h, w) with c = 1 or 3; got {values.shape}."
        )
    if values.dtype.kind != "f":
        raise HebaeError(f"pictures need floats from 0 to 1; got {values.dtype}. Divide by 255.")
    if not np.isfinite(values).all():
        raise HebaeError("the images hold values that are not finite, and cannot be drawn.")
    levels: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return levels


def mosaic(
    images: NDArray[np.uint8], columns: int | None = None, *, gap: int = 2, scale: int = 1
) -> NDArray[np.uint8]:
    """Lay images out in rows, the first at the upper left, with white between them.

    Parameters
    ----------
    images : array of uint8, (n, c, h, w)
    columns : int, optional
        Images in a row; as square as may be if not given.
    gap : int
        Pixels between neighbours.
    scale : int
        Each pixel of an image becomes scale x scale of the mosaic's.

    Returns
    -------
    array of uint8, (height, width, c)
    """
    n, c, h, w = images.shape
    columns = images_across(n, columns)
    rows = math.ceil(n / columns)
    tall, wide = h * scale + gap, w * scale + gap
    canvas = np.full((rows * tall, columns * wide, c), _WHITE, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * tall, i % columns * wide
        large = image.repeat(scale, axis=1).repeat(scale, axis=2).transpose(1, 2, 0)
        canvas[top : top + h * scale, left : left + w * scale] = large
    return canvas[: rows * tall - gap, : columns * wide - gap]


def images_across(n: int, columns: int | None = None) -> int:
    """Return how many of `n` images stand in a row of their mosaic."""
    if columns is not None and columns < 1:
        raise HebaeError(f"columns is {columns}; it must be at least 1.")
    return min(n, columns or math.ceil(math.sqrt(n)))


def write_png(images: ArrayLike, path: Path | str, columns: int | None = None) -> None:
    """Write a `mosaic` to a ``.png`` file, pixel for pixel, whole or not at all.

    Parameters
    ----------
    images : array of float, (n, c, h, w)
        See `to_uint8`.
    path : Path
    columns : int, optional

    Raises
    ------
    HebaeError
        If these are not images, or the file is not to be a PNG or cannot be written.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise HebaeError(f"images are written as .png, and {path.name} is not.")
    pixels = mosaic(to_uint8(images), columns)
    grey = pixels.shape[2] == 1
    picture = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))
