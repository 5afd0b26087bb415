"""Measurements of groups of runs, side by side."""

from finished import finished

from hebae.experiments.reproduction.plan import planned
from hebae.experiments.reproduction.side_by_side import Quantity, middle, side_by_side
from hebae.report.tables import Measured, Row, Undefined

ELBO = Quantity("elbo", "ELBO")


def run(folder, method, value, seed=0):
    found = {"elbo": {"ELBO": value}}
    return finished(planned("mnist", method, seed=seed), folder, measurements=found)


def test_one_run_stands_with_its_error_several_with_all_values(tmp_path):
    one = run(tmp_path, "vae", {"value": -100.0, "standard_error": 0.5, "unit": "nats"})
    several = [run(tmp_path, "hebae", value, seed) for seed, value in enumerate((-90.0, -95.0))]
    none = run(tmp_path, "ae", {"undefined": "no density."})
    table = side_by_side({"a": [one], "b": several, "c": [none]}, [ELBO], "Title")
    (row,) = table.rows
    assert row.values == [Measured(-100.0, 0.5), [-90.0, -95.0], Undefined("no density.")]
    assert row.unit == "nats"
    assert middle(several, ELBO) == -92.5
    assert middle([none], ELBO) is None


def test_what_no_run_was_measured_by_has_no_row_and_a_run_without_it_an_empty_cell(tmp_path):
    there = run(tmp_path, "vae", -100.0)
    gone = finished(planned("mnist", "wae", seed=0), tmp_path, diverged="NaN")
    columns = {"a": [there], "b": [gone]}
    table = side_by_side(columns, [ELBO, Quantity("mic", "MIC")], "", first=[Row("k", [1, 2])])
    assert [row.name for row in table.rows] == ["k", "ELBO"]
    assert table.rows[1].values == [-100.0, None]
