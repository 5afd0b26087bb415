"""Conditions: what the decoder is given in addition to the code.

They are columns of a table, columns of ``obs``, or labels, by name; or values that the user gives:
one for all examples, an array with one per example, a data frame, or a dict of these by name.
Text, true or false, and up to 10 different whole numbers are categories; other numbers are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hebae.data.columns import (
    LARGEST,
    MOST_CATEGORIES,
    MOST_TEXTS,
    ROWS_PER_TEXT,
    column_of,
    days_of,
    import_pandas,
    listed,
    type_of,
)
from hebae.data.examples import Dataset, Examples
from hebae.data.schema import Column
from hebae.data.source import ReadOptions
from hebae.errors import HebaeError

NAME = "condition"
"""Name of a condition whose values were given without one."""
LABEL = "label"
"""Name that stands for the labels of any data."""


Taken = tuple[np.ndarray | None, tuple[Column, ...] | None]
"""Conditions (n, columns), and what the columns are."""
NONE: Taken = (None, None)


def is_names(condition: Any) -> bool:
    """Whether a condition names columns: a str or a tuple of str; other lists hold values."""
    if isinstance(condition, tuple):
        return all(isinstance(name, str) for name in condition)
    return isinstance(condition, str)


def conditioned(dataset: Dataset, values: Any, options: ReadOptions) -> Dataset:
    """Add conditions to a data set: the given values, or labels; columns were read with the data.

    With ``options.condition_columns``, those of a model, conditions may be absent.
    """
    names, known = options.condition, options.condition_columns
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    splits = {name: part for name, part in parts.items() if part is not None}
    if values is not None:
        if len(splits) > 1:
            raise HebaeError(
                f"condition holds values, but {dataset.name} has several splits, and it is not "
                "known to which the values belong: give the name of a column, or label for the "
                "labels."
            )
        return replace(dataset, train=with_conditions(dataset.train, values, known))
    if known is not None and dataset.train.conditions is not None:
        coded = {name: recoded(part, known) for name, part in splits.items()}
        return replace(dataset, **coded)  # type: ignore[arg-type]
    if not names or dataset.train.conditions is not None:
        return dataset
    if names != (LABEL,) or any(part.labels is None for part in splits.values()):
        if known is not None:
            return dataset
        lacks, advice = "such columns", "give a table or .h5ad file with these columns"
        if names == (LABEL,):
            lacks, advice = "labels in every split", "add them"
        elif all(part.labels is not None for part in splits.values()):
            advice = "use --condition label for its labels"
        raise HebaeError(
            f"--condition names {', '.join(names)}, but {dataset.name} has no {lacks}: {advice}, "
            "or leave --condition out."
        )
    if known is None:
        known = (of_labels(dataset.train),)
    changed = {
        name: replace(
            part,
            conditions=encoded(labels_of(part), known[0], f"the label of {dataset.name}")[:, None],
            condition_columns=known,
        )
        for name, part in splits.items()
    }
    return replace(dataset, **changed)  # type: ignore[arg-type]


def recoded(examples: Examples, known: tuple[Column, ...]) -> Examples:
    """Return examples whose conditions have the codes of a model's, if they have the same names."""
    columns = examples.condition_columns
    if columns is None or examples.conditions is None:
        return examples
    if [(c.name, c.categories) for c in columns] == [(c.name, c.categories) for c in known]:
        return examples
    pairs = zip(columns, examples.conditions.T, strict=True)
    values = {c.name: [value_of(code, c) for code in codes] for c, codes in pairs}
    return with_conditions(
        replace(examples, conditions=None, condition_columns=None), values, known
    )


def of_labels(examples: Examples) -> Column:
    """Return what the labels of examples are, as a condition."""
    assert examples.labels is not None
    if examples.label_names is not None:
        return Column(LABEL, "category", examples.label_names, "text")
    names = tuple(map(str, np.unique(examples.labels)))
    return Column(LABEL, "category", names, "int")


def labels_of(examples: Examples) -> Any:
    """Return labels by their names, where they have names."""
    assert examples.labels is not None
    names = examples.label_names
    return examples.labels if names is None else np.array(names, object)[examples.labels]


