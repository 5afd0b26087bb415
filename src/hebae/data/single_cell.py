"""Single cells: AnnData objects and .h5ad files, folders and .h5 files of 10x Cell Ranger.

Counts stay sparse. Ids are the barcodes, feature names those of the genes.
"""

from __future__ import annotations

import csv
import gzip
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hebae.data.columns import array_of, labels_of
from hebae.data.conditions import NONE, Taken, from_columns
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import ReadOptions
from hebae.data.sparse import as_csr, require_valid
from hebae.errors import HebaeError, MissingPackage
from hebae.files import decompressed, reading, require_memory

_MATRIX, _BARCODES, _FEATURES = "matrix.mtx", "barcodes.tsv", ("features.tsv", "genes.tsv")
_EXPRESSION = "Gene Expression"


def is_anndata(data: Any) -> bool:
    """Whether an object is an AnnData."""
    return type(data).__name__ == "AnnData" and hasattr(data, "obs_names")


def from_anndata(data: Any, options: ReadOptions, source: str = "The AnnData object") -> Dataset:
    """Take X or a layer of an AnnData object."""
    values, names = data.X, data.var_names
    if options.layer == "raw" and "raw" not in data.layers:
        if data.raw is None:
            raise _no_layer("raw", list(data.layers), source)
        values, names = data.raw.X, data.raw.var_names
    elif options.layer is not None:
        if options.layer not in data.layers:
            raise _no_layer(options.layer, list(data.layers), source)
        values = data.layers[options.layer]
    return _dataset("AnnData", values, data.obs, data.obs_names, names, options, source)


def load_h5ad(path: Path, options: ReadOptions) -> Dataset:
    """Read X or a layer of a .h5ad file, ``obs`` and the names of ``var``, and nothing else."""
    try:
        import h5py
        from anndata import read_h5ad
        from anndata.io import read_elem
    except ImportError:
        raise _missing(".h5ad files need anndata") from None
    with reading(path, "write it with AnnData.write_h5ad"):
        with h5py.File(path, "r") as file:
            _require_plain(file)
            if isinstance(file["obs"], h5py.Dataset):  # of anndata before version 0.7
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of its age, once per element
                    old = read_h5ad(path)
                whole = from_anndata(old, options, str(path))
                return replace(whole, name=path.name)
            layers = list(file["layers"]) if "layers" in file else []
            place = "X" if options.layer is None else f"layers/{options.layer}"
            if options.layer == "raw" and "raw" not in layers:
                place = "raw/X"
            if place not in file and options.layer is not None:
                raise _no_layer(options.layer, layers, str(path))
            values, obs = read_elem(file[place]), read_elem(file["obs"])
            names = read_elem(file["raw/var" if place == "raw/X" else "var"]).index
        if not hasattr(obs, "columns") or len(getattr(values, "shape", (0, 0))) != 2:
            raise ValueError("obs is not a table, or X not a matrix")
        if values is not None and values.shape != (len(obs), len(names)):
            raise ValueError(f"X is {values.shape}, but obs has {len(obs)} and var {len(names)}")
    return _dataset(path.name, values, obs, obs.index, names, options, str(path))


def _dataset(
    name: str, values: Any, obs: Any, ids: Any, names: Any, options: ReadOptions, source: str
) -> Dataset:
    if values is None:
        raise HebaeError(f"{source} has no X: name a layer with --layer.")
    labels = label_names = None
    column = options.label_column
    if column is not None and (column in obs or not options.feature_names):
        if column not in obs:
            raise HebaeError(
                f"--label-column names {column!r}, but the columns of obs are "
                f"{', '.join(map(str, obs.columns)) or 'none'}."
            )
        labels, label_names = labels_of(obs[column], f"{source}, obs column {column!r}")
    strange = [
        text for text in options.column_kinds if text.rpartition("=")[0] not in options.condition
    ]
    if strange:
        raise HebaeError(
            f"--column-kinds {strange[0]!r} does not name a --condition: genes are always numbers. "
            "Give NAME=category or NAME=number for a condition."
        )
    conditions = from_columns(obs, options, source, labels, label_names)
    return _cells(name, values, ids, names, options, source, (), labels, label_names, conditions)


