"""Image files, decoded once into memory-mapped arrays in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np

from hebae.data.cache import cached_folder
from hebae.data.decode import Crop, Decoded, Decoding, decode, form_of
from hebae.data.examples import Dataset, Examples
from hebae.data.image_files import ImageFiles
from hebae.data.layout import Layout, hold_out_files, layout_of_folders
from hebae.data.progress import progress
from hebae.data.workers import available_cores, map_in_threads
from hebae.errors import HebaeError

_FORMAT = 1  # to be raised when what is written changes
_CHUNK = 64
_SUMMARY = "dataset.json"


@dataclass(frozen=True)
class Processing:
    """What is made of a source's image files.

    Parameters
    ----------
    arrange : callable
        Takes what messages call the source, and the names of its files; gives their layout.
    key : str
        What else the layout depends on.
    decoding : Decoding, optional
        By default images stay as they are, and all must be as the first.
    """

    arrange: Callable[[str, Sequence[str]], Layout] = layout_of_folders
    key: str = ""
    decoding: Decoding | None = None


def load_images(
    name: str, files: ImageFiles, validation_size: int | None, processing: Processing | None = None
) -> Dataset:
    """Return image files as a data set of memory-mapped uint8 arrays.

    The first call decodes all files, on all cores, into the cache; later ones open what is there.
    What is there is found by the key of the files (names, sizes and times for a folder; size, time
    and both ends for an archive), the processing and `validation_size`. The fingerprint is made of
    the bytes of all files, their names, splits and labels.

    Raises
    ------
    HebaeError
        If there is no image, if images differ in size or mode, or if one cannot be decoded.
    """
    processing = processing or Processing()
    parts = (_FORMAT, files.key(), processing.key, processing.decoding, validation_size)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    build = partial(_build, files=files, processing=processing, validation_size=validation_size)
    return _open(name, cached_folder(f"images/{key[:32]}", build))


def _open(name: str, folder: Path) -> Dataset:
    try:
        summary = json.loads((folder / _SUMMARY).read_text())
        splits = {}
        for split, labelled in summary["splits"].items():
            labels = np.load(folder / f"{split}-labels.npy") if labelled else None
            splits[split] = Examples(np.load(folder / f"{split}.npy", mmap_mode="r"), labels)
    except (OSError, ValueError, KeyError) as error:
        raise HebaeError(
            f"The prepared images in {folder} are damaged ({error}): delete that folder, and they "
            "will be prepared anew."
        ) from error
    return Dataset(
        name,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        summary["fingerprint"],
        tuple(summary["notes"]),
    )


def _build(
    folder: Path, files: ImageFiles, processing: Processing, validation_size: int | None
) -> None:
    source = str(files.path)
    official = processing.arrange(source, files.names())
    layout = hold_out_files(source, official, validation_size)
    decoding = processing.decoding or _decoding_like_first(files, official)

    places = {
        name: (split, position)
        for split, names in layout.splits.items()
        for position, name in enumerate(names)
    }
    digests = {}
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(_ArrayFile(folder, split, (len(names), *decoding.shape)))
            for split, names in layout.splits.items()
        }
        for image in stack.enter_context(closing(_decode_all(files, official, decoding))):
            digests[image.name] = image.digest
            if image.name in places:  # not if a split was declined
                split, position = places[image.name]
                writers[split].write(position, image.pixels)

    for split, names in layout.splits.items():
        if layout.labels:
            labels = np.array([layout.labels[name] for name in names], np.int64)
            np.save(folder / f"{split}-labels.npy", labels)
    summary = {
        "fingerprint": _fingerprint(official, digests, decoding.crop),
        "splits": {split: bool(layout.labels) for split in layout.splits},
        "notes": layout.notes,
    }
    (folder / _SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")


def _decoding_like_first(files: ImageFiles, layout: Layout) -> Decoding:
    first = layout.splits["train"][0]
    [(_, content)] = files.read([first])
    return Decoding(form_of(f"{files.path}/{first}", content), f"{first}, the first,")


def _decode_all(files: ImageFiles, layout: Layout, decoding: Decoding) -> Generator[Decoded]:
    names = [name for split in layout.splits.values() for name in split]
    function = partial(decode, str(files.path), decoding)
    chunks = _chunks(files.read(names))
    with (
        progress(f"Preparing {files.path.name}", len(names)) as advance,
        closing(map_in_threads(function, chunks, available_cores())) as decoded,
    ):
        for chunk in decoded:
            yield from chunk
            advance(len(chunk))


def _chunks(files: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    iterator = iter(files)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _fingerprint(layout: Layout, digests: Mapping[str, str], crop: Crop | None) -> str:
    """Hash what the data are, whatever validation examples are then set aside."""
    lines = sorted(
        f"{split} {layout.labels.get(name)} {digests[name]} {name}\n"
        for split, names in layout.splits.items()
        for name in names
    )
    return hashlib.sha256("".join([f"{crop}\n", *lines]).encode()).hexdigest()


class _ArrayFile:
    """A .npy file of uint8, written row by row in any order.

    A memory map would do, but for a full disk, at which it kills the process without a word.
    """

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...]) -> None:
        self._file = (folder / f"{name}.npy").open("wb")
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        self._start, self._row = self._file.tell(), prod(shape[1:])

    def __enter__(self) -> _ArrayFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def write(self, position: int, row: np.ndarray) -> None:
        self._file.seek(self._start + position * self._row)
        self._file.write(row.tobytes())
