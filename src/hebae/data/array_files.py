"""Arrays in files: .npy, memory-mapped, and .npz."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hebae.data.arrays import as_labels, as_values
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
    """Read splits and labels from an archive of arrays.

    The arrays are recognised by the keys in `VALUE_KEYS` and `LABEL_KEYS`; an only array may have
    any key.

    Raises
    ------
    HebaeError
        If the file or an array cannot be read or is not fit to be data, or if a key is not known,
        missing or given twice in other words.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise HebaeError(f"{path} is a .npy file by its content: rename it to .npy.")
            with archive:
                arrays = {key: archive[key] for key in archive.files}
    # The last is what zipfile raises for encryption and for compression that it does not know.
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise _unreadable(path, error) from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # bytes, of a member that is no .npy file
            raise _unreadable(path, ValueError(f"{key} is not an array"))

    if len(arrays) == 1:
        arrays = {"train": next(iter(arrays.values()))}
    values = {split: _take(arrays, keys, path) for split, keys in VALUE_KEYS.items()}
    labels = {split: _take(arrays, keys, path) for split, keys in LABEL_KEYS.items()}
    orphans = [split for split in labels if labels[split] is not None and values[split] is None]
    if arrays or orphans or values["train"] is None:
        raise HebaeError(
            f"{path} holds arrays that make no data set ({', '.join(archive.files)}): {_allowed()}."
        )

    splits = {
        split: _examples(array, labels[split], f"{path} ({split})")
        for split, array in values.items()
        if array is not None
    }
    return Dataset(
        path.name,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        fingerprint(splits),
    )


def _take(arrays: dict[str, Any], keys: tuple[str, ...], path: Path) -> np.ndarray | None:
    """Remove and return the array that has one of the keys, if there is one."""
    found = [key for key in keys if key in arrays]
    if len(found) > 1:
        raise HebaeError(f"{path} holds both {found[0]} and {found[1]}: keep one of them.")
    return arrays.pop(found[0]) if found else None


def _examples(values: np.ndarray, labels: np.ndarray | None, source: str) -> Examples:
    values = as_values(values, source)
    if labels is None:
        return Examples(values)
    return Examples(values, as_labels(labels, len(values), f"{source} labels"))


def _allowed() -> str:
    def listed(keys: dict[str, tuple[str, ...]]) -> str:
        return "; ".join(" or ".join(names) for names in keys.values())

    return (
        f"allowed are a single array, or {listed(VALUE_KEYS)}, "
        f"with labels {listed(LABEL_KEYS)}, and at least a training split"
    )


def _unreadable(path: Path, error: Exception) -> HebaeError:
    return HebaeError(
        f"{path} cannot be read as NumPy arrays of numbers ({error}): write it with numpy.save or "
        "numpy.savez, without Python objects."
    )
