"""The benchmark runs and reports what it measured; no time is asserted."""

import json
import shutil
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "speed"


@pytest.fixture(scope="module")
def trial(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    topics = ["step", "information"]
    ran = script("run.py", "--smoke", "--output", folder, "--only", *topics)
    assert ran.returncode == 0, ran.stderr
    return folder, topics, ran.stdout


def test_it_writes_what_it_read_and_where_it_comes_from(trial):
    folder, topics, printed = trial
    for topic in topics:
        record = json.loads((folder / f"{topic}.json").read_text())
        assert {"machine", "versions", "commit", "command", "date"} <= set(record["provenance"])
        assert record["title"] in printed
    step = json.loads((folder / "step.json").read_text())
    assert {"plain PyTorch loop", "HEBAE", "VAE", "WAE, squared error"} <= set(step["readings"])
    assert all(value > 0 for values in step["readings"].values() for value in values)
    aims = {aim["what"]: aim for aim in step["aims"]}
    assert aims["HEBAE step / plain PyTorch loop"]["at_most"] == 1.02
    assert aims["WAE step, pythae / hebae"]["at_least"] == 1.8


def test_what_was_not_measured_says_why(trial):
    folder, _, _ = trial
    aims = {a["what"]: a for a in json.loads((folder / "step.json").read_text())["aims"]}
    released = aims["HEBAE step, released code / hebae"]
    assert released["met"] is None
    assert "--released" in released["note"]
    assert "not measured: needs --released" in (folder / "README.md").read_text()


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
    assert "the times mean nothing" in report
    assert "Not measured yet: no GPU" in report


def test_the_section_on_a_gpu_shows_what_was_measured(tmp_path):
    from gpu_report import gpu_section

    step = {"ms_per_step": 8.0, "share_of_bf16_rate": 0.5}
    cases = {
        "steps": {
            "B.2, m = 100, vae, default": step,
            "B.2, m = 100, pythae's VAE": {"ms_per_step": 32.0},
            "B.2, m = 512, vae, default": {"error": "Traceback\nCUDA error"},
        },
        "mnist": {"vae, training": {"epochs": 100, "wall": 12.0, "seconds_in_steps": 9.0}},
    }
    record = dict.fromkeys(["driver", "torch", "commit", "date"], "?") | {
        "card": "NVIDIA H100",
        "tiny": False,
        "parts": {name: {"cases": part} for name, part in cases.items()},
    }
    (tmp_path / "gpu.json").write_text(json.dumps(record))
    section = "\n".join(gpu_section(tmp_path))
    assert "NVIDIA H100" in section
    assert (
        "| B.2, m = 100: share of the card's bf16 rate | 50.00 % | at least 40 % | met |" in section
    )
    assert "| B.2, m = 100: step, pythae / hebae | 4.00 x | at least 3 x | met |" in section
    assert "| MNIST, 100 epochs, VAE | 12.00 s | at most 10 s | **missed** |" in section
    assert "Not measured: B.2, m = 512, VAE, default (CUDA error)" in section


def test_a_checkout_without_the_code_is_refused_before_anything_is_measured(tmp_path, capsys):
    from run import main

    with pytest.raises(SystemExit) as end:
        main(only=["step"], released=tmp_path, output=tmp_path / "speed")
    assert end.value.code == 2
    assert "holds no MNIST_HEBAE.py" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "speed").exists()


@pytest.mark.parametrize("place", ["trial", "repository"])
def test_a_page_is_what_its_json_files_make(place, trial, tmp_path):
    """No number in the committed results was typed by hand."""
    from report import write_report

    folder = trial[0] if place == "trial" else RESULTS
    for path in folder.glob("*.json"):
        shutil.copy(path, tmp_path)
    write_report(tmp_path, figures=False)
    assert (tmp_path / "README.md").read_text() == (folder / "README.md").read_text()
