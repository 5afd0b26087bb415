"""Tables: CSV, TSV and Parquet files, pandas and polars data frames.

A table of numbers alone is a matrix. In any other table each column has a kind, by this rule
(missing values apart): true or false, or two different values of text or whole numbers: binary; up
to 10 different whole numbers: category; text with up to 20 different values, or one per 20 rows:
category; one value in all rows: category; whole numbers, none negative and at least half of them 0:
count; all others: number. Dates are numbers of days.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import shlex
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hebae.data.examples import Column, Dataset, Examples, fingerprint
from hebae.data.source import ReadOptions
from hebae.errors import HebaeError, MissingPackage

SUFFIXES = tuple(
    f"{suffix}{end}" for suffix in (".csv", ".tsv", ".tab", ".data") for end in ("", ".gz")
)
PARQUET = (".parquet", ".pq")
KINDS = ("number", "count", "category", "binary", "exclude")
MOST_WHOLE = 10
"""Different whole numbers up to which a column holds categories."""
MOST_TEXTS, ROWS_PER_TEXT, MOST_CATEGORIES = 20, 20, 1000
"""Different texts of a column of categories: up to 20, or one per 20 rows and up to 1000."""
MANY_ZEROS = 0.5
"""Share of zeros from which whole numbers are counts."""
_LARGEST = 1e18  # its square is still finite in float32
_FRAME = "The data frame"
_EPOCH = np.datetime64("1970-01-01", "D")


def is_table_file(path: Path) -> bool:
    """Whether a file's name ends like that of a table."""
    return path.is_file() and path.name.lower().endswith((*SUFFIXES, *PARQUET))


def is_frame(data: Any) -> bool:
    """Whether an object is a data frame of pandas or polars."""
    kind = type(data)
    return kind.__module__.split(".")[0] in ("pandas", "polars") and "Frame" in kind.__name__


def load_table(path: Path, options: ReadOptions) -> Dataset:
    """Read a file; a first column without a name, or one called id, names the rows."""
    frame, notes = _read(path)
    frame = frame.rename(columns=lambda name: str(name).strip())
    if options.id_column is None:
        first = str(frame.columns[0])
        named = [name for name in frame.columns if name.lower() == "id"]
        column = first if first == "Unnamed: 0" else next(iter(named), None)
        if column is not None and f"{column}=" not in "".join(options.column_kinds):
            frame = _indexed(frame, column, str(path))
    return _dataset(path.name, frame, options, str(path), notes)


def from_frame(data: Any, options: ReadOptions) -> Dataset:
    """Take a data frame; an index of its own, without repetition, names the rows."""
    pandas = _pandas()
    if type(data).__module__.split(".")[0] == "polars":
        data = data.collect() if hasattr(data, "collect") else data
        try:
            data = data.to_pandas()
        except ImportError:
            raise _missing("Data frames of polars need pyarrow") from None
    index = data.index
    if isinstance(index, pandas.RangeIndex) or not index.is_unique:
        data = data.reset_index(drop=True)
    return _dataset("data frame", data, options, _FRAME, ())


def _dataset(
    name: str, frame: Any, options: ReadOptions, source: str, notes: Iterable[str]
) -> Dataset:
    examples, more = examples_of(frame, options, source)
    digest = fingerprint({"train": examples})
    return Dataset(name, examples, None, None, digest, (*notes, *more))


