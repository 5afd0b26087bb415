"""Binary images: the fixed binarisation of MNIST, and the binarisation of any grey images.

Likelihoods are published for both: Larochelle & Murray (2011) drew the fixed one; with the dynamic
one every epoch draws new training images (Burda, Grosse, Salakhutdinov 2016).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from hebae.data.examples import Dataset, Examples, blocks, fingerprint
from hebae.data.matlab import read_matrix
from hebae.data.source import NamedSource
from hebae.errors import HebaeError
from hebae.files import reading

Binarize = Literal["none", "fixed", "dynamic"]

SPLITS = {"train": "train", "validation": "valid", "test": "test"}
FILES = {
    suffix: {split: f"binarized_mnist_{name}{suffix}" for split, name in SPLITS.items()}
    for suffix in (".mat", ".amat")
}
SIDE = 28
SEED = 2011
"""Seed of the fixed draws, the same for every run: all runs are measured on the same images."""


def _read_named(folder: Path | None, source: NamedSource) -> Dataset:
    """Read the files, whose numbers of images are known."""
    if folder is None:
        raise HebaeError(
            f"{source.name} was not found: put {source.files} into a directory and name it with "
            "--data-dir or HEBAE_DATA_DIR."
        )
    dataset = load_binary_folder(folder, name=source.name)
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    counts = {split: len(part) for split, part in parts.items() if part is not None}
    if counts != source.counts:
        raise HebaeError(
            f"{folder} holds {counts} images, but {source.name} has {dict(source.counts)}: "
            "download the files again, or give the folder as a path to use it anyway."
        )
    return dataset


BINARIZED_MNIST = NamedSource(
    name="binarized-mnist",
    description="Handwritten digits, fixed binarisation",
    licence="CC BY-SA 3.0",
    shape=(1, SIDE, SIDE),
    counts={"train": 50_000, "validation": 10_000, "test": 10_000},
    availability="by hand",
    read=_read_named,
    folders=("", "binary", "binarized-mnist"),
    contents=[set(files.values()) for files in FILES.values()],
    files="binarized_mnist_train, _valid and _test, all as .amat (text, from "
    "www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist) or all as .mat,",
)


def is_binary_folder(folder: Path) -> bool:
    """Whether a folder holds the three files of one format."""
    return any(all((folder / f).is_file() for f in files.values()) for files in FILES.values())


def load_binary_folder(folder: Path, *, name: str | None = None) -> Dataset:
    """Read the three files of a folder, .mat if there are both."""
    suffix = next(
        suffix
        for suffix, files in FILES.items()
        if all((folder / f).is_file() for f in files.values())
    )
    splits = {
        split: Examples(_read(folder / file), pixels=True) for split, file in FILES[suffix].items()
    }
    digest = fingerprint(splits)
    return Dataset(
        name or folder.name, splits["train"], splits["validation"], splits["test"], digest
    )


def _read(path: Path) -> np.ndarray:
    """Return the images of a file, uint8 0 and 255 of shape (n, 1, 28, 28)."""
    with reading(path, f"it must hold one image of {SIDE * SIDE} zeros and ones per row"):
        if path.suffix == ".mat":
            rows = read_matrix(path, "X")
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="loadtxt: input contained no data")
                rows = np.loadtxt(path, dtype=np.float32, ndmin=2)
    if rows.ndim != 2 or rows.shape[1] != SIDE * SIDE or len(rows) == 0:
        raise HebaeError(
            f"{path} holds an array of shape {rows.shape}, but must hold {SIDE * SIDE} zeros and "
            "ones per row: download it again."
        )
    if rows.dtype.kind not in "biuf":
        raise HebaeError(f"{path} holds values of type {rows.dtype}, not zeros and ones.")
    wrong = np.argwhere((rows != 0) & (rows != 1))
    if len(wrong):
        row, column = wrong[0]
        raise HebaeError(
            f"{path} holds {rows[row, column]:g} in row {row + 1}, column {column + 1}, but only 0 "
            "and 1 are binary: for grey images use --binarize."
        )
    images: np.ndarray = rows.astype(np.uint8) * np.uint8(255)
    return images.reshape(-1, 1, SIDE, SIDE)


def binarized(dataset: Dataset, how: Binarize) -> Dataset:
    """Replace each value x in [0, 1] by 1 with probability x, else by 0.

    Every split is drawn once, the same for all runs. With "dynamic", training examples are drawn
    again from ``original`` in each epoch, with the seed of the run.

    Raises
    ------
    HebaeError
        If a value is outside of [0, 1].
    """
    if how == "none":
        return dataset
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    drawn: Mapping[str, Examples | None] = {
        split: None if part is None else _drawn(dataset.name, part, number)
        for number, (split, part) in enumerate(parts.items())
    }
    again = "; training examples are drawn again in each epoch" if how == "dynamic" else ""
    note = (
        f"Each value x of {dataset.name} is drawn as 1 with probability x, otherwise as 0{again}."
    )
    return replace(
        dataset,
        **drawn,  # type: ignore[arg-type]
        notes=(*dataset.notes, note),
        original=dataset,
        redrawn=how == "dynamic",
    )


def _drawn(name: str, examples: Examples, split: int) -> Examples:
    low, high = examples.range
    if low < 0 or high > 1:
        raise HebaeError(
            f"--binarize needs values in [0, 1], but those of {name} range from {low:g} to "
            f"{high:g}: scale them first, or use --binarize none."
        )
    generator = np.random.default_rng([SEED, split])
    scale = 255 if examples.are_pixels else 1
    drawn = np.concatenate(
        [
            (generator.random(block.shape, np.float32) * scale < block) * np.uint8(255)
            for block in blocks(examples.values)
        ]
    )
    return replace(examples, values=drawn, pixels=True)
