"""An untrained network as a judge: the same everywhere, and it sees blur and noise."""

import numpy as np
import pytest
import torch

from hebae.data import load
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.features import extractor, random_convolutional_features
from hebae.evaluation.frechet import frechet_distance


@pytest.fixture(scope="module")
def faces():
    """Two halves of the drawn faces, which differ by chance alone."""
    return np.split(load("made-faces").train.values, 2)


def test_features_are_the_same_each_time_and_named_by_their_weights(faces):
    first, second = (random_convolutional_features(3) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert np.array_equal(first(faces[0][:5]), second(faces[0][:5]))
    assert first.dimension == first(faces[0][:5]).shape[1] == 483
    assert first.minimum == 484


def test_the_state_of_torchs_generator_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = random_convolutional_features(1).fingerprint
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert random_convolutional_features(1).fingerprint == first


@pytest.mark.parametrize("shape", [(4, 3, 64, 64), (4, 3, 12, 12), (4, 3, 5, 9)])
def test_images_of_any_size(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.isfinite(random_convolutional_features(3)(images)).all()


def test_blur_and_noise_are_farther_than_chance(faces):
    extractor = random_convolutional_features(3)
    real, other = faces
    images = torch.from_numpy(other.astype(np.float32))
    blurred = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False).numpy()
    noisy = other + np.random.default_rng(0).normal(0, 40, other.shape)
    reference = extractor(real)
    distances = [
        frechet_distance(extractor(np.clip(np.rint(kind), 0, 255).astype(np.uint8)), reference)
        for kind in (other, blurred, noisy)
    ]
    assert distances[1] > 2 * distances[0]
    assert distances[2] > 2 * distances[0]


@pytest.mark.parametrize("images", [np.zeros((2, 3, 8, 8)), np.zeros((2, 12), np.uint8)])
def test_what_are_no_images_of_bytes_is_refused(images):
    with pytest.raises(HebaeError, match="random-convolutional takes images"):
        random_convolutional_features(3)(images)


def test_they_can_be_asked_for_by_name():
    found = extractor("random", dataset=load("made-faces"))
    assert found.fingerprint == random_convolutional_features(3).fingerprint
    with pytest.raises(UndefinedMetric, match=r"shape \(2,\)"):
        extractor("random", dataset=load(np.zeros((20, 2), dtype=np.float32)))
