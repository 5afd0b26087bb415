"""The classifier of a data set's labels: what it learns, caches, reports and refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hebae.data import Dataset, Examples
from hebae.data.examples import fingerprint
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.features import extractor
from hebae.evaluation.features.base import file_hash
from hebae.evaluation.features.classifier import classifier_features


def stripes(n, shape, labels, seed):
    """Noise, and a bright stripe whose place tells the label."""
    generator = np.random.default_rng(seed)
    y = generator.choice(labels, n)
    x = generator.integers(0, 128, (n, *shape), np.uint8)
    for image, label in zip(x, y, strict=True):
        image[:, 2 * labels.index(label) : 2 * labels.index(label) + 2] += 120
    return Examples(x, y)


def toy(shape=(1, 12, 10), labels=(-3, 4, 9), name="Toy Stripes!"):
    train, test = (stripes(n, shape, list(labels), n) for n in (300, 100))
    return Dataset(name, train, None, test, fingerprint({"train": train, "test": test}))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_learns_the_labels_and_reports_how_well(cache):
    data = toy()
    result = extractor("classifier", dataset=data)
    assert result.name == "classifier-toy-stripes"
    assert (result.dimension, result.minimum, result.takes_uint8) == (128, 129, True)
    assert result.accuracy > 0.95
    features = result(data.test.values)
    assert features.shape == (100, 128)
    assert features.dtype == np.float32
    assert features.min() == 0, "after the nonlinearity"
    [folder] = (path for path in (cache / "classifiers").iterdir() if path.is_dir())
    summary = json.loads((folder / "classifier.json").read_text())
    assert summary["accuracy"] == result.accuracy
    assert summary["classes"] == [-3, 4, 9]
    assert summary["data_fingerprint"] == data.fingerprint
    assert summary["held_out"] == "test"
    assert result.weights_sha256 == file_hash(folder / "classifier.safetensors")


def test_it_is_trained_once_for_the_same_data():
    data = toy()
    for dataset, trains in (
        (data, True),
        (data, False),
        (replace(data, fingerprint="other"), True),
        (replace(data, train=data.train[:200]), True),
    ):
        steps = []
        classifier_features(dataset, progress=lambda step, total: steps.append((step, total)))  # noqa: B023
        assert bool(steps) == trains
        assert steps == [(i + 1, len(steps)) for i in range(len(steps))]


def test_it_depends_on_the_data_alone(monkeypatch, tmp_path):
    """Not on the state of the global generators, which does not change, nor on the data's type."""
    data = toy()
    first = classifier_features(data)
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "elsewhere"))
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    expected = torch.get_rng_state()
    floats = {
        name: Examples(part.values / np.float32(255), part.labels)
        for name, part in (("train", data.train), ("test", data.test))
    }
    assert classifier_features(replace(data, **floats)).fingerprint == first.fingerprint
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 34)])
def test_images_of_any_size_and_colours(shape):
    assert classifier_features(toy(shape)).accuracy > 0.8


def test_accuracy_needs_held_out_labels():
    data = toy()
    assert classifier_features(replace(data, test=None)).accuracy is None
    strange = Examples(data.test.values, np.full(100, 77))  # training never saw this label
    assert classifier_features(replace(data, test=strange, fingerprint="x")).accuracy == 0


def test_what_has_no_labels_is_undefined():
    data = toy()
    for labels in (None, np.zeros(300, np.int64)):
        train = Examples(data.train.values, labels)
        with pytest.raises(UndefinedMetric, match="Toy Stripes! has none; choose inception"):
            classifier_features(replace(data, train=train))
    with pytest.raises(UndefinedMetric, match=r"8 x 8 .*\(1, 7, 12\)"):
        classifier_features(toy((1, 7, 12)))


@pytest.mark.parametrize("file", ["classifier.safetensors", "classifier.json"])
def test_a_damaged_cache_is_named(cache, file):
    data = toy()
    classifier_features(data)
    [path] = cache.glob(f"classifiers/*/{file}")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(HebaeError, match=r"damaged .*delete that folder"):
        classifier_features(data)
