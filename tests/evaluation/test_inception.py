"""Inception features by torch-fidelity: its own numbers, weights that are checked, clear errors."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util

import numpy as np
import pytest
import torch

from hebae.errors import HebaeError
from hebae.evaluation.features import inception_features, networks

installed = pytest.mark.skipif(
    importlib.util.find_spec("torch_fidelity") is None,
    reason="torch-fidelity is not installed: pip install 'hebae[fid]'",
)


def images(n=3, shape=(3, 12, 10), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("HEBAE_INCEPTION_WEIGHTS", "HEBAE_MIRROR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def network_class():
    with networks.bare_torch_fidelity():
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    return module.FeatureExtractorInceptionV3


@pytest.fixture(scope="module")
def weights(network_class, tmp_path_factory):
    """A file of the official form, with weights at random."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patched:
        names = network_class.__init__.__globals__
        patched.setitem(names, "load_state_dict_from_url", lambda *a, **k: {})
        patched.setattr(network_class, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = network_class("random", ["2048"])
    path = folder / networks.INCEPTION_FILE
    torch.save(network.state_dict(), path)
    return path


@installed
def test_features_are_those_of_torch_fidelity(network_class, weights):
    x = images()
    result = inception_features(weights)
    network = network_class("same", ["2048"], feature_extractor_weights_path=str(weights))
    with torch.inference_mode():
        [expected] = network(torch.from_numpy(x))
    features = result(x)
    assert features.shape == (3, 2048)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert (result.dimension, result.minimum) == (2048, 2048)
    with pytest.raises(HebaeError, match="takes images as uint8"):
        result(x / 255)


@installed
def test_official_weights_are_downloaded_once_and_have_the_name(
    weights, serve, monkeypatch, tmp_path
):
    address, asked = serve(weights.parent)
    monkeypatch.setattr(networks, "INCEPTION_MIRRORS", (address,))
    with pytest.raises(HebaeError, match="could not be downloaded") as refusal:
        inception_features()  # the bytes are not those of the official file
    facts = (
        networks.INCEPTION_FILE,
        networks.INCEPTION_SHA256,
        "HEBAE_INCEPTION_WEIGHTS",
        "weights=",
        "put a copy",
    )
    assert all(fact in str(refusal.value) for fact in facts)
    assert not list((tmp_path / "cache").glob(f"*/{networks.INCEPTION_FILE}"))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    result = inception_features(weights)
    assert (result.name, result.fingerprint) == (f"inception-v3-compat-{digest[:8]}", digest)
    monkeypatch.setattr(networks, "INCEPTION_SHA256", digest)
    assert inception_features().name == "inception-v3-compat"
    assert inception_features().name == "inception-v3-compat"
    assert len(asked) == 2


class Payload:
    def __reduce__(self):
        return print, ("code ran",)


@installed
def test_bad_weights_are_refused_and_run_no_code(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    for content in ({"fc.weight": torch.zeros(2)}, Payload(), b"root:x:0:0:root:/bin/bash", b""):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(HebaeError, match=r"weights\.pth does not hold the weights"):
            inception_features(path)
    with pytest.raises(HebaeError, match=r"none.pth cannot be read"):
        inception_features(tmp_path / "none.pth")
    assert "code ran" not in capsys.readouterr().out
