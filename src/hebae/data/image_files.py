"""Folders, tar and zip files of images, behind one interface; nothing is ever extracted."""

from __future__ import annotations

import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from hebae.errors import HebaeError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_END_BYTES = 2**20
_TAR_BLOCK = 512
_TAR_ERRORS = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)
# The last is what zipfile raises for encryption and for compression that it does not know.
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError)
_Member = TypeVar("_Member")


class ImageFiles(Protocol):
    """Where image files lie."""

    path: Path

    def key(self) -> str:
        """Return what changes when the files do, found without reading them all."""

    def names(self) -> list[str]:
        """Return the names of the image files, relative and in order."""

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Give the name and content of each of these files, in the order of their storage."""


def open_images(path: Path) -> ImageFiles:
    """Return the image files of a folder, tar or zip file."""
    if path.is_dir():
        return _Folder(path)
    return _Zip(path) if path.suffix.lower() == ".zip" else _Tar(path)


def is_archive(path: Path) -> bool:
    """Whether a file's name says that it is a tar or zip file."""
    return path.name.lower().endswith((".zip", *TAR_SUFFIXES))


class _Folder:
    """Image files below a folder; the key is made of their names, sizes and times."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def key(self) -> str:
        return hashlib.sha256(repr(self._stamps).encode()).hexdigest()

    def names(self) -> list[str]:
        return [name for name, _, _ in self._stamps]

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            try:
                content = (self.path / name).read_bytes()
            except OSError as error:
                raise HebaeError(
                    f"{self.path / name} cannot be read ({error.strerror}): repair or remove it."
                ) from error
            yield name, content

    @cached_property
    def _stamps(self) -> list[tuple[str, int, int]]:
        try:
            return sorted(_walk(self.path))
        except OSError as error:
            raise HebaeError(
                f"{error.filename} cannot be read ({error.strerror}): repair or remove it."
            ) from error


def _walk(folder: str | Path, below: str = "") -> Iterator[tuple[str, int, int]]:
    """Give the relative name, size in bytes and time in nanoseconds of each image file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + entry.name
            if entry.is_dir():
                yield from _walk(entry.path, f"{name}/")
            elif _is_image(name):
                status = entry.stat()
                yield name, status.st_size, status.st_mtime_ns


class _Archive:
    """What tar and zip files share.

    The key is made of the size, the time of the last change, and the first and last MiB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def key(self) -> str:
        try:
            status = self.path.stat()
            with self.path.open("rb") as file:
                first = file.read(_END_BYTES)
                file.seek(max(0, status.st_size - _END_BYTES))
                last = file.read()
        except OSError as error:
            raise self._unreadable(error) from error
        stamp = f"{status.st_size} {status.st_mtime_ns} ".encode()
        return hashlib.sha256(stamp + first + last).hexdigest()

    def _unreadable(self, error: Exception) -> HebaeError:
        return HebaeError(
            f"{self.path} is no whole archive that can be read ({error}): fetch or make it again."
        )


class _Tar(_Archive):
    """Image files in a tar file, compressed or not."""

    def names(self) -> list[str]:
        return sorted(self._index)

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        try:
            with tarfile.open(self.path) as tar:
                for name in sorted(names, key=lambda name: self._index[name].offset):
                    member = tar.extractfile(self._index[name])
                    assert member is not None  # the index holds files only
                    yield name, member.read()
        except _TAR_ERRORS as error:
            raise self._unreadable(error) from error

    @cached_property
    def _index(self) -> dict[str, tarfile.TarInfo]:
        try:
            with tarfile.open(self.path) as tar:
                members = {member.name: member for member in tar.getmembers() if member.isreg()}
        except _TAR_ERRORS as error:
            raise self._unreadable(error) from error
        if self.path.suffix.lower() == ".tar":
            self._require_end_mark()
        return _images_below_common_folder(members)

    def _require_end_mark(self) -> None:
        """Refuse a file cut short between two members, which tarfile would take for whole."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - _TAR_BLOCK))
            if any(file.read()):
                raise self._unreadable(EOFError("its end is missing"))


class _Zip(_Archive):
    """Image files in a zip file."""

    def names(self) -> list[str]:
        return sorted(self._index)

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                for name in sorted(names, key=lambda name: self._index[name].header_offset):
                    yield name, archive.read(self._index[name])
        except _ZIP_ERRORS as error:
            raise self._unreadable(error) from error

    @cached_property
    def _index(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = {member.filename: member for member in archive.infolist()}
        except _ZIP_ERRORS as error:
            raise self._unreadable(error) from error
        return _images_below_common_folder(members)


def _is_image(name: str) -> bool:
    """Whether a name is that of an image, and not of a hidden file or of macOS's own data."""
    hidden = "/." in f"/{name}" or name.startswith("__MACOSX/")
    return name.lower().endswith(SUFFIXES) and not hidden


def _images_below_common_folder(members: dict[str, _Member]) -> dict[str, _Member]:
    """Keep the images, named from below the one folder that often holds all of an archive."""
    images = {str(PurePosixPath(name)): member for name, member in members.items()}
    images = {name: member for name, member in images.items() if _is_image(name)}
    folders = {PurePosixPath(name).parts[0] for name in images}
    if len(folders) == 1 and not any(name in folders for name in (*images, *SPLIT_FOLDERS)):
        return {str(PurePosixPath(*PurePosixPath(name).parts[1:])): images[name] for name in images}
    return images
