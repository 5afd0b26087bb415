"""Image files in folders, tar and zip files; their names give splits and labels.

Archives are read in place, never extracted.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

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
_ARCHIVE_ERRORS = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError),
    RuntimeError,  # raised by zipfile for encryption and for unknown compression
)


class _Folder:
    """Image files below a folder; the key hashes their names, sizes and times."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _stamps(self) -> list[tuple[str, int, int]]:
        try:
            return sorted(_walk(self.path))
        except OSError as error:
            raise _unreadable(error.filename, error) from error

    def key(self) -> str:
        return hashlib.sha256(repr(self._stamps).encode()).hexdigest()

    def names(self) -> list[str]:
        return [name for name, _, _ in self._stamps]

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            try:
                content = (self.path / name).read_bytes()
            except OSError as error:
                raise _unreadable(self.path / name, error) from error
            yield name, content


class _Archive:
    """Image files in a tar or zip file; the key hashes its size, time, first and last MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_zip = path.suffix.lower() == ".zip"

    def _open(self) -> Any:
        return zipfile.ZipFile(self.path) if self._is_zip else tarfile.open(self.path)

    @cached_property
    def _index(self) -> dict[str, Any]:
        """The members that are images, by name."""
        try:
            with self._open() as archive:
                if self._is_zip:
                    members = {member.filename: member for member in archive.infolist()}
                else:
                    members = {m.name: m for m in archive.getmembers() if m.isreg()}
            if self.path.suffix.lower() == ".tar":
                # tarfile does not notice if a file was cut off between two members.
                with self.path.open("rb") as file:
                    file.seek(max(0, self.path.stat().st_size - tarfile.BLOCKSIZE))
                    if any(file.read()):
                        raise EOFError("its end is missing")
        except _ARCHIVE_ERRORS as error:
            raise self._damaged(error) from error
        return _images_below_common_folder(members)

    def key(self) -> str:
        try:
            status = self.path.stat()
            with self.path.open("rb") as file:
                first = file.read(_END_BYTES)
                file.seek(max(0, status.st_size - _END_BYTES))
                last = file.read()
        except OSError as error:
            raise self._damaged(error) from error
        stamp = f"{status.st_size} {status.st_mtime_ns} ".encode()
        return hashlib.sha256(stamp + first + last).hexdigest()

    def names(self) -> list[str]:
        return sorted(self._index)

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        offset = "header_offset" if self._is_zip else "offset"
        try:
            with self._open() as archive:
                for name in sorted(names, key=lambda name: getattr(self._index[name], offset)):
                    member = self._index[name]
                    with archive.open(member) if self._is_zip else archive.extractfile(member) as f:
                        yield name, f.read()
        except _ARCHIVE_ERRORS as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> HebaeError:
        return HebaeError(
            f"{self.path} is not a complete archive that can be read ({error}): download or make "
            "it again."
        )


ImageFiles: TypeAlias = _Folder | _Archive
"""The image files in one place: a `key` that changes with them, found without reading all; their
`names`, sorted; `read` yields names and contents, for an archive in storage order."""


def open_images(path: Path) -> ImageFiles:
    """Return the image files of a folder, tar or zip file."""
    return _Folder(path) if path.is_dir() else _Archive(path)


def is_archive(path: Path) -> bool:
    """Whether a file's name ends like that of a tar or zip file."""
    return path.name.lower().endswith((".zip", *TAR_SUFFIXES))


def _unreadable(path: Path | str, error: OSError) -> HebaeError:
    return HebaeError(f"{path} cannot be read ({error.strerror}): repair or remove it.")


def _walk(folder: str | Path, below: str = "") -> Iterator[tuple[str, int, int]]:
    """Yield relative name, size in bytes and time in nanoseconds of each image file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + entry.name
            if entry.is_dir():
                yield from _walk(entry.path, f"{name}/")
            elif _is_image(name):
                status = entry.stat()
                yield name, status.st_size, status.st_mtime_ns


def _is_image(name: str) -> bool:
    """Whether a name is that of an image, and not of a hidden file or of macOS metadata."""
    hidden = "/." in f"/{name}" or name.startswith("__MACOSX/")
    return name.lower().endswith(SUFFIXES) and not hidden


def _images_below_common_folder(members: dict[str, Any]) -> dict[str, Any]:
    """Keep the images, without the one folder that often holds everything in an archive."""
    images = {PurePosixPath(name): member for name, member in members.items()}
    images = {path: member for path, member in images.items() if _is_image(str(path))}
    folders = {path.parts[0] for path in images if len(path.parts) > 1}
    has_one_folder = len(folders) == 1 and all(len(path.parts) > 1 for path in images)
    if has_one_folder and folders.isdisjoint(SPLIT_FOLDERS):
        images = {PurePosixPath(*path.parts[1:]): member for path, member in images.items()}
    return {str(path): member for path, member in images.items()}


class Layout(NamedTuple):
    """Which image files make up each split, in order."""

    splits: Mapping[str, Sequence[str]]
    """Files of "train" and, if present, of "validation" and "test"."""
    labels: Mapping[str, int]
    """Label of each file; empty if there are none."""


def layout_of_folders(source: str, names: Sequence[str]) -> Layout:
    """Derive splits and labels from the folders of files.

    If there is a folder train/, the folders train/, test/ and validation/ (or valid/ or val/) are
    the splits, and all files must be in them. Folders within a split, or at the top if there are
    no splits, are classes, numbered from 0 by name over all splits.
    """
    if not names:
        raise HebaeError(f"{source} holds no image: put PNG, JPEG or other image files there.")
    parts = {name: PurePosixPath(name).parts for name in names}
    folders = {folders[0] for folders in parts.values() if len(folders) > 1}
    splits: dict[str, list[str]] = {"train": list(names)}
    if not folders.isdisjoint(SPLIT_FOLDERS):
        splits = {}
        for name in names:
            folder, *below = parts[name]
            if not below or folder not in SPLIT_FOLDERS:
                raise HebaeError(
                    f"{source} has split folders, but {name} is outside train/, validation/ and "
                    "test/: move it into one of them, or away."
                )
            splits.setdefault(SPLIT_FOLDERS[folder], []).append(name)
            parts[name] = tuple(below)
        if "train" not in splits:
            raise HebaeError(f"{source} has {', '.join(sorted(folders))} but no train/: add it.")

    classes = {name: below[0] for name, below in parts.items() if len(below) > 1}
    if classes and len(classes) < len(names):
        odd = next(name for name in names if name not in classes)
        raise HebaeError(
            f"{source} has class folders, but {odd} is in none of them: move it into one, or away."
        )
    numbers = {folder: number for number, folder in enumerate(sorted(set(classes.values())))}
    return Layout(splits, {name: numbers[folder] for name, folder in classes.items()})
