"""What a named data set says about itself, and where its files are looked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hebae.data.examples import Dataset
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


@dataclass(frozen=True, kw_only=True)
class NamedSource(DataSource, ABC):
    """A data set with a name, listed in `hebae.data.loading.SOURCES`."""

    availability: Availability = "embedded"
    validation_is_last: bool = False
    """Whether validation examples are the last training examples, not drawn."""
    files: str = ""
    """The files that a data directory must hold, for messages."""

    def find(self, directory: DataDirectory) -> tuple[Availability, Path | None]:
        """Return where the data set is, without loading it."""
        return self.availability, self.location

    @abstractmethod
    def read(self, folder: Path | None) -> Dataset:
        """Return the official splits from the folder that holds the files, if there is one."""

    def load(self, directory: DataDirectory) -> Dataset:
        """Return the official splits, or refuse a named directory that does not hold them all."""
        availability, folder = self.find(directory)
        if availability == "incomplete":
            raise HebaeError(
                f"{folder} holds only a part of {self.name}: complete it, so that it holds "
                f"{self.files}; or remove the files of that part."
            )
        if availability == "absent":
            raise HebaeError(
                f"{directory.path} does not hold {self.name}, and no other place is used when a "
                f"data directory is named: put {self.files} there, or leave out --data-dir "
                "(data_dir)."
            )
        return self.read(folder)


@dataclass(frozen=True)
class DataDirectory:
    """The directory that holds the files of named data sets.

    If it was given as data_dir (--data-dir), no other place is used: neither HEBAE_DATA_DIR nor the
    cache nor a download.
    """

    path: Path | None = None
    is_explicit: bool = False

    def find(
        self, folders: Sequence[str], options: Sequence[set[str]], traces: Sequence[str] = ()
    ) -> tuple[Availability, Path | None]:
        """Return the first of `folders` that holds all files of one of the `options`.

        A folder that holds only some of the files, or one of the names in `traces`, makes the data
        set "incomplete".
        """
        incomplete = None
        for folder in [self.path / name for name in folders] if self.path else []:
            try:
                present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            except OSError as error:
                raise HebaeError(
                    f"{folder} cannot be read ({error.strerror}): change its permissions."
                ) from error
            if any(files <= present for files in options):
                return "data directory", folder
            if not present.isdisjoint(set(traces).union(*options)):
                incomplete = incomplete or folder
        return ("incomplete", incomplete) if incomplete else ("absent", None)
