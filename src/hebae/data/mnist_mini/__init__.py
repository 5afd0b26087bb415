"""mnist-mini: a part of MNIST that comes with the package, so that all works without a network."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from hebae.data.examples import Dataset
from hebae.data.idx_source import read_splits
from hebae.data.source import DataSource

COUNTS = {"train": 10_000, "test": 2_000}


class MnistMini:
    """The first 10,000 training and 2,000 test images of MNIST; see LICENSE.md."""

    name = "mnist-mini"

    def describe(self, directories: tuple[Path, ...]) -> DataSource:
        """Return the line of the catalogue."""
        return DataSource(
            self.name,
            "First images of MNIST, within the package",
            "CC BY-SA 3.0",
            (1, 28, 28),
            COUNTS,
            "embedded",
        )

    def load(self, directories: tuple[Path, ...], validation_size: int | None) -> Dataset:
        """Read the files that lie beside this one."""
        folder = resources.files(__name__)

        def read(file: str) -> tuple[str, bytes]:
            return f"{self.name}/{file}", folder.joinpath(file).read_bytes()

        return read_splits(self.name, read, validation_size)


MNIST_MINI = MnistMini()
