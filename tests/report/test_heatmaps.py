"""Matrices of codes: the values, the shared scales, what is undefined."""

import numpy as np
import pytest

from hebae.errors import HebaeError
from hebae.report.heatmaps import code_heatmaps
from hebae.report.style import to_png


def matrices(k: int, seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    codes = np.random.default_rng(seed).normal(size=(50, k))
    return scale * np.cov(codes.T), np.corrcoef(codes.T)


def notes(axes) -> list[str]:
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
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes[4:]] == [
        "|covariance|",
        "correlation",
    ]


def test_a_row_has_one_scale_and_zero_is_the_middle_of_signs():
    pairs = {"hebae": matrices(4, 0), "vae": matrices(4, 1, scale=7)}
    limits = [axes.images[0].get_clim() for axes in code_heatmaps(pairs).axes[:4]]
    assert limits[0] == limits[1] == (0, np.abs(pairs["vae"][0]).max())
    strongest = max(np.abs(c - np.eye(4)).max() for _, c in pairs.values())
    assert limits[2] == limits[3] == pytest.approx((-strongest, strongest))


def test_a_collapsed_dimension_is_left_out_of_the_mean():
    covariance, correlation = matrices(3, 0)
    correlation[1] = correlation[:, 1] = np.nan
    axes = code_heatmaps({"vae": (covariance, correlation)}).axes[1]
    assert notes(axes) == [f"mean |off-diagonal| {abs(correlation[0, 2]):.3f}"]


def test_no_variance_and_one_dimension_can_be_drawn():
    zeros = np.zeros((1, 1))
    figure = code_heatmaps({"vae": (zeros, zeros * np.nan)})
    assert to_png(figure)
    assert notes(figure.axes[1]) == ["mean |off-diagonal| undefined"]
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_what_is_not_a_pair_of_matrices_is_refused():
    eye = np.eye(3)
    for pair in ((eye, np.eye(4)), (eye[:2], eye[:2]), (np.ones(3), np.ones(3))):
        with pytest.raises(HebaeError, match=r"of vae are .*\(k, k\)"):
            code_heatmaps({"vae": pair})
    with pytest.raises(HebaeError, match="nothing to draw"):
        code_heatmaps({})