def examples_of(frame: Any, options: ReadOptions, source: str) -> tuple[Examples, list[str]]:
    """Turn a pandas data frame into examples, with notes for the user; see the rule above."""
    pandas = _pandas()
    names = [str(name) for name in frame.columns]
    repeated = next((name for name, times in Counter(names).items() if times > 1), None)
    if repeated is not None:
        raise HebaeError(f"{source} has two columns called {repeated!r}: rename one of them.")
    frame = frame.set_axis(names, axis=1)
    if len(frame) == 0 or not names:
        raise HebaeError(f"{source} is a table of shape {frame.shape}: it has no numbers to read.")
    known = options.columns or options.feature_names
    if options.id_column is not None and (options.id_column in names or not known):
        frame = _indexed(frame, _known(options.id_column, names, source, "--id-column"), source)
    has_ids = not isinstance(frame.index, pandas.RangeIndex)
    ids = np.array([str(key) for key in frame.index]) if has_ids else None
    if ids is not None:
        require_unique(ids, source)
    labels = label_names = None
    label = options.label_column
    if label is not None and (label in frame or not known):
        _known(label, names, source, "--label-column")
        labels, label_names = labels_of(frame[label], f"{source}, column {label!r}")
        frame = frame.drop(columns=label)
    kinds = {} if known else _kinds(options.column_kinds, names, source)
    frame = frame.drop(columns=[n for n, kind in kinds.items() if kind == "exclude" and n in frame])

    notes: list[str] = []
    if known:  # in the order of training, whatever else the table holds
        wanted = [c if isinstance(c, str) else c.name for c in known]
        absent = [name for name in wanted if name not in frame]
        if absent:
            raise HebaeError(
                f"{source} has no column {absent[0]!r}, which the model was trained on"
                f"{_suggestion(absent[0], frame.columns)}; {len(absent)} of {len(wanted)} columns "
                "are missing. Rename or add them; leave cells empty that are not known."
            )
        unused = list(frame.columns.difference(wanted, sort=False))
        if unused:
            notes.append(
                f"Columns that the model was not trained on are left out: {_list(unused)}."
            )
        frame = frame[wanted]
    if frame.shape[1] == 0:
        raise HebaeError(f"{source} has no columns besides ids and labels: nothing to train on.")

    types = {name: _type_of(frame[name], source) for name in frame}
    columns = options.columns
    of_numbers = all(kind in ("int", "float", "bool") for kind in types.values())
    if columns is None and of_numbers and set(kinds.values()) <= {"exclude"}:
        values, missing = _matrix(frame, source, may_be_empty=bool(known))
        whole = values.dtype == np.float32 and "float" not in types.values()
        pixels = False if whole else None  # False: whole numbers may be counts
        named = tuple(frame.columns)
        examples = Examples(values, labels, ids, named, missing, pixels, None, label_names)
        return examples, notes
    if columns is None and known:
        wrong = next(name for name, kind in types.items() if kind in ("text", "date"))
        row = _first_text(frame[wrong])
        raise HebaeError(
            f"{_cell(frame[wrong], row, source)}, and the model was trained on numbers alone: "
            "correct it, or leave the cell empty."
        )
    if columns is None:
        columns = _columns_of(frame, types, kinds, source)
        notes.append(_description(columns))
    values = np.column_stack([codes_of(frame[c.name], c, source) for c in columns])
    missing = np.isnan(values)
    values[missing] = 0
    named = tuple(column.name for column in columns)
    mask = missing if missing.any() else None
    return Examples(values, labels, ids, named, mask, False, columns, label_names), notes


def _columns_of(
    frame: Any, types: dict[str, str], kinds: dict[str, str], source: str
) -> tuple[Column, ...]:
    columns: list[Column] = []
    errors: dict[str, HebaeError] = {}
    for name in frame:
        try:
            columns.append(column_of(frame[name], types[name], source, kinds.get(name)))
        except HebaeError as error:
            errors[name] = error
    if errors:
        first, *others = errors
        more = f" The same or the like holds for {_list(others)}." if others else ""
        raise HebaeError(f"{errors[first]}{more}")
    return tuple(columns)


