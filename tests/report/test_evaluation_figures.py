"""Figures of an evaluation: what is drawn is what was given, and what is not defined is said."""

import numpy as np
import pytest

from hebae.errors import HebaeError
from hebae.report.convergence import Convergence, annealing_convergence
from hebae.report.dimensions import DimensionBars, dimension_bars
from hebae.report.histograms import Histograms, code_histograms
from hebae.report.style import to_png


def heights(container):
    return [bar.get_height() for bar in container]


def test_bars_stand_in_the_order_of_the_variance_of_the_means():
    figure = dimension_bars(
        {
            "vae": DimensionBars([0.1, 0.9, 0.5], [1.0, 1.1, 1.2], [0.2, 2.0, 1.0]),
            "wae": DimensionBars([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 5 * "it is deterministic and "),
        },
        title="Digits",
    )
    top, _, bottom, undefined = figure.axes
    assert heights(top.containers[0]) == [1.1, 1.2, 1.0]
    assert heights(top.containers[1]) == [0.9, 0.5, 0.1]
    assert heights(bottom.containers[0]) == [2.0, 1.0, 0.2]
    assert not undefined.containers
    words = undefined.texts[0].get_text()
    assert "deterministic" in words
    assert max(map(len, words.splitlines())) <= 24  # or it would push the axes apart
    assert top.get_ylim() == figure.axes[1].get_ylim()
    assert to_png(figure).startswith(b"\x89PNG")


def test_histograms_have_a_line_a_dimension_and_name_the_needles():
    edges = np.linspace(-4, 4, 9)
    flat, needle = np.full(8, 1 / 8), np.eye(8)[4]
    kinds = {"mean": Histograms(edges, [flat, 3 * needle]), "z": Histograms(edges, [flat, flat])}
    figure = code_histograms({"vae": kinds, "hebae": kinds})
    assert len(figure.axes) == 4
    upper, lower = figure.axes[0], figure.axes[2]
    assert len(upper.patches) == len(lower.patches) == 2
    assert upper.texts[0].get_text() == "1 of 2 dimensions go beyond"
    assert lower.texts[0].get_text() == ""
    normal = upper.lines[0]
    np.testing.assert_allclose(normal.get_ydata().max(), 1 / np.sqrt(2 * np.pi), rtol=1e-3)
    assert to_png(figure).startswith(b"\x89PNG")


def test_convergence_draws_both_bounds():
    figure = annealing_convergence(
        {
            "vae": Convergence([64, 256, 1024], [-110.0, -104.0, -103.0], [8.0, 2.0, 0.5]),
            "ae": Convergence([64, 256], [-300.0, -290.0], [20.0, 11.0]),
        }
    )
    left, right = figure.axes
    assert [list(line.get_ydata()) for line in left.lines] == [
        [-110.0, -104.0, -103.0],
        [-300.0, -290.0],
    ]
    assert list(right.lines[0].get_ydata()) == [8.0, 2.0, 0.5]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["64", "256", "1,024"]
    assert right.get_ylim()[0] <= 0
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", [dimension_bars, code_histograms, annealing_convergence])
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(HebaeError, match="no model was given"):
        draw({})