def from_columns(
    frame: Any,
    options: ReadOptions,
    source: str,
    labels: np.ndarray | None = None,
    label_names: tuple[str, ...] | None = None,
) -> Taken:
    """Take the conditions that `options` name out of a pandas data frame.

    `labels`, with their names, are taken for "label" if no column is called so. Returns `NONE` if
    none are named, or if those of a model are absent.
    """
    given: dict[str, Any] = {}
    for name in options.condition:
        if name in frame:
            given[name] = frame[name]
        elif name == LABEL and labels is not None:
            named = label_names is not None
            given[name] = np.array(label_names, object)[labels] if named else labels
    absent = [name for name in options.condition if name not in given]
    known = options.condition_columns
    if not options.condition or (absent and known is not None):
        return NONE
    if absent:
        raise HebaeError(
            f"--condition names {absent[0]!r}, but {source} has no such column; its columns are "
            f"{listed([str(name) for name in frame.columns])}."
        )
    kinds: dict[str, str] = dict(text.rpartition("=")[::2] for text in options.column_kinds)
    columns = known or tuple(
        learned(name, values, f"{source}, condition {name!r}", kinds.get(name))
        for name, values in given.items()
    )
    matrix = [encoded(given[c.name], c, f"{source}, condition {c.name!r},") for c in columns]
    return np.column_stack(matrix), columns


def with_conditions(
    examples: Examples, values: Any, known: tuple[Column, ...] | None = None
) -> Examples:
    """Return examples with the conditions that a user gave.

    For a model with the conditions `known`, a dict may hold some of them: others stay as the
    examples have them.
    """
    own: dict[str, np.ndarray] = {}
    if known is not None and examples.conditions is not None:
        own = {c.name: numbers for c, numbers in zip(known, examples.conditions.T, strict=True)}
    matrix, columns = as_matrix(values, len(examples), known, own)
    return replace(examples, conditions=matrix, condition_columns=columns)


