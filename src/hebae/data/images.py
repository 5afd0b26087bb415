"""Images: decoded once, on all cores, into memory-mapped arrays in the cache."""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np

from hebae.data.cache import cached_folder, progress
from hebae.data.examples import Dataset, Examples
from hebae.data.image_files import ImageFiles, Layout, layout_of_folders
from hebae.errors import HebaeError

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")
Result = TypeVar("Result")
_FORMAT = 3  # to be increased when the cached files change
_CHUNK = 64
_GREY_MODES = ("1", "L", "LA")
_DEEP_MODES = ("I", "F")  # 16 or 32 bits per channel; also "I;16"


class Form(NamedTuple):
    """What all images of a source must have in common: width and height in pixels, and mode."""

    width: int
    height: int
    grey: bool

    def __str__(self) -> str:
        return f"{self.width} x {self.height} {'grey' if self.grey else 'RGB'}"


@dataclass(frozen=True)
class Decoding:
    """How to decode the images of a source."""

    form: Form
    """The form that every image must have."""
    model: str
    """The image or images that determine this form, for messages."""
    box: tuple[int, int, int, int] | None = None
    """Part of every image to cut out: left, top, right, bottom."""
    size: tuple[int, int] | None = None
    """Width and height to resize that part to, with a Lanczos filter."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, height, width) of an image after decoding."""
        width, height = self.size or self.form[:2]
        return 1 if self.form.grey else 3, height, width

    def pixels(self, name: str, content: bytes) -> np.ndarray:
        """Return the pixels of one image file as uint8; a HebaeError if they do not fit."""
        from PIL.Image import Resampling

        image = _open(name, content)
        form = _form(image)
        if form != self.form:
            raise HebaeError(
                f"{name} is {form}, but {self.model} is {self.form}: "
                "all images must have the same size and mode."
            )
        image = image.convert("L" if form.grey else "RGB")
        if self.box and self.size:
            image = image.crop(self.box).resize(self.size, Resampling.LANCZOS)
        pixels = np.asarray(image)
        return pixels[None] if form.grey else pixels.transpose(2, 0, 1)


def load_images(
    name: str,
    files: ImageFiles,
    *,
    arrange: Callable[[str, Sequence[str]], Layout] = layout_of_folders,
    arranged_by: str = "",
    decoding: Decoding | None = None,
) -> Dataset:
    """Return image files as a data set of memory-mapped uint8 arrays.

    The first call decodes all files into the cache; later calls open the result. Its key consists
    of the key of the files and of all arguments. The fingerprint hashes the bytes of all files,
    their names, splits and labels. The ids of the examples are the names of the files.

    `arrange` takes the source's name in messages and the names of its files, and returns their
    layout; `arranged_by` is what else the layout depends on. Without `decoding`, images are not
    changed, and all must have the form of the first.
    """
    key = sha256(repr((_FORMAT, files.key(), arranged_by, decoding)).encode()).hexdigest()
    build = partial(_build, files=files, arrange=arrange, decoding=decoding)
    folder = cached_folder(f"images/{key[:32]}", build)
    try:
        summary = json.loads((folder / "dataset.json").read_text())
        splits = {}
        for split in summary["splits"]:
            values = np.load(folder / f"{split}.npy", mmap_mode="r")
            splits[split] = Examples(values, **np.load(folder / f"{split}.npz"), pixels=True)
        train, digest = splits["train"], summary["fingerprint"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise HebaeError(
            f"The prepared images in {folder} are damaged ({error}): delete that folder, and they "
            "will be prepared again."
        ) from error
    return Dataset(name, train, splits.get("validation"), splits.get("test"), digest)


def _build(
    folder: Path,
    files: ImageFiles,
    arrange: Callable[[str, Sequence[str]], Layout],
    decoding: Decoding | None,
) -> None:
    source = str(files.path)
    splits, labels = arrange(source, files.names())
    if decoding is None:
        first = splits["train"][0]
        [(_, content)] = files.read([first])
        decoding = Decoding(_form(_open(f"{source}/{first}", content)), f"{first}, the first,")

    # The fingerprint's text is that of version 0.1, so that fingerprints stay.
    crop = f"Crop(box={decoding.box}, size={decoding.size})" if decoding.box else None
    places, lines = {}, []
    with ExitStack() as stack:
        # Not memory maps: on a full disk they kill the process without a message.
        for split, names in splits.items():
            file = stack.enter_context((folder / f"{split}.npy").open("wb"))
            shape = (len(names), *decoding.shape)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start, size = file.tell(), prod(decoding.shape)
            places.update({name: (split, file, start + i * size) for i, name in enumerate(names)})
            known: dict[str, Any] = {"ids": np.array(names, np.str_)}
            if labels:
                known["labels"] = np.array([labels[name] for name in names], np.int64)
            np.savez(folder / f"{split}.npz", **known)
        decoded = stack.enter_context(closing(_decode_all(files, list(places), decoding)))
        for name, pixels, digest in decoded:
            split, file, offset = places[name]
            file.seek(offset)
            file.write(pixels.tobytes())
            lines.append(f"{split} {labels.get(name)} {digest} {name}\n")
    fingerprint = sha256("".join([f"{crop}\n", *sorted(lines)]).encode()).hexdigest()
    summary = {"fingerprint": fingerprint, "splits": list(splits)}
    (folder / "dataset.json").write_text(json.dumps(summary, indent=2) + "\n")


def _decode_all(
    files: ImageFiles, names: Sequence[str], decoding: Decoding
) -> Generator[tuple[str, np.ndarray, str]]:
    """Yield name, pixels and SHA-256 of each image file."""
    import joblib

    def decode(chunk: list[tuple[str, bytes]]) -> list[tuple[str, np.ndarray, str]]:
        return [
            (name, decoding.pixels(f"{files.path}/{name}", raw), sha256(raw).hexdigest())
            for name, raw in chunk
        ]

    contents = files.read(names)
    chunks: Iterator[list[tuple[str, bytes]]] = iter(lambda: list(islice(contents, _CHUNK)), [])
    with (
        progress(f"Preparing {files.path.name}", len(names)) as advance,
        closing(map_in_threads(decode, chunks, joblib.cpu_count())) as decoded,
    ):
        for chunk in decoded:
            yield from chunk
            advance(len(chunk))


def map_in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    ahead: int | None = None,
) -> Generator[Result]:
    """Apply a function to items in threads, `ahead` items (by default 2 per thread) in advance.

    For functions that mostly run without Python's global lock, such as Pillow's decoding and
    NumPy's copying. Closing the generator waits for the running calls and cancels the others. What
    `function` or `items` raise comes at the place of its item. The caller's thread reads `items`.
    """
    ahead = 2 * workers if ahead is None else ahead
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hebae")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _form(image: Image) -> Form:
    return Form(image.width, image.height, image.mode in _GREY_MODES)


def _open(name: str, content: bytes) -> Image:
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Exception as error:  # damaged files make decoders raise all kinds of errors
        raise HebaeError(f"{name} cannot be decoded as an image: repair or remove it.") from error
    if image.mode.startswith(_DEEP_MODES):
        raise HebaeError(
            f"{name} has more than 8 bits per channel (mode {image.mode}): convert it to 8 bits, "
            "or give the images as an array of floats."
        )
    return image
