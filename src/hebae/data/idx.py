"""MNIST and data sets of the same format: four idx files of raw bytes, usually under gzip."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from hebae.data.cache import download
from hebae.data.examples import Dataset, Examples, fingerprint
from hebae.data.source import NamedSource
from hebae.errors import HebaeError
from hebae.files import read_bytes, require_memory

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
NAMES = (*FILES["train"], *FILES["test"])


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds any of the four files, gzip or plain."""
    return any((folder / n).is_file() or (folder / n[:-3]).is_file() for n in NAMES)


def load_idx_folder(
    folder: Path, *, name: str | None = None, sha256: Mapping[str, str] | None = None
) -> Dataset:
    """Read four idx files, gzip or plain; if checksums are known, the files must have them."""

    def read(file: str) -> tuple[Path, np.ndarray]:
        path = folder / file
        path = path if path.is_file() else path.with_suffix("")
        try:
            raw = read_bytes(path, most=2**34)
        except HebaeError as error:
            raise HebaeError(
                f"{error} All of {', '.join(NAMES)} are needed, with or without .gz."
            ) from error
        array = parse(raw, str(path), dimensions=3 if "idx3" in file else 1)
        digest = hashlib.sha256(raw).hexdigest()
        if sha256 and digest != sha256[file]:
            raise HebaeError(
                f"{path} has SHA-256 {digest}, but the original of {name} has {sha256[file]}: "
                "remove it, or give its folder as a path to use it anyway."
            )
        return path, array

    splits = {}
    for split, files in FILES.items():
        (images_path, images), (labels_path, labels) = map(read, files)
        if len(images) != len(labels):
            raise HebaeError(
                f"{labels_path} holds {len(labels):,} labels, but {images_path} holds "
                f"{len(images):,} images: the numbers must be equal."
            )
        splits[split] = Examples(images[:, None], labels.astype(np.int64), pixels=True)
    digest = fingerprint(splits)
    return Dataset(name or folder.name, splits["train"], None, splits["test"], digest)


def parse(raw: bytes, source: str, *, dimensions: int) -> np.ndarray:
    """Read an array of uint8 from the content of an idx file, named `source` in messages."""
    header = 4 + 4 * dimensions
    if raw.startswith(b"\x1f\x8b"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
                begin = file.read(header)
                claimed = prod(_shape(begin, dimensions))
                require_memory(2 * claimed, source)
                # One byte more than the header says is enough to notice that there are more.
                raw = begin + file.read(claimed + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            state = "truncated" if isinstance(error, EOFError) else "damaged"
            raise HebaeError(
                f"{source} is a {state} gzip file ({error}): download it again."
            ) from None
    expected = bytes([0, 0, 8, dimensions])  # 8: unsigned bytes
    if raw[:4] != expected:
        raise HebaeError(
            f"{source} has the wrong magic number 0x{raw[:4].hex()}: an idx file of unsigned bytes "
            f"with {dimensions} dimension(s) starts with 0x{expected.hex()}."
        )
    shape = _shape(raw, dimensions)
    if not shape or len(raw) - header != prod(shape):
        raise HebaeError(
            f"{source} holds {max(0, len(raw) - header):,} bytes after its header, but the header "
            f"says {' x '.join(map(str, shape)) or 'nothing'}: download or write it again."
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _shape(raw: bytes, dimensions: int) -> tuple[int, ...]:
    """Return the shape that a header claims, and () if it is incomplete."""
    header = 4 + 4 * dimensions
    return struct.unpack(f">{dimensions}I", raw[4:header]) if len(raw) >= header else ()


def serialise(array: np.ndarray) -> bytes:
    """Return the content of an uncompressed idx file that holds an array of uint8."""
    header = bytes([0, 0, 8, array.ndim])
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes(order="C")


def _read(folder: Path | None, source: NamedSource) -> Dataset:
    """Read the files, downloaded if there is no folder."""
    folder = folder or download(source.name, source.sha256, source.mirrors, source.folders)
    return load_idx_folder(folder, name=source.name, sha256=source.sha256)


MNIST_MINI = NamedSource(
    name="mnist-mini",
    description="The first images of MNIST, in the package",
    licence="CC BY-SA 3.0",  # see mnist_mini/LICENSE.md
    shape=(1, 28, 28),
    counts={"train": 10_000, "test": 2_000},
    read=lambda _, source: _read(Path(__file__).with_name("mnist_mini"), source),
    validation_is_last=True,
)
_idx_source = partial(
    NamedSource,
    shape=(1, 28, 28),
    counts={"train": 60_000, "test": 10_000},
    availability="download",
    read=_read,
    validation_is_last=True,
    contents=[{*NAMES}],
)
MNIST = _idx_source(
    name="mnist",
    description="Handwritten digits, grey",
    licence="CC BY-SA 3.0",
    folders=("", "mnist"),
    files=f"{', '.join(NAMES)} (directly or in mnist/)",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256={
        NAMES[0]: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        NAMES[1]: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        NAMES[2]: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        NAMES[3]: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
FASHION_MNIST = _idx_source(
    name="fashion-mnist",
    description="Articles of clothing, grey",
    licence="MIT (Zalando SE)",
    folders=("fashion", "fashion-mnist"),
    files=f"{', '.join(NAMES)} (directly or in fashion/ or fashion-mnist/)",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    sha256={
        NAMES[0]: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        NAMES[1]: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        NAMES[2]: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        NAMES[3]: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
