"""MIC and TIC against another program's values, exhaustive search and what they must obey."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebae.evaluation.maximal_information import (
    characteristic_matrix,
    index_dependence,
    mic_and_tic,
    mic_approx,
    mic_e,
    tic_approx,
    tic_e,
)

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "mic_tic.json").read_text())
RELATIONS = sorted({row[0] for row in ORACLE["rows"]})
COEFFICIENTS = {"mic_e": (mic_e, tic_e), "mic_approx": (mic_approx, tic_approx)}

seeds = st.integers(0, 2**32 - 1)
estimators = pytest.mark.parametrize("estimator", ["e", "approx"])


def relation(name, n):
    """The inputs of the oracle; a copy of the code that it holds as text."""
    u = np.random.default_rng(1).random(n)
    v = np.random.default_rng(2).random(n)
    return {
        "linear": (u, u.copy()),
        "sin": (u, np.sin(4 * np.pi * u)),
        "parabola": (u, (2 * u - 1) ** 2),
        "sin_noisy": (u, np.sin(4 * np.pi * u) + (v - 0.5)),
        "linear_noisy": (u, u + (v - 0.5)),
        "circle": (np.cos(2 * np.pi * u), np.sin(2 * np.pi * u) + 0.2 * (v - 0.5)),
        "independent": (u, v),
        "ties": (np.floor(10 * u), np.floor(10 * u) + np.floor(4 * v)),
        "constant": (u, np.zeros(n)),
    }[name]


def points(seed, n=40, ties=False):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    y = y + x * rng.normal()
    return (np.round(2 * x), np.round(2 * y)) if ties else (x, y)


@pytest.mark.parametrize("name", RELATIONS)
def test_mic_and_tic_match_the_oracle(name):
    """To rounding, with ties and a constant among them."""
    rows = [row[1:] for row in ORACLE["rows"] if row[0] == name]
    assert len(rows) == 16
    for n, estimator, alpha, c, *expected in rows:
        x, y = relation(name, n)
        mic, tic = COEFFICIENTS[estimator]
        matrix = characteristic_matrix(x, y, estimator.removeprefix("mic_"), alpha, c)
        result = [mic(x, y, alpha, c), tic(x, y, alpha, c), np.nanmean(matrix)]
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-10, err_msg=f"{estimator} {n}")


@pytest.mark.parametrize("case", ORACLE["matrices"], ids=lambda case: f"{case[0]}-{case[2]}")
def test_characteristic_matrix_matches_the_oracle(case):
    """Entry by entry, and NaN where a grid would have more than B = n^alpha cells."""
    name, n, estimator, alpha, c, expected = case
    matrix = characteristic_matrix(*relation(name, n), estimator.removeprefix("mic_"), alpha, c)
    assert matrix.shape == (len(expected), len(expected))
    for result, row in zip(matrix, expected, strict=True):
        np.testing.assert_allclose(result[: len(row)], row, rtol=0, atol=1e-12)
        assert np.isnan(result[len(row) :]).all()


@estimators
@given(seed=seeds, ties=st.booleans())
def test_only_the_order_of_values_and_not_of_points_matters(estimator, seed, ties):
    x, y = points(seed, ties=ties)
    matrix = characteristic_matrix(x, y, estimator)
    order = np.random.default_rng(seed).permutation(len(x))
    moved = characteristic_matrix(np.exp(x)[order], (y**3 + y)[order], estimator)
    np.testing.assert_array_equal(moved, matrix)


@given(seed=seeds, ties=st.booleans())
def test_exchanging_the_axes_transposes_the_matrix(seed, ties):
    x, y = points(seed, n=100, ties=ties)
    one, other = characteristic_matrix(x, y, "approx"), characteristic_matrix(y, x, "approx")
    np.testing.assert_array_equal(one, other.T)
    one, other = characteristic_matrix(x, y, "e"), characteristic_matrix(y, x, "e")
    off_diagonal = ~np.eye(len(one), dtype=bool)
    np.testing.assert_array_equal(one[off_diagonal], other.T[off_diagonal])


def test_many_pairs_are_those_pairs_in_order_whatever_the_processes():
    pairs = [points(seed) for seed in range(3)]
    expected = [[mic_e(*pair), tic_e(*pair)] for pair in pairs]
    np.testing.assert_array_equal(mic_and_tic(pairs), expected)
    np.testing.assert_array_equal(mic_and_tic(pairs, workers=2), expected)
    approx = [[mic_approx(*pair), tic_approx(*pair)] for pair in pairs]
    np.testing.assert_array_equal(mic_and_tic(pairs, "approx"), approx)
    assert mic_and_tic([]).shape == (0, 2)


def codes(n, draws, latents=3, noise=1.0):
    """Draws about a place of each example's own; only noise where there is much of it."""
    rng = np.random.default_rng(0)
    place = rng.normal(size=(n, 1, latents)) if noise < 1 else 0.0
    return place + noise * rng.normal(size=(n, draws, latents))


def test_only_codes_that_follow_their_example_stand_out_from_the_null():
    """Others are exchangeable: equal means, here of 30 values of deviation 0.005 and 0.25."""
    result = index_dependence(codes(20, 40, noise=0.1))
    assert (result.examples, result.draws) == (20, 40)
    assert result.mic > 0.6 > 0.2 > result.null_mic
    assert result.tic > 3 * result.null_tic
    result = index_dependence(codes(20, 40, latents=30))
    assert result.mic == pytest.approx(result.null_mic, abs=4 * 0.005 * math.sqrt(2 / 30))
    assert result.tic == pytest.approx(result.null_tic, abs=4 * 0.25 * math.sqrt(2 / 30))


def test_index_dependence_is_the_mean_over_dimensions():
    z = codes(10, 8, noise=0.3)
    index = np.repeat(np.random.default_rng(7).permutation(10), 8)
    expected = [mic_e(index, z[:, :, j].ravel()) for j in range(3)]
    result = index_dependence(z, seed=7)
    assert result.mic == pytest.approx(np.mean(expected), rel=1e-12)
    assert result == index_dependence(z, seed=7) != index_dependence(z, seed=8)
    coarse = index_dependence(z, seed=7, alpha=4)
    assert coarse.tic == pytest.approx(coarse.mic)  # one grid alone, of 2 x 2 cells
