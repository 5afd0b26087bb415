"""`hebae leaderboard`: the choice of weights, the table, and what happens when a row fails."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import require_movable

from hebae.config import Settings
from hebae.data import Dataset
from hebae.data.examples import Examples
from hebae.experiments.leaderboard_plan import BUDGETS, ENTRIES, Board, evaluation
from hebae.experiments.trained_run import RunResult
from hebae.methods import METHODS
from hebae.run_folder import RunFolder


def run(hebae, *words, output="board"):
    return hebae("leaderboard", "--data", "vectors.npy", *words, "--output", output)


def content(tmp_path, output="board"):
    return json.loads((tmp_path / output / "leaderboard.json").read_text())


def test_every_method_is_a_row():
    assert set(METHODS) <= set(ENTRIES)
    assert all(entry.method in METHODS for entry in ENTRIES.values())
    assert {"hebae-flow", "vae-flow", "vampprior"} <= set(ENTRIES)
    assert len(METHODS) + 1 >= 17 + 1


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_row_gets_the_same_number_of_settings(budget, vectors):
    """Multiples of its default weight; the plain AE has no weight."""
    from hebae.data import load

    entries = [ENTRIES[name] for name in ("vae", "wae", "ae")]
    board = Board(budget, entries, flags={"data": str(vectors)})
    factors = BUDGETS[budget]["factors"]
    assert BUDGETS[budget]["samplers"]  # or there would be nothing to choose a weight by
    dataset = load(vectors)
    for name in ("vae", "wae"):
        default = board.settings(ENTRIES[name], "choose").penalty_weight
        runs = board.candidates(ENTRIES[name], dataset)
        weights = [one.settings.penalty_weight for one in runs]
        assert weights == pytest.approx([default * factor for factor in factors])
        assert len({one.settings.train_size for one in runs}) == 1
    assert len(board.candidates(ENTRIES["ae"], dataset)) == 1


def test_the_chosen_weight_has_the_lowest_distance_on_validation_examples(hebae, vectors, tmp_path):
    status, out, err = run(hebae, "--methods", "vae", "ae", "wae")
    assert status == 0, err
    words = " ".join(out.split())
    assert all(name in words for name in ("VAE", "AE", "WAE-MMD", "log p(x)", "deterministic"))
    page = (tmp_path / "board/report.html").read_text()
    assert "Weights that were tried" in page
    assert page.count('class="figure"') == 1
    assert "Codes as points" in page
    found = content(tmp_path)
    for method, count in (("VAE", 2), ("AE", 1), ("WAE-MMD", 2)):
        tried = [r["value"] for r in found["choice"] if r["quantity"] == method and r["value"]]
        assert len(tried) == count
    pairs = [r["value"].split(": ") for r in found["choice"] if r["quantity"] == "VAE"]
    best = min(pairs, key=lambda pair: float(pair[1]))[0]
    trained = json.loads((tmp_path / "board/runs/vectors.npy-vae-seed0/config.json").read_text())
    assert trained["penalty_weight"] == float(best)
    table = found["tables"]["vectors.npy"]
    assert {r["column"] for r in table} == {"VAE", "AE", "WAE-MMD"}
    samplers = {r["quantity"] for r in table if r["quantity"].startswith("Frechet")}
    assert len(samplers) >= 3
    for record in table:  # complete, or with a reason
        assert record["value"] is not None or record["note"], record
    assert len((tmp_path / "board/leaderboard.csv").read_text().splitlines()) == 1 + len(table)
    assert "| VAE |" in (tmp_path / "board/leaderboard.md").read_text()
    origin = found["provenance"]  # of the final runs, not of those that chose the weights
    assert (origin["runs"], origin["epochs"]) == ("3", "2")
    assert origin["trained by commit"] == origin["commit"]
    require_movable(tmp_path / "board")


def test_it_resumes_without_training_or_measuring_again(hebae, vectors, tmp_path):
    assert run(hebae, "--methods", "vae").status == 0
    kept = ("model.safetensors", "evaluation.json")
    files = [path for path in (tmp_path / "board/runs").glob("*/*") if path.name in kept]
    times = {path: path.stat().st_mtime_ns for path in files}
    assert len(times) == 6
    assert run(hebae, "--methods", "vae").status == 2
    assert run(hebae, "--methods", "vae", "ae", "--resume").status == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    status, _, err = run(hebae, "--methods", "ae", "--resume")
    assert status == 2
    assert "choose-vae" in err
    assert run(hebae, "--methods", "ae", "--overwrite").status == 0


def test_a_row_that_cannot_be_trained_or_diverges_says_why(hebae, vectors, tmp_path):
    """Four examples are too few for HEBAE's covariance; the others are not stopped."""
    status, out, err = run(hebae, "--methods", "hebae", "ae", "--batch-size", "4")
    assert status == 0, err
    assert "HEBAE" in out and "batch" in " ".join(out.split())
    values = [r for r in content(tmp_path)["tables"]["vectors.npy"] if r["column"] == "HEBAE"]
    assert all(r["value"] is None and "4" in r["note"] for r in values)
    status, out, _ = run(hebae, "--methods", "vae", "--learning-rate", "1e9", output="wild")
    assert status == 1
    assert "diverged" in out


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("--methods", "gan"), ("gan", "hebae-flow")),
        (("--methods", "vae", "vae"), ("vae vae", "each once")),
        (("--method", "vae"), ("--method", "--methods")),
        (("--seed", "3"), ("--seed", "budget")),
        (("--penalty-weight", "3"), ("--penalty-weight", "weights of its own")),
        (("--train-size", "30"), ("--train-size", "budget")),
        (("--budget", "huge"), ("huge", "smoke")),
        (("--devices", "2"), ("one device", "--devices")),
    ],
    ids=str,
)
def test_what_it_decides_itself_is_refused_as_a_flag(hebae, vectors, tmp_path, words, facts):
    status, _, err = run(hebae, *words)
    assert status == 2
    assert all(fact in " ".join(err.split()) for fact in facts)
    assert not (tmp_path / "board").exists()


