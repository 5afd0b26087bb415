"""How the names of image files give splits and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hebae.data.image_files import SPLIT_FOLDERS
from hebae.data.splits import draw, hold_out_note, validation_count
from hebae.errors import HebaeError


@dataclass(frozen=True)
class Layout:
    """Which image files make up each split, in order.

    Parameters
    ----------
    splits : mapping of str to sequence of str
        Names of the files of "train" and, where there are any, "validation" and "test".
    labels : mapping of str to int
        Label of each file; empty if there are none.
    notes : tuple of str
        What the user should be told.
    """

    splits: Mapping[str, Sequence[str]]
    labels: Mapping[str, int]
    notes: tuple[str, ...] = ()


def layout_of_folders(source: str, names: Sequence[str]) -> Layout:
    """Read splits and labels off the folders of files.

    With a folder train/, the folders train/, test/ and validation/ (or valid/ or val/) are the
    splits, and nothing may lie outside. Folders within a split, or at the top where there are no
    splits, are classes, numbered from 0 in order of name over all splits.

    Raises
    ------
    HebaeError
        If there is no image, no training image beside the others, an image outside the splits, or
        an image outside the classes.
    """
    if not names:
        raise HebaeError(f"{source} holds no image: PNG, JPEG or other image files are needed.")
    parts = {name: PurePosixPath(name).parts for name in names}
    folders = {folders[0] for folders in parts.values() if len(folders) > 1}
    splits: dict[str, list[str]] = {"train": list(names)}
    if not folders.isdisjoint(SPLIT_FOLDERS):
        splits = {}
        for name in names:
            folder, *below = parts[name]
            if not below or folder not in SPLIT_FOLDERS:
                raise HebaeError(
                    f"{source} has split folders, but {name} lies outside train/, validation/ and "
                    "test/: move it into one of them, or away."
                )
            splits.setdefault(SPLIT_FOLDERS[folder], []).append(name)
            parts[name] = tuple(below)
        if "train" not in splits:
            raise HebaeError(f"{source} has {', '.join(sorted(folders))} but no train/: add it.")

    classes = {name: below[0] for name, below in parts.items() if len(below) > 1}
    if classes and len(classes) < len(names):
        odd = next(name for name in names if name not in classes)
        raise HebaeError(
            f"{source} has class folders, but {odd} lies in none: move it into one, or away."
        )
    numbers = {folder: number for number, folder in enumerate(sorted(set(classes.values())))}
    return Layout(splits, {name: numbers[folder] for name, folder in classes.items()})


def hold_out_files(source: str, layout: Layout, validation_size: int | None) -> Layout:
    """Set validation files aside, by the rules of `hebae.data.splits.hold_out`."""
    splits = dict(layout.splits)
    train = splits["train"]
    count = validation_count(
        source,
        len(train),
        validation_size,
        has_validation="validation" in splits,
        has_test="test" in splits,
    )
    if validation_size == 0:
        splits.pop("validation", None)
    if count == 0:
        return Layout(splits, layout.labels, layout.notes)
    kept, drawn = draw(len(train), count)
    splits["train"] = [train[position] for position in kept]
    splits["validation"] = [train[position] for position in drawn]
    note = hold_out_note(len(train), count)
    return Layout(splits, layout.labels, (*layout.notes, note))
