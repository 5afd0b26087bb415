"""The table of an evaluation: what is set off as best, and what never is."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebae.evaluation.estimate import Estimate, UndefinedMetric
from hebae.experiments.evaluation.measurement import Measurement, measured
from hebae.experiments.evaluation.table import Column, tabulate


def bound(value, error=1.0, **others):
    fields = {"name": "AIS", "unit": "nats", "better": "higher", "format": ".1f"} | others
    return Measurement(value=value, standard_error=error, **fields)


def column(label, *measurements, likelihood="bernoulli"):
    return Column(label, likelihood, [{"Bounds": [m]} for m in measurements])


def best(*columns):
    (row,) = tabulate(columns, "").rows
    return [columns[i].label for i in row.best]


def test_the_best_is_set_off_beyond_two_standard_errors_alone():
    assert best(column("a", bound(-100)), column("b", bound(-103))) == ["a"]
    assert best(column("a", bound(-100)), column("b", bound(-102))) == []
    assert best(column("a", bound(-100)), column("b", bound(-103)), column("c", bound(-101))) == []
    lower = {"better": "lower", "name": "frechet"}
    assert best(column("a", bound(9, 0.1, **lower)), column("b", bound(3, 0.1, **lower))) == ["b"]


def test_without_a_direction_an_error_or_a_rival_none_is_best():
    assert best(column("a", bound(1, better="")), column("b", bound(9, better=""))) == []
    assert best(column("a", bound(1, None)), column("b", bound(9, None))) == []
    assert best(column("a", bound(1))) == []
    undefined = Measurement(name="AIS", unit="nats", better="higher", undefined="why")
    assert best(column("a", bound(1)), column("b", undefined)) == []


def test_unlike_likelihoods_are_not_compared():
    columns = [
        column("a", bound(-100, by_likelihood=True)),
        column("b", bound(-200, by_likelihood=True), likelihood="gaussian"),
    ]
    assert best(*columns) == []
    table = tabulate(columns, "")
    assert table.rows[0].better == ""
    assert any("likelihoods differ" in note for note in table.notes)
    free_of_it = [column("a", bound(1, 0.1)), column("b", bound(9, 0.1), likelihood="gaussian")]
    assert best(*free_of_it) == ["b"]


def test_seeds_share_a_column_and_their_spread_counts():
    steady = column("a", bound(-100, 0.1), bound(-100.1, 0.1), bound(-99.9, 0.1))
    assert best(steady, column("b", bound(-103, 0.1), bound(-103.2, 0.1))) == ["a"]
    wild = column("b", bound(-95, 0.1), bound(-115, 0.1))
    assert best(steady, wild) == []
    no_errors = [column("a", bound(1, None), bound(1.1, None))]
    no_errors.append(column("b", bound(2, None), bound(2.1, None)))
    assert best(*no_errors) == ["b"]
    assert tabulate([steady], "").cells() == [["-100.0 [-100.1, -99.9]"]]


def test_bounds_on_the_same_examples_are_compared_in_pairs():
    def of(values):
        error = 1.4  # the spread over examples is common to the models, and cancels
        return bound(sum(values) / 3, error, arrays={"per_example": values})

    better, worse = of([-90.0, -100.0, -110.0]), of([-91.1, -101.0, -110.9])
    assert best(column("a", better), column("b", worse)) == ["a"]
    unlike = bound(-101.0, 1.4)
    assert best(column("a", better), column("b", unlike)) == []
    level = of([-89.0, -103.0, -111.0])
    assert best(column("a", better), column("b", level)) == []
    seeds = [column("a", better, of([-90.2, -100.1, -109.9])), column("b", worse, worse)]
    assert best(*seeds) == ["a"]


def test_one_run_shows_its_error_and_what_is_undefined_its_reason():
    undefined = Measurement(name="ELBO", undefined="the encoder is deterministic")
    runs = [{"Bounds": [bound(-100.04, 0.51), undefined], "Use": [bound(1, 0.0, name="exact")]}]
    table = tabulate([Column("a", "bernoulli", runs), Column("b", "bernoulli", [{}])], "t")
    assert table.cells() == [
        ["-100.0 ± 0.51", "–¹"],
        ["undefined²", "–¹"],
        ["1.0", "–¹"],
    ]
    assert table.footnotes()[:2] == ["¹ not measured", "² the encoder is deterministic"]
    assert [row.section for row in table.rows] == ["Bounds", "Bounds", "Use"]


def test_what_two_metrics_measure_is_one_value_of_one_run():
    twice = Column("a", "bernoulli", [{"Bounds": [bound(-1.0, None), bound(-1.0, None)]}])
    assert tabulate([twice], "").cells() == [["-1.0"]]


def test_what_is_no_headline_stays_in_the_file():
    hidden = Column("a", "bernoulli", [{"Bounds": [bound(1.0, headline=False)]}])
    assert tabulate([hidden], "").rows == []


@given(value=st.floats(-1e6, 1e6), error=st.none() | st.floats(0, 10), counts=st.integers(1, 10**6))
def test_a_measurement_survives_the_file(value, error, counts):
    made = bound(value, error, counts={"examples": counts}, arrays={"x": [1.0, 2.0]}, note="n")
    assert Measurement.from_json(made.to_json()) == made


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_undefined_and_can_be_kept(value):
    made = measured("x", lambda: Estimate(value, value))
    assert (made.value, made.standard_error) == (None, None)
    assert made.undefined == "it is not a finite number"
    assert json.loads(json.dumps(made.to_json(), allow_nan=False))["value"] is None


def test_measuring_keeps_errors_and_reasons():
    made = measured("x", lambda: Estimate(2.0, 0.5), unit="nats")
    assert (made.value, made.standard_error, made.unit) == (2.0, 0.5, "nats")
    assert measured("x", lambda: 3).standard_error is None

    def undefined():
        raise UndefinedMetric("there is none")

    made = measured("x", undefined)
    assert made.value is None
    assert made.undefined == "there is none"
    assert made.to_json() == {
        "name": "x",
        "value": None,
        "undefined": "there is none",
        "by_likelihood": False,
        "headline": True,
        "format": ".4g",
    }


def test_other_errors_are_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        measured("x", lambda: 1 / 0)
    assert math.isfinite(measured("x", lambda: 1.0).value)
