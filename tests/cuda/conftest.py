"""Tests on a CUDA device: they compare it with the CPU. Skipped where there is none.

``HEBAE_TEST_DEVICE=cpu`` runs the same code on the CPU, to try the tests without a GPU.
"""

import os

import numpy as np
import pytest
import torch
from device_tools import small_settings

from hebae.data import load
from hebae.training.session import prepare, run

NAME = os.environ.get("HEBAE_TEST_DEVICE", "cuda")


@pytest.fixture(scope="session")
def device():
    """The device under test."""
    if NAME == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(NAME)


@pytest.fixture(autouse=True)
def _exact_convolutions(monkeypatch):
    """Without TF32, which PyTorch uses for convolutions unless told otherwise."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="session")
def data_file(tmp_path_factory):
    """A file of 352 smooth grey images of 8 x 8, uint8, with labels."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(352, 3)) @ rng.normal(size=(3, 64)) + rng.normal(size=(352, 64)) / 4
    pixels = 255 / (1 + np.exp(-factors))
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images = pixels.astype(np.uint8).reshape(-1, 1, 8, 8)
    np.savez(path, train=images, train_labels=np.arange(352) % 3)
    return path


@pytest.fixture(scope="session")
def images(data_file):
    """The images: 320 to train on, 32 for validation."""
    return load(data_file, validation_size=32)


@pytest.fixture
def train(data_file, tmp_path, device):
    """Train on the images, 20 steps per epoch; return the run's folder and its model."""

    def train(name, where=None, **changes):
        if NAME == "cpu":
            changes["compile"] = "off"  # there is nothing to capture
        changes |= {"data": str(data_file), "validation_size": 32}
        settings = small_settings(device=(where or device).type, **changes)
        prepared = prepare(settings)
        outcome = run(prepared, tmp_path / name)
        assert outcome.steps == -(-320 // settings.batch_size) * settings.epochs
        return tmp_path / name, prepared.model

    return train
