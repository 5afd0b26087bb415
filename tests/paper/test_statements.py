"""Verdicts: a statement holds only if the seeds decide it."""

import pytest

from hebae.paper.page import fill
from hebae.paper.statements import all_of, any_of, compare, limit, order, verdict


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([3.0, 4.0], [1.0, 2.0], True),
        ([1.0, 2.0], [3.0, 4.0], False),
        ([1.0, 3.5], [3.0, 4.0], "ranges over seeds overlap"),
        ([3.0, 4.0], [3.0, 2.0], "ranges over seeds overlap"),  # equal at one end
        ([9.0], [1.0, 2.0], "one seed"),
        ([9.0, None], [1.0, 2.0], "one seed"),
        ([None, None], [1.0, 2.0], "undefined"),
        ([], [1.0, 2.0], "undefined"),
    ],
)
def test_a_method_is_better_only_if_every_seed_is(ours, theirs, expected):
    assert order(ours, theirs) == expected
    negated = [[v if v is None else -v for v in values] for values in (ours, theirs)]
    assert order(*negated, lower=True) == expected


@pytest.mark.parametrize(
    ("values", "above", "expected"),
    [
        ([103.0, 104.0], False, True),  # the limit is included
        ([105.0, 106.0], False, False),
        ([105.0, 106.0], True, True),
        ([103.0, 105.0], False, "ranges over seeds overlap"),
        ([103.0], False, "one seed"),
        ([None], False, "undefined"),
    ],
)
def test_a_limit_is_kept_only_if_every_seed_keeps_it(values, above, expected):
    assert limit(values, 104, above=above) == expected


def test_cases_combine_as_in_three_valued_logic():
    assert all_of([True, True]) is True
    assert all_of([True, "one seed", False]) is False
    assert all_of([True, "one seed"]) == "one seed"
    assert any_of([False, "one seed", True]) is True
    assert any_of([False, False]) is False
    assert any_of([False, "one seed"]) == "one seed"


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([True, True], "holds"),
        ([False], "does not hold"),
        ([True, False, "one seed"], "holds in part"),
        ([True, "one seed", "one seed"], "undecided (one seed)"),
        ([], "undecided (undefined)"),
    ],
)
def test_a_verdict_sums_up_the_cases(cases, expected):
    assert verdict(*cases) == expected


def mic(**values):
    return compare("figure2", "mic", values, data="MNIST")


def test_hebae_is_the_best_only_if_it_beats_every_other_method():
    values = {"hebae": [3.0, 4.0], "vae": [1.0, 2.0], "wae": [2.5, 3.5]}
    best = mic(**values)
    assert best.verdict == "undecided (ranges over seeds overlap)"
    assert best.text.startswith("MNIST: ")
    assert fill(best.result, best.numbers) == (
        "MIC_e: HEBAE 3.500 [3.000, 4.000], VAE 1.500 [1.000, 2.000], WAE-MMD 3.000 [2.500, 3.500]"
    )
    assert mic(**values | {"wae": [5.0, 6.0]}).verdict == "does not hold"
    assert mic(**values | {"wae": [1.0, 2.5]}).verdict == "holds"
    values["wae"] = [5.0, 6.0]  # a Frechet distance is better if it is smaller
    assert compare("figure4", "samples-normal", values).verdict == "does not hold"
    values["vae"] = [5.0, 6.0]
    assert compare("figure4", "samples-normal", values).verdict == "holds"


def test_a_single_run_per_method_gets_no_verdict_and_no_range():
    one = mic(hebae=[3.0], vae=[1.0], wae=[None])
    assert one.verdict.startswith("undecided")
    assert fill(one.result, one.numbers) == "MIC_e: HEBAE 3.000, VAE 1.000, WAE-MMD undefined"
