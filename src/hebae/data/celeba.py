"""CelebA: the official 178 x 218 images of faces cropped to 64 x 64, or a subset of that size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from hebae.data.decoding import Decoding, Form
from hebae.data.examples import Dataset
from hebae.data.image_files import Layout, open_images
from hebae.data.images import load_images
from hebae.data.source import NamedSource
from hebae.errors import HebaeError
from hebae.files import read_text

PARTITION = "list_eval_partition.txt"
IMAGES = ("img_align_celeba", "img_align_celeba.zip")
SUBSET = "celeba64-subset.tar"
SPLITS = {"0": "train", "1": "validation", "2": "test"}
CLOSE_CROP = Decoding(
    form=Form(178, 218, grey=False),
    model="an aligned image of CelebA",
    # The central 140 x 140 pixels, as in Tolstikhin et al. (2018).
    box=(19, 39, 159, 179),
    size=(64, 64),
)


def _read(folder: Path, source: NamedSource) -> Dataset:
    """Prepare or reopen the official images, else the subset."""
    if is_celeba_folder(folder):
        return load_celeba_folder(folder, name=source.name)
    subset = load_images(source.name, open_images(folder / SUBSET))
    note = (
        f"{SUBSET} is a subset of CelebA: results on it cannot be compared with published "
        "results on CelebA."
    )
    return replace(subset, notes=(*subset.notes, note))


CELEBA = NamedSource(
    name="celeba",
    description="Faces, aligned, cropped and resized",
    licence="non-commercial research only",
    shape=(3, 64, 64),
    counts={"train": 162_770, "validation": 19_867, "test": 19_962},
    availability="by hand",
    read=_read,
    folders=("", "celeba"),
    contents=[*({PARTITION, images} for images in IMAGES), {SUBSET}],
    files=f"{IMAGES[1]} (or the folder {IMAGES[0]}) and {PARTITION} from "
    f"mmlab.ie.cuhk.edu.hk/projects/CelebA.html, or {SUBSET},",
)


def is_celeba_folder(folder: Path) -> bool:
    """Whether a folder holds the official images or their partition."""
    return any((folder / name).exists() for name in (PARTITION, *IMAGES))


def load_celeba_folder(folder: Path, *, name: str | None = None) -> Dataset:
    """Prepare or reopen the official images of a folder, split by their partition."""
    images = next((folder / name for name in IMAGES if (folder / name).exists()), None)
    path = folder / PARTITION
    if images is None or not path.exists():
        missing = PARTITION if images else " or ".join(IMAGES)
        raise HebaeError(
            f"{folder} holds only a part of CelebA ({missing} is missing): add it, or give the "
            "path of the images themselves to use them without the official splits."
        )
    text = read_text(path)
    partition = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match line.split():
            case [image, split] if split in SPLITS:
                partition[image] = SPLITS[split]
            case _:
                raise HebaeError(
                    f"{path} has {line!r} in line {number}, but each line must hold a name and 0, "
                    "1 or 2: download it again."
                )

    def arrange(source: str, names: Sequence[str]) -> Layout:
        files = {PurePosixPath(name).name: name for name in names}
        missing = [name for name in partition if name not in files]
        unlisted = [name for name in files if name not in partition]
        if missing or unlisted:
            raise HebaeError(
                f"{source} and {PARTITION} do not match: {len(missing):,} images are missing and "
                f"{len(unlisted):,} are not listed, such as {(missing + unlisted)[0]}. Unpack or "
                "download the images again."
            )
        splits: dict[str, list[str]] = {}
        for name, split in partition.items():
            splits.setdefault(split, []).append(files[name])
        if "train" not in splits:
            raise HebaeError(f"{PARTITION} of {source} lists no training image: download it again.")
        return Layout(splits, {})

    return load_images(
        name or folder.name,
        open_images(images),
        arrange=arrange,
        arranged_by=hashlib.sha256(text.encode()).hexdigest(),
        decoding=CLOSE_CROP,
    )