def column_of(series: Any, dtype: Any, source: str, kind: Any = None) -> Column:
    """Decide what a column stands for, by the rule above or as the user says."""
    name = str(series.name)
    observed = series.dropna()
    if len(observed) == 0:
        raise HebaeError(
            f"{source} has no value in column {name!r}: all {len(series):,} rows are empty. "
            f"{_leave_out(name, source)}."
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
                f"{source} has {count:,} different values in column {name!r}, and a binary column "
                "has two: use --column-kinds with category or number."
            )
        if len(different) == 1:
            raise HebaeError(
                f"{source} has the value {different[0]!r} alone in column {name!r}, and a binary "
                "column has two: use category, or exclude."
            )
    if kind == "category" and count > MOST_CATEGORIES:
        raise HebaeError(
            f"{source} has {count:,} different values in column {name!r}, and categories may be "
            f"{MOST_CATEGORIES:,}: merge rare ones, or exclude the column."
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
        Naming row and column, if a value is no number, no count, or of no known category.
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
                f"{_cell(series, row, source)}, "
                f"whose categories are {_list(column.categories)}: correct it, or leave the cell "
                "empty."
            )
        codes[~absent] = found.to_numpy(np.float32)
        return codes
    numbers = _numbers(series, column.dtype)
    wrong = ~(np.abs(numbers) <= _LARGEST) & ~absent
    meaning = "is no number that can be used"
    if column.kind == "count" and not wrong.any():
        wrong = ((numbers < 0) | (numbers != np.rint(numbers))) & ~absent
        meaning = "is no count (0, 1, 2, ...)"
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise HebaeError(
            f"{_cell(series, row, source)}, which "
            f"{meaning}: correct it, leave the cell empty, or use --column-kinds."
        )
    codes[:] = numbers
    return codes


