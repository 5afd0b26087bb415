"""Tables: CSV, TSV and Parquet files, pandas and polars data frames.

A table of numbers alone is a matrix; in any other table `hebae.data.columns` decides what each
column stands for.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from hebae.data.columns import (
    FRAME,
    KINDS,
    LARGEST,
    array_of,
    cell,
    codes_of,
    columns_of,
    description,
    import_pandas,
    labels_of,
    leave_out,
    listed,
    missing_package,
    require_unique,
    type_of,
)
from hebae.data.conditions import from_columns
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import ReadOptions
from hebae.errors import HebaeError, suggestion
from hebae.files import decompressed, reading, require_allowed, require_memory

SUFFIXES = tuple(
    f"{suffix}{end}" for suffix in (".csv", ".tsv", ".tab", ".data") for end in ("", ".gz")
)
PARQUET = (".parquet", ".pq")
_TWICE = "{} has two columns called {!r}: rename one of them."


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
    pandas = import_pandas()
    if type(data).__module__.split(".")[0] == "polars":
        data = data.collect() if hasattr(data, "collect") else data
        try:
            data = data.to_pandas()
        except ImportError:
            raise missing_package("Data frames of polars need pyarrow") from None
    index = data.index
    if isinstance(index, pandas.RangeIndex) or not index.is_unique:
        data = data.reset_index(drop=True)
    return _dataset("data frame", data, options, FRAME, ())


def _dataset(
    name: str, frame: Any, options: ReadOptions, source: str, notes: Iterable[str]
) -> Dataset:
    examples, more = examples_of(frame, options, source)
    digest = fingerprint({"train": examples})
    return Dataset(name, examples, None, None, digest, (*notes, *more))


def examples_of(frame: Any, options: ReadOptions, source: str) -> tuple[Examples, list[str]]:
    """Turn a pandas data frame into examples, with notes for the user; see the rule above."""
    pandas = import_pandas()
    names = [str(name) for name in frame.columns]
    repeated = next((name for name, times in Counter(names).items() if times > 1), None)
    if repeated is not None:
        raise HebaeError(_TWICE.format(source, repeated))
    frame = frame.set_axis(names, axis=1)
    if len(frame) == 0 or not names:
        raise HebaeError(
            f"{source} is a table of shape {frame.shape}: it needs at least one row and one column."
        )
    known = options.columns or options.feature_names
    if options.id_column is not None and (options.id_column in names or not known):
        frame = _indexed(frame, _known(options.id_column, names, source, "--id-column"), source)
    has_ids = not isinstance(frame.index, pandas.RangeIndex)
    ids = array_of(frame.index, source) if has_ids else None
    labels = label_names = None
    with_labels = frame
    label = options.label_column
    if label is not None and (label in frame or not known):
        _known(label, names, source, "--label-column")
        labels, label_names = labels_of(frame[label], f"{source}, column {label!r}")
        frame = frame.drop(columns=label)
    wanted = [c if isinstance(c, str) else c.name for c in known or ()]
    kinds = {} if known else _kinds(options.column_kinds, names, source)
    own = with_labels.drop(columns=[name for name in wanted if name in with_labels])
    conditions = from_columns(own, options, source, labels, label_names)
    frame = frame.drop(columns=[n for n in options.condition if n in own and n in frame])
    kinds = {name: kind for name, kind in kinds.items() if name not in options.condition}
    frame = frame.drop(columns=[n for n, kind in kinds.items() if kind == "exclude" and n in frame])

    notes: list[str] = []
    if known:  # in the order of training, whatever else the table holds
        absent = [name for name in wanted if name not in frame]
        if absent:
            raise HebaeError(
                f"{source} has no column {absent[0]!r}, which the model was trained on"
                f"{suggestion(absent[0], frame.columns)}; {len(absent)} of {len(wanted)} columns "
                "are missing. Rename or add them; leave cells empty whose value is not known."
            )
        unused = list(frame.columns.difference(wanted, sort=False))
        if unused:
            notes.append(
                f"Columns that the model was not trained on were left out: {listed(unused)}."
            )
        frame = frame[wanted]
    if frame.shape[1] == 0:
        raise HebaeError(
            f"{source} has no columns besides ids, labels and conditions: add columns to train on."
        )

    types = {name: type_of(frame[name], source) for name in frame}
    columns = options.columns
    of_numbers = all(kind in ("int", "float", "bool") for kind in types.values())
    if columns is None and of_numbers and set(kinds.values()) <= {"exclude"}:
        values, missing = _matrix(frame, source, may_be_empty=bool(known))
        whole = values.dtype == np.float32 and "float" not in types.values()
        pixels = False if whole else None  # False: whole numbers may be counts
        named = tuple(frame.columns)
        examples = Examples(
            values, labels, ids, named, missing, pixels, None, label_names, None, *conditions
        )
        return examples, notes
    if columns is None and known:
        wrong = next(name for name, kind in types.items() if kind in ("text", "date"))
        row = _first_text(frame[wrong])
        raise HebaeError(
            f"{cell(frame[wrong], row, source)}, but the model was trained on numbers only: "
            "correct it, or leave the cell empty."
        )
    if columns is None:
        columns = columns_of(frame, types, kinds, source)
        notes.append(description(columns))
    values = np.column_stack([codes_of(frame[c.name], c, source) for c in columns])
    missing = np.isnan(values)
    values[missing] = 0
    named = tuple(column.name for column in columns)
    mask = missing if missing.any() else None
    examples = Examples(
        values, labels, ids, named, mask, False, columns, label_names, None, *conditions
    )
    return examples, notes


def _read(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Read a file into a pandas data frame."""
    pandas = import_pandas()
    remedy = "a table has one row per example, all with the same columns, in UTF-8"
    if path.name.lower().endswith(PARQUET):
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise missing_package("Parquet files need pyarrow") from None
        with reading(path, remedy), ParquetFile(path) as file:
            _require_parquet(file, path)
            return pandas.read_parquet(path), ()
    with reading(path, remedy), _open(path) as text:
        layout = _layout(path, text)
        _require_rows(path, text, layout)
        text.seek(0)
        frame = pandas.read_csv(
            text,
            sep=layout.separator,
            decimal=layout.decimal,
            header=0 if layout.has_header else None,
            na_values=["?"],
            skipinitialspace=True,
            low_memory=False,
            encoding="utf-8",
        )
    if frame.index.nlevels > 1:  # pandas takes cells without a name for an index
        raise HebaeError(
            f"{path} has {frame.shape[1]} names in its first line and "
            f"{frame.shape[1] + frame.index.nlevels} cells in the next: give each column a name."
        )
    if layout.has_header:
        return frame, ()
    frame.columns = [f"column_{number + 1}" for number in range(frame.shape[1])]
    note = (
        f"The first line of {path.name} holds a number, so it was read as data, not as a header: "
    )
    return frame, (f"{note}the columns are called column_1 to column_{frame.shape[1]}.",)


