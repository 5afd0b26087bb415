"""Figures of codes: they show the values given, on shared scales, and say what is undefined."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hebae.errors import HebaeError
from hebae.report.codes import (
    code_heatmaps,
    code_histograms,
    code_points,
    dimension_bars,
)
from hebae.report.style import render


def matrices(k, seed, scale=1.0):
    codes = np.random.default_rng(seed).normal(size=(50, k))
    return scale * np.cov(codes.T), np.corrcoef(codes.T)


def notes(axes):
    return [text.get_text() for text in axes.texts]


def test_panels_names_and_figures():
    pairs = {"hebae": matrices(4, 0), "vae": matrices(4, 1, scale=7)}
    figure = code_heatmaps(pairs, title="Codes")
    panels = figure.axes[:4]
    assert [axes.get_title("left") for axes in panels] == ["HEBAE", "VAE", "", ""]
    for axes, (covariance, _) in zip(panels[:2], pairs.values(), strict=True):
        variances = np.diag(covariance)
        assert notes(axes) == [f"variances {variances.min():.3g} to {variances.max():.3g}"]
        np.testing.assert_array_equal(axes.images[0].get_array(), np.abs(covariance))
    for axes, (_, correlation) in zip(panels[2:], pairs.values(), strict=True):
        off = [abs(correlation[i, j]) for i in range(4) for j in range(4) if i != j]
        assert notes(axes) == [f"mean |off-diagonal| {np.mean(off):.3f}"]
        shown = axes.images[0].get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(shown), np.eye(4, dtype=bool))
        assert np.ma.allclose(shown, correlation)
    assert [axes.get_ylabel() for axes in panels] == ["latent dimension", ""] * 2
    assert [axes.get_xlabel() for axes in panels] == ["", "", *["latent dimension"] * 2]
    for axes in panels:  # dimensions are numbered from 1, each in the middle of its cell
        assert axes.images[0].get_extent() == [0.5, 4.5, 4.5, 0.5]
        assert list(axes.get_xticks()) == [1, 2, 3, 4]
    # A row has one scale, symmetric for values of both signs.
    limits = [axes.images[0].get_clim() for axes in panels]
    assert limits[0] == limits[1] == (0, np.abs(pairs["vae"][0]).max())
    strongest = max(np.abs(c - np.eye(4)).max() for _, c in pairs.values())
    assert limits[2] == limits[3] == pytest.approx((-strongest, strongest))


def test_undefined_correlations_and_codes_without_variance_can_be_drawn():
    covariance, correlation = matrices(3, 0)
    correlation[1] = correlation[:, 1] = np.nan
    axes = code_heatmaps({"vae": (covariance, correlation)}).axes[1]
    assert notes(axes) == [f"mean |off-diagonal| {abs(correlation[0, 2]):.3f}"]
    zeros = np.zeros((1, 1))
    figure = code_heatmaps({"vae": (zeros, zeros * np.nan)})
    assert render(figure)
    assert notes(figure.axes[1]) == ["mean |off-diagonal| undefined"]
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def heights(container):
    return [bar.get_height() for bar in container]


def test_bars_stand_in_the_order_of_the_variance_of_the_means():
    figure = dimension_bars(
        {
            "vae": ([0.1, 0.9, 0.5], [1.0, 1.1, 1.2], [0.2, 2.0, 1.0]),
            "wae": ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 5 * "it is deterministic and "),
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
    assert render(figure).startswith(b"\x89PNG")


def test_histograms_have_one_line_per_dimension_and_count_those_beyond_the_axis():
    edges = np.linspace(-4, 4, 9)
    flat, needle = np.full(8, 1 / 8), np.eye(8)[4]
    kinds = {"mean": (edges, [flat, 3 * needle]), "z": (edges, [flat, flat])}
    figure = code_histograms({"vae": kinds, "hebae": kinds})
    assert len(figure.axes) == 4
    upper, lower = figure.axes[0], figure.axes[2]
    assert len(upper.patches) == len(lower.patches) == 2
    assert upper.texts[0].get_text() == "1 of 2 dimensions exceed 1.2"
    assert lower.texts[0].get_text() == ""
    normal = upper.lines[0]
    np.testing.assert_allclose(normal.get_ydata().max(), 1 / np.sqrt(2 * np.pi), rtol=1e-3)
    assert render(figure).startswith(b"\x89PNG")


def offsets(axes):
    return np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])


def test_points_of_two_dimensions_are_the_codes_by_class_with_a_legend():
    codes = np.random.default_rng(0).normal(size=(300, 2))
    labels = np.arange(300) % 10
    figure = code_points({"vae": codes}, labels, title="Codes")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent dimension 1", "latent dimension 2")
    assert len(axes.collections) == 10
    for label, points in enumerate(axes.collections):
        np.testing.assert_array_equal(points.get_offsets(), codes[labels == label])
    looks = {
        (to_hex(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes())
        for points in axes.collections
    }
    assert len(looks) == 10
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:5] == ["0", "1", "2", "3", "4"]
    assert "N(0, I)" in named[-1]
    radii = [np.hypot(*circle.get_data()) for circle in axes.lines]
    for radius, share in zip(radii, (0.5, 0.95), strict=True):
        np.testing.assert_allclose(1 - np.exp(-(radius**2) / 2), share)  # chi squared, 2 degrees


def test_points_of_more_dimensions_are_principal_components():
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(500, 5)) * [0.1, 3.0, 0.2, 1.0, 0.1] + [0, 0, 0, 2.0, 0]
    (axes,) = code_points({"vae": codes}).axes
    assert axes.get_xlabel() == "principal component 1"
    x, y = offsets(axes).T
    assert abs(np.corrcoef(x, codes[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(y, codes[:, 3])[0, 1]) > 0.99
    assert y.mean() == pytest.approx(2.0, abs=0.2)  # the mean is kept
    variance = codes.var(axis=0)
    assert f"{(variance[1] + variance[3]) / variance.sum():.0%} of their variance" in notes(axes)[0]


def test_points_of_one_dimension_and_of_many_codes_can_be_drawn():
    codes = np.random.default_rng(2).normal(size=(20_000, 1))
    (axes,) = code_points({"vae": codes}).axes
    assert len(offsets(axes)) == 3000
    assert set(offsets(axes)[:, 0]) <= set(codes[:, 0])
    assert "3,000 of 20,000" in notes(axes)[0]


@pytest.mark.parametrize("draw", [code_heatmaps, code_histograms, code_points, dimension_bars])
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(HebaeError, match="nothing to draw"):
        draw({})
