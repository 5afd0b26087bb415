"""Copies of training examples: exact cases, calibrated errors, sensitivity; the distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.neighbours import copying_ratio

seeds = st.integers(0, 2**32 - 1)


def sets(*counts, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((count, d)) for count in counts]


def nearest(point, members):
    return np.sqrt(((members - point) ** 2).sum(axis=1)).min()


def test_by_definition():
    samples, train, held_out = sets(40, 30, 30)
    result = copying_ratio(samples, train, held_out)
    to_train, to_held_out = (
        np.array([nearest(x, members) for x in samples]) for members in (train, held_out)
    )
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
def test_identical_sets_tie(seed):
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


@given(seeds, st.floats(1e-3, 1e3))
def test_units_and_rotations_do_not_matter(seed, scale):
    result = sets(20, 30, 25, seed=seed)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))[0]
    expected, moved = copying_ratio(*result), copying_ratio(*(scale * x @ Q + 3 for x in result))
    assert moved.ratio.value == pytest.approx(expected.ratio.value, rel=1e-9)
    assert moved.closer_to_train == expected.closer_to_train


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
