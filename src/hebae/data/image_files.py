"""Image files in folders, tar and zip files; their names give splits and labels.

Archives are read in place, never extracted.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from hebae.data.decoding import UnreadableImage, listed
from hebae.errors import HebaeError
from hebae.files import decompressed, read_bytes, reading, require_allowed, require_file

SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""Split by the name of its folder in lower case."""
MOST_BYTES = 2**28
"""Bytes of the largest image file that is read."""
_END_BYTES = 2**20
_DECOMPRESSORS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""By the first bytes of a file."""
_LARGEST_RATIO = 300
"""Largest allowed ratio of the size of image files to that of the compressed archive."""


class _Folder:
    """Image files below a folder; the key hashes their names, sizes and times."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _files(self) -> dict[str, tuple[str, int, int]]:
        """Path, size in bytes and time in nanoseconds of each visible file, by name."""
        try:
            return dict(sorted(_walk(self.path)))
        except OSError as error:
            raise HebaeError(
                f"{error.filename} cannot be read ({error.strerror}): change its permissions, or "
                "move it away."
            ) from error

    def key(self) -> str:
        files = [(name, *stamp) for name, (_, *stamp) in self._files.items() if _is_image(name)]
        return hashlib.sha256(repr((files, self.others())).encode()).hexdigest()

    def names(self) -> list[str]:
        return [name for name in self._files if _is_image(name)]

    def others(self) -> list[str]:
        return [name for name in self._files if not _is_image(name)]

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | UnreadableImage]]:
        for name in names:
            try:
                yield name, read_bytes(Path(self._files[name][0]), MOST_BYTES)
            except HebaeError as error:
                yield name, UnreadableImage(str(error).rstrip("."))


class _Archive:
    """Image files in a tar or zip file; the key hashes its size, time, first and last MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_zip = path.suffix.lower() == ".zip"

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with reading(self.path, "download or make it again"):
            if self._is_zip:
                with zipfile.ZipFile(self.path) as archive:
                    yield archive
                return
            with self.path.open("rb") as file:
                begin = file.read(6)
            opened = next((o for m, o in _DECOMPRESSORS.items() if begin.startswith(m)), open)
            stream = opened(self.path, "rb")
            if opened is not open:
                most = max(2**30, _LARGEST_RATIO * self.path.stat().st_size)
                stream = decompressed(stream, self.path, most)
            with stream, tarfile.open(fileobj=stream, mode="r:") as archive:
                yield archive

    @cached_property
    def _index(self) -> dict[str, Any]:
        """The visible members by name."""
        with self._open() as archive:
            if self._is_zip:
                members = {m.filename: m for m in archive.infolist() if not m.is_dir()}
                require_allowed(sum(m.file_size for m in members.values()), str(self.path))
            else:
                members = {m.name: m for m in archive.getmembers() if m.isreg()}
                if self.path.suffix.lower() == ".tar":
                    # tarfile does not notice if a file was cut off between two members.
                    archive.fileobj.seek(max(0, self.path.stat().st_size - tarfile.BLOCKSIZE))
                    if any(archive.fileobj.read()):
                        raise EOFError("its end is missing")
        return _below_common_folder(members)

    def key(self) -> str:
        status = require_file(self.path)
        with reading(self.path, "download or make it again"), self.path.open("rb") as file:
            first = file.read(_END_BYTES)
            file.seek(max(0, status.st_size - _END_BYTES))
            last = file.read(_END_BYTES)
        stamp = f"{status.st_size} {status.st_mtime_ns} ".encode()
        return hashlib.sha256(stamp + first + last).hexdigest()

    def names(self) -> list[str]:
        return sorted(name for name in self._index if _is_image(name))

    def others(self) -> list[str]:
        return sorted(name for name in self._index if not _is_image(name))

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | UnreadableImage]]:
        offset = "header_offset" if self._is_zip else "offset"
        with self._open() as archive:
            for name in sorted(names, key=lambda name: getattr(self._index[name], offset)):
                member = self._index[name]
                size = member.file_size if self._is_zip else member.size
                if size > MOST_BYTES:
                    yield name, UnreadableImage(f"it has {size:,} bytes")
                    continue
                with archive.open(member) if self._is_zip else archive.extractfile(member) as file:
                    content = file.read()
                yield name, content


ImageFiles: TypeAlias = _Folder | _Archive
"""The image files in one place: a `key` that changes with them, found without reading all; their
`names`, sorted as text; the names of `others`, which are not images; `read` yields names and
contents, for an archive in storage order. Bytes of names that are not UTF-8 appear as escapes."""


def open_images(path: Path) -> ImageFiles:
    """Return the image files of a folder, tar or zip file."""
    return _Folder(path) if path.is_dir() else _Archive(path)


def is_archive(path: Path) -> bool:
    """Whether a file's name ends like that of a tar or zip file."""
    return path.name.lower().endswith((".zip", *TAR_SUFFIXES))


