"""Frechet and kernel distance against torchmetrics', over one extractor of features."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from hebae.evaluation import FeatureMoments, frechet_distance, frechet_from_moments, kernel_distance
from hebae.evaluation.features import NetworkFeatures
from hebae.evaluation.features.inception import bare_torch_fidelity

if importlib.util.find_spec("torchmetrics") is None:
    pytest.skip("torchmetrics is not installed: pip install torchmetrics", allow_module_level=True)

# torchmetrics imports torch-fidelity where that is installed, and so torchvision.
has_fidelity = importlib.util.find_spec("torch_fidelity") is not None
with bare_torch_fidelity() if has_fidelity else nullcontext():
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

DIMENSION = 12


class Network(nn.Module):
    """Random, but for its form: uint8 images to features of a hidden layer."""

    num_features = DIMENSION

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(392, DIMENSION)
            )

    def forward(self, x):
        return self.layers(x.to(self.layers[0].weight.dtype) / 255)


@pytest.fixture(scope="module")
def network():
    return Network()


@pytest.fixture(scope="module")
def pair():
    """Images of two distributions: noise, and darker noise with a gradient."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (500, 3, 16, 16), np.uint8)
    y = (generator.integers(0, 200, (400, 3, 16, 16)) + np.arange(16)).astype(np.uint8)
    return x, y


@pytest.fixture
def extract(network):
    return NetworkFeatures(network, "random", DIMENSION, "0" * 64, batch_size=64)


def in_batches(metric, x, y):
    for images, real in ((x, True), (y, False)):
        for batch in np.array_split(images, 5):
            metric.update(torch.from_numpy(batch), real=real)
    return metric


def test_frechet_distance(network, extract, pair):
    x, y = pair
    peer = FrechetInceptionDistance(feature=network, input_img_size=(3, 16, 16))
    peer.set_dtype(torch.float64)
    expected = float(in_batches(peer, x, y).compute())
    assert expected > 0
    assert frechet_distance(extract(x), extract(y)) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_in_batches(network, extract, pair):
    """As both are used on more images than fit into memory."""
    peer = FrechetInceptionDistance(feature=network, input_img_size=(3, 16, 16))
    peer.set_dtype(torch.float64)
    expected = float(in_batches(peer, *pair).compute())
    moments = FeatureMoments(), FeatureMoments()
    for images, total in zip(pair, moments, strict=True):
        for batch in np.array_split(images, 7):
            total.update(extract(batch))
    assert frechet_from_moments(*moments) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("degree", "gamma", "coef0"), [(3, None, 1.0), (2, 0.5, 2.0)])
def test_kernel_distance(network, extract, pair, degree, gamma, coef0):
    """Subsets of all there are make its random choice exact; ours take two blocks or more."""
    x, y = (images[:200] for images in pair)
    expected = []
    for rows in blocks_of(200, 100):
        peer = KernelInceptionDistance(
            feature=network, subsets=1, subset_size=100, degree=degree, gamma=gamma, coef=coef0
        ).set_dtype(torch.float64)
        features = [
            torch.from_numpy(extract(z[r])).double() for z, r in zip((x, y), rows, strict=True)
        ]
        peer.real_features, peer.fake_features = ([z] for z in features)
        expected.append(float(peer.compute()[0]))
    result = kernel_distance(
        extract(x), extract(y), degree=degree, gamma=gamma, coef0=coef0, block_size=100
    )
    assert result.value == pytest.approx(np.mean(expected), rel=1e-6)


def blocks_of(count, size):
    """Rows of each block of `kernel_distance` with its seed of 0, of x and of y."""
    generator = np.random.default_rng(0)
    order = [generator.permutation(count) for _ in range(2)]
    return [tuple(o[start : start + size] for o in order) for start in range(0, count, size)]
