"""Bars are as high as their values; all values of a map are written, and the best is framed."""

import numpy as np
import pytest

from hebae.errors import HebaeError
from hebae.paper.figure2 import CEILING, NULL, draw_bars
from hebae.paper.rate import draw_maps


def test_bars_show_values_nulls_and_the_ceiling():
    values = {name: {"hebae": 0.08, "vae": 0.04} for name in ("mic.mic", "mic.tic")}
    values |= {"information.mutual": {"vae": 1.0}, CEILING: {"hebae": 9.1, "vae": 9.2}}
    mic, _, information = draw_bars(values | {f"mic.mic{NULL}": {"hebae": 0.02}}).axes
    assert [bar.get_height() for bar in mic.patches] == [0.08, 0.04]
    assert [text.get_text() for text in mic.texts][:2] == ["0.08", "0.04"]
    nulls = {line.vertices[0, 1] for lines in mic.collections for line in lines.get_paths()}
    assert nulls == {0.02}
    assert [label.get_text() for label in mic.get_xticklabels()] == ["HEBAE", "VAE"]
    assert information.get_ylim()[1] > 9.2
    assert list(information.lines[0].get_ydata()) == [9.2, 9.2]


VALUES = [[1.0, np.nan, -3.0], [20.0, 5.0, 4.0]]


def draw(name, values=VALUES):
    return draw_maps({name: values}, (1, 3), (0, 0.1, 0.3)).axes[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("elbo", [(0, 1)]), ("reconstruction", [(2, 0)]), ("sigma", [])],
    ids=["higher", "lower", "neither"],
)
def test_the_best_cell_is_framed_if_one_end_is_better(name, expected):
    corners = [patch.get_xy() for patch in draw(name).patches]
    assert [(x + 0.5, y + 0.5) for x, y in corners] == expected
    assert not draw(name, np.full((2, 3), np.nan)).patches


def test_every_value_is_written_in_its_format_and_what_is_undefined_is_a_dash():
    axes = draw("elbo")
    written = {t.get_position(): t.get_text() for t in axes.texts if t.get_text()}
    assert written[0, 1] == "20.0"
    assert written[1, 0] == "–"
    shades = axes.images[0].get_array()
    assert shades.mask.tolist() == [[False, True, False], [False, False, False]]


def test_colours_go_by_rank():
    shades = np.asarray(draw("elbo", [[1, 2, 3], [4, 5, 1e6]]).images[0].get_array()).ravel()
    assert np.diff(shades) == pytest.approx([np.diff(shades)[0]] * 5)


def test_nothing_to_draw_is_refused():
    with pytest.raises(HebaeError, match="no map was given"):
        draw_maps({}, (1,), (1,))
    with pytest.raises(HebaeError, match="no value was given"):
        draw_bars({"mic.mic": {}})