def labels_of(series: Any, source: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return labels as whole numbers, with their names if they are no whole numbers themselves."""
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


def require_unique(ids: Sequence[str] | np.ndarray, source: str) -> None:
    """Refuse names that occur twice."""
    first: dict[str, int] = {}
    for row, key in enumerate(map(str, ids)):
        if first.setdefault(key, row) != row:
            raise HebaeError(
                f"{source}: {key!r} is the id of row {first[key] + 1} and of row {row + 1}. Make "
                "the ids unique."
            )


def _read(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Read a file into a pandas data frame."""
    pandas = _pandas()
    try:
        if path.name.lower().endswith(PARQUET):
            return pandas.read_parquet(path), ()
        separator, has_header = _layout(path)
        frame = pandas.read_csv(
            path,
            sep=separator,
            header=0 if has_header else None,
            na_values=["?"],
            skipinitialspace=True,
            low_memory=False,
        )
    except ImportError:
        raise _missing("Parquet files need pyarrow") from None
    # pandas and pyarrow raise ValueErrors for content that they cannot parse.
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise HebaeError(
            f"{path} cannot be read as a table ({reason}): it must have one row per example, all "
            "with the same columns, in UTF-8."
        ) from None
    if has_header:
        return frame, ()
    frame.columns = [f"column_{number + 1}" for number in range(frame.shape[1])]
    note = f"{path.name} has a number in its first line, so that it has no header: its columns are"
    return frame, (f"{note} called column_1 to column_{frame.shape[1]}.",)


def _layout(path: Path) -> tuple[str, bool]:
    """Return the separator of a text file, and whether its first line holds names."""
    name = path.name.lower()
    opened: Any = gzip.open if name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        line = file.readline()
    tabs = name.removesuffix(".gz").endswith((".tsv", ".tab"))
    separator = "\t" if tabs else max(",;\t", key=line.count)
    cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    numbered = [str(number) for number in range(len(cells))]  # as pandas names columns
    if cells == numbered or (cells and cells[1:] == numbered[:-1] and not cells[0]):
        return separator, True
    return separator, not any(_is_number(cell) for cell in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _type_of(series: Any, source: str) -> str:
    """Return what a column holds: "int", "float", "bool", "text" or "date"."""
    pandas = _pandas()
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
            return _type_of(series.astype(float), source)
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


def _numbers(series: Any, dtype: str) -> np.ndarray:
    """Return the numbers of a column as float64, NaN for what is none."""
    pandas = _pandas()
    if dtype == "date":
        days = pandas.to_datetime(series, errors="coerce", utc=True).dt.tz_localize(None)
        step = np.timedelta64(1, "D")
        return np.asarray((days.to_numpy("datetime64[ns]") - _EPOCH) / step, np.float64)
    numbers = pandas.to_numeric(series, errors="coerce")
    return np.asarray(numbers.to_numpy(np.float64, na_value=np.nan))


def _matrix(frame: Any, source: str, *, may_be_empty: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return numbers and mask of a table of numbers alone."""
    if all(dtype == np.uint8 for dtype in frame.dtypes):
        return frame.to_numpy(), None  # grey levels, perhaps
    with np.errstate(over="ignore"):
        values = np.array(frame.to_numpy(np.float32, na_value=np.nan), np.float32)
    missing = np.isnan(values)
    wrong = np.abs(values) > _LARGEST
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise HebaeError(
            f"{_cell(frame.iloc[:, column], row, source)}, which is infinite or too large: "
            "correct it, or leave the cell empty."
        )
    empty = missing.all(0)
    if empty.any() and not may_be_empty:
        name = frame.columns[int(np.argmax(empty))]
        raise HebaeError(
            f"{source} has no value in column {name!r}: all {len(frame):,} rows are empty. "
            f"{_leave_out(name, source)}."
        )
    if not missing.any():
        return values, None
    values[missing] = 0
    return values, missing


def _refuse_text(series: Any, observed: Any, count: int, most: int, source: str) -> None:
    """Refuse text that is no category: numbers with something else among them, or free text."""
    pandas = _pandas()
    numbers = pandas.to_numeric(observed, errors="coerce").isna().to_numpy()
    name = series.name
    if numbers.mean() < 0.5:
        row = int(np.flatnonzero(series.notna().to_numpy())[np.flatnonzero(numbers)[0]])
        raise HebaeError(
            f"{_cell(series, row, source)}, among numbers: correct it or leave the cell empty."
        )
    raise HebaeError(
        f"{source} has {count:,} different texts in {len(observed):,} rows of column {name!r}, "
        f"such as {str(observed.iloc[0])!r}: categories may have {most:,}. "
        f"{_leave_out(name, source)}, or name it as --id-column or --label-column."
    )


def _leave_out(name: str, source: str) -> str:
    if source == _FRAME:
        return "Drop it from the frame"
    return f"Leave it out, with --column-kinds {shlex.quote(f'{name}=exclude')}"


def _first_text(series: Any) -> int:
    """Return the position of the first value that is no number."""
    numbers = _pandas().to_numeric(series, errors="coerce")
    return int(np.argmax((numbers.isna() & series.notna()).to_numpy()))


def _indexed(frame: Any, column: str, source: str) -> Any:
    """Make a column the index, if its values are unique."""
    ids = [str(key) for key in frame[column]]
    require_unique(ids, f"{source}, column {column!r}")  # where the column is known
    return frame.drop(columns=column).set_axis(ids, axis=0)


def _kinds(column_kinds: Sequence[str], names: Sequence[str], source: str) -> dict[str, str]:
    """Read ``NAME=KIND``."""
    kinds = {}
    for text in column_kinds:
        name, _, kind = text.rpartition("=")
        if kind not in KINDS or not name:
            raise HebaeError(
                f"--column-kinds {text!r} is not NAME=KIND, with a kind out of {', '.join(KINDS)}."
            )
        kinds[_known(name, names, source, "--column-kinds")] = kind
    return kinds


def _known(name: str, names: Sequence[str], source: str, flag: str) -> str:
    if name not in names:
        raise HebaeError(
            f"{flag} names {name!r}, but {source} has no such column{_suggestion(name, names)}; "
            f"its columns are {_list(names)}."
        )
    return name


def _suggestion(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _cell(series: Any, row: int, source: str) -> str:
    """Say what is in a row of a column."""
    value = series.iloc[row]
    value = value.item() if isinstance(value, np.generic) else value
    return f"{source} holds {value!r} in row {row + 1}, column {series.name!r}"


def _list(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _description(columns: Sequence[Column]) -> str:
    parts = []
    for kind in KINDS:
        names = [
            f"{c.name} ({len(c.categories)})" if kind == "category" else c.name
            for c in columns
            if c.kind == kind
        ]
        if names:
            parts.append(f"{kind}: {_list(names, 20)}")
    return f"Kinds of the columns, with the numbers of categories: {'; '.join(parts)}."


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise _missing("Tables need pandas") from None
    return pandas


def _missing(what: str) -> MissingPackage:
    return MissingPackage(f"{what}: install it with pip install 'hebae[tables]'.")
