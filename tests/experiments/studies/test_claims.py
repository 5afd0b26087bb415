"""What is claimed holds only where the numbers tell it."""

import pytest

from hebae.experiments.reproduction.claims import best, better, within
from hebae.experiments.reproduction.excerpts import said


@pytest.mark.parametrize(
    ("numbers", "lower", "expected"),
    [
        ({"hebae": 2.0, "vae": 1.0, "wae": None}, False, "holds"),
        ({"hebae": 2.0, "vae": 1.0}, True, "does not hold"),
        ({"hebae": None, "vae": 1.0, "wae": 3.0}, False, "cannot be told"),
        ({"hebae": 2.0, "vae": None}, False, "cannot be told"),
    ],
)
def test_the_best_is_told_among_what_exists(numbers, lower, expected):
    claim = best("key", "", "MIC", numbers, ".1f", lower=lower)
    assert claim.verdict == expected
    assert said(claim.found, claim.numbers).startswith("MIC: HEBAE ")


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 2.0], [2.5, 3.0], "holds"),
        ([4.0, 5.0], [2.5, 3.0], "does not hold"),
        ([1.0, 2.7], [2.5, 3.0], "cannot be told"),  # the ranges over seeds overlap
        ([None], [2.5], "cannot be told"),
    ],
)
def test_better_means_beyond_the_spread_over_seeds(ours, theirs, expected):
    assert better("key", "", ours, theirs, ".1f").verdict == expected


def test_a_range_is_said_where_there_are_several_seeds():
    claim = better("key", "", [1.0, 3.0, 2.0], [9.0], ".1f")
    assert said(claim.found, claim.numbers) == "HEBAE 2.0 [1.0, 3.0] against VAE 9.0"


def test_a_limit_is_of_the_median_and_includes_itself():
    assert within("key", "ELBO", [104.0, 103.0, 105.0], 104, ".1f").verdict == "holds"
    assert within("key", "ELBO", [104.0, 103.0, 105.0], 104, ".1f", above=True).verdict == (
        "does not hold"
    )
    assert within("key", "ELBO", [None], 104, ".1f").verdict == "cannot be told"
