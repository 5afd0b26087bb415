"""Tables of measurements: what is highlighted as best, and what never is."""

from hebae.config import Settings
from hebae.experiments.measurement import Measurement
from hebae.experiments.table import numbers, summary_rows, tabulate
from hebae.experiments.trained_run import RunResult


def bound(value, error=1.0, **others):
    fields = {"id": "ais", "name": "AIS", "unit": "nats", "better": "higher", "format": ".1f"}
    fields |= {"section": "Bounds"} | others
    return Measurement(value=value, standard_error=error, **fields)


def result(measurements, likelihood="bernoulli", reason=""):
    found = {"path": None, "dataset": None, "reason": reason, "measurements": measurements}
    return RunResult("run", Settings(likelihood=likelihood), **found)


def column(label, *measurements, likelihood="bernoulli"):
    return {label: [result([one], likelihood) for one in measurements]}


def best(*columns):
    together = {label: runs for column in columns for label, runs in column.items()}
    (row,) = tabulate(together, "").rows
    return [list(together)[i] for i in row.best]


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
    undefined = Measurement(id="ais", name="AIS", better="higher", undefined="why")
    assert best(column("a", bound(1)), column("b", undefined)) == []


def test_unlike_likelihoods_are_not_compared():
    columns = [
        column("a", bound(-100, by_likelihood=True)),
        column("b", bound(-200, by_likelihood=True), likelihood="gaussian"),
    ]
    assert best(*columns) == []
    table = tabulate(columns[0] | columns[1], "")
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
    assert tabulate(steady, "").cells() == [["-100.0 [-100.1, -99.9]"]]


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


def test_one_run_shows_its_error_and_undefined_values_their_reason():
    undefined = Measurement(
        id="elbo", name="ELBO", section="Bounds", undefined="the encoder is deterministic"
    )
    exact = bound(1, 0.0, id="exact", name="exact", section="Use")
    run = result([bound(-100.04, 0.51), undefined, exact])
    table = tabulate({"a": [run], "b": [result([])]}, "t")
    assert table.cells() == [["-100.0 ± 0.51", "–¹"], ["undefined²", "–¹"], ["1.0", "–¹"]]
    assert table.footnotes()[:2] == ["¹ not measured", "² the encoder is deterministic"]
    assert [row.section for row in table.rows] == ["Bounds", "Bounds", "Use"]


def test_zero_is_a_value_an_id_one_row_and_only_headlines_are_shown():
    seeds = column("a", bound(-1.0, None), bound(0.0, None), bound(1.0, None))
    assert tabulate(seeds, "").cells() == [["0.0 [-1.0, 1.0]"]]
    assert tabulate(column("a", bound(0.0, 0.5)), "").cells() == [["0.0 ± 0.5"]]
    twice = {"a": [result([bound(-1.0, None), bound(-1.0, None)])]}
    assert tabulate(twice, "").cells() == [["-1.0"]]
    assert tabulate(column("a", bound(1.0, headline=False)), "").rows == []


def test_runs_that_diverged_are_marked_in_their_column():
    gone = result([], reason="too far")
    some = {"a": [gone, *column("a", bound(-1.0), bound(-2.0))["a"]]}
    table = tabulate(some | {"b": [gone]}, "")
    assert table.cells() == [["-1.5 [-2.0, -1.0]¹", "undefined²"]]
    assert table.footnotes()[:2] == ["¹ 2 of 3 seeds", "² the run diverged"]


def summary(**penalties):
    terms = [
        bound(value, id=f"objective.penalty.{name}", name=f"penalty: {name}", better="")
        for name, value in penalties.items()
    ]
    return [bound(-9.0, id="objective", name="objective"), *terms]


def test_the_first_penalties_of_methods_share_a_row_and_further_ones_have_their_own():
    runs = {"hebae": result(summary(aggregate=1.0, rate=2.0)), "vae": result(summary(kl=3.0))}
    rows = summary_rows(runs.values())
    table = tabulate({label: [run] for label, run in runs.items()}, "", ids=rows)
    assert [row.name for row in table.rows] == ["objective", "penalty", "penalty: rate"]
    assert [[cell.split(" ")[0] for cell in row] for row in table.cells()] == [
        ["-9.0", "-9.0"],
        ["1.0", "3.0"],
        ["2.0", "undefined¹"],
    ]
    assert numbers(runs["hebae"])["penalty"] == {"aggregate": 1.0, "rate": 2.0}
    assert numbers(runs["hebae"])["correlation"] is None
