"""The benchmark runs and reports what it measured; no time is asserted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "speed"


def script(name, *flags, check=True):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *map(str, flags)],
        check=check,
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    topics = ["step", "information"]
    printed = script("run.py", "--smoke", "--output", folder, "--only", *topics).stdout
    return folder, topics, printed


def test_it_writes_what_it_read_and_where_it_comes_from(trial):
    folder, topics, printed = trial
    for topic in topics:
        record = json.loads((folder / f"{topic}.json").read_text())
        assert {"machine", "versions", "commit", "command", "date"} <= set(record["provenance"])
        assert record["title"] in printed
    step = json.loads((folder / "step.json").read_text())
    assert {"bare loop", "HEBAE", "VAE", "WAE, squared error"} <= set(step["readings"])
    assert all(value > 0 for values in step["readings"].values() for value in values)
    aims = {aim["what"]: aim for aim in step["aims"]}
    assert aims["HEBAE's step / the bare loop's"]["at_most"] == 1.02
    assert aims["pythae's WAE-MMD step / ours"]["at_least"] == 1.8


def test_what_was_not_measured_says_why(trial):
    folder, _, _ = trial
    aims = {a["what"]: a for a in json.loads((folder / "step.json").read_text())["aims"]}
    released = aims["the released code's step / ours"]
    assert released["met"] is None
    assert "--released" in released["note"]
    assert "not measured: name a checkout" in (folder / "README.md").read_text()


def test_the_report_shows_every_aim_and_picture(trial):
    folder, topics, _ = trial
    report = (folder / "README.md").read_text()
    for topic in topics:
        record = json.loads((folder / f"{topic}.json").read_text())
        assert f"## {record['title']}" in report
        assert all(aim["what"] in report for aim in record["aims"])
    pictures = {line.split("](")[1][:-1] for line in report.splitlines() if line.startswith("![")}
    assert {"aims.png", "step.png", "information.png"} <= pictures
    for picture in pictures:
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (folder / picture).with_suffix(".svg").read_bytes()
    assert "A trial" in report


def test_the_report_is_made_again_from_the_json_alone(trial, tmp_path):
    folder, _, _ = trial
    for path in folder.glob("*.json"):
        shutil.copy(path, tmp_path)
    script("report.py", tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_checkout_without_the_code_is_refused_before_anything_is_measured(tmp_path):
    result = script("run.py", "--only", "step", "--released", tmp_path, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "holds no MNIST_HEBAE.py" in " ".join(result.stderr.split())


def test_an_unknown_topic_is_refused():
    result = script("run.py", "--only", "stepp", check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "information" in result.stderr + result.stdout  # the allowed ones are named


def test_no_number_in_the_results_was_typed_by_hand(tmp_path):
    """The page in the repository is what its JSON files make."""
    for path in RESULTS.glob("*.json"):
        shutil.copy(path, tmp_path)
    script("report.py", tmp_path)
    assert (tmp_path / "README.md").read_text() == (RESULTS / "README.md").read_text()
