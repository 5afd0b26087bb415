"""Lines by method: what is drawn is what was given, on the axes that were asked for."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hebae.errors import HebaeError
from hebae.methods import METHODS
from hebae.report.lines import (
    LinePanel,
    annealing_convergence,
    line_grid,
    loss_curves,
)
from hebae.report.style import render

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
    lines = {1.0: [100.0], 2.0: [101.0]}, {1.0: [100.0], 2.0: [105.0]}, {}
    axes = line_grid([[LinePanel({"vae": line}) for line in lines]]).axes
    (limits,) = {panel.get_ylim() for panel in axes}
    assert 90 < limits[0] < 100 < 105 < limits[1]  # the panel without values does not widen it


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
            "vae": ([64, 256, 1024], [-110.0, -104.0, -103.0], [8.0, 2.0, 0.5]),
            "ae": ([64, 256], [-300.0, -290.0], [20.0, 11.0]),
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


# ---- loss curves ---------------------------------------------------------------------------------


def history(epochs, *penalties, first=5000.0, held_out=True):
    """Reconstruction falls from `first` to about 80; held-out values lie 5 above."""
    records = []
    for epoch in range(1, epochs + 1):
        terms = dict.fromkeys(penalties, 2.0 + 1 / epoch)
        value = 80 + 1 / epoch + (first if epoch == 1 else 0)
        terms = {"objective": -value - sum(terms.values()), "reconstruction": value, **terms}
        record = {"epoch": epoch, "train": terms}
        if held_out:
            record["held_out"] = {name: term + 5 for name, term in terms.items()}
        records.append(record)
    return records


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def titles(figure):
    return [axes.get_title("left") for axes in figure.axes]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture
def runs():
    return {
        "hebae": [history(12, "moments")],
        "vae": [history(12, "kl")],
        "wae": [history(12, "mmd")],
        "ae": [history(12)],
    }


def test_panels_units_and_names(runs):
    figure = loss_curves(runs, "test", title="Terms")
    assert titles(figure) == [
        "Objective",
        "Reconstruction",
        "Penalty: moments",
        "Penalty: kl",
        "Penalty: mmd",
    ]
    units = [axes.get_ylabel() for axes in figure.axes]
    assert units == ["nats per example"] * 2 + ["nats", "nats", "no unit"]
    assert [figure.axes[i].get_xlabel() for i in (0, 1, -1)] == ["epoch"] * 3
    names = ["HEBAE", "VAE", "WAE-MMD", "AE", "held-out (test)", "training"]
    assert legend(figure)[:6] == names
    assert figure.get_suptitle() == "Terms"


def test_the_objective_is_not_passed_off_as_an_elbo(runs):
    assert words(loss_curves(runs))[0] == "differs by method; HEBAE's is not an ELBO"
    with_rate = {"hebae": [history(3, "aggregate", "rate")], "vae": [history(3, "kl")]}
    assert words(loss_curves(with_rate))[0] == "differs by method"
    assert words(loss_curves({"hebae": [history(3, "moments")]}))[0] == "HEBAE's is not an ELBO"


def test_lines_show_the_values_each_method_in_its_colour(runs):
    figure = loss_curves(runs)
    lines = figure.axes[1].get_lines()[:8]
    for i, (label, [records]) in enumerate(runs.items()):
        for line, part in zip(lines[2 * i : 2 * i + 2], ("train", "held_out"), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), range(1, 13))
            expected = [record[part]["reconstruction"] for record in records]
            np.testing.assert_array_equal(line.get_ydata(), expected)
            assert to_hex(line.get_color()).upper() == METHODS[label].colour
        training, held_out = lines[2 * i : 2 * i + 2]
        assert training.is_dashed()
        assert not held_out.is_dashed()
        assert (training.get_marker(), held_out.get_marker()) == ("", METHODS[label].marker)


def test_the_first_epochs_are_shown_and_do_not_flatten_the_rest(runs):
    figure = loss_curves(runs)
    axes = figure.axes[1]
    low, high = axes.get_ylim()
    assert low < 80.1
    assert high > 5086  # the held-out value of the first epoch
    place = [
        axes.transAxes.inverted().transform(axes.transData.transform((1, y)))[1]
        for y in (80.08, 85.5, 5086)
    ]
    assert place[1] - place[0] > 0.5  # the later epochs have most of the height
    assert 0.9 < place[2] < 1
    assert "5,100" in [tick.get_text() for tick in axes.get_yticklabels()]
    assert legend(figure)[-1] == "compressed beyond this line"
    # The objective is negative: its first epochs are far below.
    low, high = figure.axes[0].get_ylim()
    assert low < -5091
    assert -85 < high < -70


def test_an_axis_that_all_epochs_fit_is_linear():
    figure = loss_curves({"vae": [history(12, "kl", first=4.0)]})
    low, high = figure.axes[1].get_ylim()
    assert low < 80.1
    assert 90 < high < 95
    assert figure.axes[1].get_yscale() == "linear"
    assert "compressed beyond this line" not in legend(figure)


def test_several_seeds_have_a_band():
    seeds = [history(6, "kl", first=f) for f in (10.0, 30.0, 20.0)]
    figure = loss_curves({"vae": seeds, "ae": [history(6)]})
    axes = figure.axes[1]
    assert len(axes.collections) == 2  # training and held-out, of the VAE alone
    band = axes.collections[0].get_paths()[0].vertices
    at_first = band[band[:, 0] == 1, 1]
    assert (at_first.min(), at_first.max()) == (91.0, 111.0)
    assert axes.get_lines()[0].get_ydata()[0] == 101.0
    assert "range over seeds" in legend(figure)
    assert "range over seeds" not in legend(loss_curves({"ae": [history(6)]}))


def test_without_held_out_data_the_training_curve_bears_the_marker():
    figure = loss_curves({"vae": [history(5, "kl", held_out=False)]})
    line = figure.axes[0].get_lines()[0]
    assert line.get_marker() == METHODS["vae"].marker
    assert legend(figure)[:2] == ["VAE", "training"]


def test_the_legend_of_many_runs_stays_inside():
    figure = loss_curves(
        {f"runs/hebae-seed-{i}-lr-3e-4": [history(3, "moments")] for i in range(9)}
    )
    render(figure)
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y1 < min(axes.xaxis.label.get_window_extent().y0 for axes in figure.axes[:2])


def test_an_epoch_that_a_seed_lacks_or_whose_value_is_not_finite_is_left_out():
    seeds = [history(4, "kl", first=0.0), history(3, "kl", first=0.0)]
    seeds[1][1]["train"]["reconstruction"] = float("nan")
    seeds[0][0]["held_out"] = None
    axes = loss_curves({"vae": seeds}).axes[1]
    training, held_out = axes.get_lines()[:2]
    assert list(training.get_xdata()) == [1, 3]
    assert list(held_out.get_xdata()) == [2, 3]


def test_runs_without_a_finished_epoch_cannot_be_drawn():
    assert legend(loss_curves({"vae": [history(3, "kl")], "ae": []}))[:2] == ["VAE", "AE"]
    with pytest.raises(HebaeError, match="nothing to draw"):
        loss_curves({"ae": []})
