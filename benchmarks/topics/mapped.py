"""Training on a memory-mapped file of 10 GB compared with training on data in memory."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from contenders import WARM_UP
from results import Aim, Effort, Result, Table
from rich.progress import track
from torch import Tensor
from turns import Readings, paired, take_turns

from hebae.building import build
from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.model import to_floats
from hebae.training.batches import ArrayBatches, Batch
from hebae.training.callbacks import Callback
from hebae.training.loop import Member, train_members
from hebae.training.machine import make_fabric

SHAPE = (3, 64, 64)
RESIDENT = 20_000
"""Images of the file that are copied into memory for comparison."""
WRITTEN = 5_000
"""Images written at a time."""
SETTINGS = Settings(
    method="hebae",
    network="mlp",
    encoder_widths=(256,),
    decoder_widths=(256,),
    latent_dim=64,
    batch_size=100,
    likelihood="gaussian",
    likelihood_scale=0.3,
    learning_rate=1e-3,
    device="cpu",
    epochs=2,
)

CONVOLUTIONAL = SETTINGS.replace(
    network="convolutional", encoder_widths=(16, 32, 64, 128), decoder_widths=(128, 64, 32, 16)
)
"""The network for such images at an eighth of its widths, so that a turn takes seconds."""

TEXT = """\
{images:,} images of 3 x 64 x 64 random bytes ({size:.1f} GB) in a memory-mapped .npy file, compared
with {resident:,} of them in memory. HEBAE, batch size 100, k = 64, {threads} thread(s), in turns of
{steps} steps, with a network 12288-256-2k and k-256-12288, whose step is short and leaves little
time to read; and with the convolutional network of Appendix B.2 at an eighth of its widths, in
turns of {few} steps. "Cold": the pages of the file are dropped from the page cache (posix_fadvise,
DONTNEED) before each turn, so every row comes from the disk or from the disk's own cache. "Warm":
the file was read once before, on a machine with {memory:.0f} GB of memory. "Not read ahead": the
rows of a batch are read from the map inside the step, as is common; cold, it has turns of {few}
steps."""

MAPPED, RESIDENT_NAME, PLAIN = "mapped", "in memory", "mapped, not read ahead"


def measure(effort: Effort, size_gb: float = 10.0, folder: Path | None = None) -> Result:
    """Make the file in a temporary folder (in `folder`), train on it, remove it."""
    images = 2 * RESIDENT // 100 if effort.smoke else int(size_gb * 1e9 / math.prod(SHAPE))
    steps = effort.steps
    few = max(2, steps // 8)
    needed = images * math.prod(SHAPE)
    with tempfile.TemporaryDirectory(prefix="hebae-input-", dir=folder) as temporary:
        if shutil.disk_usage(temporary).free < 1.05 * needed:
            raise HebaeError(
                f"{temporary} has no room for {needed / 1e9:.1f} GB: give another --folder, or a "
                "smaller --size-gb."
            )
        path = Path(temporary) / "images.npy"
        write_images(path, images)
        resident = np.array(np.load(path, mmap_mode="r")[: min(RESIDENT, images)])
        seeds = count()

        def mapped_stretch(
            kind: type[ArrayBatches], steps: int, *, cold: bool, settings: Settings = SETTINGS
        ) -> Callable[[], float]:
            return lambda: stretch(
                np.load(path, mmap_mode="r"),
                kind,
                steps,
                next(seeds),
                before=(lambda: drop_pages(path)) if cold else None,
                settings=settings,
            )

        def in_memory() -> float:
            return stretch(resident, ArrayBatches, steps, next(seeds))

        def convolutional(*, cold: bool) -> Readings:
            contenders = {
                RESIDENT_NAME: lambda: stretch(
                    resident, ArrayBatches, few, next(seeds), settings=CONVOLUTIONAL
                ),
                MAPPED: mapped_stretch(ArrayBatches, few, cold=cold, settings=CONVOLUTIONAL),
            }
            return take_turns(contenders, max(1, effort.rounds // 4), "convolutional")

        cold = take_turns(
            {
                RESIDENT_NAME: in_memory,
                MAPPED: mapped_stretch(ArrayBatches, steps, cold=True),
                PLAIN: mapped_stretch(NotAhead, few, cold=True),
            },
            effort.rounds,
            "cold",
        )
        images_cold = convolutional(cold=True)
        read_whole(path)
        images_warm = convolutional(cold=False)
        warm = take_turns(
            {
                RESIDENT_NAME: in_memory,
                MAPPED: mapped_stretch(ArrayBatches, steps, cold=False),
                PLAIN: mapped_stretch(NotAhead, steps, cold=False),
            },
            effort.rounds,
            "warm",
        )
    return Result(
        title="Data larger than memory",
        text=TEXT.format(
            images=images,
            size=needed / 1e9,
            resident=len(resident),
            steps=steps,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
            few=few,
            threads=torch.get_num_threads(),
        ),
        aims=[
            Aim(f"{step}, {state} / in memory", "x", _ratios(readings), at_most=1.03)
            for step, state, readings in (
                ("convolutional step, mapped file", "warm", images_warm),
                ("convolutional step, mapped file", "cold", images_cold),
                ("small MLP step, mapped file", "warm", warm),
                ("small MLP step, mapped file", "cold", cold),
            )
        ],
        readings={
            f"{name}, {state}": values
            for state, readings in (("warm", warm), ("cold", cold))
            for name, values in readings.items()
        },
        readings_title="per step",
        tables=[_medians(warm, cold)],
    )


def _ratios(readings: Readings) -> list[float]:
    return paired(readings, MAPPED, RESIDENT_NAME)


def _medians(warm: Readings, cold: Readings) -> Table:
    rows = [
        [name, *(f"{1e3 * statistics.median(readings[name]):.1f}" for readings in (warm, cold))]
        for name in warm
    ]
    return Table("Median milliseconds per step", ["", "warm", "cold"], rows)


def stretch(
    values: np.ndarray,
    kind: type[ArrayBatches],
    steps: int,
    seed: int,
    *,
    before: Callable[[], object] | None = None,
    settings: Settings = SETTINGS,
) -> float:
    """Seconds per step of the training loop, after some steps that do not count, and `before`."""
    settings = settings.replace(seed=seed)
    marks: list[float] = []

    class Stretch(kind):  # type: ignore[misc, valid-type]
        """An epoch has `steps` steps, and the last pass one batch.

        The clock starts after the first step: the order of a million examples is drawn before it,
        once for an epoch of thousands of steps.
        """

        def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
            batches = super().epoch(epoch, start)
            if epoch == 0:
                yield from islice(batches, WARM_UP)
                return
            if before is not None:
                before()
            yield next(batches)
            marks.append(time.perf_counter())
            yield from islice(batches, steps)

        def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
            return super().in_order(batch_size, self.batch_size)

    class AtEpochs(Callback):
        def on_epoch(self, record: object) -> None:
            if marks:
                marks.append(time.perf_counter())

    batches = Stretch(values, settings.batch_size, seed=seed, drop_last=True)
    # Not by `train`: so few steps on noise may leave a covariance that cannot be used.
    member = Member(build(settings, SHAPE, seed=seed), settings, [AtEpochs()])
    train_members([member], batches, fabric=make_fabric(settings))
    if member.interrupted:
        raise KeyboardInterrupt
    begin, end = marks
    return (end - begin) / steps


class NotAhead(ArrayBatches):
    """Batches whose rows are copied in the step, without announcing them to the system."""

    def _taken(self, batches: Sequence[Tensor]) -> Generator[Batch]:
        with warnings.catch_warnings():  # the map cannot be written to, and is not
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            values = torch.from_numpy(self._host)
        for indices in batches:
            yield Batch(to_floats(values.index_select(0, indices), self.dtype))


def write_images(path: Path, images: int) -> None:
    """Write random images into a .npy file."""
    generator = np.random.Generator(np.random.SFC64(0))
    header = {"descr": "|u1", "fortran_order": False, "shape": (images, *SHAPE)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in track(range(0, images, WRITTEN), "writing images", transient=True):
            file.write(generator.bytes(min(WRITTEN, images - start) * math.prod(SHAPE)))
        file.flush()
        os.fsync(file.fileno())  # pages that are not on the disk yet cannot be dropped


def drop_pages(path: Path) -> None:
    """Drop a file from the page cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_whole(path: Path) -> None:
    """Read a file into the page cache, as far as memory allows."""
    with path.open("rb", buffering=0) as file:
        while file.read(2**24):
            pass
