"""Remake the files of mnist-mini from the original MNIST.

Run `python tools/remake_mnist_mini.py DIRECTORY [TARGET]`, where DIRECTORY holds MNIST.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from hebae.data import idx
from hebae.data.idx import MNIST, MNIST_MINI
from hebae.data.source import DataDirectory

TARGET = Path(__file__).parents[1] / "src/hebae/data/mnist_mini"


def remake(originals: Path, target: Path = TARGET) -> None:
    """Write the first images and labels of each split of MNIST, without a time stamp."""
    directory = DataDirectory(originals, is_explicit=True)
    MNIST.load(directory)  # checks that these are the original files
    _, folder = MNIST.find(directory)
    assert folder is not None
    for split, files in idx.FILES.items():
        for file, dimensions in zip(files, (3, 1), strict=True):
            array = idx.parse((folder / file).read_bytes(), file, dimensions=dimensions)
            content = idx.serialise(array[: MNIST_MINI.counts[split]])
            (target / file).write_bytes(gzip.compress(content, 9, mtime=0))


if __name__ == "__main__":
    remake(*map(Path, sys.argv[1:]))
