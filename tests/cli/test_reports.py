"""Reports of ``hebae evaluate`` for tables and counts, through the real command line."""

import json

import numpy as np
import pytest
from command_line import refused, small

pd = pytest.importorskip("pandas")
FLAGS = small(epochs=3, validation_size=60)


@pytest.fixture
def table(hebae, tmp_path):
    """A trained run of 200 rows with numbers, categories, missing values and a binary answer."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 200)
    frame = pd.DataFrame(
        {
            "size": np.round(rng.normal(10 * group, 3), 2),
            "age": rng.integers(20, 70, 200),
            "kind": np.array(["a", "b", "c"])[group],
            "answer": np.where(group + rng.normal(0, 0.5, 200) > 1, "yes", "no"),
        }
    )
    frame.loc[::20, "size"] = np.nan
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert hebae("train", "--data", "rows.csv", *FLAGS, "--output", "run").status == 0
    return tmp_path


def measurements(run):
    stored = json.loads((run / "evaluation.json").read_text())["metrics"]
    entries = [entry for entries in stored.values() for entry in entries]
    return {m["id"]: m for entry in entries for m in entry["measurements"]}


def test_table(hebae, table):
    result = hebae("evaluate", "run", "--target", "answer", "--output", "out")
    assert result.status == 0, result.err
    found = measurements(table / "run")
    for kind in ("normal", "fitted-normal", "training-examples"):
        assert 0 < found[f"table.marginals.{kind}"]["value"] < 1
        assert found[f"table.marginals.{kind}"]["counts"] == {"samples": 60, "reference": 60}
        columns = [
            found[f"table.column.{name}.{kind}"]["value"]
            for name in ("size", "age", "kind", "answer")
        ]
        assert found[f"table.marginals.{kind}"]["value"] == pytest.approx(np.mean(columns))
        assert 0 < found[f"table.association.{kind}"]["value"] < 1
        assert found[f"table.utility.{kind}"]["counts"] == {"samples": 140, "reference": 60}
    best = found["table.utility.training-examples"]
    assert best["value"] > 0.8
    assert best["name"] == "AUC of answer, trained on training examples[140/60]"
    assert found["table.closest.held-out-examples"]["value"] > 0
    assert found["table.copies.normal"]["value"] == 0
    # Means E[x | z] are not compared with rows that hold codes of categories.
    assert not any(id.startswith(("frechet", "copying", "smoothness")) for id in found)
    figures = {path.stem for path in (table / "out" / "figures").iterdir()}
    assert figures >= {"marginals", "associations", "closest-records", "utility"}
    page = (table / "out" / "report.html").read_text()
    before_the_fold = page.partition("<details")[0]
    assert before_the_fold.count('scope="row"') == 8
    for row in ("distance of columns", "AUC of answer", "nearer to training", "copies"):
        assert row in before_the_fold
    text = (table / "out" / "evaluation.md").read_text()
    assert "distance of columns, mean[60/60], training examples" in text
    assert "greatest: " in page


def test_target(hebae, table):
    names = ("evaluate", "run", "--metrics", "utility", "--samplers", "normal")
    result = hebae(*names)
    assert result.status == 0
    assert "--target" in result.out + result.err  # which nothing is predicted without
    assert hebae(*names, "--target", "answer").status == 0
    assert hebae(*names, "--target", "size", "--output", "out").status == 0
    entries = json.loads((table / "run" / "evaluation.json").read_text())["metrics"]["utility"]
    assert [entry["settings"]["target"] for entry in entries] == [None, "answer", "size"]
    assert "R2 of size" in (table / "out" / "evaluation.md").read_text()
    before = (table / "run" / "evaluation.json").read_bytes()
    refused(hebae(*names, "--target", "answr"), "'answr' (did you mean 'answer'?)", "size, age")
    refused(hebae(*names, "--target", "nothing"), "its columns are size, age, kind, answer")
    refused(
        hebae("evaluate", "run", "--metrics", "genotypes,frechet"),
        "--metrics frechet, genotypes cannot be measured on",
        "marginals, associations, utility, privacy",
    )
    assert (table / "run" / "evaluation.json").read_bytes() == before


def test_a_condition_is_a_column_of_the_generated_rows(hebae, table):
    train = ("train", "--data", "rows.csv", *FLAGS, "--condition", "answer", "--output", "other")
    assert hebae(*train).status == 0
    flags = ("--target", "answer", "--samplers", "normal")
    assert hebae("evaluate", "other", "--metrics", "utility,marginals", *flags).status == 0
    found = measurements(table / "other")
    assert found["table.utility.training-examples"]["value"] > 0.8
    assert 0 <= found["table.column.answer.normal"]["value"] < 0.3  # as frequent as in training


def test_counts(hebae, tmp_path):
    anndata = pytest.importorskip("anndata")
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    rates = rng.gamma(1, 1, 30) * rng.lognormal(1, 1, (260, 1))
    adata = anndata.AnnData(csr_matrix(rng.poisson(rates).astype(np.int32)))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    assert hebae("train", "--data", "cells.h5ad", *FLAGS, "--output", "run").status == 0
    result = hebae("evaluate", "run", "--output", "out")
    assert result.status == 0, result.err
    found = measurements(tmp_path / "run")
    for name in ("means", "variances", "relation", "zeros", "library_sizes"):
        for kind in ("normal", "fitted-normal", "training-examples"):
            one = found[f"counts.{name}.{kind}"]
            assert one["counts"] == {"samples": 60, "reference": 60}
            assert np.isfinite(one["value"])
    # Cells are drawn with the sizes of training, from 10 to 1000 counts.
    assert found["counts.library_sizes.normal"]["value"] < 0.25
    assert not any(id.startswith(("frechet", "table", "genotypes")) for id in found)
    assert (tmp_path / "out" / "figures" / "counts.png").stat().st_size > 1000
    before_the_fold = (tmp_path / "out" / "report.html").read_text().partition("<details")[0]
    assert "mean-variance relation" in before_the_fold
    assert "library sizes" in before_the_fold


def test_whole_numbers_of_other_kinds(hebae, tmp_path):
    """Counts with an upper limit are counts, and classes are categories of a table."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(0, 5, (200, 6)))
    for likelihood, expected in {
        "binomial": "counts.zeros.normal",
        "categorical": "table.marginals.normal",
    }.items():
        flags = ("--likelihood", likelihood, *(("--trials", 4) if likelihood == "binomial" else ()))
        train = ("train", "--data", "x.npy", *FLAGS, *flags, "--output", likelihood)
        assert hebae(*train).status == 0
        evaluated = hebae("evaluate", likelihood, "--samplers", "normal")
        assert evaluated.status == 0, evaluated.err
        found = measurements(tmp_path / likelihood)
        assert 0 <= found[expected]["value"] < 0.3
        assert not any(id.startswith(("frechet", "genotypes")) for id in found)
