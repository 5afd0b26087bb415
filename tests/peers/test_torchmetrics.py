"""Frechet and kernel distance against torchmetrics', over one extractor of features."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from hebae.evaluation import FeatureMoments, frechet_distance, frechet_from_moments, kernel_distance
from hebae.evaluation.features.base import FeatureExtractor
from hebae.evaluation.features.networks import bare_torch_fidelity

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
    return FeatureExtractor(network, "random", DIMENSION, "0" * 64, batch_size=64)


def test_frechet_distance_at_once_and_in_batches(network, extract, pair):
    peer = FrechetInceptionDistance(feature=network, input_img_size=(3, 16, 16))
    peer.set_dtype(torch.float64)
    for images, real in zip(pair, (True, False), strict=True):
        for batch in np.array_split(images, 5):
            peer.update(torch.from_numpy(batch), real=real)
    expected = float(peer.compute())
    assert expected > 0
    assert frechet_distance(*map(extract, pair)) == pytest.approx(expected, rel=1e-6)
    moments = FeatureMoments(), FeatureMoments()
    for images, total in zip(pair, moments, strict=True):
        for batch in np.array_split(images, 7):
            total.update(extract(batch))
    assert frechet_from_moments(*moments) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_kernel_distance(network, extract, pair):
    """Subsets of all there are make its random choice exact; ours are blocks of two shuffles."""
    features = [extract(images[:200]) for images in pair]
    generator = np.random.default_rng(0)
    shuffled = [torch.from_numpy(z[generator.permutation(200)]).double() for z in features]
    expected = []
    for blocks in zip(*(z.split(100) for z in shuffled), strict=True):
        peer = KernelInceptionDistance(feature=network, subsets=1, subset_size=100)
        peer.set_dtype(torch.float64)
        peer.real_features, peer.fake_features = ([z] for z in blocks)
        expected.append(float(peer.compute()[0]))
    result = kernel_distance(*features, block_size=100)
    assert result.value == pytest.approx(np.mean(expected), rel=1e-6)
