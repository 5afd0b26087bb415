"""Examples and codes written in the format of the data: tables, arrays, AnnData."""

from __future__ import annotations

import csv
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hebae.data.examples import Examples
from hebae.data.schema import Column
from hebae.errors import HebaeError, MissingPackage
from hebae.files import write_atomically
from hebae.principal import principal_axes_of

Table = Mapping[str, Any]
"""Columns of equal length by name."""


def write_examples(examples: Examples, path: Path) -> None:
    """Write examples into a file, whose suffix decides the format: one of `WRITERS`."""
    write_atomically(path, lambda temporary: WRITERS[path.suffix](examples, temporary))


def write_codes(
    codes: np.ndarray,
    names: Sequence[str],
    parts: Mapping[str, Examples],
    path: Path,
    original: Path | None = None,
) -> None:
    """Write codes (n, k) with the ids, splits and labels of their examples.

    Parameters
    ----------
    codes : ndarray, shape (n, k)
        Codes of all parts, one after the other.
    names : sequence of str
        Names of the k columns of a table.
    parts : mapping of str to Examples
        Examples by split.
    path : Path
        A .npy file holds the codes alone; a .h5ad file has them as ``obsm["X_hebae"]``. For
        Embedding Atlas, a .parquet file also has ``projection_x`` and ``projection_y``, the first
        two principal components of the codes, and the examples' conditions and columns.
    original : Path, optional
        The .h5ad file of the examples, whose content is kept; by default the examples are X.
    """
    if path.suffix == ".npy":
        write_atomically(path, lambda temporary: _save_npy(codes, temporary))
        return
    split = [name for name, part in parts.items() for _ in range(len(part))]
    if path.suffix == ".h5ad":
        if original is None:
            data = _anndata(joined(list(parts.values())))
            if len(parts) > 1:
                data.obs["split"] = split
        else:
            from anndata import read_h5ad

            data = read_h5ad(original)
        data.obsm["X_hebae"] = codes
        write_atomically(path, data.write_h5ad)
        return
    table: dict[str, Any] = {"id": [key for part in parts.values() for key in _ids(part)]}
    if len(parts) > 1:
        table["split"] = split
    if all(part.labels is not None for part in parts.values()):
        table["label"] = [label for part in parts.values() for label in _labels(part)]
    table |= dict(zip(names, codes.T, strict=True))
    if path.suffix == ".parquet":
        x, y = principal_components(codes).T
        table |= {"projection_x": x, "projection_y": y}
        known = [_conditions(part) for part in parts.values()]
        for name in known[0]:  # the labels may be a condition
            table.setdefault(name, [value for part in known for value in part[name]])
        if all(part.columns is not None for part in parts.values()):
            known = [_features(part) for part in parts.values()]
            for name in known[0]:
                values = [value for part in known for value in part[name]]
                table[_free_name(name, table)] = values
    write_atomically(path, lambda temporary: TABLES[path.suffix](table, temporary))


def principal_components(codes: np.ndarray) -> np.ndarray:
    """Return the first two principal components (n, 2) of codes (n, k); 0 where there are none."""
    axes = principal_axes_of(codes)
    found = np.zeros((len(codes), 2), np.float32)
    found[:, : codes.shape[1]] = (codes - axes.mean) @ axes.directions[:2].T
    return found


def joined(parts: Sequence[Examples]) -> Examples:
    """Put examples one after the other."""
    first, *others = parts
    if not others:
        return first
    if first.is_sparse:
        from scipy.sparse import vstack

        values: Any = vstack([part.values for part in parts], format="csr")
    else:
        values = np.concatenate([part.rows(slice(None)) for part in parts])
    ids = labels = None
    if all(part.ids is not None for part in parts):
        ids = np.concatenate([part.ids for part in parts if part.ids is not None])
    if all(part.labels is not None for part in parts):
        labels = np.concatenate([part.labels for part in parts if part.labels is not None])
    conditions = None
    if all(part.conditions is not None for part in parts):
        conditions = np.concatenate([p.conditions for p in parts if p.conditions is not None])
    return replace(
        first, values=values, ids=ids, labels=labels, missing=None, conditions=conditions
    )


def _ids(examples: Examples) -> Any:
    return range(len(examples)) if examples.ids is None else examples.ids


