"""Preparation of CelebA: images decoded, cropped, resized and stored per second."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from joblib import cpu_count
from PIL import Image
from results import Aim, Effort, Result, Table
from turns import quartiles, take_turns

from hebae.data import load
from hebae.data.celeba import CLOSE_CROP, IMAGES, PARTITION
from hebae.data.decoding import open_image

FORM = CLOSE_CROP.form
DISTINCT = 100
AT_A_TIME = 50

TEXT = """\
{images:,} JPEG files of 178 x 218 (smooth random pictures with a little noise, quality 90,
{kilobytes:.1f} kB each) in the layout of CelebA, loaded by `hebae.data.load` into an empty cache:
read, hashed, decoded, cropped to the central 140 x 140, resized to 64 x 64 with Lanczos and
written, on {cores} cores. CPU time is summed over all threads. In draft mode the decoder halves the
image while decoding. Pillow offers this, but `hebae` does not use it because the pixels differ."""


def measure(effort: Effort, images: int = 10_000) -> Result:
    """Prepare the images several times."""
    images = 2 * DISTINCT if effort.smoke else images
    contents = [picture(seed) for seed in range(DISTINCT)]
    clock: list[float] = []

    with tempfile.TemporaryDirectory(prefix="hebae-decoding-") as temporary:
        folder = Path(temporary) / "celeba"
        write_layout(folder, contents, images)

        def prepare() -> float:
            with (
                tempfile.TemporaryDirectory(dir=temporary) as cache,
                mock.patch.dict(os.environ, HEBAE_CACHE_DIR=cache),
            ):
                begin, cpu = time.perf_counter(), time.process_time()
                load(folder)
                clock.append(time.process_time() - cpu)
                return time.perf_counter() - begin

        whole = take_turns({"prepare": prepare}, effort.rounds, "preparing")["prepare"]

    one = take_turns(
        {
            "in full": lambda: seconds_an_image(full, contents[:AT_A_TIME]),
            "draft": lambda: seconds_an_image(draft, contents[:AT_A_TIME]),
        },
        effort.rounds,
        "decoding",
    )
    difference = np.stack(
        [np.abs(full(c).astype(int) - draft(c).astype(int)) for c in contents[:AT_A_TIME]]
    )
    rates = {
        "prepared per second": [images / seconds for seconds in whole],
        "prepared per second of CPU time": [images / seconds for seconds in clock],
        "decoded per second by one thread, full size (as `hebae` does)": [
            1 / seconds for seconds in one["in full"]
        ],
        "decoded per second by one thread, draft mode": [1 / seconds for seconds in one["draft"]],
    }
    cores = cpu_count()
    return Result(
        title="Preparing CelebA",
        text=TEXT.format(
            images=images, kilobytes=np.mean([len(c) for c in contents]) / 1e3, cores=cores
        ),
        aims=[
            Aim(f"images prepared on {cores} cores", "images/s", rates["prepared per second"],
                at_least=1500.0 if cores == 2 else None),
        ],
        tables=[
            Table(
                "Images",
                ["", "median", "lower quartile", "upper quartile"],
                [
                    [name, f"{median:,.0f}", f"{low:,.0f}", f"{high:,.0f}"]
                    for name, (low, median, high) in (
                        (name, quartiles(values)) for name, values in rates.items()
                    )
                ],
            ),
            Table(
                "Difference made by draft mode, in levels of 0..255",
                ["", "levels"],
                [
                    ["mean absolute difference", f"{difference.mean():.2f}"],
                    ["largest difference", f"{difference.max()}"],
                ],
            ),
        ],
    )  # fmt: skip


def picture(seed: int) -> bytes:
    """Make one JPEG file of about the size of CelebA's files."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (14, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((FORM.width, FORM.height), Image.Resampling.BICUBIC))
    noisy = smooth + generator.normal(0, 3, (FORM.height, FORM.width, 1))
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_layout(folder: Path, contents: Sequence[bytes], images: int) -> None:
    """Write the image files and the partition, all for training."""
    (folder / IMAGES[0]).mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, images + 1)]
    for number, name in enumerate(names):
        (folder / IMAGES[0] / name).write_bytes(contents[number % len(contents)])
    # Neither a validation nor a test split would have a tenth set aside; one image is for testing.
    lines = [f"{name} {2 if name == names[-1] else 0}\n" for name in names]
    (folder / PARTITION).write_text("".join(lines))


def full(content: bytes) -> np.ndarray:
    """Decode as `hebae` does."""
    return CLOSE_CROP.pixels(open_image(content, "white"))


def draft(content: bytes) -> np.ndarray:
    """Decode at half the size, then resize the same part of the picture."""
    assert CLOSE_CROP.box is not None and CLOSE_CROP.size is not None
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (FORM.width // 2, FORM.height // 2))
    across, down = image.width / FORM.width, image.height / FORM.height
    left, top, right, bottom = CLOSE_CROP.box
    box = (left * across, top * down, right * across, bottom * down)
    small = image.resize(CLOSE_CROP.size, Image.Resampling.LANCZOS, box=box)
    return np.asarray(small).transpose(2, 0, 1)


def seconds_an_image(decode: Callable[[bytes], object], contents: Sequence[bytes]) -> float:
    """Decode images in this thread."""
    begin = time.perf_counter()
    for content in contents:
        decode(content)
    return (time.perf_counter() - begin) / len(contents)
