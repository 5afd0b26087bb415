"""``hebae sweep`` as its users meet it."""

import csv
import json
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import SMALL, refused, small, stopped
from safetensors.numpy import load_file


@pytest.fixture
def sweep(hebae, vectors):
    def run(*arguments):
        return hebae("sweep", "--data", vectors, *SMALL, *arguments)

    return run


def rows(folder):
    return list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))


def test_a_sweep_leaves_runs_tables_a_picture_and_a_page(sweep, hebae, tmp_path):
    axes = ("--grid", "penalty_weight=0.1..10:3", "--grid", "method=vae,hebae", "seed=0..1")
    result = sweep(*axes, "--output", "out")
    assert result.status == 0, result.err
    labels = [
        f"penalty_weight={weight}-method={method}-seed={seed}"
        for weight, method, seed in product(("0.1", "1", "10"), ("vae", "hebae"), (0, 1))
    ]
    out = tmp_path / "out"
    assert {path.name for path in (out / "runs").iterdir()} == set(labels)
    files = {path.name for path in out.iterdir() if path.name[0] != "."}
    assert files == {"runs", "figures", "report.html", "sweep.json", "sweep.csv", "sweep.md"}
    assert {path.name for path in (out / "figures").iterdir()} == {"sweep.png", "sweep.pdf"}

    stored = json.loads((out / "sweep.json").read_text())
    assert stored["axes"] == {
        "penalty_weight": [0.1, 1, 10],
        "method": ["vae", "hebae"],
        "seed": [0, 1],
    }
    assert {*stored["provenance"]} >= {"command", "commit", "data", "seeds", "machine"}
    assert [row["run"] for row in rows(out)] == labels
    assert [row["run"] for row in stored["results"]] == labels
    for row in rows(out):
        run = out / "runs" / row["run"]
        settings = yaml.safe_load((run / "config.yaml").read_text())
        assert settings == stored["settings"] | stored["runs"][row["run"]]
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        expected = last["held_out"]["reconstruction"]
        assert float(row["reconstruction"]) == pytest.approx(expected, rel=1e-5)
        assert row["state"] == "finished"

    assert max(map(len, result.out.splitlines())) <= 80
    for weight, method, seed in product(("0.1", "1", "10"), ("vae", "hebae"), "01"):
        assert f" {weight}, {method}, {seed} " in result.out
    assert "12 of 12 runs, 0 left" in result.err
    assert hebae("show", out / "runs" / labels[0]).status == 0


def test_it_is_resumed_and_enlarged(sweep, tmp_path):
    assert sweep("--grid", "seed=0,1", "--output", "out").status == 0
    weights = tmp_path / "out" / "runs" / "seed=0" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    more = ("--grid", "seed=0..2", "--output", "out", "--resume")
    assert sweep(*more).status == 0
    assert [row["seed"] for row in rows(tmp_path / "out")] == ["0", "1", "2"]
    assert weights.stat().st_mtime_ns == before
    refused(sweep("--grid", "seed=0,1", "--output", "out", "--resume"), "seed=2", "not requested")
    refused(sweep(*more, "--penalty-weight", 3), "penalty_weight 1.0", "3.0")


def test_a_dry_run_lists_the_runs_and_leaves_nothing(sweep, tmp_path):
    axes = ("--grid", "method=vae,wae", "--grid", "learning_rate=none,0.01")
    result = sweep(*axes, "--preset", "mnist-mini", "--dry-run")
    assert result.status == 0
    listed = yaml.safe_load(result.out)
    assert len(listed["runs"]) == 4
    assert listed["settings"]["batch_size"] == 32
    assert listed["runs"]["method=wae-learning_rate=0.01"] == {
        "method": "wae",
        "penalty_weight": 10.0,
        "learning_rate": 0.01,
    }
    assert listed["runs"]["method=vae-learning_rate=none"]["learning_rate"] == 0.003
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.npy"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("at least one axis", "--grid")),
        (("--grid", "latent_dim=2,5"), ("flag and as an axis", "--latent-dim")),
        (("--grid", "seed=0,1", "--resume"), ("holds no sweep", "leave out --resume")),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(sweep, tmp_path, arguments, parts):
    refused(sweep(*arguments, "--output", "out"), *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.npy"]


def test_after_ctrl_c_the_command_that_it_names_finishes_the_sweep(hebae, vectors, tmp_path):
    flags = ["sweep", "--data", str(vectors), *small(epochs=150), "--grid", "seed=0..1"]
    begun = tmp_path / "out" / "runs" / "seed=0" / "config.yaml"
    status, err = stopped(*flags, "--output", "out", cwd=tmp_path, when=begun.exists)
    assert status == 130
    named = err.split("Resume with: hebae ")[1].split()
    assert named == [*flags, "--output", "out", "--resume"]
    assert hebae(*named).status == 0
    assert hebae(*flags, "--output", "whole").status == 0
    for seed in (0, 1):
        path = Path("runs", f"seed={seed}", "model.safetensors")
        ours, theirs = (load_file(tmp_path / name / path) for name in ("out", "whole"))
        for name, tensor in theirs.items():  # the two may have been stacked differently
            np.testing.assert_allclose(ours[name], tensor, rtol=1e-3, atol=1e-4)


def test_diverged_txt_says_at_which_step_and_how(sweep, tmp_path):
    result = sweep("--grid", "learning_rate=0.001,1e9", "--method", "vae", "--output", "out")
    assert result.status == 0, result.err
    fine, diverged = rows(tmp_path / "out")
    assert (fine["state"], diverged["state"]) == ("finished", "diverged")
    text = (tmp_path / "out" / "runs" / diverged["run"] / "diverged.txt").read_text()
    assert text.strip() == diverged["reason"]
    assert re.search(r"step \d+", text)
    assert re.search("not finite|NaN|infinite|inf", text)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium here")
def test_the_last_column_of_the_page_is_seen_at_1200_pixels(sweep, tmp_path):
    """In 0.1.0 a page as wide as that cut off the last of nine columns."""
    engines = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    axes = ("--grid", "penalty_weight=0.1,10", "--grid", "rate_weight=0,1")
    assert sweep(*axes, "--output", "out").status == 0
    with engines.sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.goto((tmp_path / "out" / "report.html").as_uri())
        headings = page.locator("thead th")
        assert headings.count() >= 8
        box = page.locator(".wide", has=headings).bounding_box()
        last = headings.last.bounding_box()
        browser.close()
    assert box["x"] + box["width"] <= 1200
    assert last["x"] + last["width"] <= box["x"] + box["width"]
