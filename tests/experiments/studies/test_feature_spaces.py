"""In which features a study's samples are judged, and what is said where they cannot be had."""

import numpy as np
import pytest
from finished import finished

from hebae.data import Dataset, Examples, load
from hebae.errors import HebaeError, UndefinedMetric
from hebae.experiments.evaluation.metrics import choose
from hebae.experiments.evaluation.settings import EvaluationSettings
from hebae.experiments.reproduction import feature_spaces as module
from hebae.experiments.reproduction.distances import distances, undefined
from hebae.experiments.reproduction.feature_spaces import feature_spaces
from hebae.experiments.reproduction.plan import planned

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
LIKE_CELEBA = Dataset("like-celeba", Examples(IMAGES), None, Examples(IMAGES[:20]), "0" * 64)


def spaces(dataset, metrics=("frechet",), **settings):
    evaluation = EvaluationSettings(split="test", **settings)
    return feature_spaces(
        dataset, choose(metrics), evaluation, told=lambda _: None, progress=lambda _: None
    )


@pytest.fixture
def no_inception(monkeypatch):
    def missing(device):
        raise HebaeError("the weights are not here.")

    monkeypatch.setattr(module, "inception_features", missing)
    module._inception.cache_clear()
    yield
    module._inception.cache_clear()


def test_images_with_more_pixels_than_examples_are_judged_by_networks(no_inception):
    found = spaces(LIKE_CELEBA)
    assert found["random"].name == "random-convolutional"
    assert list(found) == ["random", "inception"]


def test_what_cannot_be_had_is_undefined_with_the_reason(no_inception):
    inception = spaces(LIKE_CELEBA)["inception"]
    with pytest.raises(UndefinedMetric, match=r"^the weights are not here\.$"):
        inception(IMAGES)


def test_others_are_judged_as_by_hebae_evaluate():
    assert list(spaces(load("made-faces"), samples=500)) == ["pixels"]
    assert list(spaces(LIKE_CELEBA, features=("pixels",), allow_rank_deficient=True)) == ["pixels"]
    assert spaces(LIKE_CELEBA, metrics=("moments",)) == {}


def test_distances_are_found_by_features_and_kind_the_best_judge_first(tmp_path):
    names = [
        "frechet[random-convolutional@9/5], N(0, I), the paper's",
        "frechet[inception-v3-compat@9/5], N(0, I), the paper's",
        "frechet[inception-v3-compat@5/5], reconstructions",
        "frechet[inception-v3-compat@5/5], training examples",
        "copying[inception-v3-compat@5/5], mixture",
    ]
    run = finished(
        planned("celeba", "vae", seed=0),
        tmp_path,
        measurements={"frechet": dict.fromkeys(names, 1.0)},
    )
    assert distances([run]) == {
        "inception-v3-compat": {"normal": names[1], "reconstructions": names[2]},
        "random-convolutional": {"normal": names[0]},
    }
    assert list(distances([run])) == ["inception-v3-compat", "random-convolutional"]


def test_the_reason_why_there_is_no_distance_is_said_once(tmp_path):
    found = {"frechet": {"frechet": {"undefined": "no weights."}}}
    runs = [
        finished(planned("celeba", method, seed=0), tmp_path, measurements=found)
        for method in ("vae", "wae")
    ]
    assert undefined(runs) == ["A Frechet distance is undefined: no weights."]
    assert distances(runs) == {}
