"""What a named data set says about itself, and where its files are looked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hebae.data.cache import cache_dir
from hebae.data.examples import Dataset
from hebae.data.schema import Column
from hebae.errors import HebaeError

Availability = Literal[
    "embedded", "data directory", "incomplete", "absent", "cache", "download", "by hand"
]


@dataclass(frozen=True)
class DataSource:
    """One entry of the catalogue.

    Parameters
    ----------
    name, description, licence : str
    shape : tuple of int
        Shape of one example.
    counts : mapping of str to int
        Number of examples of each official split.
    availability : str
        "embedded" in the package; in the "data directory" or the "cache"; "download" on first use;
        "by hand": its terms forbid that a program downloads it; "incomplete": some files are
        missing from the data directory; "absent" from a data directory that was named explicitly.
    location : Path, optional
        Its folder on this machine.
    """

    name: str
    description: str
    licence: str
    shape: tuple[int, ...]
    counts: Mapping[str, int]
    availability: Availability
    location: Path | None = None


@dataclass(frozen=True)
class DataDirectory:
    """The directory that holds the files of named data sets.

    If it was given as data_dir (--data-dir), no other place is used: neither HEBAE_DATA_DIR nor the
    cache nor a download.
    """

    path: Path | None = None
    is_explicit: bool = False


@dataclass(frozen=True)
class ReadOptions:
    """What to take from data that hold more than examples, or that can be read in several ways.

    Parameters
    ----------
    layer : str, optional
        AnnData: the layer with the values, or "raw" [default: X].
    label_column : str, optional
        Column of a table or of ``obs`` that gives the labels.
    id_column : str, optional
        Column of a table with the names of the rows.
    column_kinds : tuple of str
        ``NAME=KIND`` for columns of a table: number, count, category, binary, or exclude.
    image_size : int or tuple of two int, optional
        Images: cut the largest centred part of this shape out of each, and resize it, with a
        Lanczos filter, to this width and height in pixels; one number for a square. By default
        all images must have one size.
    image_mode : {"RGB", "L"}, optional
        Convert images to RGB, or to grey levels. By default all must be the same.
    image_background : str, optional
        Colour that transparent images are placed on [default: white].
    skip_unreadable : bool
        Leave out image files that cannot be decoded; `Dataset.notes` lists them.
    columns : tuple of Column, optional
        The columns of a table that a model was trained on: new rows are coded in the same way.
    feature_names : tuple of str, optional
        The names of the features that a model was trained on: these are taken, in this order.
    condition : tuple of str
        Columns of a table or of ``obs`` that are conditions, not features; "label": the labels.
    condition_columns : tuple of Column, optional
        The conditions of a model: new ones are coded in the same way, and may be absent.
    """

    layer: str | None = None
    label_column: str | None = None
    id_column: str | None = None
    column_kinds: tuple[str, ...] = ()
    image_size: int | tuple[int, ...] | None = None
    image_mode: str | None = None
    image_background: str | None = None
    skip_unreadable: bool = False
    columns: tuple[Column, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    condition: tuple[str, ...] = ()
    condition_columns: tuple[Column, ...] | None = None


class Format(NamedTuple):
    """A format of files or of Python objects, listed in `hebae.data.loading`."""

    content: str
    """With an article, for messages."""
    accepts: Callable[[Any], bool]
    read: Callable[[Any, ReadOptions], Dataset]
    options: Set[str] = frozenset()
    """The fields of `ReadOptions` that it takes."""
    validation_is_last: bool = False


@dataclass(frozen=True, kw_only=True)
class NamedSource(DataSource):
    """A data set with a name, listed in `hebae.data.loading.SOURCES`."""

    availability: Availability = "embedded"
    read: Callable[[Any, NamedSource], Dataset]
    """Gives the official splits from the folder that holds the files, or from None."""
    validation_is_last: bool = False
    """Whether validation examples are the last training examples, not drawn."""
    folders: tuple[str, ...] = ()
    """Where the files may be, below a data directory or below the address of a mirror."""
    contents: Sequence[Set[str]] = ()
    """Names of files, by set: each set is the whole data set. None if it needs no files."""
    files: str = ""
    """The files that a data directory must hold, for messages."""
    mirrors: tuple[str, ...] = ()
    """Addresses to which a file's name is added, in the order in which they are tried."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Known checksums of files, by name."""

    def find(self, directory: DataDirectory) -> tuple[Availability, Path | None]:
        """Return where the data set is, without loading it.

        A folder of the data directory that holds only some of the files makes it "incomplete".
        """
        incomplete = None
        # A file without .gz has no known checksum, but shows that the folder is meant.
        traces = {
            part for names in self.contents for n in names for part in (n, n.removesuffix(".gz"))
        }
        # HEBAE_DATA_DIR itself may hold another data set.
        names = dict.fromkeys([*self.folders, *([""] if directory.is_explicit else [])])
        for folder in [directory.path / name for name in names] if directory.path else []:
            try:
                present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            except OSError as error:
                raise HebaeError(
                    f"{folder} cannot be read ({error.strerror}): change its permissions."
                ) from error
            if any(files <= present for files in self.contents):
                return "data directory", folder
            if not present.isdisjoint(traces):
                incomplete = incomplete or folder
        if incomplete:
            return "incomplete", incomplete
        if directory.is_explicit and self.contents:
            return "absent", None
        if self.availability == "download" and (cached := cache_dir() / self.name).is_dir():
            return "cache", cached
        return self.availability, None

    def load(self, directory: DataDirectory) -> Dataset:
        """Return the official splits, or refuse a named directory that does not hold them all."""
        availability, folder = self.find(directory)
        if availability == "incomplete":
            raise HebaeError(
                f"{folder} holds only a part of {self.name}, which needs {self.files.rstrip(',')}. "
                "Add the missing files, or remove the others."
            )
        if availability == "absent":
            raise HebaeError(
                f"{directory.path} does not hold {self.name}, and no other place is used when a "
                f"data directory is named: put {self.files} there, or leave out --data-dir "
                "(data_dir)."
            )
        if availability == "by hand":
            raise HebaeError(
                f"{self.name} was not found and may not be downloaded automatically: put "
                f"{self.files} into a directory and name it with --data-dir or HEBAE_DATA_DIR."
            )
        return self.read(folder, self)
