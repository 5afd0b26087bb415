"""For maintainers: remake the files beside this one from the originals.

Run `python -m hebae.data.mnist_mini.remake DIRECTORY`, where DIRECTORY holds MNIST.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from hebae.data import idx
from hebae.data.idx_source import FILES
from hebae.data.mnist import MNIST
from hebae.data.mnist_mini import COUNTS


def remake(originals: Path, target: Path) -> None:
    """Write the first images and labels of each split of MNIST, with no time of writing."""
    MNIST.load((originals,), validation_size=None)  # refuses other than the original files
    for split, files in FILES.items():
        for file, dimensions in zip(files, (3, 1), strict=True):
            original = originals / file
            array = idx.parse(original.read_bytes(), file, dimensions=dimensions)
            content = idx.serialise(array[: COUNTS[split]])
            (target / file).write_bytes(gzip.compress(content, 9, mtime=0))


if __name__ == "__main__":
    remake(Path(sys.argv[1]), Path(__file__).parent)
