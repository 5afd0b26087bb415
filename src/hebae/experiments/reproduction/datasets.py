"""The data of the runs, each loaded once."""

from __future__ import annotations

from pathlib import Path

from hebae.config import Settings
from hebae.data import Dataset, load

__all__ = ["Datasets"]


class Datasets:
    """Loads what is asked for, and keeps it.

    Parameters
    ----------
    data_dir : Path, optional
        Folder that holds data files.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self.data_dir = data_dir
        self._kept: dict[tuple[str, int | None], Dataset] = {}

    def of(self, settings: Settings) -> Dataset:
        """Return the data that a run is trained on; a HebaeError if they are not there."""
        key = (settings.data, settings.validation_size)
        if key not in self._kept:
            self._kept[key] = load(
                settings.data, data_dir=self.data_dir, validation_size=settings.validation_size
            )
        return self._kept[key]
