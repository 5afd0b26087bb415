"""Data sets of torch, read whole into memory, item by item."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hebae.data.arrays import entry_of, from_array
from hebae.data.decoding import are_pillow, from_pillow
from hebae.data.examples import Dataset, fingerprint
from hebae.data.source import ReadOptions
from hebae.errors import HebaeError

LABEL_KEYS = ("label", "labels", "y", "target", "targets")


def is_torch_dataset(data: Any) -> bool:
    """Whether an object is a data set of torch: with a length, or iterable."""
    return any(
        kind.__module__.startswith("torch.utils.data") and kind.__name__ == "Dataset"
        for kind in type(data).__mro__
    )


def from_torch_dataset(data: Any, options: ReadOptions) -> Dataset:
    """Read the items: tensors, arrays, images, tuples (example, label) or dicts."""
    name = type(data).__name__
    items = (data[i] for i in range(len(data))) if hasattr(data, "__len__") else iter(data)
    rows: list[Any] = []
    labels = []
    for number, item in enumerate(items):
        source = f"Item {number} of {name}"
        entry = entry_of(item, source)
        labels.append(_label_of(item))
        if are_pillow(rows[0] if rows else entry):
            rows.append(entry)
            continue
        row = np.asarray(entry)
        if rows and (row.shape, row.dtype) != (rows[0].shape, rows[0].dtype):
            raise HebaeError(
                f"{source} is {row.dtype} of shape {row.shape}, but item 0 is {rows[0].dtype} of "
                f"shape {rows[0].shape}: all items must have the same type and shape."
            )
        rows.append(row)
    if not rows:
        raise HebaeError(f"The data set {name} has no items.")
    read = from_pillow(rows, options) if are_pillow(rows) else from_array(np.stack(rows))
    train = read.train
    if None not in labels:
        train = replace(train, labels=np.array(labels, np.int64))
    return Dataset(name, train, None, None, fingerprint({"train": train}), read.notes)


def _label_of(item: Any) -> int | None:
    """Return the label of an item, if its second entry, or one called so, is a whole number."""
    label = None
    if isinstance(item, dict):
        label = next((item[key] for key in LABEL_KEYS if key in item), None)
    elif isinstance(item, tuple | list) and len(item) > 1:
        label = item[1]
    if label is None or np.ndim(label) or np.asarray(label).dtype.kind not in "iu":
        return None
    return int(label)
