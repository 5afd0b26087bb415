"""Sparse matrices of SciPy, in memory and in .npz files: kept sparse until the batch."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import ReadOptions
from hebae.errors import HebaeError
from hebae.files import reading, require_memory

MOST_COLUMNS = 2**26  # a dense row of a batch has 256 MB
_LARGEST = 1e18  # its square is still finite in float32
_LARGEST_WHOLE = 2**24  # whole numbers up to it are exact in float32


def is_sparse(data: Any) -> bool:
    """Whether an object is a sparse matrix or array of SciPy."""
    return hasattr(data, "tocsr")


def is_sparse_file(path: Path) -> bool:
    """Whether a file was written by ``scipy.sparse.save_npz``."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"format.npy", "shape.npy", "data.npy"} <= set(archive.namelist())
    except Exception:  # what is wrong with it, the reader of arrays says
        return False


def load_sparse(path: Path, options: ReadOptions) -> Dataset:
    """Read a .npz file of SciPy."""
    from scipy import sparse

    with reading(path, "write it with scipy.sparse.save_npz"):
        with zipfile.ZipFile(path) as archive:
            require_memory(sum(member.file_size for member in archive.infolist()), str(path))
        matrix = sparse.load_npz(path)
    return from_sparse(matrix, options, path.name, str(path))


def from_sparse(
    data: Any, options: ReadOptions, name: str = "sparse matrix", source: str = "The sparse matrix"
) -> Dataset:
    """Take a sparse matrix or array (n, features) of any format."""
    examples = Examples(as_csr(data, source), pixels=False)
    return Dataset(name, examples, None, None, fingerprint({"train": examples}))


def require_valid(matrix: Any, source: str) -> None:
    """Raise a HebaeError if an index is outside of the matrix: SciPy would read foreign memory."""
    if hasattr(matrix, "check_format"):
        try:
            matrix.check_format(full_check=True)
        except (ValueError, IndexError) as error:
            message = f"{source} is not a valid sparse matrix ({error}): write it again."
            raise HebaeError(message) from None


def as_csr(data: Any, source: str, names: tuple[str, ...] | None = None) -> Any:
    """Convert to CSR and float32; `names` are those of the columns, for messages."""
    if data.ndim != 2 or 0 in data.shape:
        raise HebaeError(
            f"{source} has shape {data.shape}: a sparse matrix must be (n, features), with no "
            "dimension of size 0."
        )
    if data.shape[1] > MOST_COLUMNS:
        raise HebaeError(
            f"{source} claims {data.shape[1]:,} columns, but at most {MOST_COLUMNS:,} can be read."
        )
    if data.dtype.kind not in "biuf":
        raise HebaeError(f"{source} has type {data.dtype}, but only real numbers can be read.")
    require_valid(data, source)
    require_memory(8 * data.shape[0], source)  # row pointers
    rows = data.tocsr()
    with np.errstate(over="ignore"):
        values = rows.data.astype(np.float32, copy=False)
    bad = ~(np.abs(values) <= _LARGEST)  # also true for NaN
    reason = "NaN, infinite or too large: correct it, or give a dense array for missing values"
    if rows.dtype.kind in "iu" and not bad.any():
        bad = np.abs(rows.data.astype(np.int64)) > _LARGEST_WHOLE
        reason = f"a whole number above {_LARGEST_WHOLE:,}, which float32 would round"
    if bad.any():
        position = int(np.argmax(bad))
        row = int(np.searchsorted(rows.indptr, position, side="right")) - 1
        column: Any = int(rows.indices[position])
        column = column + 1 if names is None else repr(names[column])
        raise HebaeError(
            f"{source} holds {rows.data[position]} in row {row + 1}, column {column}: {reason}."
        )
    if values is not rows.data:
        rows = type(rows)((values, rows.indices, rows.indptr), shape=rows.shape)
    return rows
