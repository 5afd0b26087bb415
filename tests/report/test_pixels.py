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


@pytest.mark.parametrize(
    ("images", "words"),
    [
        *(
            (np.zeros(s), re.escape(str(s)))
            for s in ((4, 20), (4, 28, 28), (4, 2, 8, 8), (0, 1, 8, 8))
        ),
        (np.zeros((1, 1, 2, 2), np.uint8), "divide by 255"),
        *((np.full((1, 1, 2, 2), bad), "NaN or infinite") for bad in (np.nan, np.inf)),
    ],
)
def test_refuses_other_shapes_whole_numbers_and_what_is_no_number(images, words):
    with pytest.raises(HebaeError, match=words):
        to_uint8(images)


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


@pytest.mark.parametrize(
    ("channels", "side", "scale"), [(1, 28, 3), (3, 12, 8), (3, 64, 2), (1, 96, 1), (1, 178, 1)]
)
def test_the_file_holds_the_mosaic_of_images_enlarged_to_be_legible(
    tmp_path, channels, side, scale
):
    images = np.random.default_rng(1).random((4, channels, side, side))
    write_png(images, tmp_path / "some.png", columns=3)
    with Image.open(tmp_path / "some.png") as picture:
        assert picture.mode == {1: "L", 3: "RGB"}[channels]
        pixels = np.asarray(picture)
    expected = mosaic(to_uint8(images), 3, scale=scale)
    np.testing.assert_array_equal(pixels.reshape(expected.shape), expected)
    assert [p.name for p in tmp_path.iterdir()] == ["some.png"]
