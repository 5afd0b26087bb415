"""Figures of images: each pixel in its place, each method under its name."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from hebae.errors import HebaeError
from hebae.report.images import interpolations, reconstructions, sample_table
from hebae.report.pixels import mosaic, to_uint8
from hebae.report.style import render

GREY, COLOUR = (1, 7, 5), (3, 16, 16)


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def drawn(figure):
    """Pixels (height, width, 3) of the figure's PNG."""
    with Image.open(BytesIO(render(figure))) as picture:
        return np.asarray(picture.convert("RGB"))


def part(pixels, axes):
    """What `axes` cover of them."""
    height, width = pixels.shape[:2]
    box = axes.get_position()
    left, right = round(box.x0 * width), round(box.x1 * width)
    return pixels[round((1 - box.y1) * height) : round((1 - box.y0) * height), left:right]


def expected(images, columns, width):
    """Mosaic of `images`, enlarged so as to be `width` pixels wide."""
    across = min(columns or int(np.ceil(np.sqrt(len(images)))), len(images))
    scale, rest = divmod(width - 2 * (across - 1), across * images.shape[3])
    assert rest == 0
    pixels = mosaic(to_uint8(images), columns, scale=scale)
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels


@pytest.mark.parametrize("shape", [GREY, COLOUR, (1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize(("n", "columns"), [(1, None), (7, None), (7, 3), (16, 16)])
def test_every_pixel_of_a_grid_is_drawn_as_a_square_of_its_own(shape, n, columns):
    images = random_images(n, *shape)
    figure = sample_table({"": {"": images}}, columns, title="Some $x$ images")
    (axes,) = figure.axes
    shown = part(drawn(figure), axes)
    np.testing.assert_array_equal(shown, expected(images, columns, shown.shape[1]))


def test_reconstructions_stand_under_their_originals():
    originals, copies = random_images(6, *COLOUR), random_images(6, *COLOUR, seed=1)
    figure = reconstructions(originals, {"hebae": copies, "vae": 0.5 * copies})
    assert [axes.get_ylabel() for axes in figure.axes] == ["originals", "HEBAE", "VAE"]
    boxes = [axes.get_position() for axes in figure.axes]
    assert len({(box.x0, box.x1) for box in boxes}) == 1
    assert boxes[0].y0 > boxes[1].y1 > boxes[1].y0 > boxes[2].y1
    pixels = drawn(figure)
    for axes, values in zip(figure.axes, (originals, copies, 0.5 * copies), strict=True):
        shown = part(pixels, axes)
        np.testing.assert_array_equal(shown, expected(values, 6, shown.shape[1]))
    with pytest.raises(HebaeError, match="nothing to draw"):
        sample_table({})


def test_interpolations_frame_both_ends_and_no_pixel():
    ways = {label: random_images(2, 5, *GREY, seed=i) for i, label in enumerate(("hebae", "vae"))}
    figure = interpolations(ways)
    assert [axes.get_ylabel() for axes in figure.axes] == ["HEBAE", "VAE"]
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["first example", "second example"]
    pixels = drawn(figure)
    height, width = pixels.shape[:2]
    for axes, values in zip(figure.axes, ways.values(), strict=True):
        right = axes.get_xlim()[1]
        scale = round((right - 8) / 25)
        frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert [frame.get_x() for frame in frames] == [-1, 4 * (5 * scale + 2) - 1]
        box = axes.get_position()
        left, top = round(box.x0 * width), round((1 - box.y1) * height)
        for i, image in enumerate(to_uint8(values.reshape(10, *GREY))):
            y, x = i // 5 * (7 * scale + 2) + top, i % 5 * (5 * scale + 2) + left
            tile = pixels[y : y + 7 * scale, x : x + 5 * scale, 0]
            np.testing.assert_array_equal(tile[::scale, ::scale], image[0])
            np.testing.assert_array_equal(tile[scale - 1 :: scale, scale - 1 :: scale], image[0])


def test_words_lie_inside_the_figure_and_off_the_images():
    # Were the dollar signs taken for mathematics, it could not be drawn.
    label = r"runs/hebae-with-a-long-name-$\nonsense{$-64"
    for figure in (
        sample_table({"": {label: random_images(4, *COLOUR), "vae": random_images(4, *COLOUR)}}),
        sample_table(
            {"": {"wider than it": random_images(1, *GREY), "vae": random_images(1, *GREY)}}
        ),
        reconstructions(random_images(2, *GREY), {label: random_images(2, *GREY)}),
        sample_table(
            {"": {"": random_images(1, *GREY)}}, title="A title much wider than the image below it"
        ),
    ):
        render(figure)
        edges = figure.bbox
        words = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        boxes = [text.get_window_extent() for text in words]
        assert len(boxes) > 0
        for i, box in enumerate(boxes):
            assert edges.x0 <= box.x0 < box.x1 <= edges.x1
            assert edges.y0 <= box.y0 < box.y1 <= edges.y1
            for axes in figure.axes:
                assert not box.overlaps(axes.bbox)
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_a_table_of_samples_has_a_row_a_method_and_a_column_a_sampler():
    made = {
        method: {way: np.full((4, 1, 5, 5), level) for way, level in (("N", 0.25), ("fit", 0.75))}
        for method in ("hebae", "vae")
    }
    figure = sample_table(made, 2, title="Samples")
    assert [axes.get_title("left") for axes in figure.axes] == ["N", "fit", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["HEBAE", "", "VAE", ""]
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes] == [64, 191, 64, 191]
    across = sample_table({"N": {"hebae": made["hebae"]["N"], "vae": made["vae"]["N"]}}, 2)
    assert [axes.get_title("left") for axes in across.axes] == ["HEBAE", "VAE"]


def test_64_digits_of_four_methods_are_legible():
    digits = random_images(64, 1, 28, 28)
    figure = sample_table({"N(0, I)": dict.fromkeys(("hebae", "vae", "wae", "ae"), digits)})
    height, width = drawn(figure).shape[:2]
    for axes in figure.axes:
        box = axes.get_position()
        assert box.width * width >= 8 * 28 * 3
        assert box.height * height >= 8 * 28 * 3
        # The page and the README show the figure about 900 pixels wide.
        assert axes.title.get_fontsize() * 150 / 72 * 900 / width > 8