def _open(path: Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return decompressed(gzip.open(path, "rb"), path)  # type: ignore[arg-type]
    return path.open("rb")


def _require_parquet(file: Any, path: Path) -> None:
    """Refuse a small file whose columns repeat long texts and would not fit into memory."""
    from pyarrow import compute, types
    from pyarrow.parquet import ParquetFile

    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    count = sum(g.column(place).num_values for g in groups for place in range(g.num_columns))
    require_memory(8 * count, str(path))
    texts = [
        f.name for f in file.schema_arrow if types.is_string(f.type) or types.is_binary(f.type)
    ]
    if texts:
        with ParquetFile(path, read_dictionary=texts) as short:
            columns = short.read(texts).columns
        parts = [part for column in columns for part in column.chunks]
        lengths = (
            compute.take(compute.binary_length(part.dictionary), part.indices) for part in parts
        )
        size = sum(compute.sum(length).as_py() or 0 for length in lengths)
        require_memory(8 * count + size, str(path))


def _require_rows(path: Path, file: BinaryIO, layout: _Layout) -> None:
    """Refuse rows that, filled up to the length of the first row, would not fit into memory."""
    file.seek(0)
    rows = 1
    while block := file.read(2**20):
        rows += block.count(b"\n") + block.count(b"\r")
    try:
        require_memory(8 * rows * layout.width, str(path))
    except HebaeError:  # empty lines, and lines within a cell, are no rows
        file.seek(0)
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        rows = sum(map(bool, csv.reader(text, delimiter=layout.separator)))
        text.detach()
        require_memory(8 * rows * layout.width, str(path))


class _Layout(NamedTuple):
    separator: str
    width: int
    """Number of cells in the first line."""
    has_header: bool
    """Whether the first line holds names."""
    decimal: str


_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_LINES = 100
"""Lines that are looked at for decimal commas."""
_LONGEST = 2**26
"""Bytes of a line that are looked at."""
_NAMES = frozenset(("nan", "inf", "infinity"))
"""Texts that are floats to Python, and names in a first line that has other text."""


def _layout(path: Path, file: BinaryIO) -> _Layout:
    name = path.name.lower()
    line = file.readline(_LONGEST).decode("utf-8-sig", "replace")
    others = [file.readline(_LONGEST).decode("utf-8", "replace") for _ in range(_LINES)]
    tabs = name.removesuffix(".gz").endswith((".tsv", ".tab"))
    separator = "\t" if tabs else max(",;\t", key=line.count)
    require_allowed(1000 * line.count(separator), str(path))  # of which much is kept per column
    cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    decimal = "."
    if separator != ",":
        values = [text.strip() for row in others for text in row.split(separator)]
        has_points = any(_is_number(text) and "." in text for text in values)
        if any(map(_DECIMAL_COMMA.fullmatch, values)) and not has_points:
            decimal = ","
    numbered = [str(number) for number in range(len(cells))]  # as pandas names columns
    if cells == numbered or (cells and cells[1:] == numbered[:-1] and not cells[0]):
        return _Layout(separator, len(cells), True, decimal)
    numbers = [text.strip() for text in cells if _is_number(text.replace(decimal, "."))]
    may_be_names = all(text.lower() in _NAMES for text in numbers) and len(numbers) < len(cells)
    has_header = not numbers or (may_be_names and len(set(numbers)) == len(numbers))
    names = [text.strip() for text in cells if text.strip()]
    if has_header and len(set(names)) < len(names):
        raise HebaeError(_TWICE.format(path, Counter(names).most_common(1)[0][0]))
    return _Layout(separator, len(cells), has_header, decimal)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _matrix(frame: Any, source: str, *, may_be_empty: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return numbers and mask of a table of numbers alone."""
    if all(dtype == np.uint8 for dtype in frame.dtypes):
        return frame.to_numpy(), None  # grey levels, perhaps
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(frame.to_numpy(np.float32, na_value=np.nan))
    missing = np.isnan(values)
    wrong = np.abs(values) > LARGEST
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise HebaeError(
            f"{cell(frame.iloc[:, column], row, source)}, which is infinite or too large: "
            "correct it, or leave the cell empty."
        )
    empty = missing.all(0)
    if empty.any() and not may_be_empty:
        name = frame.columns[int(np.argmax(empty))]
        raise HebaeError(
            f"{source} has no value in column {name!r}: all {len(frame):,} rows are empty. "
            f"{leave_out(name, source)}."
        )
    if not missing.any():
        return values, None
    return np.where(missing, np.float32(0), values), missing  # the frame's own numbers stay


def _first_text(series: Any) -> int:
    """Return the position of the first value that is no number."""
    numbers = import_pandas().to_numeric(series, errors="coerce")
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
                f"--column-kinds {text!r} is not NAME=KIND, where KIND is one of "
                f"{', '.join(KINDS)}."
            )
        kinds[_known(name, names, source, "--column-kinds")] = kind
    return kinds


def _known(name: str, names: Sequence[str], source: str, flag: str) -> str:
    if name not in names:
        raise HebaeError(
            f"{flag} names {name!r}, but {source} has no such column{suggestion(name, names)}; "
            f"its columns are {listed(names)}."
        )
    return name
