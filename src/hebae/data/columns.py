"""Columns of a table: what kind of numbers they hold, and how their values are coded.

The kind follows from the values that are not missing, by the first rule that applies:

1. binary: true or false, or two different values that are all text or all whole numbers;
2. category: one value in all rows; up to 10 different whole numbers; or text with up to 20
   different values, or one per 20 rows;
3. count: whole numbers, none negative, at least half of them 0;
4. number: all other numbers, and dates, as numbers of days. Other text is refused.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hebae.data.schema import Column
from hebae.errors import HebaeError, MissingPackage
from hebae.files import require_memory

KINDS = ("number", "count", "category", "binary", "exclude")
MOST_WHOLE = 10
"""Different whole numbers up to which a column holds categories."""
MOST_TEXTS, ROWS_PER_TEXT, MOST_CATEGORIES = 20, 20, 1000
"""Different texts of a column of categories: up to 20, or one per 20 rows and up to 1000."""
MANY_ZEROS = 0.5
"""Share of zeros from which whole numbers are counts."""
LARGEST = 1e18  # its square is still finite in float32
FRAME = "The data frame"
"""What a data frame is called in messages."""
_EPOCH = np.datetime64("1970-01-01", "D")


def columns_of(
    frame: Any, types: dict[str, str], kinds: dict[str, str], source: str
) -> tuple[Column, ...]:
    """Decide what each column of a frame stands for; one message for all that are refused."""
    columns: list[Column] = []
    errors: dict[str, HebaeError] = {}
    for name in frame:
        try:
            columns.append(column_of(frame[name], types[name], source, kinds.get(name)))
        except HebaeError as error:
            errors[name] = error
    if errors:
        first, *others = errors
        more = f" These columns cannot be read either: {listed(others)}." if others else ""
        raise HebaeError(f"{errors[first]}{more}")
    return tuple(columns)


def column_of(series: Any, dtype: Any, source: str, kind: Any = None) -> Column:
    """Decide what a column stands for, by the rule above or as the user says."""
    name = str(series.name)
    observed = series.dropna()
    if len(observed) == 0:
        raise HebaeError(
            f"{source} has no value in column {name!r}: all {len(series):,} rows are empty. "
            f"{leave_out(name, source)}."
        )
    keys = _keys(observed, dtype)
    if str(series.dtype) == "category":
        different = [str(value) for value in series.cat.categories]
    else:
        order = keys.drop_duplicates()
        ranked = order if dtype == "text" else observed.loc[order.index]
        different = list(keys.loc[ranked.sort_values().index])
    count = len(different)
    if kind is None:
        whole = dtype == "int" or (dtype == "float" and (observed % 1 == 0).all())
        if dtype == "bool" or (count == 2 and (whole or dtype == "text")):
            kind = "binary"
        elif count == 1 or (whole and count <= MOST_WHOLE):
            kind = "category"
        elif dtype == "text":
            kind = "category"
            most = min(max(MOST_TEXTS, len(observed) // ROWS_PER_TEXT), MOST_CATEGORIES)
            if count > most and str(series.dtype) != "category":
                _refuse_text(series, observed, count, most, source)
        else:
            counts = (
                dtype == "int" and (observed >= 0).all() and (observed == 0).mean() >= MANY_ZEROS
            )
            kind = "count" if counts else "number"
    if kind == "binary":
        if dtype == "bool":
            different = ["False", "True"]
        if count > 2:
            raise HebaeError(
                f"{source} has {count:,} different values in column {name!r}, but a binary column "
                "has two: use --column-kinds with category or number."
            )
        if len(different) == 1:
            raise HebaeError(
                f"{source} has only the value {different[0]!r} in column {name!r}, but a binary "
                "column has two: use --column-kinds with category or exclude."
            )
    if kind == "category" and count > MOST_CATEGORIES:
        raise HebaeError(
            f"{source} has {count:,} different values in column {name!r}, but a category column "
            f"may have at most {MOST_CATEGORIES:,}: merge rare ones, or exclude the column."
        )
    if kind in ("category", "binary"):
        return Column(name, kind, tuple(different), dtype)
    column = Column(name, kind, (), dtype)
    numbers = codes_of(observed, column, source)
    return replace(column, low=float(numbers.min()), high=float(numbers.max()))


def codes_of(series: Any, column: Column, source: str) -> np.ndarray:
    """Return the numbers of a column, float32, NaN where a value is missing.

    Raises
    ------
    HebaeError
        If a value is not a number, not a count, or not a known category. The message names its row
        and column.
    """
    absent = series.isna().to_numpy()
    codes = np.full(len(series), np.nan, np.float32)
    if column.kind in ("category", "binary"):
        position = {key: code for code, key in enumerate(column.categories)}
        keys = _keys(series[~absent], column.dtype)
        found = keys.map(position)
        if found.isna().any():
            row = int(np.flatnonzero(~absent)[np.flatnonzero(found.isna())[0]])
            raise HebaeError(
                f"{cell(series, row, source)}, which is not one of the categories "
                f"{listed(column.categories)}: correct it, or leave the cell empty."
            )
        codes[~absent] = found.to_numpy(np.float32)
        return codes
    numbers = _numbers(series, column.dtype)
    wrong = ~(np.abs(numbers) <= LARGEST) & ~absent
    meaning = "is not a date" if column.dtype == "date" else "is not a number, or is too large"
    if column.kind == "count" and not wrong.any():
        wrong = ((numbers < 0) | (numbers != np.rint(numbers))) & ~absent
        meaning = "is not a count (0, 1, 2, ...)"
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise HebaeError(
            f"{cell(series, row, source)}, which "
            f"{meaning}: correct it, leave the cell empty, or use --column-kinds."
        )
    codes[:] = numbers
    return codes


def labels_of(series: Any, source: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return labels as whole numbers, with their names if they are not whole numbers themselves."""
    absent = series.isna().to_numpy()
    if absent.any():
        row = int(np.flatnonzero(absent)[0])
        raise HebaeError(f"{source} has no label in row {row + 1}: fill it in or remove the row.")
    if series.dtype.kind in "iu":
        return series.to_numpy(np.int64), None
    if str(series.dtype) == "category":
        codes = series.cat.codes.to_numpy(np.int64)
        return codes, tuple(str(name) for name in series.cat.categories)
    names, labels = np.unique(series.astype(str).to_numpy(str), return_inverse=True)
    return labels.astype(np.int64), tuple(names.tolist())


