"""`load`: a name, a path or an array becomes a data set."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hebae.data.arrays import from_array, load_npy, load_npz
from hebae.data.binary import (
    BINARIZED_MNIST,
    Binarize,
    binarized,
    is_binary_folder,
    load_binary_folder,
)
from hebae.data.celeba import CELEBA, is_celeba_folder, load_celeba_folder
from hebae.data.decoding import Decoding, decoding_of, is_pillow, stack
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.idx import FASHION_MNIST, MNIST, MNIST_MINI, is_idx_folder, load_idx_folder
from hebae.data.image_files import is_archive, open_images
from hebae.data.images import load_images
from hebae.data.source import DataDirectory, DataSource, NamedSource
from hebae.data.splits import hold_out, limit
from hebae.data.synthetic_faces import SYNTHETIC_FACES
from hebae.errors import HebaeError

SOURCES: tuple[NamedSource, ...] = (
    MNIST_MINI,
    MNIST,
    BINARIZED_MNIST,
    FASHION_MNIST,
    CELEBA,
    SYNTHETIC_FACES,
)
"""The data sets that have a name. To add one, write its file and list it here."""
_FORMER_NAMES = {"made-faces": "synthetic-faces"}  # accepted until version 0.3


def load(
    data: Any,
    *,
    data_dir: str | Path | None = None,
    validation_size: int | None = None,
    train_size: int | None = None,
    binarize: Binarize = "none",
    image_size: int | Sequence[int] | None = None,
    image_mode: str | None = None,
    image_background: str = "white",
    skip_unreadable: bool = False,
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
        and downloaded if their terms allow it.
    validation_size : int, optional
        How many training examples to set aside for validation: the last ones of MNIST and
        Fashion-MNIST, otherwise a fixed random draw; 0 for none. By default the source's own splits
        are kept, and a tenth is drawn from a source that has no validation or test split.
    train_size : int, optional
        How many of the training examples that are left to use: a fixed random draw.
    binarize : {"none", "fixed", "dynamic"}, default="none"
        Draw 0 or 1 in place of each value in [0, 1]; "dynamic": again in each epoch of training.
    image_size : int or tuple of two int, optional
        Cut the largest centred part of this shape out of each image and resize it, with a Lanczos
        filter, to this width and height in pixels; one number for a square. By default all images
        must have one size.
    image_mode : {"RGB", "L"}, optional
        Convert images to RGB or to grey levels. By default all must be the same.
    image_background : str, default="white"
        Colour that transparent images are placed on.
    skip_unreadable : bool, default=False
        Leave out image files that cannot be decoded; `Dataset.notes` lists them.

    Returns
    -------
    Dataset

    Raises
    ------
    HebaeError
        If the data are not found, cannot be used for training, or cannot be split as requested.
    """
    decoding = decoding_of(image_size, image_mode, image_background)
    given = {"--image-size": image_size, "--image-mode": image_mode}
    given["--skip-unreadable"] = skip_unreadable or None
    flags = [flag for flag, value in given.items() if value is not None]
    if flags and not _are_images(data):
        raise HebaeError(
            f"{flags[0]} is for folders and archives of images, and for lists of Pillow images, "
            f"which these data are not: leave {' and '.join(flags)} out."
        )
    dataset = _load(data, data_dir, validation_size, decoding, skip_unreadable)
    return binarized(limit(dataset, train_size), binarize)


def _load(
    data: Any,
    data_dir: str | Path | None,
    validation_size: int | None,
    decoding: Decoding,
    skip_unreadable: bool,
) -> Dataset:
    if is_pillow(data):
        raise HebaeError("The data are one image: give a list of images, or a folder of them.")
    if isinstance(data, list) and data and is_pillow(data[0]):
        values, notes = stack(data, decoding)
        return hold_out(replace(from_array(values), name="images", notes=notes), validation_size)
    if isinstance(data, Examples):
        data = Dataset("examples", data, None, None, fingerprint({"train": data}))
    if isinstance(data, Dataset):
        for part in (data.train, data.validation, data.test):
            if part is not None and (part.is_sparse or part.missing is not None):
                kind = "are sparse" if part.is_sparse else "have missing values"
                remedy = (
                    ".toarray()" if part.is_sparse else "values of your choice, without the mask"
                )
                raise HebaeError(
                    f"The examples of {data.name} {kind}, which no model can be trained on yet: "
                    f"replace them by {remedy}."
                )
        return data if validation_size is None else hold_out(data, validation_size)
    if not isinstance(data, str | os.PathLike):
        return hold_out(from_array(data), validation_size)
    name = data_set_name(data)
    for source in SOURCES:
        if source.name == name:
            dataset = source.load(_directory(data_dir))
            return hold_out(dataset, validation_size, last=source.validation_is_last)
    path = _expand(data, os.fspath(data))
    if not path.exists():
        names = [source.name for source in SOURCES]
        near = difflib.get_close_matches(os.fspath(data), names, n=1)
        raise HebaeError(
            f"{os.fspath(data)} is neither a file or folder nor the name of a data set "
            f"({', '.join(names)}){f'. Did you mean {near[0]}?' if near else '.'}"
        )
    if path.is_dir() and is_idx_folder(path):
        return hold_out(load_idx_folder(path), validation_size, last=True)
    if path.is_dir() and is_binary_folder(path):
        dataset = load_binary_folder(path)
    elif path.is_dir() and is_celeba_folder(path):
        dataset = load_celeba_folder(path)
    elif path.is_dir() or is_archive(path):
        images = open_images(path)
        dataset = load_images(path.name, images, decoding=decoding, skip_unreadable=skip_unreadable)
    elif path.suffix in (".npy", ".npz"):
        dataset = load_npy(path) if path.suffix == ".npy" else load_npz(path)
    else:
        raise HebaeError(
            f"{path} has an unknown format: give a .npy or .npz file, a .tar or .zip of "
            "images, or a folder of images or idx files."
        )
    return hold_out(dataset, validation_size)


def _are_images(data: Any) -> bool:
    """Whether data are images to be decoded, or a path that does not exist."""
    if not isinstance(data, str | os.PathLike):
        return isinstance(data, list) and bool(data) and is_pillow(data[0])
    path = Path(data).expanduser()
    others = is_idx_folder, is_binary_folder, is_celeba_folder
    is_folder = path.is_dir() and not any(is_other(path) for is_other in others)
    is_named = any(data == source.name for source in SOURCES)
    return not is_named and (is_folder or is_archive(path) or not path.exists())


def data_set_name(data: str | os.PathLike[str]) -> str | None:
    """Return the name of the named data set that is meant, or None if `data` is a path."""
    if data in _FORMER_NAMES:
        new = _FORMER_NAMES[str(data)]
        warnings.warn(f"{data} is now called {new}: use the new name.", FutureWarning, stacklevel=3)
        return new
    return str(data) if any(data == source.name for source in SOURCES) else None


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
    path = _expand(given, f"The data directory {given} ({origin})")
    if not path.is_dir():
        raise HebaeError(
            f"The data directory {path} ({origin}) does not exist: create it or name another."
        )
    return DataDirectory(path, is_explicit=origin == "--data-dir")


def _expand(given: str | os.PathLike[str], source: str) -> Path:
    """Expand ~, and refuse a path that the system cannot look up."""
    try:
        path = Path(given).expanduser()
        path.exists()
    except RuntimeError as error:
        raise HebaeError(
            f"{source} begins with a home directory that does not exist: give the full path."
        ) from error
    except OSError as error:
        raise HebaeError(
            f"{source} cannot be looked up ({error.strerror}): check the name or path."
        ) from error
    return path
