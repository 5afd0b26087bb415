"""Decode image files to pixels as a viewer shows them, all of one size and mode."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import ReadOptions
from hebae.errors import HebaeError
from hebae.files import require_allowed

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_OPTIONS = frozenset({"image_size", "image_mode", "image_background"})
MOST_LISTED = 10
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Pillow's names of the formats that are read. Of others, EPS would start another program."""
_GREY_MODES = ("1", "L", "LA", "La")
_DEEP_MODES = ("I", "F")  # 16 or 32 bits per channel; also "I;16"
_ORIENTATION = 0x0112  # the EXIF tag
POLICY = (
    "Give --image-size and --image-mode to bring all images to one size and mode, such as "
    "--image-size 64 --image-mode RGB (in Python: hebae.data.load(..., image_size=64, "
    'image_mode="RGB")).'
)


class UnreadableImage(HebaeError):  # noqa: N818  the state of a file
    """An image cannot be decoded; the text is the reason alone."""


class UnlikeImage(HebaeError):  # noqa: N818
    """An image has another size or mode than it must have; the text is its form."""


class Form(NamedTuple):
    """Width and height of an image in pixels, and whether it is grey."""

    width: int
    height: int
    grey: bool

    def __str__(self) -> str:
        return f"{self.width} x {self.height} {'grey' if self.grey else 'RGB'}"


class ShownImage(NamedTuple):
    """An image as a viewer shows it."""

    image: Image
    """The image, in mode L or RGB."""
    changes: tuple[str, ...]
    """What was done to it, as keys of `CHANGES`."""

    @property
    def form(self) -> Form:
        """Size and mode."""
        return Form(self.image.width, self.image.height, self.image.mode == "L")


CHANGES = {
    "turned": "rotated or flipped as the EXIF orientation says",
    "composited": "partly transparent and were placed on {background}",
    "scaled": "of more than 8 bits per channel and were scaled to 8",
    "first frame": "of several frames or pages, of which only the first is used",
}
"""What may be done to an image, as the end of a sentence about several."""


@dataclass(frozen=True)
class Decoding:
    """How images become arrays of one shape."""

    size: tuple[int, int] | None = None
    """Width and height to resize to, with a Lanczos filter."""
    grey: bool | None = None
    """Convert to grey levels or to RGB."""
    background: str = "white"
    """Colour behind transparent pixels."""
    box: tuple[int, int, int, int] | None = None
    """What to cut out before resizing: left, top, right, bottom; by default the largest centred
    part of the shape of `size`."""
    form: Form | None = None
    """Form that every image must have, as far as nothing above changes it."""
    model: str = ""
    """The image or images that determine this form, for messages."""

    def like(self, form: Form, model: str) -> Decoding:
        """Require the form of `model`, unless this decoding says what is required."""
        return self if self.form else replace(self, form=form, model=model)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of an image after decoding."""
        assert self.form is not None
        width, height = self.size or self.form[:2]
        return 1 if self._is_grey else 3, height, width

    @property
    def _is_grey(self) -> bool:
        assert self.form is not None
        return self.form.grey if self.grey is None else self.grey

    def __str__(self) -> str:
        """Say in a sentence what is done to every image; nothing if nothing is."""
        mode = {None: "", True: "converted to grey levels", False: "converted to RGB"}[self.grey]
        resized = ""
        if self.size:
            width, height = self.size
            resized = (
                f"cropped around the centre to the shape of {width} x {height} and resized to it "
                "with a Lanczos filter"
            )
        done = " and ".join(part for part in (mode, resized) if part)
        return f"Images were {done}." if done else ""

    def pixels(self, shown: ShownImage) -> np.ndarray:
        """Return the uint8 pixels (c, h, w) of an image; an UnlikeImage if it does not fit."""
        from PIL.Image import Resampling

        form = shown.form
        if self.form is not None:
            is_resized = self.size is not None and self.box is None
            fits = is_resized or form[:2] == self.form[:2]
            if not fits or (self.grey is None and form.grey != self.form.grey):
                raise UnlikeImage(str(form))
        image = shown.image.convert("L" if self._is_grey else "RGB")
        if self.size:
            # Not ImageOps.fit, whose filter takes in pixels outside the part that is cut out.
            box = self.box or _largest_part(image.size, self.size)
            image = image.crop(box).resize(self.size, Resampling.LANCZOS)
        pixels = np.asarray(image)
        return pixels[None] if image.mode == "L" else pixels.transpose(2, 0, 1)


def _largest_part(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of the largest centred part of an image that has the shape of another size."""
    scale = min(size[0] / shape[0], size[1] / shape[1])
    width, height = (max(1, round(side * scale)) for side in shape)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def decoding_of(options: ReadOptions) -> Decoding:
    """Return the decoding that is asked for, or refuse what is not allowed."""
    from PIL import ImageColor

    image_size: Any = options.image_size
    image_mode, image_background = options.image_mode, options.image_background or "white"
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None:
        sides = tuple(size) if isinstance(size, tuple | list) else ()
        sides = sides * 2 if len(sides) == 1 else sides
        if len(sides) != 2 or not all(type(n) is int and 1 <= n <= 2**14 for n in sides):
            raise HebaeError(
                f"--image-size is {image_size!r}; give one number of pixels for a square, or width "
                "and height, each from 1 to 16384."
            )
        size = sides
    if image_mode not in (None, "RGB", "L"):
        raise HebaeError(f"--image-mode is {image_mode!r}; it must be RGB, or L for grey levels.")
    try:
        ImageColor.getrgb(image_background)
    except (ValueError, AttributeError, TypeError):
        raise HebaeError(
            f"--image-background is {image_background!r}; give the name of a colour, such as "
            "white, or a colour as #rrggbb."
        ) from None
    return Decoding(size, {"L": True, "RGB": False, None: None}[image_mode], image_background)


