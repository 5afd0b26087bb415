"""evaluation.json: stored at once, reused, and measured again where it no longer holds."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebae.config import Settings
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.estimate import Estimate
from hebae.experiments.measure import Record, measure, take
from hebae.experiments.measurement import (
    Measurement,
    attempt,
    find,
    measured,
    part,
    value_of,
)
from hebae.experiments.metrics import METRICS, choose
from hebae.experiments.metrics.bounds import not_white
from hebae.experiments.settings import EvaluationSettings
from hebae.experiments.table import group_by_column
from hebae.experiments.trained_run import RunResult, TrainedRun, open_runs
from hebae.folders import locked

FIXTURES = Path(__file__).parents[1] / "fixtures" / "v0.1.0"
OF = {"weights": "abc", "examples": "def"}
SETTINGS = {"split": "test", "samples": 100}
ORIGIN = {"command": "hebae evaluate"}


def value(number: float, **fields: Any) -> Measurement:
    fields = {"id": "x", "name": "X", "counts": {"samples": 100}} | fields
    return Measurement(value=number, **fields)


# ---- one measurement ----------------------------------------------------------------------------


@given(number=st.floats(-1e6, 1e6), error=st.none() | st.floats(0, 10), count=st.integers(1, 10**6))
def test_a_measurement_survives_the_file(number: float, error: float | None, count: int) -> None:
    texts = {"features": "pixels", "note": "n", "detail": "p 0.1"}
    data = {"counts": {"examples": count}, "arrays": {"x": [1.0, 2.0]}}
    made = value(number, standard_error=error, **texts, **data)
    assert Measurement(**json.loads(json.dumps(made.to_json()))) == made


def test_measuring_keeps_errors_and_reasons() -> None:
    made = measured("x", Estimate(2.0, 0.5), unit="nats")
    assert (made.value, made.standard_error, made.unit) == (2.0, 0.5, "nats")
    assert measured("x", 3).standard_error is None

    def undefined() -> float:
        raise UndefinedMetric("there is none")

    found = part(attempt(undefined), "ratio")
    made = measured("x", found, arrays={"x": found})
    assert (made.value, made.undefined, made.arrays) == (None, "there is none", {})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_undefined(number: float) -> None:
    made = measured("x", Estimate(number, number))
    assert (made.value, made.standard_error) == (None, None)
    assert "finite" in made.undefined
    assert json.loads(json.dumps(made.to_json(), allow_nan=False))["value"] is None


def test_measurements_are_found_by_id_and_features() -> None:
    pixels = value(0.0, id="frechet.normal", features="pixels")
    network = value(2.0, id="frechet.normal", features="random")
    both = [pixels, network]
    assert find(both, "frechet.normal") is pixels
    assert find(both, "frechet.normal", "random") is network
    assert find(both, "frechet.", "random") is network
    assert find(both, "frechet") is None
    assert value_of(both, "frechet.normal") == 0.0  # 0 is a value
    assert value_of(both, "frechet.mixture") is None


# ---- the file -----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Record(tmp_path / "evaluation.json", OF).add("elbo", SETTINGS, 1, [value(1.5)], ORIGIN, 0.25)
    return tmp_path / "evaluation.json"


def test_stored_values_are_found_for_the_same_settings_weights_data_and_version(path: Path) -> None:
    found = Record(path, OF).find("elbo", SETTINGS, 1)
    assert found == [replace(value(1.5), settings=SETTINGS, provenance=ORIGIN)]
    assert [f.name for f in path.parent.glob("[!.]*")] == ["evaluation.json"]
    assert Record(path, OF).find("elbo", SETTINGS | {"samples": 99}, 1) is None
    assert Record(path, OF).find("iwae", SETTINGS, 1) is None
    assert Record(path, OF).find("elbo", SETTINGS, 2) is None
    assert Record(path, OF | {"weights": "other"}).find("elbo", SETTINGS, 1) is None
    assert Record(path, OF | {"examples": "other"}).find("elbo", SETTINGS, 1) is None


def test_other_settings_are_stored_side_by_side_and_a_new_version_replaces_the_old(
    path: Path,
) -> None:
    other = SETTINGS | {"samples": 5}
    Record(path, OF).add("elbo", other, 1, [value(9.0)], ORIGIN, 0.5)
    Record(path, OF).add("iwae", SETTINGS, 1, [value(4.0)], ORIGIN, 0.5)
    Record(path, OF).add("elbo", SETTINGS, 2, [value(3.0)], {"command": "again"}, 0.5)
    again = Record(path, OF)
    assert value_of(again.find("elbo", SETTINGS, 2) or [], "x") == 3.0
    assert value_of(again.find("elbo", other, 1) or [], "x") == 9.0
    assert value_of(again.find("iwae", SETTINGS, 1) or [], "x") == 4.0
    assert again.find("elbo", SETTINGS, 1) is None
    commands = [entry["provenance"]["command"] for entry in again.entries["elbo"]]
    assert sorted(commands) == ["again", "hebae evaluate"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"of": {}}', '{"of": 1, "metrics": 2}'])
def test_an_altered_file_is_refused_and_left_as_it_is(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(HebaeError, match=r"evaluation\.json .*remove it"):
        Record(path, OF)
    assert path.read_text() == text


# ---- a run --------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> TrainedRun:
    """A run of version 0.1.0, which evaluated elbo, moments and reconstruction."""
    shutil.copytree(FIXTURES / "hebae", tmp_path / "run")
    (result,) = open_runs([tmp_path / "run"])
    settings = EvaluationSettings(split="test", device="cpu")
    return TrainedRun(result.path, result.dataset, settings)


def test_a_file_of_version_0_1_0_is_read_kept_and_measured_again(run: TrainedRun) -> None:
    path = run.folder.evaluation
    old = json.loads(path.read_text())["metrics"]
    found = measure(run, choose(["reconstruction"]), {}, command="test")
    stored = json.loads(path.read_text())["metrics"]
    for key in ("elbo", "moments"):
        assert stored[key] == old[key]
    assert found[0].provenance["command"] == "test"
    before = old["reconstruction"][0]["measurements"][0]["value"]
    assert value_of(found, "reconstruction.negative_log_likelihood") == pytest.approx(before, 1e-5)


def test_a_metric_whose_code_has_changed_is_measured_again(run: TrainedRun) -> None:
    """Its version says so; the version of the package does not."""
    metric = METRICS["reconstruction"]
    changed = replace(metric, version=metric.version + 1)
    for each, command, by in (
        (metric, "first", "first"),
        (metric, "second", "first"),
        (changed, "third", "third"),
    ):
        found = measure(run, [each], {}, command=command)
        assert {one.provenance["command"] for one in found} == {by}


def test_a_run_that_another_process_evaluates_is_refused(run: TrainedRun) -> None:
    with locked(run.path), pytest.raises(HebaeError, match=str(os.getpid())):
        measure(run, choose(["reconstruction"]), {}, command="test")


def test_ids_are_unique_and_those_that_others_rely_on_exist(run: TrainedRun) -> None:
    found = take(run, ["objective", "reconstruction", "elbo", "moments", "information"])
    ids = [one.id for one in found]
    assert len(set(ids)) == len(ids)
    moments = ("mean_abs_correlation.mean", "mean_abs_correlation.z", "kl_to_normal.z")
    assert set(ids) >= {
        *("objective", "objective.reconstruction", "objective.penalty.moments"),
        *("objective.excess", "reconstruction.negative_log_likelihood"),
        *("reconstruction.squared_error", "elbo", "information.mutual"),
        *(f"moments.{name}" for name in (*moments, "median_sigma")),
    }
    assert {one.metric for one in found if one.id.startswith("moments.")} == {"moments"}


# ---- codes that are not white -------------------------------------------------------------------


def whiteness(excess: float, correlation: float | None, batch: int = 128) -> list[Measurement]:
    counts, floor = {"batch": batch}, {"floor": 0.25}
    return [
        value(excess, id="objective.excess", standard_error=0.01, counts=counts, arrays=floor),
        Measurement(id="moments.mean_abs_correlation.mean", name="", value=correlation),
    ]


def test_codes_are_called_not_white_only_beyond_what_batch_noise_explains() -> None:
    assert not_white(whiteness(0.2, 0.05), "test") == ""
    assert not_white(whiteness(0.0, None), "test") == ""
    penalty = not_white(whiteness(1.0, 0.05), "test")
    assert "penalty 1.2 nats (white codes: 0.25)" in penalty
    assert "correlation" not in penalty
    # E|r| of two independent normal samples of 128 is sqrt(2 / (128 pi)) = 0.0705.
    assert not_white(whiteness(0.0, 0.070), "test") == ""
    correlated = not_white(whiteness(0.0, 0.08), "test")
    assert "0.08" in correlated
    assert "--batch-size" in correlated
    assert not_white([], "test") == ""


def test_columns_are_labelled_by_method_folder_or_path_whatever_tells_them_apart() -> None:
    def result(path: str, method: str, seed: int) -> RunResult:
        place: Any = {"path": Path(path), "dataset": None}
        return RunResult(Path(path).name, Settings(method=method, seed=seed), **place)

    def labels(pool_seeds: bool = False, **methods: str) -> list[str]:
        runs = [result(path, m, seed) for seed, (path, m) in enumerate(methods.items())]
        return list(group_by_column(runs, pool_seeds))

    assert labels(a="hebae", b="vae") == ["HEBAE", "VAE"]
    assert labels(a="hebae", b="vae", c="vae") == ["HEBAE", "b", "c"]
    assert labels(a="hebae", b="vae", c="vae", pool_seeds=True) == ["HEBAE", "VAE"]
    assert labels(HEBAE="vae", b="hebae", c="vae") == ["HEBAE", "b", "c"]
    runs = [result(path, "vae", 0) for path in ("x/run", "y/run")]
    assert list(group_by_column(runs, False)) == ["x/run", "y/run"]