def _cells(
    name: str,
    values: Any,
    ids: Sequence[str],
    names: Sequence[str],
    options: ReadOptions,
    source: str,
    notes: tuple[str, ...],
    labels: np.ndarray | None = None,
    label_names: tuple[str, ...] | None = None,
    conditions: Taken = NONE,
) -> Dataset:
    """Make a data set of cells x genes."""
    values = values.to_memory() if hasattr(values, "to_memory") else values  # of a file
    keys = array_of(ids, source)
    genes = tuple(map(str, names))
    repeated, times = Counter(genes).most_common(1)[0] if genes else ("", 0)
    if times > 1:
        raise HebaeError(
            f"{source} has {times} genes called {repeated!r}: make the names unique, for instance "
            "with adata.var_names_make_unique()."
        )
    wanted = options.feature_names
    if wanted is not None and wanted != genes:
        position = {gene: number for number, gene in enumerate(genes)}
        absent = [gene for gene in wanted if gene not in position]
        if absent:
            raise HebaeError(
                f"{source} has no gene {absent[0]!r}, which the model was trained on; "
                f"{len(absent):,} of {len(wanted):,} genes are missing. Give data with all of them."
            )
        values, genes = values[:, [position[gene] for gene in wanted]], wanted
    missing = None
    if hasattr(values, "tocsr"):
        values = as_csr(values, source, genes)
    else:
        values = np.array(values, np.float32)
        missing = np.isnan(values)
        if np.isinf(values).any():
            row, column = (int(i) for i in np.argwhere(np.isinf(values))[0])
            raise HebaeError(
                f"{source} holds an infinite number in row {row + 1}, column {genes[column]!r}: "
                "correct it."
            )
        values[missing] = 0
        missing = missing if missing.any() else None
    examples = Examples(
        values, labels, keys, genes, missing, False, None, label_names, None, *conditions
    )
    return Dataset(name, examples, None, None, fingerprint({"train": examples}), notes)


def is_10x_folder(path: Path) -> bool:
    """Whether a folder holds a matrix of Cell Ranger."""
    return path.is_dir() and _file(path, _MATRIX) is not None


def load_10x_folder(path: Path, options: ReadOptions) -> Dataset:
    """Read matrix.mtx, features.tsv (or genes.tsv) and barcodes.tsv, with or without .gz."""
    from scipy.io import mmread

    matrix, barcodes = _file(path, _MATRIX), _file(path, _BARCODES)
    features = next((found for name in _FEATURES if (found := _file(path, name))), None)
    if features is None or barcodes is None:
        absent = "features.tsv or genes.tsv" if features is None else _BARCODES
        raise HebaeError(f"{path} has no {absent} beside its {_MATRIX}: add it.")
    assert matrix is not None
    remedy = "write or download the folder again"
    with reading(matrix, remedy):
        with _open(matrix) as file:
            header = next(line for line in file if not line.startswith(b"%") and line.strip())
            # SciPy's reader looks for the end of a line, and crashes where there is none.
            last = b""
            while block := file.read(2**20):
                if b"\0" in block:
                    raise ValueError("it holds a zero byte")
                last = block[-1:]
            if last != b"\n":
                raise ValueError("its last line is incomplete")
        *_, entries = map(int, header.split())
        require_memory(24 * entries, str(matrix))
        counts = mmread(matrix)
    with reading(features, remedy):
        rows = _lines(features)
    with reading(barcodes, remedy):
        ids = [line[0] for line in _lines(barcodes)]
    kinds = [row[2] if len(row) > 2 else _EXPRESSION for row in rows]
    symbols = [row[1] if len(row) > 1 else row[0] for row in rows]
    return _from_10x(path, counts, ids, [row[0] for row in rows], symbols, kinds, options)


