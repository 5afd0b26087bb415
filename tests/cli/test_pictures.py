"""Pictures of images that are not in [0, 1]."""

import numpy as np
import pytest
from command_line import small
from PIL import Image

from hebae.report.pixels import to_unit


@pytest.mark.parametrize(
    ("data_range", "expected"),
    [
        ((0, 1), [-1, 0, 0.5, 1]),
        ((0.25, 0.75), [-1, 0, 0.5, 1]),
        ((-1, 1), [0, 0.5, 0.75, 1]),
        ((-0.9, 0.2), [0, 0.5, 0.75, 1]),
        ((-1, 3), [0, 0.25, 0.375, 0.5]),
        ((2, 2), [-3, -2, -1.5, -1]),
    ],
)
def test_the_range_of_the_data_is_drawn_from_black_to_white(data_range, expected):
    np.testing.assert_allclose(to_unit(np.array([-1, 0, 0.5, 1]), data_range), expected)


def test_pictures_show_the_negative_half_of_the_data(hebae, tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (80, 1, 16, 16)).astype(np.float32)
    images[:, :, :, :8], images[:, :, :, 8:12] = -1, -0.5
    np.save(tmp_path / "x.npy", images)
    flags = ("--data", "x.npy", "--likelihood", "gaussian", *small(epochs=1))
    assert hebae("train", *flags, "--output", "run").status == 0

    def shades(name):
        """Grey levels of the first row of the first image."""
        levels = np.asarray(Image.open(tmp_path / name).convert("L"))
        return levels[:1, : 16 * 6].reshape(16, 6).mean(1)

    assert hebae("reconstruct", "run", "--count", "4", "--output", "r.png").status == 0
    originals = shades("r.png")
    np.testing.assert_array_equal(originals[:12], [0] * 8 + [64] * 4)
    assert (originals[12:] > 128).any()
    # After an epoch the mean is near that of the data, which is negative.
    hebae("sample", "run", "--sampler", "normal", "--output", "s.png")
    hebae("sample", "run", "--sampler", "normal", "--output", "s.npy")
    drawn = np.load(tmp_path / "s.npy")[0, 0, 0]
    np.testing.assert_allclose(shades("s.png"), 127.5 * (np.clip(drawn, -1, 1) + 1), atol=0.51)
