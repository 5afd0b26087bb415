"""Precision, recall, density, coverage and copies: definitions, exact averages, calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hebae.evaluation import UndefinedMetric, copying_ratio, density_coverage, precision_recall
from hebae.evaluation.neighbours import distance_blocks

seeds = st.integers(0, 2**32 - 1)


def sets(*counts, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((count, d)) for count in counts]


def pair(n, m, seed=0, shift=0.7):
    real, fake = sets(n, m, d=3, seed=seed)
    return real, fake + shift


def distances(a, b):
    return np.linalg.norm(a[:, None] - b, axis=2)


def radii(points, k):
    """Distance of each point to its k-th nearest other: the first is the point itself."""
    return np.sort(distances(points, points), axis=1)[:, k]


def test_distances_in_blocks_are_those_at_once():
    """2^20 distances are held at once: here two rows of five. The next block overwrites one."""
    a, b = torch.arange(5.0)[:, None].double(), torch.linspace(-1, 1, 500_000)[:, None].double()
    blocks = [(rows, distance.clone()) for rows, distance in distance_blocks(a, b)]
    assert [rows.stop - rows.start for rows, _ in blocks] == [2, 2, 1]
    for rows, distance in blocks:
        torch.testing.assert_close(distance, (a[rows] - b.T).abs(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize(("n", "m"), [(30, 20), (20, 30), (25, 25)])
def test_by_definition(n, m, k):
    real, fake = pair(n, m)
    inside = distances(real, fake) <= radii(real, k)[:, None]  # no distances are equal
    recalled = distances(fake, real) <= radii(fake, k)[:, None]
    expected = inside.any(axis=0).mean(), recalled.any(axis=0).mean()
    assert precision_recall(real, fake, k=k) == expected
    expected = inside.sum() / (k * m), inside.any(axis=1).mean()
    assert density_coverage(real, fake, k=k) == pytest.approx(expected, rel=1e-12)


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
    assert precision_recall(real, real, k=k) == density_coverage(real, real, k=k) == (1, 1)


@given(seeds, st.floats(-1e4, 1e4), st.floats(1e-3, 1e3))
def test_moving_and_scaling_all_changes_nothing(seed, shift, scale):
    given = sets(25, 20, 30, d=3, seed=seed)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    moved = [scale * x @ Q + shift for x in given]
    for measure in (precision_recall, density_coverage):
        assert measure(*moved[:2]) == measure(*given[:2])
    expected, result = copying_ratio(*given), copying_ratio(*moved)
    assert result.ratio.value == pytest.approx(expected.ratio.value, rel=1e-6)
    assert result.closer_to_train == expected.closer_to_train


def test_whole_numbers_far_from_zero_keep_their_ties():
    """On the line 0, 1, ..., 9 a ball of k = 1 ends just at the next whole number."""
    real = np.arange(10.0)[:, None] + 1e6
    assert precision_recall(real, real[-3:] + 1, k=1) == (1, 0.3)
    assert precision_recall(real[:5], real[5:], k=1) == (1 / 5, 1 / 5)
    assert density_coverage(real, real + 0.5, k=1) == (1.9, 1)


def test_copying_by_definition():
    samples, train, held_out = sets(40, 30, 30)
    result = copying_ratio(samples, train, held_out)
    to_train, to_held_out = (distances(samples, members).min(1) for members in (train, held_out))
    assert result.ratio.value == pytest.approx(to_train.mean() / to_held_out.mean(), rel=1e-12)
    assert result.closer_to_train.value == (to_train < to_held_out).mean()
    much_closer = (to_train < to_held_out / 2).mean() - (to_held_out < to_train / 2).mean()
    assert result.near_copies.value == pytest.approx(much_closer, abs=1e-12)
    assert (result.count, result.reference_count, result.subsets) == (40, 30, 1)


def test_exact_copies_are_at_distance_zero():
    """Also far from zero, where a matrix product would round their distance."""
    _, train, held_out = sets(0, 50, 50)
    result = copying_ratio(train[::-1] + 1e6, train + 1e6, held_out + 1e6)
    assert (result.ratio.value, result.closer_to_train.value, result.near_copies.value) == (0, 1, 1)
    assert result.closer_to_train.standard_error == result.near_copies.standard_error == 0
    with pytest.raises(UndefinedMetric, match="held-out"):
        copying_ratio(held_out, train, held_out)


@given(seeds)
def test_copies_of_identical_sets_tie(seed):
    samples, train = sets(20, 30, seed=seed)
    result = copying_ratio(np.concatenate([samples, train[:5]]), train, train)
    assert result.ratio.value == 1
    assert (result.closer_to_train.value, result.near_copies.value) == (0.5, 0)


def test_copies_hide_from_all_but_one_part():
    """1 - 1/S, and the share 1/S + (1 - 1/S) / 2 of copies, as the docstring says."""
    _, train, held_out = sets(0, 1200, 300)
    result = copying_ratio(train[:400], train, held_out)
    assert result.subsets == 4
    assert result.ratio.value == pytest.approx(3 / 4, abs=4 * result.ratio.standard_error)
    assert result.closer_to_train.value == pytest.approx(
        5 / 8, abs=4 * result.closer_to_train.standard_error
    )


@pytest.mark.parametrize(
    ("counts", "d"), [((200, 200, 200), 2), ((200, 200, 200), 60), ((600, 300, 100), 10)]
)
def test_standard_errors_are_the_spread_over_samples_and_sets(counts, d):
    """In many dimensions a few examples are near to many samples: the sets make most of it."""
    result = [copying_ratio(*sets(*counts, d=d, seed=seed)) for seed in range(100)]
    names = {"ratio": 1, "closer_to_train": 0.5} | ({"near_copies": 0} if d == 2 else {})
    for name, expected in names.items():
        estimates = [getattr(copying, name) for copying in result]
        values, errors = np.array([(e.value, e.standard_error) for e in estimates]).T
        assert values.std() == pytest.approx(np.sqrt((errors**2).mean()), rel=0.3)
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / np.sqrt(len(values)))