def is_10x_file(path: Path) -> bool:
    """Whether a file's name ends in .h5."""
    return path.suffix == ".h5" and path.is_file()


def load_10x_file(path: Path, options: ReadOptions) -> Dataset:
    """Read a ``filtered_feature_bc_matrix.h5`` of Cell Ranger 3 or later."""
    try:
        import h5py
    except ImportError:
        raise _missing("The .h5 files of 10x need h5py") from None
    from scipy.sparse import csc_array

    with reading(path, "it must be of Cell Ranger 3 or later"), h5py.File(path, "r") as file:
        _require_plain(file)
        group = file["matrix"]
        parts = tuple(group[name][()] for name in ("data", "indices", "indptr"))
        counts = csc_array(parts, shape=tuple(int(n) for n in group["shape"][()]))
        ids, genes, symbols, kinds = (
            [text.decode() for text in group[name][()]]
            for name in ("barcodes", "features/id", "features/name", "features/feature_type")
        )
    return _from_10x(path, counts, ids, genes, symbols, kinds, options)


def _from_10x(
    path: Path,
    counts: Any,
    ids: list[str],
    genes: list[str],
    symbols: list[str],
    kinds: list[str],
    options: ReadOptions,
) -> Dataset:
    """Take the genes of a matrix of features x cells, called by their symbols where unique."""
    if counts.shape != (len(genes), len(ids)):
        raise HebaeError(
            f"{path} holds a matrix of {counts.shape[0]:,} x {counts.shape[1]:,}, but "
            f"{len(genes):,} features and {len(ids):,} barcodes: the numbers must be equal."
        )
    times = Counter(symbols)
    names = [s if times[s] == 1 else f"{s} ({g})" for s, g in zip(symbols, genes, strict=True)]
    require_valid(counts, str(path))
    chosen = np.flatnonzero([kind == _EXPRESSION for kind in kinds])
    notes: tuple[str, ...] = ()
    cells = counts.T.tocsr()
    if 0 < len(chosen) < len(kinds):
        notes = (
            f"{len(kinds) - len(chosen):,} features that are not gene expression were left out.",
        )
        cells, names = cells[:, chosen], [names[i] for i in chosen]
    return _cells(path.name, cells, ids, names, options, str(path), notes)


def _file(folder: Path, name: str) -> Path | None:
    """Return a file of a folder, with or without .gz."""
    return next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return decompressed(gzip.open(path, "rb"), path)  # type: ignore[arg-type]
    return path.open("rb")


def _lines(path: Path) -> list[list[str]]:
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
        return [line for line in csv.reader(file, delimiter="\t") if line]


def _require_plain(file: Any) -> None:
    """Refuse links to other files, and data that would not fit into memory."""
    import h5py

    elsewhere, size = [], 0

    def look_at_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            elsewhere.append(name)

    def look_at(name: str, item: Any) -> None:
        nonlocal size
        if isinstance(item, h5py.Dataset):
            size += item.nbytes
            if item.external or item.is_virtual:
                elsewhere.append(name)

    file.visititems_links(look_at_link)
    if not elsewhere:
        file.visititems(look_at)
    if elsewhere:
        raise ValueError(f"{elsewhere[0]} is in another file")
    require_memory(size, file.filename)


def _no_layer(layer: str, layers: list[str], source: str) -> HebaeError:
    if not layers:
        return HebaeError(
            f"--layer is {layer!r}, but {source} has no layers: leave it out to use X."
        )
    return HebaeError(
        f"--layer is {layer!r}, but {source} has the layers {', '.join(layers)}: name "
        "one of them, or leave it out to use X."
    )


def _missing(what: str) -> MissingPackage:
    return MissingPackage(f"{what}: install it with pip install 'hebae[anndata]'.")