def array_of(keys: Iterable[Any], source: str) -> np.ndarray:
    """Return the names of rows as an array of fixed-width text; repeated names are refused."""
    ids = [str(key) for key in keys]
    require_memory(4 * len(ids) * max(map(len, ids), default=0), source)
    require_unique(ids, source)
    return np.array(ids)


def require_unique(ids: Sequence[str] | np.ndarray, source: str) -> None:
    """Refuse names that occur twice."""
    first: dict[str, int] = {}
    for row, key in enumerate(map(str, ids)):
        if first.setdefault(key, row) != row:
            raise HebaeError(
                f"{source}: rows {first[key] + 1} and {row + 1} have the same id {key!r}. Make the "
                "ids unique."
            )


def type_of(series: Any, source: str) -> str:
    """Return what a column holds: "int", "float", "bool", "text" or "date"."""
    pandas = import_pandas()
    kinds = pandas.api.types
    dtype = series.dtype
    if str(dtype) == "category":
        return "text"
    if kinds.is_bool_dtype(dtype):
        return "bool"
    if kinds.is_complex_dtype(dtype) or kinds.is_timedelta64_dtype(dtype):
        raise HebaeError(
            f"{source} has type {dtype} in column {series.name!r}, but only real numbers, text, "
            "true or false, and dates can be read: convert or exclude it."
        )
    observed = series.dropna()
    if kinds.is_integer_dtype(dtype):
        return "int"
    if kinds.is_numeric_dtype(dtype):
        numbers = observed.to_numpy(np.float64)
        # Whole numbers with missing ones among them are read as floats.
        whole = len(numbers) < len(series) and (numbers == np.rint(numbers)).all()
        return "int" if whole and len(numbers) else "float"
    if kinds.is_datetime64_any_dtype(dtype):
        return "date"
    if len(observed) == 0:
        return "float"
    first = observed.iloc[0]
    if isinstance(first, bool | np.bool_) and observed.map(type).isin([bool, np.bool_]).all():
        return "bool"
    if not isinstance(first, str):
        if hasattr(first, "isoformat"):
            return "date"
        if not isinstance(first, int | float | np.number):
            raise HebaeError(
                f"{source} holds a {type(first).__name__} in column {series.name!r}, but only "
                "numbers, text, true or false, and dates can be read: convert or exclude it."
            )
        if observed.map(lambda value: isinstance(value, int | float | np.number)).all():
            return type_of(series.astype(float), source)
    if observed.astype(str).str.fullmatch(r"\d{4}-\d\d-\d\d([ T][\d:.]+)?").all():
        return "date"
    return "text"


