"""Data sets of the library ``datasets`` of Hugging Face, with their splits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hebae.data.arrays import from_array
from hebae.data.decoding import are_pillow, from_pillow
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import ReadOptions
from hebae.data.tables import examples_of
from hebae.data.torch_dataset import LABEL_KEYS
from hebae.errors import HebaeError

_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}


def is_hugging_face(data: Any) -> bool:
    """Whether an object is a Dataset or DatasetDict of the library ``datasets``."""
    return type(data).__module__.split(".")[0] == "datasets"


def from_hugging_face(data: Any, options: ReadOptions) -> Dataset:
    """Read a data set, or a dict of splits: a column of images or of lists, or else a table."""
    if "Iterable" in type(data).__name__:
        raise HebaeError(
            "A streamed data set of Hugging Face has no length: load it without streaming=True."
        )
    parts = dict(data) if isinstance(data, dict) else {"train": data}
    unknown = parts.keys() - _SPLITS.keys()
    if unknown or "train" not in parts:
        raise HebaeError(
            f"The data set has the splits {', '.join(parts)}. Allowed are train, validation and "
            "test, and train is required: give one split, as data['...'], or rename them."
        )
    splits: dict[str, Examples] = {}
    notes: list[str] = []
    for split in sorted(parts, key=list(_SPLITS).index):  # training decides the columns
        if split != "train":
            train = splits["train"]
            options = replace(options, columns=train.columns, feature_names=train.feature_names)
        splits[_SPLITS[split]], more = _examples(parts[split], options, split)
        notes += more if split == "train" else []
    return Dataset(
        "Hugging Face data set",
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        fingerprint(splits),
        tuple(notes),
    )


def _examples(data: Any, options: ReadOptions, split: str) -> tuple[Examples, list[str]]:
    source = f"The split {split} of the data set"
    features = data.features
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    names = [n for n, kind in kinds.items() if kind in ("Image", "List", "LargeList", "Sequence")]
    names += [n for n, kind in kinds.items() if kind.startswith("Array")]
    if not names:
        return examples_of(data.to_pandas(), options, source)
    if len(names) > 1:
        raise HebaeError(
            f"{source} has the columns {', '.join(names)}, each an array per example: keep one, "
            "with .select_columns or .remove_columns."
        )
    column = list(data[names[0]])
    if kinds[names[0]] == "Image" and are_pillow(column):
        read = from_pillow(column, options)
    else:
        rows = [np.asarray(row) for row in column]
        shapes = {row.shape for row in rows}
        if len(shapes) != 1:
            first, second = sorted(shapes)[:2]
            raise HebaeError(
                f"{source} holds examples of shapes {first} and {second} in column {names[0]!r}: "
                "make them equal first, with .map."
            )
        values = np.stack(rows)
        read = from_array(values.astype(np.float32) if values.dtype.kind == "f" else values)
    label = options.label_column or next((n for n in LABEL_KEYS if n in features), None)
    labels = label_names = None
    if label is not None:
        if label not in features:
            raise HebaeError(
                f"label_column is {label!r}, but the columns of {source[0].lower()}{source[1:]} "
                f"are {', '.join(features)}."
            )
        if kinds[label] == "ClassLabel":
            labels = np.array(data[label], np.int64)
            label_names = tuple(features[label].names)
        elif np.asarray(data[label][:1]).dtype.kind in "iu":
            labels = np.array(data[label], np.int64)
    return replace(read.train, labels=labels, label_names=label_names), list(read.notes)
