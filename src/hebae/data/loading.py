"""The one way in: a name, a path or an array becomes a data set."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from hebae.data.array_files import load_npy, load_npz
from hebae.data.arrays import from_array
from hebae.data.celeba import is_celeba_folder, load_celeba_folder
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.idx_source import is_idx_folder, load_idx_folder
from hebae.data.image_files import is_archive, open_images
from hebae.data.prepared import load_images
from hebae.data.registry import SOURCES
from hebae.data.source import DataSource
from hebae.data.splits import hold_out
from hebae.errors import HebaeError


def load(
    data: Any, *, data_dir: str | Path | None = None, validation_size: int | None = None
) -> Dataset:
    """Load data as uint8 or float32 arrays, split into training, validation and test examples.

    Parameters
    ----------
    data : str, Path, array-like, torch.Tensor, Examples or Dataset
        A name listed by `catalogue`; a folder, .tar or .zip of images; a folder of four idx files;
        a folder of the official CelebA; a .npy or .npz file; or an array, data frame or list of
        lists of shape (n, d), (n, h, w) or (n, c, h, w). Examples and a Dataset are taken as they
        are.
    data_dir : str or Path, optional
        Where to look for named data first; next comes the directory in HEBAE_DATA_DIR.
    validation_size : int, optional
        How many training examples to set aside for validation: the last ones of MNIST and its
        kin, else a fixed random draw; 0 for none. By default the source's own splits are kept,
        and a tenth is drawn from a source that has neither a validation nor a test split.

    Returns
    -------
    Dataset

    Raises
    ------
    HebaeError
        If the data are not found, are not fit to train on, or cannot be split as asked.
    """
    if isinstance(data, Examples):
        data = Dataset("examples", data, None, None, fingerprint({"train": data}))
    if isinstance(data, Dataset):
        return data if validation_size is None else hold_out(data, validation_size)
    if not isinstance(data, str | os.PathLike):
        return hold_out(from_array(data), validation_size)
    for source in SOURCES:
        if data == source.name:
            return source.load(_directories(data_dir), validation_size)
    path = _expand(data, os.fspath(data))
    if not path.exists():
        raise HebaeError(_unknown(os.fspath(data)))
    return _load_path(path, validation_size)


def prepare(name_or_path: str | Path, *, data_dir: str | Path | None = None) -> Dataset:
    """Download or decode all that `load` will need, and return the data set; see there."""
    return load(name_or_path, data_dir=data_dir)


def catalogue(data_dir: str | Path | None = None) -> list[DataSource]:
    """Return what is known of each named data set, and where it is on this machine."""
    directories = _directories(data_dir)
    return [source.describe(directories) for source in SOURCES]


def _load_path(path: Path, validation_size: int | None) -> Dataset:
    if path.is_dir():
        if is_idx_folder(path):
            return load_idx_folder(path, validation_size)
        if is_celeba_folder(path):
            return load_celeba_folder(path, validation_size)
        return load_images(path.name, open_images(path), validation_size)
    if is_archive(path):
        return load_images(path.name, open_images(path), validation_size)
    if path.suffix == ".npy":
        return hold_out(load_npy(path), validation_size)
    if path.suffix == ".npz":
        return hold_out(load_npz(path), validation_size)
    raise HebaeError(
        f"{path} is of no kind that can be read: give a .npy or .npz file, a .tar or .zip of "
        "images, or a folder of images or idx files."
    )


def _directories(data_dir: str | Path | None) -> tuple[Path, ...]:
    """Return the data directories to look in, which must exist if they are named."""
    named = {"--data-dir": data_dir, "HEBAE_DATA_DIR": os.environ.get("HEBAE_DATA_DIR")}
    directories = []
    for origin, directory in named.items():
        if directory:
            path = _expand(directory, f"The data directory {directory} ({origin})")
            if not path.is_dir():
                raise HebaeError(f"The data directory {path} ({origin}) is not there: create it.")
            directories.append(path)
    return tuple(directories)


def _expand(given: str | os.PathLike[str], source: str) -> Path:
    """Expand ~, and refuse a path that the system cannot even look up."""
    try:
        path = Path(given).expanduser()
        path.exists()
    except RuntimeError as error:
        raise HebaeError(
            f"{source} begins with a home directory that is not known here: give the full path."
        ) from error
    except OSError as error:
        raise HebaeError(
            f"{source} cannot be looked up ({error.strerror}): check the name or path."
        ) from error
    return path


def _unknown(data: str) -> str:
    names = [source.name for source in SOURCES]
    near = difflib.get_close_matches(data, names, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return (
        f"{data} is neither a file or folder here nor one of the known data sets "
        f"({', '.join(names)}){hint or '.'}"
    )
