"""Images as bytes: rounding, refusal, and where each image lies in a mosaic."""

import re

import numpy as np
import pytest
from PIL import Image

from hebae.errors import HebaeError
from hebae.report.pixels import mosaic, to_uint8, write_png


def test_rounds_to_the_nearest_and_clips():
    values = np.array([-3.0, -0.001, 0.49 / 255, 0.51 / 255, 1.001, 7.0])
    assert to_uint8(values.reshape(1, 1, 1, 6)).ravel().tolist() == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize("shape", [(4, 20), (4, 28, 28), (4, 2, 8, 8), (4, 4, 8, 8), (0, 1, 8, 8)])
def test_refuses_what_is_no_image(shape):
    with pytest.raises(HebaeError, match=re.escape(str(shape))):
        to_uint8(np.zeros(shape))


def test_refuses_whole_numbers_and_what_is_no_number():
    with pytest.raises(HebaeError, match="divide by 255"):
        to_uint8(np.zeros((1, 1, 2, 2), np.uint8))
    for bad in (np.nan, np.inf):
        with pytest.raises(HebaeError, match="NaN or infinite"):
            to_uint8(np.full((1, 1, 2, 2), bad))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 3])
def test_each_image_lies_in_its_place(channels, scale, gap=2):
    images = np.random.default_rng(0).integers(0, 255, (7, channels, 4, 5), np.uint8)
    canvas = mosaic(images, columns=3, scale=scale)
    assert canvas.shape == (3 * 4 * scale + 2 * gap, 3 * 5 * scale + 2 * gap, channels)
    rest = np.ones(canvas.shape[:2], bool)
    for i, image in enumerate(images):
        top, left = i // 3 * (4 * scale + gap), i % 3 * (5 * scale + gap)
        for y in range(4 * scale):
            for x in range(5 * scale):
                expected = image[:, y // scale, x // scale]
                assert (canvas[top + y, left + x] == expected).all()
        rest[top : top + 4 * scale, left : left + 5 * scale] = False
    assert (canvas[rest] == 255).all()


def test_the_mosaic_is_square_unless_told():
    images = np.zeros((10, 1, 6, 6), np.uint8)
    assert mosaic(images).shape == (3 * 8 - 2, 4 * 8 - 2, 1)
    assert mosaic(images, columns=99).shape == (6, 10 * 8 - 2, 1)
    with pytest.raises(HebaeError, match="columns is 0"):
        mosaic(images, columns=0)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_the_file_holds_the_mosaic(tmp_path, channels, mode):
    images = np.random.default_rng(1).random((4, channels, 96, 96))
    path = tmp_path / "some.png"
    write_png(images, path, columns=2)
    with Image.open(path) as picture:
        assert picture.mode == mode
        pixels = np.asarray(picture).reshape(194, 194, channels)
    np.testing.assert_array_equal(pixels, mosaic(to_uint8(images), 2))
    assert [p.name for p in tmp_path.iterdir()] == ["some.png"]


@pytest.mark.parametrize(("side", "scale"), [(28, 3), (12, 8), (64, 2), (178, 1)])
def test_small_images_are_enlarged_in_the_file(tmp_path, side, scale):
    images = np.random.default_rng(1).random((4, 1, side, side))
    write_png(images, tmp_path / "some.png")
    with Image.open(tmp_path / "some.png") as picture:
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels, mosaic(to_uint8(images), scale=scale)[:, :, 0])
