"""``--condition``: from a column or labels through every command."""

from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import refused, small

from hebae import inference
from hebae.priors import StandardNormal
from hebae.storage import load_model

pd = pytest.importorskip("pandas")


@pytest.fixture
def cells(tmp_path):
    """A table whose rows of batch b are shifted by (3, -3)."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 2)), columns=["x", "y"])
    frame["batch"] = rng.choice(["a", "b"], 120)
    frame["age"] = rng.uniform(20, 60, 120).round(1)
    frame.loc[frame.batch == "b", ["x", "y"]] += [3, -3]
    frame.to_csv(tmp_path / "cells.csv", index=False)
    return frame


@pytest.fixture
def run(hebae, cells):
    result = hebae(
        "train", "--data", "cells.csv", "--condition", "batch,age", "--output", "run", *small()
    )
    assert result.status == 0, result.err
    assert "Conditions: batch (one of a, b); age (a number)." in " ".join(result.err.split())
    return hebae


def test_samples_are_of_the_condition_asked_for(run):
    asked = "batch=b,age=30"
    assert (
        run("sample", "run", "--count", 40, "--condition", asked, "--output", "s.csv").status == 0
    )
    drawn = pd.read_csv("s.csv")
    assert list(drawn) == ["x", "y", "batch", "age"]
    assert set(drawn.batch) == {"b"} and set(drawn.age) == {30.0}
    result = run("sample", "run", "--count", 40, "--output", "s.csv")
    assert "drawn with their frequencies in training" in " ".join(result.err.split())
    assert set(pd.read_csv("s.csv").batch) == {"a", "b"}


def test_samplers_by_condition_are_stored_with_the_run(run, tmp_path):
    arguments = ("--count", 9, "--condition", "batch=b,age=30", "--sampler", "fitted-normal")
    assert run("sample", "run", *arguments, "--output", "first.npy").status == 0
    (tmp_path / "cells.csv").unlink()
    assert run("sample", "run", *arguments, "--output", "second.npy").status == 0
    np.testing.assert_array_equal(np.load("first.npy"), np.load("second.npy"))
    other = ("--count", 9, "--condition", "batch=a,age=30", "--sampler", "fitted-normal")
    refused(run("sample", "run", *other, "--output", "third.npy"), "use --sampler normal")


def test_reconstructions_are_counterfactual(run, cells):
    for batch in "ab":
        output = f"as-{batch}.npy"
        arguments = ("--count", 10, "--condition", f"batch={batch}", "--output", output)
        assert run("reconstruct", "run", *arguments).status == 0
    assert run("reconstruct", "run", "--count", 10, "--output", "own.npy").status == 0
    as_a, as_b, own = (np.load(f"{name}.npy") for name in ("as-a", "as-b", "own"))
    np.testing.assert_array_equal(as_a[0], as_b[0])
    rows = [int(np.abs(cells[["x", "y"]] - x).sum(axis=1).argmin()) for x in own[0]]
    for row, a, b, decoded in zip(rows, as_a[1], as_b[1], own[1], strict=True):
        np.testing.assert_array_equal(decoded, a if cells.batch[row] == "a" else b)
        assert (a != b).any()


def test_codes_need_no_condition_and_filled_tables_keep_it(run, cells):
    cells[["x", "y"]].to_csv("features.csv", index=False)
    assert run("encode", "run", "--output", "all.csv").status == 0
    assert run("encode", "run", "--data", "features.csv", "--output", "codes.csv").status == 0
    columns = ["id", "hebae0", "hebae1", "hebae2"]
    codes, same = pd.read_csv("codes.csv"), pd.read_csv("all.csv")
    assert list(codes) == columns
    assert np.allclose(codes[columns[1:]], same[columns[1:]], atol=1e-5)
    cells.loc[3, "x"] = np.nan
    cells.to_csv("gaps.csv", index=False)
    assert run("impute", "run", "--data", "gaps.csv", "--output", "filled.csv").status == 0
    filled = pd.read_csv("filled.csv")
    assert filled.notna().all(axis=None) and list(filled.batch) == list(cells.batch)
    result = run("impute", "run", "--data", "features.csv", "--output", "filled.csv")
    refused(result, "conditioned on batch, age, which its decoder needs")
    asked = ("--condition", "batch=a", "age=30")
    assert run("impute", "run", "--data", "features.csv", *asked, "--output", "f.csv").status == 0
    assert set(pd.read_csv("f.csv").batch) == {"a"}


def test_a_resumed_run_is_the_same(hebae, cells):
    train = ("--data", "cells.csv", "--condition", "batch")
    assert hebae("train", *train, *small(epochs=3), "--output", "whole").status == 0
    assert hebae("train", *train, *small(epochs=1), "--output", "parts").status == 0
    assert hebae("train", "--resume", "--output", "parts", "--epochs", 3).status == 0
    whole, parts = (load_model(Path(name))[0].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    result = hebae("train", "--resume", "--output", "parts", "--epochs", 4, "--condition", "age")
    refused(result, "started with condition ('batch',)")


def test_labels_condition_any_data(hebae):
    train = ("--data", "mnist-mini", "--train-size", 500, "--condition", "label", *small())
    assert hebae("compare", *train, "--methods", "vae", "ae", "--output", "both").status == 0
    run = "both/runs/vae-seed0"
    arguments = ("--condition", "label=3", "--sampler", "normal", "--output", "threes.npy")
    assert hebae("sample", run, *arguments).status == 0
    threes = np.load("threes.npy")
    model, _ = load_model(Path(run))
    conditions = np.full((64, 1), 3, np.float32)
    assert np.allclose(threes, inference.sample(model, 64, 0, StandardNormal(3), conditions))
    assert hebae("interpolate", run, "--output", "lines.png").status == 0
    result = hebae("evaluate", run, "--metrics", "elbo,mixing")
    assert result.status == 0, result.err
    assert "mixing of label in the code" in result.out
    assert "silhouette of label in the code" in result.out


def test_a_sweep_takes_conditions_stacked_or_not(hebae, cells):
    train = ("--data", "cells.csv", "--condition", "batch", "--likelihood", "gaussian_columns")
    grid = ("--grid", "condition_encoder=true,false", "--grid", "seed=0,1")
    result = hebae("sweep", *train, *small(), "--method", "vae", *grid, "--output", "sweep")
    assert result.status == 0, result.err
    assert len(list(Path("sweep/runs").iterdir())) == 4


def test_obs_columns_condition_cells(hebae, tmp_path):
    anndata = pytest.importorskip("anndata")
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    adata = anndata.AnnData(csr_matrix(rng.poisson(1.0, (90, 12)).astype(np.float32)))
    adata.obs["stim"] = pd.Categorical(rng.choice(["ctrl", "stim"], 90), ["other", "ctrl", "stim"])
    adata.obs["donor"] = rng.integers(1, 4, 90)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    train = ("--data", "cells.h5ad", "--condition", "stim,donor", *small(), "--output", "run")
    result = hebae("train", *train)
    assert result.status == 0, result.err
    said = "stim (one of ctrl, stim); donor (one of 1, 2, 3)."
    assert said in " ".join(result.err.split())
    asked = ("--condition", "stim=ctrl,donor=2", "--output", "drawn.h5ad")
    assert hebae("sample", "run", *asked).status == 0
    drawn = anndata.read_h5ad("drawn.h5ad")
    assert set(drawn.obs["stim"]) == {"ctrl"} and set(drawn.obs["donor"]) == {2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "run", "--condition", "batch=c", "age=30"), "categories seen in training"),
        (("sample", "run", "--condition", "batch=a"), "'age' is missing"),
        (("sample", "run", "--condition", "sex=f"), "'sex=f' is not NAME=VALUE for a condition of"),
        (("encode", "run", "--condition", "batch"), "'batch' is not NAME=VALUE"),
        (
            ("reconstruct", "run", "--count", 4, "--condition", "age=old"),
            "'old' in row 1, which is not a number",
        ),
    ],
)
def test_conditions_that_the_run_does_not_know_are_refused(arguments, message, run):
    refused(run(*arguments), message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("batsh", "names 'batsh', but cells.csv has no such column"),
        ("batch,batch", "names batch twice"),
        ("batch,age,x,y", "no columns besides ids, labels and conditions"),
    ],
)
def test_conditions_that_the_data_do_not_have_are_refused(given, message, hebae, cells):
    refused(hebae("train", "--data", "cells.csv", "--condition", given, *small()), message)
    refused(
        hebae("train", "--data", "mnist-mini", "--condition", "digit", *small()),
        "--condition names digit, but mnist-mini has no such columns: use --condition label",
    )


def test_a_run_without_conditions_takes_none(hebae, vectors):
    assert hebae("train", "--data", vectors, *small(), "--output", "run").status == 0
    for command in ("sample", "reconstruct"):
        refused(hebae(command, "run", "--condition", "batch=a"), "was trained without")
    refused(
        hebae("train", "--data", vectors, *small(), "--condition-encoder", "--output", "other"),
        "--condition-encoder gives the encoder conditions",
    )
