"""``hebae compare`` as its users meet it."""

import csv
import html
import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import SMALL, refused, require_movable

from hebae.folders import locked
from hebae.gaussian import penalty_floor

FIXTURES = Path(__file__).parents[1] / "fixtures" / "v0.1.0"


@pytest.fixture
def compare(hebae, vectors):
    def run(*arguments, output="all"):
        return hebae("compare", "--data", vectors, *SMALL, "--output", output, *arguments)

    return run


def stored(folder):
    return json.loads((folder / "comparison.json").read_text())


def test_a_comparison_leaves_runs_figures_and_a_table_in_four_notations(
    hebae, image_file, tmp_path
):
    arguments = ("--methods", "hebae", "vae", "wae", "ae", "--seeds", "0", "1", "--output", "all")
    result = hebae("compare", "--data", image_file, *SMALL, *arguments)
    assert result.status == 0, result.err
    for name in ("HEBAE", "VAE", "WAE-MMD", "AE", "reconstruction", "noise floor", "sigma"):
        assert name in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    folder = tmp_path / "all"
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert runs == {f"{m}-seed{s}" for m in ("hebae", "vae", "wae", "ae") for s in (0, 1)}
    files = {path.name for path in folder.iterdir() if path.is_file() and path.name[0] != "."}
    assert files == {"comparison.json", "comparison.csv", "comparison.md", "report.html"}
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert figures == {
        *("samples", "reconstructions", "interpolations"),
        *("loss-curves", "codes", "code-points"),
    }
    content = stored(folder)
    assert {*content["provenance"]} >= {"command", "commit", "data", "seeds", "machine", "versions"}
    first = content["measures"]["hebae"][0]
    assert first["excess"] == pytest.approx(first["penalty"]["moments"] - penalty_floor(32, 3))
    assert len(content["measures"]["hebae"]) == 2
    assert content["measures"]["wae"][0]["median_sigma"] is None
    # The table shows medians over seeds, a figure the models of one seed: it says which.
    page = html.unescape((folder / "report.html").read_text())
    assert page.count("Shown are the models of seed 0; the table shows medians over the seeds") == 5
    assert "mixture" in page
    require_movable(folder)


def test_methods_start_alike_and_see_the_same_batches(compare, tmp_path):
    """WAE without a penalty is the plain autoencoder: equal, number for number."""
    (tmp_path / "c.yaml").write_text("methods: {wae: {penalty_weight: 0}}\n")
    assert compare("--config", "c.yaml", "--methods", "wae", "ae").status == 0
    measures = stored(tmp_path / "all")["measures"]
    wae, ae = (measures[method][0]["reconstruction"] for method in ("wae", "ae"))
    assert wae == pytest.approx(ae, rel=1e-6)  # they may be stacked with others, or not


def test_a_run_that_diverges_is_marked_and_does_not_stop_the_others(compare, tmp_path):
    (tmp_path / "c.yaml").write_text("methods: {vae: {learning_rate: 1.0e+30}}\n")
    arguments = ("--config", "c.yaml", "--methods", "vae", "hebae")
    result = compare(*arguments)
    assert result.status == 0, result.err
    assert "vae-seed0 diverged" in " ".join(result.out.split())
    assert "2 runs; 1 diverged" in result.out
    assert "--resume" not in result.out + result.err
    folder = tmp_path / "all"
    content = stored(folder)
    assert "finite" in content["diverged"]["vae-seed0"]
    assert content["measures"]["vae"] == []
    assert content["measures"]["hebae"][0]["reconstruction"] > 0
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert {row["note"] for row in rows if row["column"] == "VAE"} == {"the run diverged"}
    assert all(row["value"] for row in rows if row["column"] == "HEBAE")

    # --resume keeps it, and trains what is new; only --retry-diverged trains it again.
    mark = folder / "runs" / "vae-seed0" / "diverged.txt"
    before = mark.stat().st_mtime_ns
    more = ("--config", "c.yaml", "--methods", "vae", "hebae", "ae", "--resume")
    assert compare(*more).status == 0
    assert mark.stat().st_mtime_ns == before
    assert set(stored(folder)["measures"]) == {"vae", "hebae", "ae"}
    assert compare(*more, "--retry-diverged").status == 0
    assert mark.stat().st_mtime_ns > before
    refused(compare(*arguments, "--retry-diverged"), "--resume")


def test_status_1_if_every_run_diverged(compare):
    result = compare("--learning-rate", 1e30, "--methods", "vae", "ae")
    assert result.status == 1
    assert "2 runs; 2 diverged" in result.out
    assert "no examples" not in result.out


def test_a_comparison_of_version_0_1_0_is_resumed(hebae, tmp_path):
    shutil.copytree(FIXTURES / "comparison", tmp_path / "old")
    weights = tmp_path / "old" / "runs" / "hebae-seed5" / "model.safetensors"
    before, old = weights.stat().st_mtime_ns, stored(tmp_path / "old")["measures"]
    flags = ("--latent-dim", 3, "--encoder-widths", 8, "--decoder-widths", 8, "--epochs", 1)
    arguments = ("compare", "--data", "mnist-mini", *flags, "--seeds", 5, "--output", "old")
    methods = ("--methods", "hebae", "vae")
    result = hebae(*arguments, *methods, "ae", "--resume")
    assert result.status == 0, result.err
    assert weights.stat().st_mtime_ns == before
    new = stored(tmp_path / "old")["measures"]
    for method in ("hebae", "vae"):
        for name in ("objective", "reconstruction", "correlation"):
            assert new[method][0][name] == pytest.approx(old[method][0][name], rel=1e-4)
    refused(hebae(*arguments, *methods, "--resume"), "ae-seed5", "not requested")
    wrong = (*arguments, *methods, "ae", "--resume", "--penalty-weight", 3)
    refused(hebae(*wrong), "penalty_weight", "1.0", "3.0")


def test_what_is_there_is_kept_unless_overwritten(compare, tmp_path):
    one = ("--methods", "ae")
    (tmp_path / "all").mkdir()
    with locked(tmp_path / "all"):  # by another process
        refused(compare(*one), str(os.getpid()), "in use")
    assert compare(*one).status == 0
    refused(compare(*one), "already holds a comparison", "--resume", "--overwrite")
    (tmp_path / "all" / "notes.txt").write_text("mine")
    refused(compare(*one, "--overwrite"), "notes.txt")
    (tmp_path / "all" / "notes.txt").unlink()
    assert compare(*one, "--overwrite").status == 0
    (tmp_path / "all" / "comparison.json").write_text("{")
    refused(compare(*one, "--resume"), "comparison.json", "--overwrite")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    refused(compare(*one, "--overwrite", output="other"), "other", "another")
    refused(compare(*one, "--resume", output="new"), "no comparison")
    (tmp_path / "file").touch()
    refused(compare(*one, output="file/all"), "file/all")


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("--methods", "vae", "gan"), ("gan",)),
        (("--methods", "vae", "vae"), ("--methods", "once")),
        (("--devices", "2"), ("--devices",)),
        (("--resume", "--overwrite"), ("--resume", "--overwrite")),
        (("--method", "vae"), ("--methods",)),
        (("--seeds", "1", "1"), ("--seeds", "1 1")),
        (("--methods", "vae", "--kernel", "rbf"), ("--kernel", "wae")),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(compare, tmp_path, arguments, facts):
    refused(compare(*arguments), *facts)
    assert not (tmp_path / "all").exists()