def open_image(content: bytes | UnreadableImage, background: str) -> ShownImage:
    """Decode the content of a file; an `UnreadableImage` if that is not possible."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(content, UnreadableImage):
        raise content
    most = Image.MAX_IMAGE_PIXELS or math.inf
    try:
        Image.init()
        formats = [name for name in FORMATS if name in Image.OPEN]
        image = Image.open(io.BytesIO(content), formats=formats)
        if image.width * image.height > most:  # Pillow refuses twice as many
            raise Image.DecompressionBombError
        require_allowed(4 * image.width * image.height, "it")
        return show(image, background)
    except UnreadableImage:
        raise
    except HebaeError as error:
        raise UnreadableImage(str(error).rstrip(".")) from None
    except UnidentifiedImageError:
        raise UnreadableImage("not of a known format" if content else "empty") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(f"it claims more than {most:,} pixels") from None
    except Exception as error:  # damaged files make decoders raise all kinds of errors
        raise UnreadableImage(str(error).split("\n")[0] or type(error).__name__) from error


def show(image: Image, background: str) -> ShownImage:
    """Return the first frame of an image as a viewer shows it, with 8 bits per channel."""
    import PIL.Image
    from PIL import ImageOps

    changes = []
    if getattr(image, "is_animated", False):
        changes.append("first frame")
        image.seek(0)
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        changes.append("turned")
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(_DEEP_MODES):
        changes.append("scaled")
        image = _with_8_bits(image)
    grey = image.mode in _GREY_MODES
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            changes.append("composited")
        ground = PIL.Image.new("RGBA", image.size, background)
        ground.alpha_composite(image)
        image = ground
    return ShownImage(image.convert("L" if grey else "RGB"), tuple(changes))


def _with_8_bits(image: Image) -> Image:
    """Scale 0..65535, or floats from 0 to 1, to 0..255."""
    import PIL.Image

    values = np.asarray(image)
    largest = 1 if image.mode == "F" else 65535
    low, high = values.min(), values.max()
    if not 0 <= low <= high <= largest:
        raise UnreadableImage(
            f"values from {low:g} to {high:g} in mode {image.mode}, of which only values from 0 to "
            f"{largest} can be scaled to grey levels"
        )
    scaled = PIL.Image.fromarray(np.rint(values * (255 / largest)).astype(np.uint8))
    if (transparent := image.info.get("transparency")) is not None:
        scaled.putalpha(PIL.Image.fromarray(np.uint8(255) * (values != transparent)))
    return scaled


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence what Pillow says about damaged metadata and large images, which are read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def listed(names: Sequence[str]) -> str:
    """Return up to ten names, and how many there are beside them."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def notes_on(changes: dict[str, list[str]], decoding: Decoding) -> tuple[str, ...]:
    """Say what was done to which images, by keys of `CHANGES`."""
    notes = [str(decoding)] if str(decoding) and not decoding.box else []
    for key, text in CHANGES.items():
        if names := sorted(changes.get(key, [])):
            what = text.format(background=decoding.background)
            images = "image was" if len(names) == 1 else "images were"
            what = what.replace(" were ", " was ") if len(names) == 1 else what
            notes.append(f"{len(names):,} {images} {what}: {listed(names)}.")
    return tuple(notes)


def _is_pillow(data: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "PIL" for kind in type(data).__mro__)


def are_pillow(data: Any) -> bool:
    """Whether data are a list of images of Pillow, or one."""
    return _is_pillow(data[0] if isinstance(data, list) and data else data)


def from_pillow(images: Any, options: ReadOptions) -> Dataset:
    """Make a data set of a list of images of Pillow."""
    if not isinstance(images, list):
        raise HebaeError("The data are one image: give a list of images, or a folder of them.")
    decoding = decoding_of(options)
    rows, changes = [], dict[str, list[str]]()
    with without_warnings():
        for number, image in enumerate(images):
            if not _is_pillow(image):
                raise HebaeError(
                    f"The list begins with a Pillow image, but entry {number} is of type "
                    f"{type(image).__name__}: give a list of Pillow images only."
                )
            try:
                shown = show(image.copy(), decoding.background)
                decoding = decoding.like(shown.form, "image 0")
                rows.append(decoding.pixels(shown))
            except UnlikeImage as error:
                raise HebaeError(
                    f"Image {number} of the list is {error}, but {decoding.model} is "
                    f"{decoding.form}: all must have the same size and mode. {POLICY}"
                ) from None
            except (UnreadableImage, OSError, ValueError) as error:
                raise HebaeError(f"Image {number} of the list cannot be read: {error}.") from error
            for change in shown.changes:
                changes.setdefault(change, []).append(str(number))
    train = Examples(np.stack(rows), pixels=True)
    notes = notes_on(changes, decoding)
    return Dataset("images", train, None, None, fingerprint({"train": train}), notes)
