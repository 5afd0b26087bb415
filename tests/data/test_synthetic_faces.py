"""Drawn faces: the same each time, all different, with no file anywhere."""

import numpy as np

from hebae.data import catalogue, load
from hebae.data.synthetic_faces import draw_faces


def test_they_are_the_same_each_time_and_no_two_are_alike():
    images = draw_faces(300, np.random.default_rng(0))
    assert np.array_equal(images, draw_faces(300, np.random.default_rng(0)))
    assert (images.shape, images.dtype) == ((300, 3, 12, 12), np.uint8)
    assert len(np.unique(images.reshape(300, -1), axis=0)) == 300


def test_they_load_by_name_and_stand_in_the_catalogue():
    dataset = load("synthetic-faces")
    assert (len(dataset.train), len(dataset.test), dataset.validation) == (2000, 500, None)
    assert dataset.fingerprint == load("synthetic-faces").fingerprint
    assert dataset.train.labels is None
    (line,) = [source for source in catalogue() if source.name == "synthetic-faces"]
    assert (line.shape, sum(line.counts.values())) == (dataset.shape, 2500)