def _save_parquet(table: Table, path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingPackage(
            "Parquet files need pyarrow: install it with pip install 'hebae[tables]'."
        ) from None
    columns = {name: pyarrow.array(values, from_pandas=True) for name, values in table.items()}
    parquet.write_table(pyarrow.table(columns), path)


def _save_text(table: Table, path: Path, separator: str) -> None:
    """Write columns as text; missing values are empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*map(_as_text, table.values()), strict=True))


def _as_text(values: Any) -> list[Any]:
    """Return what is written of a column: the shortest decimals that give the same floats."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return ["" if value != value else str(value) for value in values]
    return ["" if value is None else value for value in values]


def within(values: np.ndarray, columns: Sequence[Column] | None) -> np.ndarray:
    """Keep drawn numbers of a table in the range of their columns, and whole ones whole."""
    if columns is None:
        return values
    whole = [column.dtype != "float" or column.kind != "number" for column in columns]
    values = np.where(whole, np.rint(values), values)
    lows, highs = (
        np.array([np.nan if end is None else end for end in ends], np.float32)
        for ends in zip(*((column.low, column.high) for column in columns), strict=True)
    )
    kept: np.ndarray = np.fmin(np.fmax(values, lows), highs)  # NaN, an unknown end, is ignored
    return kept


def table_of(examples: Examples) -> dict[str, Any]:
    """Return examples as columns with the types that the data had: text, whole numbers, dates.

    Ids and labels are called id and label, or id_ and label_ where a feature has that name.
    """
    features = _features(examples)
    table: dict[str, Any] = {}
    if examples.ids is not None:
        table[_free_name("id", features)] = examples.ids
    if examples.labels is not None:
        table[_free_name("label", features)] = _labels(examples)
    return table | features | _conditions(examples)


def _free_name(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _features(examples: Examples) -> dict[str, Any]:
    values = examples.rows(slice(None)).reshape(len(examples), -1)
    names = examples.feature_names
    if names is None or len(names) != values.shape[1]:
        names = tuple(f"x{number}" for number in range(values.shape[1]))
    table: dict[str, Any] = {}
    columns = examples.columns or [None] * len(names)
    for name, column, numbers in zip(names, columns, values.T, strict=True):
        table[name] = numbers if column is None else _typed(numbers, column)
    if examples.columns is None and (examples.pixels is False) and _are_whole(values):
        for name in names:
            table[name] = table[name].astype(np.int64)
    return table


def _conditions(examples: Examples) -> dict[str, Any]:
    """Return conditions as columns by name, with the types that the data had."""
    if examples.conditions is None or examples.condition_columns is None:
        return {}
    pairs = zip(examples.condition_columns, examples.conditions.T, strict=True)
    return {column.name: _typed(numbers, column) for column, numbers in pairs}


def _are_whole(values: np.ndarray) -> bool:
    return bool((values == np.rint(values)).all())  # not where one is missing


def _typed(numbers: np.ndarray, column: Column) -> Any:
    """Undo the coding of a column; None where a value is missing."""
    absent = np.isnan(numbers)
    if column.categories:
        names: list[Any] = list(column.categories)
        if column.dtype == "int":
            names = [int(name) for name in names]
        elif column.dtype == "bool":
            names = [name == "True" for name in names]
        elif column.dtype == "float":
            names = [float(name) for name in names]
        last = len(names) - 1
        codes = np.clip(np.rint(np.where(absent, 0, numbers)), 0, last).astype(int)
        return [None if none else names[code] for code, none in zip(codes, absent, strict=True)]
    if column.dtype == "float" and column.kind == "number":
        return numbers
    whole = np.rint(np.where(absent, 0, numbers)).astype(np.int64)
    typed: Any = whole
    if column.dtype == "date":
        typed = (np.datetime64("1970-01-01", "D") + whole).astype(object)
    elif not absent.any():
        return whole
    items = typed.tolist()
    return [None if none else item for item, none in zip(items, absent, strict=True)]


def _labels(examples: Examples) -> Any:
    names = examples.label_names
    assert examples.labels is not None
    return examples.labels if names is None else [names[label] for label in examples.labels]


def _anndata(examples: Examples) -> Any:
    """Make an AnnData object of rows of numbers; sparse stays sparse."""
    try:
        from anndata import AnnData
        from pandas import DataFrame, Index
    except ImportError:
        raise MissingPackage(
            ".h5ad files need anndata: install it with pip install 'hebae[anndata]'."
        ) from None
    if len(examples.shape) != 1:
        raise HebaeError(
            f"A .h5ad file holds rows of numbers, but the examples have shape {examples.shape}: "
            "name a .npy file."
        )
    n, count = len(examples), examples.shape[0]
    ids = map(str, range(n)) if examples.ids is None else examples.ids
    obs = DataFrame(index=Index(list(ids), dtype=object))
    if examples.labels is not None:
        obs["label"] = _labels(examples)
    for name, values in _conditions(examples).items():
        obs[name] = values
    names = map(str, range(count)) if examples.feature_names is None else examples.feature_names
    var = DataFrame(index=Index(list(names), dtype=object))
    values = examples.values if examples.is_sparse else examples.rows(slice(None))
    if not examples.is_sparse and (values == 0).mean() > 0.5:
        from scipy.sparse import csr_matrix

        values = csr_matrix(values)
    return AnnData(X=values, obs=obs, var=var)


def _save_npy(values: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, values)


TABLES: dict[str, Callable[[Table, Path], Any]] = {
    ".csv": partial(_save_text, separator=","),
    ".tsv": partial(_save_text, separator="\t"),
    ".parquet": _save_parquet,
}
"""What writes columns by name, by the suffix of the file."""
WRITERS: dict[str, Callable[[Examples, Path], Any]] = {
    suffix: lambda examples, path, save=save: save(table_of(examples), path)
    for suffix, save in TABLES.items()
} | {
    ".npy": lambda examples, path: _save_npy(examples.rows(slice(None)), path),
    ".h5ad": lambda examples, path: _anndata(examples).write_h5ad(path),
}
"""What writes examples. To add a format, write a function and list it here."""
