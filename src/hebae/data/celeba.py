"""CelebA: faces, the official 178 x 218 images cut to 64 x 64, or a subset ready at that size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from hebae.data.decode import Crop, Decoding, Form
from hebae.data.examples import Dataset
from hebae.data.image_files import open_images
from hebae.data.layout import Layout
from hebae.data.prepared import Processing, load_images
from hebae.data.source import DataSource
from hebae.errors import HebaeError

PARTITION = "list_eval_partition.txt"
IMAGES = ("img_align_celeba", "img_align_celeba.zip")
SUBSET = "celeba64-subset.tar"
SPLITS = {"0": "train", "1": "validation", "2": "test"}

CLOSE_CROP = Decoding(
    form=Form(178, 218, grey=False),
    model="an aligned image of CelebA",
    # The 140 x 140 pixels at the centre, as Tolstikhin et al. (2018) cut them.
    crop=Crop(box=(19, 39, 159, 179), size=(64, 64)),
)


class CelebA:
    """CelebA by name, from a data directory; its terms forbid that a program fetches it."""

    name = "celeba"

    def describe(self, directories: tuple[Path, ...]) -> DataSource:
        """Return the line of the catalogue."""
        location = _find(directories)
        return DataSource(
            self.name,
            "Faces, aligned, cropped and resized",
            "non-commercial research only",
            (3, 64, 64),
            {"train": 162_770, "validation": 19_867, "test": 19_962},
            "data directory" if location else "by hand",
            location,
        )

    def load(self, directories: tuple[Path, ...], validation_size: int | None) -> Dataset:
        """Prepare or reopen the official images, else the subset."""
        location = _find(directories)
        if location is None:
            raise HebaeError(
                f"celeba is not here and must be fetched by hand: put {IMAGES[1]} (or the folder "
                f"{IMAGES[0]}) and {PARTITION} from mmlab.ie.cuhk.edu.hk/projects/CelebA.html, or "
                f"{SUBSET}, into a directory that --data-dir or HEBAE_DATA_DIR names."
            )
        if location.is_dir():
            return load_celeba_folder(location, validation_size, name=self.name)
        subset = load_images(self.name, open_images(location), validation_size)
        note = (
            f"{location.name} is a subset of CelebA, so results do not compare with those "
            "published for all of it."
        )
        return replace(subset, notes=(*subset.notes, note))


CELEBA = CelebA()


def is_celeba_folder(folder: Path) -> bool:
    """Whether a folder holds the official images and their partition."""
    return (folder / PARTITION).is_file() and any((folder / name).exists() for name in IMAGES)


def load_celeba_folder(
    folder: Path, validation_size: int | None, *, name: str | None = None
) -> Dataset:
    """Prepare or reopen the official images of a folder, split by their partition."""
    images = next(folder / name for name in IMAGES if (folder / name).exists())
    text = _partition_text(folder / PARTITION)
    return load_images(
        name or folder.name,
        open_images(images),
        validation_size,
        Processing(
            arrange=partial(_layout_of_partition, _read_partition(folder / PARTITION, text)),
            key=hashlib.sha256(text.encode()).hexdigest(),
            decoding=CLOSE_CROP,
        ),
    )


def _find(directories: tuple[Path, ...]) -> Path | None:
    for directory in directories:
        for folder in (directory, directory / "celeba"):
            if is_celeba_folder(folder):
                return folder
            if (folder / SUBSET).is_file():
                return folder / SUBSET
    return None


def _partition_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HebaeError(f"{path} cannot be read as text ({error}): fetch it again.") from error


def _read_partition(path: Path, text: str) -> dict[str, str]:
    """Return the split of each image by its name, from lines such as "000001.jpg 0"."""
    partition = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match line.split():
            case [name, split] if split in SPLITS:
                partition[name] = SPLITS[split]
            case _:
                raise HebaeError(
                    f"{path} has {line!r} in line {number}, where a name and 0, 1 or 2 must stand: "
                    "fetch it again."
                )
    return partition


def _layout_of_partition(partition: Mapping[str, str], source: str, names: Sequence[str]) -> Layout:
    """Place each file into the split that the partition gives for its name."""
    files = {PurePosixPath(name).name: name for name in names}
    missing = [name for name in partition if name not in files]
    unlisted = [name for name in files if name not in partition]
    if missing or unlisted:
        raise HebaeError(
            f"{source} and {PARTITION} do not agree: {len(missing):,} images are missing and "
            f"{len(unlisted):,} are not listed, such as {(missing + unlisted)[0]}; unpack or fetch "
            "the images again."
        )
    splits: dict[str, list[str]] = {}
    for name, split in partition.items():
        splits.setdefault(split, []).append(files[name])
    if "train" not in splits:
        raise HebaeError(f"{PARTITION} of {source} lists no training image: fetch it again.")
    return Layout(splits, {})
