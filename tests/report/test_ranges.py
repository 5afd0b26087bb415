"""Panels of ranges: what is far from the rest, and labels that have room."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import pytest

from hebae.report.ranges import RangePanel, RowLabel, range_panels

ROWS = [RowLabel(name, "hebae") for name in "abcdefgh"]


def axes_of(values, **panel):
    figure = range_panels(ROWS, [RangePanel([[v] for v in values], "title", **panel)])
    figure.canvas.draw()
    (axes,) = figure.axes
    plt.close(figure)
    return axes


@pytest.mark.parametrize(("far", "note"), [(-24000.0, "← −24,000"), (24000.0, "24,000 →")])
def test_one_far_value_does_not_hide_the_differences_of_the_others(far, note):
    axes = axes_of([*(-3.0 + i for i in range(7)), far])
    least, most = axes.get_xlim()
    assert most - least < 10
    assert note in [text.get_text() for text in axes.texts]


def test_no_value_is_left_out_where_all_can_be_told_apart():
    axes = axes_of([-100.0 - i**2 for i in range(8)])
    least, most = axes.get_xlim()
    assert least < -149
    assert most > -100
    assert not any(arrow in text.get_text() for text in axes.texts for arrow in "←→")


@pytest.mark.parametrize("values", [[0.018 * 1.5**i for i in range(8)], [4.0**i for i in range(8)]])
def test_labels_of_a_logarithmic_axis_do_not_overlap(values):
    axes = axes_of(values)
    assert axes.get_xscale() == "log"
    labels = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    assert len(boxes) >= 2
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
