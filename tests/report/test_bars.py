"""Bars are as high as their values, with the null across them."""

import pytest

from hebae.errors import HebaeError
from hebae.report.bars import BarPanel, bars_beside_null

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


@pytest.mark.parametrize("panels", [{}, {"mic": BarPanel({}, {}, "MIC_e")}])
def test_nothing_to_draw_is_refused(panels):
    with pytest.raises(HebaeError, match="nothing to draw"):
        bars_beside_null(panels)
