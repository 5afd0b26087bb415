"""Data sets of four idx files, laid out as MNIST is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hebae.data import idx
from hebae.data.cache import cache_dir
from hebae.data.download import download
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import Availability, DataSource
from hebae.data.splits import hold_out
from hebae.errors import HebaeError

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


@dataclass(frozen=True)
class IdxSource:
    """A named data set whose four gzip files have known checksums.

    Parameters
    ----------
    name, description, licence : str
    folders : tuple of str
        Where in a data directory, or below the address of a mirror, the files may lie.
    mirrors : tuple of str
        Addresses to which a file's name is added, in the order in which they are tried.
    sha256 : mapping of str to str
        Checksum of each file.
    counts : mapping of str to int
        Number of examples of each split.
    """

    name: str
    description: str
    licence: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]
    counts: Mapping[str, int]

    def describe(self, directories: tuple[Path, ...]) -> DataSource:
        """Return the line of the catalogue."""
        location, availability = self._find(directories)
        return DataSource(
            self.name,
            self.description,
            self.licence,
            (1, 28, 28),
            self.counts,
            availability,
            location,
        )

    def load(self, directories: tuple[Path, ...], validation_size: int | None) -> Dataset:
        """Read the files, from the first place that has all four, else after a download."""
        folder, _ = self._find(directories)
        if folder is None:
            folder = download(self.name, self.sha256, self.mirrors, self.folders)
        return read_splits(self.name, lambda file: self._read(folder / file), validation_size)

    def _find(self, directories: tuple[Path, ...]) -> tuple[Path | None, Availability]:
        for directory in directories:
            for folder in (directory / name for name in self.folders):
                if all((folder / file).is_file() for file in self.sha256):
                    return folder, "data directory"
        folder = cache_dir() / self.name
        return (folder, "cache") if folder.is_dir() else (None, "download")

    def _read(self, path: Path) -> tuple[str, bytes]:
        raw = _read_bytes(path)
        found, known = hashlib.sha256(raw).hexdigest(), self.sha256[path.name]
        if found != known:
            # A file cut short or of another kind is better named as such.
            idx.parse(raw, str(path), dimensions=_dimensions(path.name))
            raise HebaeError(
                f"{path} has SHA-256 {found}, but the original of {self.name} has {known}: "
                "remove it, or give its folder as a path to use it all the same."
            )
        return str(path), raw


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds training images in an idx file, gzip or plain."""
    images = folder / FILES["train"][0]
    return images.is_file() or images.with_suffix("").is_file()


def load_idx_folder(folder: Path, validation_size: int | None) -> Dataset:
    """Read a user's own four idx files, gzip or plain, of which no checksum is known."""

    def read(file: str) -> tuple[str, bytes]:
        path = folder / file
        if not path.is_file():
            path = path.with_suffix("")
        return str(path), _read_bytes(path)

    return read_splits(folder.name, read, validation_size)


def read_splits(
    name: str, read: Callable[[str], tuple[str, bytes]], validation_size: int | None
) -> Dataset:
    """Make a data set of four idx files.

    Parameters
    ----------
    name : str
    read : callable
        Takes one of the names in `FILES`; gives what messages call the file, and its content.
    validation_size : int, optional
        How many of the last training images become the validation split; none by default.
    """
    splits = {}
    for split, (image_file, label_file) in FILES.items():
        images, labels = _parse(read, image_file), _parse(read, label_file)
        if len(images) != len(labels):
            raise HebaeError(
                f"{read(label_file)[0]} holds {len(labels):,} labels, but there are "
                f"{len(images):,} images in {image_file}: the two must match."
            )
        splits[split] = Examples(images[:, None], labels.astype(np.int64))
    dataset = Dataset(name, splits["train"], None, splits["test"], fingerprint(splits))
    return hold_out(dataset, validation_size, last=True)


def _parse(read: Callable[[str], tuple[str, bytes]], file: str) -> np.ndarray:
    path, raw = read(file)
    return idx.parse(raw, path, dimensions=_dimensions(file))


def _dimensions(file: str) -> int:
    return 3 if "idx3" in file else 1


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HebaeError(
            f"{path} cannot be read ({error.strerror}): all of {', '.join(sum(FILES.values(), ()))}"
            " are needed, with or without .gz."
        ) from error
