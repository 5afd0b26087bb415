"""A small training that takes well under a second."""

import numpy as np
import pytest

from hebae.config import Settings
from hebae.data import load
from hebae.training import session
from hebae.training.many import Job


@pytest.fixture
def dataset():
    """300 vectors of 12 numbers in [0, 1] with two hidden directions; 30 set aside."""
    generator = np.random.default_rng(7)
    hidden = generator.normal(size=(300, 2)) @ generator.normal(size=(2, 12))
    values = 1 / (1 + np.exp(-hidden + 0.3 * generator.normal(size=hidden.shape)))
    return load(values.astype(np.float32))


@pytest.fixture
def settings():
    return Settings(
        latent_dim=3,
        encoder_widths=(16,),
        decoder_widths=(16,),
        batch_size=32,
        epochs=4,
        learning_rate=3e-3,
        log_every=5,
        device="cpu",
    )


@pytest.fixture
def train_run(dataset, settings, tmp_path):
    """Train into a folder with some settings changed."""

    def train(name, **changes):
        prepared = session.prepare(settings.replace(**changes), dataset)
        return session.run(prepared, tmp_path / name)

    return train


@pytest.fixture
def job(dataset, settings, tmp_path):
    """Prepare a training into a folder, named as its label unless a path is given."""

    def make(label, path="", **changes):
        prepared = session.prepare(settings.replace(**changes), dataset)
        return Job(label, prepared, tmp_path / (path or label))

    return make
