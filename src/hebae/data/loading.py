"""`load`: a name, a path or an array becomes a data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Set
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from hebae.data.arrays import from_array, load_npy, load_npz
from hebae.data.binary import (
    BINARIZED_MNIST,
    Binarize,
    binarized,
    is_binary_folder,
    load_binary_folder,
)
from hebae.data.celeba import CELEBA, is_celeba_folder, load_celeba_folder
from hebae.data.conditions import conditioned, conditions_note, is_names
from hebae.data.decoding import IMAGE_OPTIONS, are_pillow, decoding_of, from_pillow
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.genotypes import is_genotypes, load_genotypes
from hebae.data.hugging_face import from_hugging_face, is_hugging_face
from hebae.data.idx import FASHION_MNIST, MNIST, MNIST_MINI, is_idx_folder, load_idx_folder
from hebae.data.image_files import is_archive, open_images
from hebae.data.images import load_images
from hebae.data.single_cell import (
    from_anndata,
    is_10x_file,
    is_10x_folder,
    is_anndata,
    load_10x_file,
    load_10x_folder,
    load_h5ad,
)
from hebae.data.source import DataDirectory, DataSource, Format, NamedSource, ReadOptions
from hebae.data.sparse import from_sparse, is_sparse, is_sparse_file, load_sparse
from hebae.data.splits import hold_out, limit
from hebae.data.synthetic_faces import SYNTHETIC_FACES
from hebae.data.tables import from_frame, is_frame, is_table_file, load_table
from hebae.data.torch_dataset import from_torch_dataset, is_torch_dataset
from hebae.errors import HebaeError, suggestion
from hebae.files import expand, require_file

SOURCES: tuple[NamedSource, ...] = (
    MNIST_MINI,
    MNIST,
    BINARIZED_MNIST,
    FASHION_MNIST,
    CELEBA,
    SYNTHETIC_FACES,
)
"""The data sets that have a name. To add one, write its file and list it here."""
_OF_TABLES = {"label_column", "id_column", "column_kinds"}
_OF_ANNDATA = {"layer", "label_column", "column_kinds"}
FORMATS: tuple[Format, ...] = (
    Format(
        "a folder of idx files",
        is_idx_folder,
        lambda path, _: load_idx_folder(path),
        validation_is_last=True,
    ),
    Format(
        "a folder of binarised MNIST", is_binary_folder, lambda path, _: load_binary_folder(path)
    ),
    Format("a folder of CelebA", is_celeba_folder, lambda path, _: load_celeba_folder(path)),
    Format(
        "a folder of 10x Cell Ranger",
        is_10x_folder,
        load_10x_folder,
    ),
    Format(
        "a folder, .tar or .zip of images",
        lambda path: path.is_dir() or is_archive(path),
        lambda path, options: load_images(
            path.name,
            open_images(path),
            decoding=decoding_of(options),
            skip_unreadable=options.skip_unreadable,
        ),
        frozenset({*IMAGE_OPTIONS, "skip_unreadable"}),
    ),
    Format(
        "genotypes (.bed, .pgen, .vcf or .vcf.gz)",
        is_genotypes,
        lambda path, _: load_genotypes(path),
    ),
    Format("a .npy file", lambda path: path.suffix == ".npy", lambda path, _: load_npy(path)),
    Format("a .npz file of a sparse matrix", is_sparse_file, load_sparse),
    Format("a .npz file of arrays", lambda path: path.suffix == ".npz", lambda p, _: load_npz(p)),
    Format("a .csv, .tsv or .parquet table", is_table_file, load_table, _OF_TABLES),
    Format("a .h5ad file", lambda path: path.suffix == ".h5ad", load_h5ad, _OF_ANNDATA),
    Format("a .h5 file of 10x Cell Ranger", is_10x_file, load_10x_file),
)
"""Files and folders by their format, the first that accepts a path. To add one, list it here."""
OBJECTS: tuple[Format, ...] = (
    Format("a data frame of pandas or polars", is_frame, from_frame, _OF_TABLES),
    Format("an AnnData object", is_anndata, from_anndata, _OF_ANNDATA),
    Format("a sparse matrix of SciPy", is_sparse, from_sparse),
    Format("a data set of torch", is_torch_dataset, from_torch_dataset, IMAGE_OPTIONS),
    Format(
        "a data set of Hugging Face", is_hugging_face, from_hugging_face, _OF_TABLES | IMAGE_OPTIONS
    ),
    Format("a list of Pillow images", are_pillow, from_pillow, IMAGE_OPTIONS),
    Format("an array", lambda data: True, lambda data, _: from_array(data)),
)
"""Python objects, in the same way."""
OF_ANY_DATA = {"columns", "feature_names", "condition", "condition_columns"}
"""Fields of `ReadOptions` that no format refuses."""
_FORMER_NAMES = {"made-faces": "synthetic-faces"}  # accepted until version 0.3


def load(
    data: Any,
    *,
    data_dir: str | Path | None = None,
    validation_size: int | None = None,
    train_size: int | None = None,
    binarize: Binarize = "none",
    pixels: bool | None = None,
    condition: Any = (),
    **options: Any,
) -> Dataset:
    """Load data as uint8 or float32 arrays, split into training, validation and test examples.

    Parameters
    ----------
    data : str, Path, array-like, torch.Tensor, Examples or Dataset
        A name listed by `catalogue`; a folder, .tar or .zip of images; a folder of four idx files;
        a folder of the official CelebA or of the binarised MNIST; a .npy or .npz file; a list of
        Pillow images; or an array, data frame or list of lists of shape (n, d), (n, h, w) or
        (n, c, h, w). Examples and a Dataset are returned as they are. Images of a folder or archive
        are in the order of their names, compared as text; the names are their ids.
    data_dir : str or Path, optional
        Directory that holds the files of named data. Only this directory is used: data that it
        does not hold are refused. By default they are looked for in HEBAE_DATA_DIR and the cache,
        and downloaded if their terms allow it. Refused for other data, which it cannot change.
    validation_size : int, optional
        How many training examples to set aside for validation: the last ones of MNIST and
        Fashion-MNIST, otherwise a fixed random draw; 0 for none. By default the source's own splits
        are kept, and a tenth is drawn from a source that has no validation or test split.
    train_size : int, optional
        How many of the remaining training examples to use: a fixed random draw.
    binarize : {"none", "fixed", "dynamic"}, default="none"
        Draw 0 or 1 instead of each value in [0, 1]; "dynamic": again in each epoch of training.
    pixels : bool, optional
        Whether uint8 values are grey levels; see `Examples`. No effect on other types.
    condition : str, tuple of str, or values, optional
        What the decoder is given in addition to the code. Names of columns of a table or of
        ``obs``, which are then not used as features, or "label" for the labels of any data; a tuple
        for several. Or the values themselves: an array or list with one per training example, a
        data frame, or a dict of names and values.
    **options
        What to read, for formats that hold more than examples: see `hebae.data.source.ReadOptions`.

    Returns
    -------
    Dataset

    Raises
    ------
    HebaeError
        If the data are not found, cannot be used for training, or cannot be split as requested.
    """
    known = options.get("condition_columns")
    if known is not None:
        options |= {"condition": tuple(column.name for column in known)}
        condition = None if isinstance(condition, tuple) else condition  # names are known
    elif is_names(condition):
        options |= {"condition": (condition,) if isinstance(condition, str) else condition}
        condition = None
    read = ReadOptions(**options)
    dataset = _with_pixels(_load(data, data_dir, validation_size, read, condition), pixels)
    if dataset.train.condition_columns and read.condition_columns is None:
        note = conditions_note(dataset.train.condition_columns)
        dataset = replace(dataset, notes=(*dataset.notes, note))
    return binarized(limit(dataset, train_size), binarize)


def _with_pixels(dataset: Dataset, pixels: bool | None) -> Dataset:
    if pixels is None or dataset.train.values.dtype != np.uint8:
        return dataset
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    changed = {n: part and replace(part, pixels=pixels) for n, part in parts.items()}
    return replace(dataset, **changed)  # type: ignore[arg-type]


def _load(
    data: Any,
    data_dir: str | Path | None,
    validation_size: int | None,
    options: ReadOptions,
    condition: Any,
) -> Dataset:
    def split(dataset: Dataset, *, last: bool = False) -> Dataset:
        dataset = conditioned(dataset, condition, options)
        return hold_out(dataset, validation_size, last=last)

    if isinstance(data, Examples):
        data = Dataset("examples", data, None, None, fingerprint({"train": data}))
    if isinstance(data, Dataset):
        data = conditioned(data, condition, options)
        return data if validation_size is None else hold_out(data, validation_size)
    if not isinstance(data, str | os.PathLike):
        kind = next(kind for kind in OBJECTS if kind.accepts(data))
        _require_options(options, kind.options, f"an object of type {type(data).__name__}")
        return split(kind.read(data, options))
    name = data_set_name(data)
    for source in SOURCES:
        if source.name == name:
            _require_options(options, frozenset(), source.name)
            dataset = source.load(_directory(data_dir))
            return split(dataset, last=source.validation_is_last)
    if not os.fspath(data):
        raise HebaeError("the name of the data is empty: give a path, or a name of a data set.")
    path = expand(data)
    if path.exists() and data_dir:
        raise HebaeError(
            f"--data-dir is {data_dir}, but the data are read from {path}: it is for data sets "
            f"with a name ({', '.join(source.name for source in SOURCES)}). Leave it out."
        )
    if not path.exists():
        names = [source.name for source in SOURCES]
        raise HebaeError(
            f"{os.fspath(data)} is neither a file or folder nor the name of a data set"
            f"{suggestion(os.fspath(data), names)}; the data sets are {', '.join(names)}."
        )
    if not path.is_dir():
        require_file(path)
    kind = _format_of(path)
    _require_options(options, kind.options, str(path))
    dataset = kind.read(path, options)
    return split(dataset, last=kind.validation_is_last)


def _format_of(path: Path) -> Format:
    for kind in FORMATS:
        if kind.accepts(path):
            return kind
    raise HebaeError(
        f"{path} has an unknown format: give {'; '.join(kind.content for kind in FORMATS)}."
    )


def options_for(data: str) -> Set[str]:
    """Return the fields of `ReadOptions` that the format of a file takes."""
    path = expand(data)
    return _format_of(path).options if path.exists() else frozenset()


def _require_options(options: ReadOptions, allowed: Set[str], source: str) -> None:
    """Refuse an option that the format of the data does not use."""
    for field in fields(options):
        given = getattr(options, field.name)
        if given and field.name not in allowed | OF_ANY_DATA:
            kinds = [kind.content for kind in FORMATS if field.name in kind.options]
            raise HebaeError(
                f"--{field.name.replace('_', '-')} is {given!r}, but {source} does not take it: "
                f"this option is for {'; '.join(kinds)}."
            )


def data_set_name(data: str | os.PathLike[str]) -> str | None:
    """Return the name of the named data set that is meant, or None if `data` is a path."""
    if data in _FORMER_NAMES:
        new = _FORMER_NAMES[str(data)]
        warnings.warn(f"{data} is now called {new}: use the new name.", FutureWarning, stacklevel=3)
        return new
    return str(data) if any(data == source.name for source in SOURCES) else None


def located(
    source: Mapping[str, Any], data: str | None = None, data_dir: str | Path | None = None
) -> dict[str, Any]:
    """Return stored arguments of `load`, with the place of the data now if they have moved."""
    now = {**source, "data": data or source["data"]}
    if data_set_name(now["data"]) is None:
        now["data_dir"] = None  # stored for data with a name, or by 0.1.0, where it had no effect
    return now | ({"data_dir": data_dir} if data_dir else {})


def prepare(name_or_path: str | Path, **options: Any) -> Dataset:
    """Download or decode all that `load` will need with these options, and return the data set."""
    return load(name_or_path, **options)


def catalogue(data_dir: str | Path | None = None) -> list[DataSource]:
    """Return what is known about each named data set, and where it is on this machine."""
    directory = _directory(data_dir)
    return [
        DataSource(s.name, s.description, s.licence, s.shape, s.counts, *s.find(directory))
        for s in SOURCES
    ]


def _directory(data_dir: str | Path | None) -> DataDirectory:
    """Return the data directory, which must exist if one is named."""
    origin, given = "--data-dir", data_dir
    if not given:
        origin, given = "HEBAE_DATA_DIR", os.environ.get("HEBAE_DATA_DIR")
    if not given:
        return DataDirectory()
    path = expand(given, f"The data directory {given} ({origin})")
    if not path.is_dir():
        raise HebaeError(
            f"The data directory {path} ({origin}) does not exist: create it or name another."
        )
    return DataDirectory(path, is_explicit=origin == "--data-dir")