def _walk(folder: str | Path, below: str = "") -> Iterator[tuple[str, tuple[str, int, int]]]:
    """Yield relative name, and path, size in bytes and time in nanoseconds of each visible file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + _as_text(entry.name)
            if _is_hidden(name):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, f"{name}/")
                continue
            try:
                status = entry.stat()
            except OSError:  # a link to nowhere, which cannot be read either
                yield name, (entry.path, 0, 0)
            else:
                yield name, (entry.path, status.st_size, status.st_mtime_ns)


def _as_text(name: str) -> str:
    """Write bytes that are not UTF-8 as escapes: they can be neither stored nor printed."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _is_hidden(name: str) -> bool:
    """Whether a file or its folder is hidden, or metadata of macOS."""
    return "/." in f"/{name}" or name.startswith("__MACOSX/")


def _below_common_folder(members: dict[str, Any]) -> dict[str, Any]:
    """Keep what is visible, without the one folder that often holds everything in an archive."""
    paths = {PurePosixPath(_as_text(name)): member for name, member in members.items()}
    paths = {path: member for path, member in paths.items() if not _is_hidden(str(path))}
    folders = {path.parts[0] for path in paths if len(path.parts) > 1 and _is_image(path.name)}
    images = [path for path in paths if _is_image(path.name)]
    has_one_folder = len(folders) == 1 and all(len(path.parts) > 1 for path in images)
    if has_one_folder and not any(folder.lower() in SPLIT_FOLDERS for folder in folders):
        top = folders.pop()
        paths = {p.relative_to(top) if p.parts[0] == top else p: m for p, m in paths.items()}
    return {str(path): member for path, member in paths.items()}


class Layout(NamedTuple):
    """Which image files make up each split, in order."""

    splits: Mapping[str, Sequence[str]]
    """Files of "train" and, if present, of "validation" and "test"."""
    labels: Mapping[str, int]
    """Label of each file; empty if there are none."""
    classes: Sequence[str] = ()
    """Names of the labels 0, 1, ..."""


def layout_of_folders(source: str, names: Sequence[str]) -> Layout:
    """Derive splits and labels from the folders of files.

    If there is a folder train/ (or training/), the folders train/, test/ (or testing/) and
    validation/ (or valid/ or val/), in upper or lower case, are the splits, and all files must be
    in them. Folders within a split, or at the top if there are no splits, are classes, numbered
    from 0 by name over all splits; a folder within a class is a class of its own.
    """
    if not names:
        raise HebaeError(f"{source} holds no image: put PNG, JPEG or other image files there.")
    folders = {name: PurePosixPath(name).parts[:-1] for name in names}
    tops = sorted({parts[0] for parts in folders.values() if parts})
    splits: dict[str, list[str]] = {"train": list(names)}
    if split_folders := {top: SPLIT_FOLDERS[top.lower()] for top in tops if _is_split(top)}:
        allowed = {(top,) for top in split_folders}
        if outside := [name for name in names if folders[name][:1] not in allowed]:
            raise HebaeError(
                f"{source} has split folders ({', '.join(split_folders)}), but {_files(outside)} "
                "outside train/, validation/ and test/. Move them into one of these, or elsewhere; "
                "or rename a folder that is a class and not a split."
            )
        for split in split_folders.values():
            same = [top for top, named in split_folders.items() if named == split]
            if len(same) > 1:
                raise HebaeError(
                    f"{source} has {' and '.join(same)}, which both name the {split} split: move "
                    "their files into one folder."
                )
        if "train" not in split_folders.values():
            raise HebaeError(f"{source} has {', '.join(split_folders)} but no train/: add it.")
        splits = {}
        for name in names:
            splits.setdefault(split_folders[folders[name][0]], []).append(name)
        folders = {name: parts[1:] for name, parts in folders.items()}
    elif inner := next((n for n in names if any(map(_is_split, folders[n]))), None):
        raise HebaeError(
            f"{source} has a split folder below the top, in {inner}: give the folder that holds "
            "the split folders, move them to the top, or rename those that are classes."
        )

    classes = {name: "/".join(parts) for name, parts in folders.items() if parts}
    if classes and len(classes) < len(names):
        without = [name for name in names if name not in classes]
        raise HebaeError(
            f"{source} has class folders, but {_files(without)} in none of them: move them into a "
            "class folder, or elsewhere."
        )
    names_of_classes = sorted(set(classes.values()))
    numbers = {folder: number for number, folder in enumerate(names_of_classes)}
    labels = {name: numbers[folder] for name, folder in classes.items()}
    return Layout(splits, labels, names_of_classes)


def _is_split(folder: str) -> bool:
    return folder.lower() in SPLIT_FOLDERS


def _files(names: Sequence[str]) -> str:
    """Name files as the subject of a sentence."""
    one = len(names) == 1
    return f"{names[0]} is" if one else f"{len(names):,} files ({listed(names)}) are"
