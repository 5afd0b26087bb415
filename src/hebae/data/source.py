"""What a named data set tells about itself, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from hebae.data.examples import Dataset

Availability = Literal["embedded", "data directory", "cache", "download", "by hand"]
"""Where the data are: "download" means on first use, "by hand" that no program may fetch them."""


@dataclass(frozen=True)
class DataSource:
    """One line of the catalogue.

    Parameters
    ----------
    name, description, licence : str
    shape : tuple of int
        Shape of one example.
    counts : mapping of str to int
        Number of examples of each official split.
    availability : str
        "embedded", "data directory", "cache", "download" or "by hand".
    location : Path, optional
        Where on this machine, if it is here as files.
    """

    name: str
    description: str
    licence: str
    shape: tuple[int, ...]
    counts: Mapping[str, int]
    availability: Availability
    location: Path | None = None


class NamedSource(Protocol):
    """A data set with a name of its own, as listed in `hebae.data.registry`."""

    @property
    def name(self) -> str:
        """The name that users give."""

    def describe(self, directories: tuple[Path, ...]) -> DataSource:
        """Return its line of the catalogue, given the data directories to look in."""

    def load(self, directories: tuple[Path, ...], validation_size: int | None) -> Dataset:
        """Return its splits, given the data directories to look in."""
