"""Precision, recall, density, coverage: naive versions, exact averages, toy limits, memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hebae.evaluation import density_coverage, precision_recall
from hebae.evaluation.neighbours import distance_blocks

seeds = st.integers(0, 2**32 - 1)


def pair(n, m, d=3, seed=0, shift=0.7):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((n, d)), generator.standard_normal((m, d)) + shift


def distance(a, b):
    return np.sqrt(((a - b) ** 2).sum())


def radius(points, i, k):
    """Distance of the i-th point to its k-th nearest other."""
    return sorted(distance(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]


def share_within(centres, points, k):
    """Share of the points that lie in the ball of any centre: the definition, pair by pair."""
    radii = [radius(centres, i, k) for i in range(len(centres))]
    inside = [
        any(distance(point, centre) <= r for centre, r in zip(centres, radii, strict=True))
        for point in points
    ]
    return np.mean(inside)


def test_distances_in_blocks_are_those_at_once():
    """2^22 distances are held at once: here two rows of five."""
    a, b = torch.arange(5.0)[:, None].double(), torch.linspace(-1, 1, 2_000_000)[:, None].double()
    blocks = [*distance_blocks(a, b)]
    assert [rows.stop - rows.start for rows, _ in blocks] == [2, 2, 1]
    for rows, distance in blocks:
        torch.testing.assert_close(distance, (a[rows] - b.T).abs(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize(("n", "m"), [(30, 20), (20, 30), (25, 25)])
def test_by_definition(n, m, k):
    real, fake = pair(n, m)
    result = precision_recall(real, fake, k=k)
    assert result == (share_within(real, fake, k), share_within(fake, real, k))
    radii = [radius(real, i, k) for i in range(n)]
    inside = np.array([[distance(real[i], fake[j]) < radii[i] for j in range(m)] for i in range(n)])
    density = sum(inside.sum(axis=0)) / (k * m)
    coverage = np.mean([row.any() for row in inside])
    assert density_coverage(real, fake, k=k) == pytest.approx((density, coverage), rel=1e-12)


@pytest.mark.parametrize(("n", "m", "k"), [(60, 40, 5), (30, 90, 2)])
def test_averages_for_a_perfect_model(n, m, k):
    """Density 1 and coverage 1 - prod (n - i) / (n + m - i): Naeem et al., in any dimension."""
    result = np.array([density_coverage(*pair(n, m, seed=s, shift=0), k=k) for s in range(150)])
    i = np.arange(1, k + 1)
    expected = (1, 1 - np.prod((n - i) / (n + m - i)))
    error = result.std(axis=0) / np.sqrt(len(result))
    assert (abs(result.mean(axis=0) - expected) < 4 * error).all()


@given(seeds, st.integers(1, 6))
def test_identical_sets(seed, k):
    """A copy of the real examples is precise, complete, and covers each with itself."""
    real, _ = pair(12, 12, seed=seed)
    assert precision_recall(real, real, k=k) == (1, 1)
    assert density_coverage(real, real, k=k) == (1, 1)


@given(seeds, st.floats(-1e4, 1e4), st.floats(1e-3, 1e3))
def test_moving_and_scaling_both_changes_nothing(seed, shift, scale):
    real, fake = pair(25, 20, seed=seed)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    moved = (scale * real @ Q + shift, scale * fake @ Q + shift)
    assert precision_recall(*moved) == precision_recall(real, fake)
    assert density_coverage(*moved) == density_coverage(real, fake)


def test_whole_numbers_far_from_zero_keep_their_ties():
    """On the line 0, 1, ..., 9 a ball of k = 1 ends just at the next whole number."""
    real = np.arange(10.0)[:, None] + 1e6
    assert precision_recall(real, real[-3:] + 1, k=1) == (1, 0.3)
    assert precision_recall(real[:5], real[5:], k=1) == (1 / 5, 1 / 5)
    assert density_coverage(real, real + 0.5, k=1) == (1.9, 1)
