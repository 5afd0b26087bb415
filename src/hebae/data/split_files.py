"""Large memory-mapped examples, split at random without being brought into memory."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hebae.data.cache import cached_folder
from hebae.data.examples import Examples, blocks

LARGE = 2 * 2**30
"""Bytes from which a split is made on disk: what lies below fits into any machine's memory."""

_NAMES = ("kept.npy", "drawn.npy")


def split_on_disk(
    examples: Examples, drawn: npt.NDArray[np.int64], fingerprint: str
) -> tuple[Examples, Examples]:
    """Write drawn examples, and the others, into files of the cache, and map those.

    The first call reads `examples` in order, twice, and takes as much room on disk as they do;
    later ones open what is there.

    Parameters
    ----------
    examples : Examples
    drawn : ndarray of int, shape (count,)
        In rising order.
    fingerprint : str
        Of the data that the examples belong to.

    Returns
    -------
    kept, drawn : Examples
        Memory-mapped read-only, in their former order.

    Raises
    ------
    HebaeError
        If the cache cannot be written.
    """
    is_drawn = np.zeros(len(examples), bool)
    is_drawn[drawn] = True
    key = hashlib.sha256(fingerprint.encode() + np.packbits(is_drawn).tobytes()).hexdigest()
    build = partial(_write, values=examples.values, is_drawn=is_drawn)
    folder = cached_folder(f"splits/{key[:32]}", build)
    kept, taken = (
        Examples(
            np.load(folder / name, mmap_mode="r"),
            None if examples.labels is None else examples.labels[chosen],
        )
        for name, chosen in zip(_NAMES, (~is_drawn, is_drawn), strict=True)
    )
    return kept, taken


def _write(folder: Path, values: np.ndarray, is_drawn: npt.NDArray[np.bool_]) -> None:
    for name, chosen in zip(_NAMES, (~is_drawn, is_drawn), strict=True):
        with (folder / name).open("wb") as file:
            shape = (int(chosen.sum()), *values.shape[1:])
            header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start = 0
            for block in blocks(values):
                file.write(block[chosen[start : start + len(block)]].tobytes())
                start += len(block)