def as_matrix(
    values: Any,
    count: int,
    known: tuple[Column, ...] | None = None,
    own: Mapping[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, tuple[Column, ...]]:
    """Return conditions as numbers (count, columns), and what the columns are.

    `known` are those of a model, and `own` columns that are already numbers, where `values` has no
    others.
    """
    own = own or {}
    given = _by_name(values, known)
    if known is not None:
        names = [column.name for column in known]
        strange = [name for name in given if name not in names]
        missing = [name for name in names if name not in given and name not in own]
        if strange or missing:
            wrong = f"{strange[0]!r} was given" if strange else f"{missing[0]!r} is missing"
            raise HebaeError(
                f"the model is conditioned on {', '.join(names)}, but {wrong}. Give one value, or "
                "one value per example, for each condition."
            )
    if not given:
        raise HebaeError("condition is empty; give names and values, such as {'batch': 'a'}.")
    filled = {name: _repeated(name, value, count) for name, value in given.items()}
    columns = known or tuple(
        learned(name, column, f"condition {name!r}") for name, column in filled.items()
    )
    matrix = [
        encoded(filled[c.name], c, f"condition {c.name!r}") if c.name in filled else own[c.name]
        for c in columns
    ]
    return np.column_stack(matrix).astype(np.float32), columns


def _by_name(values: Any, known: tuple[Column, ...] | None) -> dict[str, Any]:
    """Return the values of each condition by its name."""
    kind = type(values)
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    if kind.__module__.split(".")[0] in ("pandas", "polars") and "Frame" in kind.__name__:
        wanted = None if known is None else [column.name for column in known]
        return {
            str(name): values[name]
            for name in values.columns
            if wanted is None or str(name) in wanted
        }
    name = getattr(values, "name", None) or NAME
    if known is not None:
        if len(known) != 1:
            names = ", ".join(column.name for column in known)
            raise HebaeError(
                f"the model is conditioned on {names}; give a dict or data frame with one value, "
                "or one value per example, for each."
            )
        name = known[0].name
    return {str(name): values}


def _repeated(name: str, value: Any, count: int) -> Any:
    """Return one value per example, of one for all or one for each."""
    if isinstance(value, str) or not (hasattr(value, "__len__") and np.ndim(value)):
        return [value.item() if hasattr(value, "item") else value] * count
    array: Any = value
    if np.ndim(value) == 2 and np.shape(value)[1] == 1:
        array = np.asarray(value)[:, 0]
    elif np.ndim(value) != 1:
        raise HebaeError(
            f"condition {name!r} has shape {np.shape(value)}; give one value per example, and "
            "several conditions as a dict or data frame."
        )
    if len(array) != count:
        raise HebaeError(
            f"condition {name!r} has {len(array):,} values for {count:,} examples; give one value, "
            "or one value per example. To name columns, give a str or a tuple of str."
        )
    return array


def learned(name: str, values: Any, source: str, kind: str | None = None) -> Column:
    """Decide what a condition is: categories, or a number; `kind` is what the user says."""
    if kind not in (None, "category", "number"):
        raise HebaeError(
            f"--column-kinds sets the kind of condition {name!r} to {kind}, but it must be "
            "category or number."
        )
    pandas = import_pandas()
    if type(values).__module__.split(".")[0] == "polars":
        values = values.to_list()
    is_series = isinstance(values, pandas.Series)
    series = values.rename(name) if is_series else pandas.Series(list(values), name=name)
    series = series.reset_index(drop=True)
    if str(series.dtype) == "category":
        series = series.cat.remove_unused_categories()
    _require_observed(series, source)
    dtype = type_of(series, source)
    if dtype == "float":
        _numbers(series.to_list(), dtype, source)
    if dtype == "float" and (series.astype(float) % 1 == 0).all():
        series, dtype = series.astype("int64"), "int"
    if kind is None and dtype in ("text", "bool"):
        kind = "category"
    column = column_of(series, dtype, source, kind)
    count = len(column.categories)
    if count > min(max(MOST_TEXTS, len(series) // ROWS_PER_TEXT), MOST_CATEGORIES):
        raise HebaeError(
            f"{source} has {count:,} different values in {len(series):,} rows, which leaves too "
            "few rows per value to learn from; merge rare values, or use another column."
        )
    return replace(column, kind="category" if column.categories else "number")


def encoded(values: Any, column: Column, source: str) -> np.ndarray:
    """Return one float32 number per example: the code of a category, or the number itself."""
    values = values.to_list() if hasattr(values, "to_list") else list(values)
    _require_observed(values, source)
    if column.categories:
        position = {key: float(code) for code, key in enumerate(column.categories)}
        keys = [key_of(value, column.dtype) for value in values]
        wrong = next((row for row, key in enumerate(keys) if key not in position), None)
        if wrong is not None:
            where = f" in row {wrong + 1}" if len(set(keys)) > 1 else ""
            raise HebaeError(
                f"{source} is {keys[wrong]!r}{where}, but the categories seen in training are "
                f"{listed(column.categories, 30)}; give one of them."
            )
        return np.array([position[key] for key in keys], np.float32)
    return _numbers(values, column.dtype, source)


def key_of(value: Any, dtype: str) -> str:
    """Return the name of a value as a category: 3 and 3.0 are the same whole number."""
    if dtype in ("int", "bool") and not isinstance(value, str):
        if dtype == "bool" and value in (0, 1):
            return str(bool(value))
        if float(value).is_integer():
            return str(int(value))
    return str(value)


def conditions_note(columns: Sequence[Column]) -> str:
    """Say what a model is conditioned on."""
    parts = [
        f"{column.name} (one of {listed(column.categories)})"
        if column.categories
        else f"{column.name} (a number)"
        for column in columns
    ]
    return f"Conditions: {'; '.join(parts)}."


def value_of(code: float, column: Column) -> str:
    """Return a condition as the user gave it."""
    return column.categories[int(code)] if column.categories else str(code)


def _numbers(values: Sequence[Any], dtype: str, source: str) -> np.ndarray:
    """Return numbers, and dates as days, in float32."""
    if dtype == "date":
        numbers = days_of(values)
    else:
        numbers = np.array([_number(value) for value in values], np.float64)
    bad = ~(np.abs(numbers) <= LARGEST)
    if bad.any():
        row = int(np.argmax(bad))
        raise HebaeError(
            f"{source} is {values[row]!r} in row {row + 1}, which "
            f"{'is not a date' if dtype == 'date' else 'is not a number, or is too large'}; "
            "correct it."
        )
    return numbers.astype(np.float32)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _require_observed(values: Sequence[Any], source: str) -> None:
    """Refuse missing values."""
    for row, value in enumerate(values):
        if value is None or str(value) in ("nan", "NaT", "<NA>"):
            raise HebaeError(
                f"{source} has no value in row {row + 1}, but every example needs one; fill it in, "
                "or remove the row."
            )
