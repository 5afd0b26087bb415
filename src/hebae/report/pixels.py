"""Images as bytes: from model output to 8 bits, laid out as a mosaic, written by Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebae.errors import HebaeError
from hebae.files import write_atomically

GAP = 2  # pixels between images
LARGEST_PNG = 60_000  # bytes of a picture that a page holds without losses
_SIDE = 96  # pixels of an image in a PNG file, about; smaller images are enlarged


def to_uint8(images: ArrayLike) -> NDArray[np.uint8]:
    """Round images (n, c, h, w) of floats from [0, 1] to 0..255; c is 1 (grey) or 3 (RGB).

    Values outside, which a Gaussian decoder may give, are clipped. A HebaeError is raised for other
    shapes, whole numbers, and values that are not finite.
    """
    values = np.asarray(images)
    if values.ndim != 4 or values.shape[1] not in (1, 3) or 0 in values.shape:
        raise HebaeError(
            f"The array has shape {values.shape}: images have shape (n, c, h, w) with c = 1 or 3."
        )
    if values.dtype.kind != "f":
        raise HebaeError(
            f"The images are of type {values.dtype}: give floats from 0 to 1 (divide by 255)."
        )
    if not np.isfinite(values).all():
        raise HebaeError("The images hold NaN or infinite values, which cannot be drawn.")
    levels: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return levels


def to_unit(images: NDArray[Any], data_range: Sequence[float]) -> NDArray[Any]:
    """Scale floats so that the range of the data is drawn from black to white.

    Values of data in [0, 1] stay. Other data in [-1, 1] are drawn from -1 to 1, and any other from
    their least to their greatest value.
    """
    low, high = data_range
    if 0 <= low <= high <= 1:
        return images
    if -1 <= low <= high <= 1:
        low, high = -1.0, 1.0
    return (images - low) / ((high - low) or 1.0)


def mosaic(
    images: NDArray[np.uint8], columns: int | None = None, *, scale: int = 1
) -> NDArray[np.uint8]:
    """Lay images (n, c, h, w) out in rows on white, and return the picture (height, width, c).

    There are `columns` images per row (by default as square as possible), with 2 pixels between
    them. Each pixel of an image becomes scale x scale pixels.
    """
    n, c, h, w = images.shape
    columns = images_across(n, columns)
    rows = math.ceil(n / columns)
    tall, wide = h * scale + GAP, w * scale + GAP
    canvas = np.full((rows * tall, columns * wide, c), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * tall, i % columns * wide
        large = image.repeat(scale, axis=1).repeat(scale, axis=2).transpose(1, 2, 0)
        canvas[top : top + h * scale, left : left + w * scale] = large
    return canvas[: rows * tall - GAP, : columns * wide - GAP]


def images_across(n: int, columns: int | None = None) -> int:
    """Return the number of images per row of a mosaic of `n` images."""
    if columns is not None and columns < 1:
        raise HebaeError(f"columns is {columns}; it must be at least 1.")
    return min(n, columns or math.ceil(math.sqrt(n)))


def write_png(images: ArrayLike, path: Path | str, columns: int | None = None) -> None:
    """Write a `mosaic` of images (see `to_uint8`) to a ``.png`` file, atomically.

    Small images are enlarged by a whole number to about 96 pixels: digits of 28 x 28 by 3.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise HebaeError(f"Images cannot be written as {path.name}: choose a name ending in .png.")
    pixels = to_uint8(images)
    scale = max(1, round(_SIDE / max(pixels.shape[2:])))
    canvas = mosaic(pixels, columns, scale=scale)
    picture = Image.fromarray(canvas[:, :, 0] if canvas.shape[2] == 1 else canvas)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


def embedded(images: ArrayLike, columns: int | None = None) -> tuple[str, bytes, int, int]:
    """Return a `mosaic` as a page embeds it: MIME type, content, width and height in pixels.

    Nothing is enlarged; the gaps between images are transparent. Large pictures are WebP with
    losses that are hard to see, others are PNG.
    """
    from io import BytesIO

    from PIL import Image

    pixels = to_uint8(images)
    opaque = np.full((len(pixels), 1, *pixels.shape[2:]), 255, np.uint8)
    canvas = mosaic(np.concatenate([pixels, opaque], axis=1), columns)
    canvas[:, :, -1] = np.where(mosaic(opaque - 255, columns)[:, :, 0] == 0, 255, 0)
    picture = Image.fromarray(canvas)
    height, width = canvas.shape[:2]
    content = BytesIO()
    picture.save(content, format="PNG", optimize=True)
    if len(content.getvalue()) <= LARGEST_PNG:
        return "image/png", content.getvalue(), width, height
    content = BytesIO()
    picture.save(content, format="WEBP", quality=85)
    return "image/webp", content.getvalue(), width, height
