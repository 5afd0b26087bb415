"""The classifier of a data set's labels: what it learns, keeps, tells and refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hebae.data import Dataset, Examples, load
from hebae.data.examples import fingerprint
from hebae.errors import HebaeError
from hebae.evaluation import frechet_distance
from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.features import (
    classifier,
    classifier_features,
    extractor,
)
from hebae.evaluation.features.base import file_hash


def stripes(n, shape, labels, seed):
    """Noise, and a bright stripe whose place tells the label."""
    generator = np.random.default_rng(seed)
    y = generator.choice(labels, n)
    x = generator.integers(0, 128, (n, *shape), np.uint8)
    for image, label in zip(x, y, strict=True):
        image[:, 2 * labels.index(label) : 2 * labels.index(label) + 2] += 120
    return Examples(x, y)


def toy(shape=(1, 12, 10), labels=(-3, 4, 9), name="Toy Stripes!"):
    train, test = (stripes(n, shape, list(labels), n) for n in (400, 100))
    return Dataset(name, train, None, test, fingerprint({"train": train, "test": test}))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def forbid_training(monkeypatch):
    def forbid():
        def fail(*arguments):
            raise AssertionError("a classifier was trained")

        monkeypatch.setattr(classifier, "train_classifier", fail)

    return forbid


def test_it_learns_the_labels_and_tells_how_well(cache):
    data = toy()
    found = extractor("classifier", dataset=data)
    assert found.name == "classifier-toy-stripes"
    assert (found.dimension, found.minimum, found.takes_uint8) == (128, 129, True)
    assert found.accuracy > 0.95
    features = found(data.test.values)
    assert features.shape == (100, 128)
    assert features.dtype == np.float32
    assert features.min() == 0, "after the nonlinearity"
    [folder] = (path for path in (cache / "classifiers").iterdir() if path.is_dir())
    summary = json.loads((folder / "classifier.json").read_text())
    assert summary["accuracy"] == found.accuracy
    assert summary["classes"] == [-3, 4, 9]
    assert summary["data_fingerprint"] == data.fingerprint
    assert summary["held_out"] == "test"
    assert found.weights_sha256 == file_hash(folder / "classifier.safetensors")


def test_features_part_the_classes_and_join_the_splits():
    data = toy()
    found = classifier_features(data)
    real = found(data.train.values)
    same, other = data.train.labels == 4, data.train.labels == 9
    apart = frechet_distance(real[same], real[other], allow_rank_deficient=True)
    together = frechet_distance(real[::2], real[1::2])
    assert apart > 5 * together


def test_it_is_trained_once(forbid_training):
    data = toy()
    first = classifier_features(data)
    forbid_training()
    again = classifier_features(data)
    assert (again.fingerprint, again.accuracy) == (first.fingerprint, first.accuracy)
    np.testing.assert_array_equal(again(data.test.values), first(data.test.values))
    with pytest.raises(AssertionError, match="was trained"):
        classifier_features(replace(data, fingerprint="other"))
    with pytest.raises(AssertionError, match="was trained"):
        classifier_features(replace(data, train=data.train[:300]))


def test_it_depends_on_the_data_alone(monkeypatch, tmp_path):
    """Not on the state of the global generators, which stay as they were."""
    data = toy()
    first = classifier_features(data)
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "elsewhere"))
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    expected = torch.get_rng_state()
    assert classifier_features(data).fingerprint == first.fingerprint
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 30), (3, 40, 36)])
def test_images_of_any_size_and_colours(shape):
    data = toy(shape)
    steps = []
    found = classifier_features(data, progress=lambda step, total: steps.append((step, total)))
    assert steps == [(i + 1, len(steps)) for i in range(len(steps))]
    assert found(data.test.values[:7]).shape == (7, 128)
    assert found.accuracy > 0.8


def test_float_images_are_seen_as_their_bytes(forbid_training):
    data = toy()
    floats = [
        Examples(part.values / np.float32(255), part.labels) for part in (data.train, data.test)
    ]
    same = classifier_features(replace(data, train=floats[0], test=floats[1], fingerprint="floats"))
    assert same.fingerprint == classifier_features(data).fingerprint


def test_without_labels_held_out_there_is_no_accuracy():
    data = toy()
    for test in (None, Examples(data.test.values)):
        assert classifier_features(replace(data, test=test)).accuracy is None


def test_labels_that_training_never_saw_count_as_wrong():
    data = toy()
    strange = Examples(data.test.values, np.full(100, 77))
    assert classifier_features(replace(data, test=strange, fingerprint="x")).accuracy == 0


def test_what_has_no_labels_is_undefined():
    data = toy()
    for labels in (None, np.zeros(400, np.int64)):
        train = Examples(data.train.values, labels)
        with pytest.raises(UndefinedMetric, match="Toy Stripes! has none; choose inception"):
            classifier_features(replace(data, train=train))
    small = toy((1, 7, 12))
    with pytest.raises(UndefinedMetric, match=r"8 x 8 or larger, .*\(1, 7, 12\); choose pixels"):
        classifier_features(small)


@pytest.mark.parametrize("file", ["classifier.safetensors", "classifier.json"])
def test_a_damaged_cache_is_named(cache, file):
    data = toy()
    classifier_features(data)
    [path] = cache.glob(f"classifiers/*/{file}")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(HebaeError, match=r"damaged .*delete that folder"):
        classifier_features(data)


def test_nothing_is_printed(capfd):
    classifier_features(toy())
    assert capfd.readouterr() == ("", "")


def test_shipped_digits():
    data = load("mnist-mini")
    some = replace(data, train=data.train[:1500])
    found = classifier_features(some)
    assert found.name == "classifier-mnist-mini"
    assert found.accuracy > 0.9


def test_original_digits(data_dir, monkeypatch):
    """The bar for numbers in these features, cleared with under a third of the training."""
    monkeypatch.setattr(classifier, "STEPS", 450)
    data = load("mnist", data_dir=data_dir)
    found = classifier_features(data)
    assert found.accuracy >= 0.985
    real = frechet_distance(found(data.train.values[:10_000]), found(data.test.values))
    assert 0 < real < 1.5