def test_without_a_distance_the_weight_has_the_highest_likelihood(hebae, tmp_path):
    counts = np.random.default_rng(0).poisson(3, (300, 6))
    np.save(tmp_path / "vectors.npy", counts)
    status, out, err = run(hebae, "--methods", "vae", "--likelihood", "poisson")
    assert status == 0, err
    assert "highest log p(x) of validation examples" in " ".join(out.split())
    found = content(tmp_path)
    tried = {r["value"].split(": ")[0]: r["value"].split(": ")[1] for r in found["choice"]}
    settings = RunFolder(tmp_path / "board/runs/vectors.npy-vae-seed0").settings()
    chosen = float(tried[f"{settings.penalty_weight:g}"])
    assert chosen == max(map(float, tried.values()))  # both, if they are equal when rounded


@pytest.mark.parametrize(
    ("shape", "labels", "features", "allowed"),
    [
        ((600, 12), None, None, False),
        ((600, 700), None, None, True),
        ((600, 3, 16, 16), None, ("random",), True),
        ((600, 3, 16, 16), [0, 1] * 300, None, True),
        ((600, 1, 8, 8), None, None, False),
    ],
)
def test_samples_can_be_compared_whatever_the_size_of_examples(shape, labels, features, allowed):
    examples = Examples(np.zeros(shape, np.uint8), labels and np.array(labels), pixels=True)
    dataset = Dataset("d", examples, examples, None, "0" * 64)
    run = RunResult("run", Settings(), path=Path("run"), dataset=dataset)
    found = evaluation(BUDGETS["full"], run, final=False)
    assert found.features == features
    assert found.allow_rank_deficient == allowed
