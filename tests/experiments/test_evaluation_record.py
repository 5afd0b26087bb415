"""evaluation.json: kept at once, found again, and forgotten where it no longer holds."""

import json

import pytest

from hebae.errors import HebaeError
from hebae.experiments.evaluation import record as module
from hebae.experiments.evaluation.measurement import Measurement
from hebae.experiments.evaluation.record import Entry, Record

OF = {"weights": "abc", "examples": "def"}
SETTINGS = {"split": "test", "samples": 100}


def entry(value=1.5):
    return Entry(SETTINGS, [Measurement(name="x", value=value, counts={"samples": 100})], 0.25)


@pytest.fixture
def path(tmp_path):
    record = Record(tmp_path / "evaluation.json", OF)
    record.add_provenance({"command": "hebae evaluate"})
    record.keep("elbo", entry())
    return record.path


def test_what_is_kept_is_found_again(path):
    again = Record(path, OF)
    assert again.find("elbo", SETTINGS) == entry()
    assert again.provenance == [{"command": "hebae evaluate"}]
    stored = json.loads(path.read_text())
    (kept,) = stored["metrics"]["elbo"]
    assert kept["seconds"] == 0.25
    assert kept["measurements"][0]["counts"] == {"samples": 100}
    assert [file.name for file in path.parent.iterdir()] == ["evaluation.json"]


def test_other_settings_weights_data_or_versions_do_not_count(path, monkeypatch):
    assert Record(path, OF).find("elbo", SETTINGS | {"samples": 99}) is None
    assert Record(path, OF).find("iwae", SETTINGS) is None
    assert Record(path, OF | {"weights": "other"}).entries == {}
    assert Record(path, OF | {"examples": "other"}).entries == {}
    monkeypatch.setattr(module, "__version__", "99")
    assert Record(path, OF).find("elbo", SETTINGS) is None


def test_other_settings_stand_beside_what_was_there(path):
    other = Entry(SETTINGS | {"samples": 5}, [Measurement(name="x", value=9.0)], 0.5)
    Record(path, OF).keep("elbo", other)
    again = Record(path, OF)
    assert again.find("elbo", SETTINGS) == entry()
    assert again.find("elbo", other.settings) == other
    again.keep("elbo", entry(3.0))
    assert Record(path, OF).find("elbo", SETTINGS) == entry(3.0)
    assert len(Record(path, OF).entries["elbo"]) == 2


def test_a_new_metric_leaves_the_others(path):
    Record(path, OF).keep("iwae", entry(2.0))
    again = Record(path, OF)
    assert again.find("elbo", SETTINGS) == entry()
    assert again.find("iwae", SETTINGS) == entry(2.0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"of": {}}', '{"of": 1, "metrics": 2}'])
def test_an_altered_file_is_refused_and_left_as_it_is(path, text):
    path.write_text(text)
    with pytest.raises(HebaeError, match=r"altered or truncated .*; remove it to evaluate"):
        Record(path, OF)
    assert path.read_text() == text
