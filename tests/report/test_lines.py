"""Panels of lines: what is drawn is what was given, on the axes that were asked for."""

import math

import pytest

from hebae.errors import HebaeError
from hebae.report.lines import Convergence, LinePanel, annealing_convergence, line_grid

SEEDS = {1.0: [-80.0, -100.0, -90.0], 10.0: [-200.0], 100.0: [math.nan], 1000.0: [-400.0]}


def test_a_line_is_the_median_over_seeds_in_a_band_from_least_to_greatest():
    figure = line_grid([[LinePanel({"hebae": SEEDS}, "k = 2", y_label="nats")]])
    (axes,) = figure.axes
    (line,) = axes.lines
    assert list(line.get_xdata()) == [1.0, 10.0, 1000.0]  # what is not finite is left out
    assert list(line.get_ydata()) == [-90.0, -200.0, -400.0]
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (-400.0, -80.0)
    assert axes.get_title(loc="left") == "k = 2"
    assert axes.get_ylabel() == "nats"


def test_a_negative_logarithmic_axis_has_the_greater_value_at_the_top_and_its_sign():
    panel = LinePanel({"vae": SEEDS}, x_scale="log", y_scale="negative log", mark=1.0)
    figure = line_grid([[panel]])
    figure.canvas.draw()
    axes = figure.axes[0]
    bottom, top = axes.get_ylim()
    assert bottom > top > 0
    ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert "\N{MINUS SIGN}100" in ticks


def test_panels_of_a_row_share_the_scale_of_their_values():
    rows = [[LinePanel({"vae": {1.0: [0.0], 2.0: [high]}}) for high in (1.0, 5.0)]]
    first, second = line_grid(rows).axes
    assert first.get_ylim() == second.get_ylim()


def test_a_panel_without_values_does_not_widen_the_scale():
    rows = [[LinePanel({"vae": {1.0: [100.0], 2.0: [101.0]}}), LinePanel({"vae": {}})]]
    first, second = line_grid(rows).axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[0] > 90


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "nothing to draw"),
        ([[LinePanel({"vae": {}})]], "nothing to draw"),
        ([[LinePanel({"vae": {1.0: [3.0]}}, y_scale="negative log")]], "not negative"),
        ([[LinePanel({"vae": {1.0: [-3.0]}}, y_scale="log")]], "not positive"),
    ],
)
def test_what_cannot_be_drawn_is_refused(rows, words):
    with pytest.raises(HebaeError, match=words):
        line_grid(rows)


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
    with pytest.raises(HebaeError, match="no model was given"):
        annealing_convergence({})
