"""Numbers of a grid of runs, lined up by k and lambda; what HEBAE and VAE are compared by."""

import pytest
from finished import finished

from hebae.experiments.reproduction.grids import Numbers, compare
from hebae.experiments.reproduction.plan import planned
from hebae.experiments.reproduction.study import median, verdict


def make(folder, method, weight, objectives, seed=0, diverged="", iwae=-100.0):
    run = planned("mnist", method, seed=seed, penalty_weight=weight, epochs=len(objectives) or 1)
    found = {} if diverged else {"iwae": {"IWAE-500, fitted width": iwae}}
    return finished(run, folder, objectives, found, diverged)


@pytest.fixture
def numbers(tmp_path):
    return Numbers(
        [
            make(tmp_path, "hebae", 1.0, [-90.0, -70.0, -72.0]),
            make(tmp_path, "hebae", 1.0, [-90.0, -80.0, -74.0], seed=1),
            make(tmp_path, "hebae", 10.0, [-95.0, -85.0, -80.0]),
            make(tmp_path, "vae", 1.0, [-120.0, -110.0, -105.0], iwae=-99.0),
            make(tmp_path, "vae", 10.0, [], diverged="the loss is NaN"),
            make(tmp_path, "wae", 10.0, [-60.0]),
        ],
        weight_at_one={"wae": 10.0},
    )


def test_the_best_and_the_last_objective_are_of_each_run(numbers):
    assert numbers.best_objectives()[20]["hebae"] == {1.0: [-70.0, -74.0], 10.0: [-80.0]}
    assert numbers.last_objectives()[20]["hebae"][1.0] == [-72.0, -74.0]
    assert numbers.objectives_by_epoch(1.0)[20]["vae"] == {1: [-120.0], 2: [-110.0], 3: [-105.0]}


def test_a_methods_own_weight_stands_where_lambda_is_one(numbers):
    assert dict(numbers.values("iwae", "fitted width")[20]["wae"]) == {1.0: [-100.0]}


def test_what_was_not_asked_for_leaves_no_record(numbers):
    # Of the run that diverged there is one: it was asked for, and has no number.
    assert not any(numbers.values("ais", "AIS")[20].values())
    assert [(r["method"], r["value"]) for r in numbers.records()] == [("vae", None)]


def test_a_run_that_diverged_has_no_numbers_and_a_record(numbers):
    assert dict(numbers.best_objectives()[20]["vae"]) == {1.0: [-105.0]}
    assert [r["value"] for r in numbers.records() if r["penalty_weight"] == 10.0] == [
        -80.0,
        None,
        -60.0,
    ]


def test_values_at_lambda_one_are_compared_by_their_medians_over_seeds(numbers):
    claim = compare("key", "higher", numbers.last_objectives())
    assert claim.numbers == {"hebae_k20": -73.0, "vae_k20": -105.0}
    assert claim.verdict == "holds"
    assert compare("key", "", numbers.values("iwae", "fitted")).verdict == "does not hold"


def test_a_spread_over_lambda_needs_two_of_them(numbers):
    claim = compare("key", "steadier", numbers.best_objectives(), spread=True)
    assert claim.numbers == {"hebae_k20": 8.0, "vae_k20": None}
    assert claim.verdict == "cannot be told"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([True, True, None], "holds"),
        ([True, False], "holds in part"),
        ([False, None], "does not hold"),
        ([None], "cannot be told"),
        ([], "cannot be told"),
    ],
)
def test_a_verdict_sums_up_the_cases_that_have_numbers(conditions, expected):
    assert verdict(conditions) == expected


def test_a_median_is_of_what_exists():
    assert median([None, 3.0, 1.0, 2.0]) == 2.0
    assert median([None]) is None
