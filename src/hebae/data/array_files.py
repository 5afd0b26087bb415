"""Arrays in files: .npy (memory-mapped) and .npz."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from hebae.data.arrays import as_values
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.errors import HebaeError

VALUE_KEYS = {
    "train": ("train", "x_train", "X"),
    "validation": ("validation", "x_validation"),
    "test": ("test", "x_test"),
}
LABEL_KEYS = {
    "train": ("train_labels", "y_train", "labels", "y"),
    "validation": ("validation_labels", "y_validation"),
    "test": ("test_labels", "y_test"),
}


def load_npy(path: Path) -> Dataset:
    """Read one array, memory-mapped read-only where its type needs no conversion."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # never unpickles
    except (ValueError, EOFError, OSError) as error:
        raise _unreadable(path, error) from error
    train = Examples(as_values(array, str(path)))
    return Dataset(path.name, train, None, None, fingerprint({"train": train}))


def load_npz(path: Path) -> Dataset:
    """Read splits and labels, whose keys are in `VALUE_KEYS` and `LABEL_KEYS`.

    A single array may have any key.

    Raises
    ------
    HebaeError
        If the file or an array cannot be read or is no data, or if a key is unknown, missing or
        given twice under different names.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            arrays = {} if isinstance(archive, np.ndarray) else dict(archive)
    # zipfile raises RuntimeError for encryption and for unknown compression.
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise _unreadable(path, error) from error
    if isinstance(archive, np.ndarray):
        raise HebaeError(f"{path} has the content of a .npy file: rename it to .npy.")
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # bytes, of a member that is not a .npy file
            raise _unreadable(path, ValueError(f"{key} is not an array"))

    if len(arrays) == 1:
        arrays = {"train": next(iter(arrays.values()))}
    values, labels = (
        {split: _take(arrays, names, path) for split, names in keys.items()}
        for keys in (VALUE_KEYS, LABEL_KEYS)
    )
    orphans = [split for split in labels if labels[split] is not None and values[split] is None]
    if arrays or orphans or values["train"] is None:
        listed, listed_labels = (
            "; ".join(" or ".join(names) for names in keys.values())
            for keys in (VALUE_KEYS, LABEL_KEYS)
        )
        raise HebaeError(
            f"{path} holds {', '.join(archive.files) or 'nothing'}, which is no data set: allowed "
            f"are a single array, or {listed}, with labels {listed_labels}, and at least a "
            "training split."
        )
    splits = {}
    for split, array in values.items():
        if array is None:
            continue
        array = as_values(array, f"{path} ({split})")
        numbers = labels[split]
        if numbers is not None:
            if numbers.shape != (len(array),) or numbers.dtype.kind not in "iub":
                raise HebaeError(
                    f"{path} ({split}) has labels of type {numbers.dtype} and shape "
                    f"{numbers.shape}: labels must be integers of shape ({len(array)},), one per "
                    "example."
                )
            numbers = numbers.astype(np.int64)
        splits[split] = Examples(array, numbers)
    train, validation, test = (splits.get(name) for name in ("train", "validation", "test"))
    assert train is not None
    return Dataset(path.name, train, validation, test, fingerprint(splits))


def _take(arrays: dict[str, np.ndarray], keys: tuple[str, ...], path: Path) -> np.ndarray | None:
    """Remove and return the array that has one of the keys, if there is one."""
    present = [key for key in keys if key in arrays]
    if len(present) > 1:
        raise HebaeError(f"{path} holds both {present[0]} and {present[1]}: keep one of them.")
    return arrays.pop(present[0]) if present else None


def _unreadable(path: Path, error: Exception) -> HebaeError:
    return HebaeError(
        f"{path} cannot be read as NumPy arrays of numbers ({error}): write it with numpy.save or "
        "numpy.savez, without Python objects."
    )
