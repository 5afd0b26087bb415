"""Bars are as high as their values; all values of a map are written, and the best is framed."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from hebae.errors import HebaeError
from hebae.report.panels import BarPanel, ValueMap, bars_beside_null, value_maps

PANEL = BarPanel({"hebae": 0.08, "vae": 0.04}, {"hebae": 0.02}, "MIC_e")


def test_a_bar_shows_its_value_and_its_null():
    (axes,) = bars_beside_null({"mic": PANEL}).axes
    assert [bar.get_height() for bar in axes.patches] == [0.08, 0.04]
    assert [text.get_text() for text in axes.texts][:2] == ["0.08", "0.04"]
    nulls = {line.vertices[0, 1] for lines in axes.collections for line in lines.get_paths()}
    assert nulls == {0.02}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["HEBAE", "VAE"]


def test_a_ceiling_is_within_the_axes():
    (axes,) = bars_beside_null({"I": BarPanel({"vae": 1.0}, {}, "I", ceiling=9.2)}).axes
    assert axes.get_ylim()[1] > 9.2
    assert list(axes.lines[0].get_ydata()) == [9.2, 9.2]


VALUES = [[1.0, np.nan, -3.0], [20.0, 5.0, 4.0]]


def draw(*maps, **changes):
    return value_maps(maps, (1, 3), (0, 0.1, 0.3), labels=("λ", "γ"), across=4, **changes)


def framed(axes):
    return [
        (round(p.get_x() + 0.5), round(p.get_y() + 0.5))
        for p in axes.patches
        if isinstance(p, Rectangle)
    ]


@pytest.mark.parametrize(("better", "expected"), [("higher", (0, 1)), ("lower", (2, 0))])
def test_the_best_cell_is_framed(better, expected):
    axes = draw(ValueMap(VALUES, "ELBO", better=better)).axes[0]
    assert framed(axes) == [expected]


def test_where_neither_end_is_better_none_is_framed():
    assert framed(draw(ValueMap(VALUES, "σ")).axes[0]) == []
    nothing = ValueMap(np.full((2, 3), np.nan), "ELBO", better="lower")
    assert framed(draw(nothing).axes[0]) == []


def test_every_value_is_written_in_its_format_and_what_is_undefined_is_a_dash():
    axes = draw(ValueMap(VALUES, "ELBO", format=".1f")).axes[0]
    written = {t.get_position(): t.get_text() for t in axes.texts if t.get_text()}
    assert written[0, 1] == "20.0"
    assert written[1, 0] == "–"
    shades = axes.images[0].get_array()
    assert shades.mask.tolist() == [[False, True, False], [False, False, False]]


def test_colours_go_by_rank():
    axes = draw(ValueMap([[1, 2, 3], [4, 5, 1e6]], "far")).axes[0]
    shades = np.asarray(axes.images[0].get_array()).ravel()
    assert np.diff(shades) == pytest.approx([np.diff(shades)[0]] * 5)


def test_no_map_or_another_shape_is_refused():
    with pytest.raises(HebaeError, match="no map was given"):
        draw()
    for panels in ({}, {"mic": BarPanel({}, {}, "MIC_e")}):
        with pytest.raises(HebaeError, match="no value was given"):
            bars_beside_null(panels)
