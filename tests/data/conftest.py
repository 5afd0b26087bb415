"""Fixtures for the tests of data: an empty cache, and small files to read."""

import gzip
import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hebae.data import idx, loading
from hebae.data.idx import FILES, MNIST

SOURCES = loading.SOURCES


@pytest.fixture
def entry():
    """The catalogue's entry of a data set."""
    return lambda name, directory=None: next(
        source for source in loading.catalogue(directory) if source.name == name
    )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and none of the user's own settings."""
    for name in ("HEBAE_DATA_DIR", "HEBAE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def write_idx():
    """Write the four files of a small MNIST; the pixels are random, the labels cycle."""

    def write(folder, train=30, test=10, compressed=True):
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(1)
        for split, count in (("train", train), ("test", test)):
            images, labels = FILES[split]
            arrays = {
                images: random.integers(0, 256, (count, 28, 28), np.uint8),
                labels: np.arange(count, dtype=np.uint8) % 10,
            }
            for file, array in arrays.items():
                content = idx.serialise(array)
                if compressed:
                    (folder / file).write_bytes(gzip.compress(content, mtime=0))
                else:
                    (folder / file).with_suffix("").write_bytes(content)
        return folder

    return write


@pytest.fixture
def toy_mnist(tmp_path, write_idx, monkeypatch):
    """Stand a small data set in for "mnist" in the registry; gives (its source, its files)."""
    originals = write_idx(tmp_path / "originals")
    checksums = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(originals.iterdir())
    }
    source = replace(MNIST, mirrors=(), sha256=checksums, counts={"train": 30, "test": 10})

    def install(**changes):
        changed = replace(source, **changes)
        monkeypatch.setattr("hebae.data.loading.SOURCES", (changed, *SOURCES[2:]))
        return changed

    install()
    return install, originals


@pytest.fixture
def image_bytes():
    """Encode a random image; without loss, unless the format is JPEG."""

    def encode(seed=0, size=(8, 6), mode="RGB", file_format="PNG"):
        width, height = size
        shape = (height, width) if mode == "L" else (height, width, len(mode))
        pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels, mode).save(buffer, file_format)
        return buffer.getvalue()

    return encode


@pytest.fixture
def write_images(image_bytes):
    """Write random images of these names into a folder."""

    def write(folder, names, **how):
        for seed, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image_bytes(seed, **how))
        return folder

    return write


@pytest.fixture
def forbid_decoding(monkeypatch):
    """Make every later attempt to decode an image fail."""

    def forbid():
        def fail(*arguments):
            raise AssertionError("an image was decoded")

        monkeypatch.setattr("hebae.data.images.open_image", fail)

    return forbid
