"""Image files become arrays of pixels."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hebae.errors import HebaeError

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY_MODES = ("1", "L", "LA")
_DEEP_MODES = ("I", "F")  # 16 or 32 bits a channel, as "I;16" too


@dataclass(frozen=True)
class Form:
    """What the images of a source must have in common: width and height in pixels, and mode."""

    width: int
    height: int
    grey: bool

    def __str__(self) -> str:
        """Return the form as messages put it."""
        return f"{self.width} x {self.height} {'grey' if self.grey else 'RGB'}"


@dataclass(frozen=True)
class Crop:
    """A box (left, top, right, bottom) to cut out, and the width and height to bring it to."""

    box: tuple[int, int, int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Decoding:
    """How to decode the images of a source.

    Parameters
    ----------
    form : Form
        The form that every image must have.
    model : str
        Which images set that form, as messages put it.
    crop : Crop, optional
        What to do with every image; the resize filter is Lanczos.
    """

    form: Form
    model: str
    crop: Crop | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of an image after decoding."""
        width, height = self.crop.size if self.crop else (self.form.width, self.form.height)
        return 1 if self.form.grey else 3, height, width

    def pixels(self, name: str, content: bytes) -> np.ndarray:
        """Return the pixels of one image file, of the shape above, as uint8.

        Raises
        ------
        HebaeError
            If the image cannot be decoded, or has another form.
        """
        from PIL.Image import Resampling

        image = _open(name, content)
        if (form := _form(image)) != self.form:
            raise HebaeError(
                f"{name} is {form}, but {self.model} is {self.form}: "
                "all images must have the same size and mode."
            )
        image = image.convert("L" if form.grey else "RGB")
        if self.crop:
            image = image.crop(self.crop.box).resize(self.crop.size, Resampling.LANCZOS)
        pixels = np.asarray(image)
        return pixels[None] if form.grey else pixels.transpose(2, 0, 1)


class Decoded(NamedTuple):
    """One image: the name of its file, its pixels, and the SHA-256 of the file's content."""

    name: str
    pixels: np.ndarray
    digest: str


def decode(source: str, decoding: Decoding, files: Sequence[tuple[str, bytes]]) -> list[Decoded]:
    """Decode files given by name and content; `source` is what messages put before the name."""
    return [
        Decoded(
            name,
            decoding.pixels(f"{source}/{name}", content),
            hashlib.sha256(content).hexdigest(),
        )
        for name, content in files
    ]


def form_of(name: str, content: bytes) -> Form:
    """Return the form of one image, refused if it cannot be decoded."""
    return _form(_open(name, content))


def _form(image: Image) -> Form:
    return Form(image.width, image.height, image.mode in _GREY_MODES)


def _open(name: str, content: bytes) -> Image:
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # the decoders of damaged files raise whatever befalls them
        raise HebaeError(f"{name} cannot be decoded as an image: repair or remove it.") from error
    if image.mode.startswith(_DEEP_MODES):
        raise HebaeError(
            f"{name} has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits, or "
            "give the images as an array of floats."
        )
    return image
