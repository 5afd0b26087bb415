"""Read arrays, tensors, .npy and .npz files: the types that are used, converted or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hebae.data.examples import Dataset, Examples, blocks, fingerprint
from hebae.errors import HebaeError
from hebae.files import reading, require_memory

_CHANNELS = (1, 2, 3, 4)
_FEWEST_ROWS = 5  # of an image
_WRITE_AGAIN = "write it with numpy.save or numpy.savez, as numbers and not as Python objects"
_LARGEST = 1e18  # its square is still finite in float32
_KEYS = {
    "train": ("train", "x_train", "X"),
    "validation": ("validation", "x_validation"),
    "test": ("test", "x_test"),
}
_ENTRY_KEYS = ("x", "X", "image", "images", "pixel_values", "features", "data", "input", "inputs")
_LABEL_KEYS = {
    "train": ("train_labels", "y_train", "labels", "y"),
    "validation": ("validation_labels", "y_validation"),
    "test": ("test_labels", "y_test"),
}


def from_array(data: Any) -> Dataset:
    """Make a data set of an array or tensor in memory; see `as_values` for the allowed ones."""
    name = "tensor" if _is_tensor(data) else "array"
    train = as_examples(data, f"The {name}")
    return Dataset(name, train, None, None, fingerprint({"train": train}))


def as_examples(data: Any, source: str) -> Examples:
    """Make examples of an array or tensor, as `as_values` does; integers stay numbers.

    Masked entries of a masked array are missing values.
    """
    missing = None
    if np.ma.is_masked(data):
        mask = np.ma.getmaskarray(data)
        missing, data = (mask[:, None] if mask.ndim == 3 else mask), data.filled(0)
    array = _as_array(data, source)
    whole = array.dtype.kind in "iu" and array.dtype != np.uint8
    return Examples(as_values(data, source), missing=missing, pixels=False if whole else None)


def batch_name(number: int) -> str:
    """Name a batch, counted from 1, for messages."""
    return f"batch {number:,} of the DataLoader"


def from_batch(batch: Any, number: int, pixels: bool | None = None) -> Examples:
    """Make examples of a batch of a DataLoader, counted from 1; see `entry_of`.

    `pixels` says whether uint8 values are grey levels, where that is known.
    """
    source = batch_name(number)
    entry = entry_of(batch, source)
    if not hasattr(entry, "shape"):
        raise HebaeError(
            f"{source} is a {type(batch).__name__}"
            f"{'' if entry is batch else f' that begins with a {type(entry).__name__}'}; it must "
            "be a tensor or array of examples, or a tuple, list or dict that holds one."
        )
    if number > 1 and len(entry.shape) == 3:
        entry = entry[:, None]  # grey images: the last 3 or 4 are not one in colour
    examples = as_examples(entry, source)
    if pixels is not None and examples.values.dtype == np.uint8:
        return replace(examples, pixels=pixels)
    return examples


def as_values(data: Any, source: str) -> np.ndarray:
    """Convert an array or tensor to the form of `Examples.values`, without a copy if possible.

    An ndarray, a tensor, a list, or an object with ``__array__``, such as a pandas data frame, of
    shape (n, d), (n, h, w) or (n, c, h, w); grey images (n, h, w) get one channel. uint8 stays;
    other numbers and bool become float32; NaN stands for a missing number. `source` names the
    data in messages.
    """
    array = _as_array(data, source)
    if array.dtype.kind not in "biuf":
        raise HebaeError(
            f"{source} has type {array.dtype}, but only real numbers can be read: give rows of one "
            "length, as uint8 (0..255) or float32."
        )
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise HebaeError(
            f"{source} has shape {array.shape}: allowed are (n, d), (n, h, w) and (n, c, h, w), "
            "with no dimension of size 0."
        )
    if array.ndim == 3:
        n, rows, columns = array.shape
        if n in (3, 4) and min(rows, columns) >= _FEWEST_ROWS:
            raise HebaeError(
                f"{source} has shape {array.shape}, which is one image of {n} channels, or {n} "
                f"grey images. Reshape one image to {(1, *array.shape)}, with x[None] in NumPy, "
                f"or grey images to {(n, 1, rows, columns)}, with x[:, None]."
            )
        if columns in (3, 4) and min(n, rows) >= _FEWEST_ROWS:
            raise HebaeError(
                f"{source} has shape {array.shape}, which is one image with its {columns} channels "
                f"last, or {n:,} images {columns} pixels wide. Reshape one image to "
                f"{(1, columns, n, rows)}, with x.transpose(2, 0, 1)[None] in NumPy, or rows of "
                f"numbers to {(n, rows * columns)}, with x.reshape(len(x), -1)."
            )
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in _CHANNELS and array.shape[1] not in _CHANNELS:
        raise HebaeError(
            f"{source} has shape {array.shape}, with the {array.shape[3]} channels last: transpose "
            "it to (n, c, h, w), with .transpose(0, 3, 1, 2) in NumPy."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iu":
        if array.ndim > 2:
            raise HebaeError(
                f"{source} holds images of the integer type {array.dtype}, which does not say what "
                "the numbers mean: give uint8 for grey levels from 0 (black) to 255 (white), or "
                "float32 for numbers that are taken as they are."
            )
        largest = max(abs(int(array.max())), abs(int(array.min())))
        if largest >= 2**24:
            raise HebaeError(
                f"{source} holds integers up to {largest:,}, but models compute in float32, which "
                f"represents all integers only below {2**24:,}. Give scaled floats."
            )
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        array = array.astype(np.float32, copy=False)
    count, first, start = 0, None, 0
    for block in blocks(array):
        wrong = np.abs(block) > _LARGEST  # false for NaN
        if wrong.any():
            count += int(wrong.sum())
            if first is None:
                row, *rest = (int(position) for position in np.argwhere(wrong)[0])
                first = (start + row, *rest)
        start += len(block)
    if count:
        raise HebaeError(
            f"{source} holds {count:,} value(s) that are infinite or beyond {_LARGEST:.0e} in "
            f"absolute value, the first at index {first}: remove, replace or scale them."
        )
    return array


def entry_of(item: Any, name: str) -> Any:
    """Return the examples in a batch, or the example in an item, of a torch data set.

    That is the item itself, the first entry of a tuple or list, or one entry of a dict: the only
    array, or the entry with a usual key such as "image". `name` names the item in messages.
    """
    if isinstance(item, tuple | list):
        if not item:
            raise HebaeError(f"{name} is an empty {type(item).__name__}: it must hold an example.")
        return item[0]
    if not isinstance(item, Mapping):
        return item
    arrays = [key for key, value in item.items() if getattr(value, "shape", ()) or _is_image(value)]
    known = [key for key in _ENTRY_KEYS if key in item]
    if not known and len(arrays) != 1:
        raise HebaeError(
            f"{name} is a dict with the keys {', '.join(map(str, item))}: give its examples one of "
            f"the keys {', '.join(_ENTRY_KEYS)}."
        )
    return item[known[0] if known else arrays[0]]


def _is_image(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "PIL"


def _is_tensor(data: Any) -> bool:
    # Tested by name, so that files can be read without importing torch.
    return any(kind.__module__.split(".")[0] == "torch" for kind in type(data).__mro__)


def _as_array(data: Any, source: str) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data
    kind = type(data).__name__
    if _is_tensor(data) and hasattr(data, "detach"):
        try:
            tensor = data.detach()
            tensor = tensor.dequantize() if tensor.is_quantized else tensor
            tensor = tensor.cpu().resolve_conj().resolve_neg()
            array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        except (NotImplementedError, RuntimeError, TypeError) as error:
            raise HebaeError(
                f"{source} holds no dense values (layout {data.layout}, device {data.device}): use "
                ".to_dense(), or give a tensor on a device that stores values."
            ) from error
        return array
    if not isinstance(data, list) and not hasattr(data, "__array__"):
        raise HebaeError(
            f"Data of type {kind} cannot be read: give a name, a path, a NumPy array, a torch "
            "tensor, a data frame, a list of lists, Examples or a Dataset."
        )
    try:
        return np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise HebaeError(
            f"The data of type {kind} cannot be converted to an array: give rows of numbers, all "
            "of one length."
        ) from error


def load_npy(path: Path) -> Dataset:
    """Read one array, memory-mapped read-only where its type needs no conversion."""
    with reading(path, _WRITE_AGAIN), np.errstate(all="ignore"):  # of sizes that overflow
        array = np.lib.format.open_memmap(path, mode="r")  # never unpickles
    train = as_examples(array, str(path))
    return Dataset(path.name, train, None, None, fingerprint({"train": train}))


def load_npz(path: Path) -> Dataset:
    """Read splits and labels by their usual keys; a single array may have any key."""
    with reading(path, _WRITE_AGAIN), path.open("rb") as file, np.errstate(all="ignore"):
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            raise HebaeError(f"{path} has the content of a .npy file: rename it to .npy.")
        file.seek(0)
        archive = np.load(file, allow_pickle=False)
        require_memory(sum(member.file_size for member in archive.zip.infolist()), str(path))
        arrays = dict(archive)
        for key, array in arrays.items():
            if not isinstance(array, np.ndarray):  # bytes, of a member that is not a .npy file
                raise ValueError(f"{key} is not an array")

    if len(arrays) == 1:
        arrays = {"train": next(iter(arrays.values()))}
    values, labels = (
        {split: _take(arrays, names, path) for split, names in keys.items()}
        for keys in (_KEYS, _LABEL_KEYS)
    )
    orphans = [split for split in labels if labels[split] is not None and values[split] is None]
    if arrays or orphans or values["train"] is None:
        listed, listed_labels = (
            "; ".join(" or ".join(names) for names in keys.values())
            for keys in (_KEYS, _LABEL_KEYS)
        )
        raise HebaeError(
            f"{path} holds {', '.join(archive.files) or 'nothing'}, which is not a data set. "
            f"Allowed are a single array of any name, or splits named {listed}, with labels named "
            f"{listed_labels}; the training split is required."
        )
    splits = {}
    for split, array in values.items():
        if array is None:
            continue
        array = as_examples(array, f"{path} ({split})")
        numbers = labels[split]
        if numbers is not None and numbers.dtype.kind in "iub":
            numbers = numbers.astype(np.int64)
        try:
            splits[split] = replace(array, labels=numbers)
        except HebaeError as error:
            raise HebaeError(f"{path} ({split}): {error}") from None
    train, digest = splits["train"], fingerprint(splits)
    return Dataset(path.name, train, splits.get("validation"), splits.get("test"), digest)


def _take(arrays: dict[str, np.ndarray], keys: tuple[str, ...], path: Path) -> np.ndarray | None:
    """Remove and return the array that has one of the keys, if there is one."""
    present = [key for key in keys if key in arrays]
    if len(present) > 1:
        raise HebaeError(f"{path} holds both {present[0]} and {present[1]}: keep one of them.")
    return arrays.pop(present[0]) if present else None