def _keys(observed: Any, dtype: str) -> Any:
    """Return the names of values as categories."""
    if dtype == "int":  # 3 and 3.0 are the same
        return observed.map(lambda value: str(int(value)) if _is_whole(value) else str(value))
    if dtype == "bool":
        return observed.map(lambda value: str(bool(value)) if value in (0, 1) else str(value))
    return observed.astype(object).map(str)


def _is_whole(value: Any) -> bool:
    return not isinstance(value, str) and float(value).is_integer()


def days_of(values: Any) -> np.ndarray:
    """Return dates as numbers of days since 1970, NaN for what is none."""
    series = import_pandas().Series(values)
    days = import_pandas().to_datetime(series, errors="coerce", utc=True).dt.tz_localize(None)
    step = np.timedelta64(1, "D")
    return np.asarray((days.to_numpy("datetime64[ns]") - _EPOCH) / step, np.float64)


def _numbers(series: Any, dtype: str) -> np.ndarray:
    """Return the numbers of a column as float64, NaN for what is none."""
    pandas = import_pandas()
    if dtype == "date":
        return days_of(series)
    numbers = pandas.to_numeric(series, errors="coerce")
    return np.asarray(numbers.to_numpy(np.float64, na_value=np.nan))


def _refuse_text(series: Any, observed: Any, count: int, most: int, source: str) -> None:
    """Refuse text that is not a category: free text, or a few texts among numbers."""
    pandas = import_pandas()
    numbers = pandas.to_numeric(observed, errors="coerce").isna().to_numpy()
    name = series.name
    if numbers.mean() < 0.5:
        row = int(np.flatnonzero(series.notna().to_numpy())[np.flatnonzero(numbers)[0]])
        raise HebaeError(
            f"{cell(series, row, source)}, but most values of the column are numbers: correct it, "
            "or leave the cell empty."
        )
    raise HebaeError(
        f"{source} has {count:,} different texts in {len(observed):,} rows of column {name!r}, "
        f"such as {str(observed.iloc[0])!r}, but a category column may have at most {most:,}. "
        f"{leave_out(name, source)}, or name it as --id-column or --label-column."
    )


def leave_out(name: str, source: str) -> str:
    """Say how to leave a column out."""
    if source == FRAME:
        return "Drop it from the frame"
    return f"Leave it out with --column-kinds {shlex.quote(f'{name}=exclude')}"


def cell(series: Any, row: int, source: str) -> str:
    """Say what is in a row of a column."""
    value = series.iloc[row]
    value = value.item() if isinstance(value, np.generic) else value
    return f"{source} holds {value!r} in row {row + 1}, column {series.name!r}"


def listed(names: Sequence[str], most: int = 10) -> str:
    """Join the first names."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def description(columns: Sequence[Column]) -> str:
    """Say what the columns of a table stand for."""
    parts = []
    for kind in KINDS:
        names = [
            f"{c.name} ({len(c.categories)})" if kind == "category" else c.name
            for c in columns
            if c.kind == kind
        ]
        if names:
            parts.append(f"{kind}: {listed(names, 20)}")
    return f"Kinds of the columns (number of categories in parentheses): {'; '.join(parts)}."


def import_pandas() -> Any:
    """Return pandas, or say how to install it."""
    try:
        import pandas
    except ImportError:
        raise missing_package("Tables need pandas") from None
    return pandas


def missing_package(what: str) -> MissingPackage:
    """Say how to install what tables need."""
    return MissingPackage(f"{what}: install it with pip install 'hebae[tables]'.")
