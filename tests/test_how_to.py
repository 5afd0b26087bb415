"""The commands and snippets of the how-to pages run, on files that the pages make."""

import csv
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def how_to(tool):
    """The module tools/how_to.py."""
    return tool("how_to")


@pytest.fixture
def follow(how_to, hebae, tmp_path, monkeypatch):
    """Run the blocks of a page in an empty folder; gives the folder and Python's variables."""
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)

    def command(words):
        result = hebae(*words)
        assert result.status == 0, (words, result.err)

    def run(page, epochs=2):
        return tmp_path, how_to.follow(how_to.PAGES / page, command, epochs)

    return run


def test_table(follow):
    pd = pytest.importorskip("pandas")
    folder, variables = follow("tables.md")
    frame = pd.read_csv(folder / "penguins.csv")
    codes, filled, synthetic = (
        pd.read_csv(folder / name) for name in ("codes.csv", "filled.csv", "synthetic.csv")
    )
    assert list(codes) == ["id", "label", "hebae0", "hebae1"]
    assert list(codes.label) == list(frame.species)  # in the order of the file
    assert filled.notna().all(axis=None)
    features = frame.drop(columns="species")
    assert ((filled[list(features)] == features) | features.isna()).all(axis=None)
    assert list(synthetic) == list(frame)[1:]
    assert set(synthetic.island) <= {"Biscoe", "Dream"}
    assert set(synthetic.year) <= {2007, 2008, 2009}
    assert synthetic.body_mass_g.dtype == np.int64
    assert variables["model"].transform(variables["frame"]).shape == (300, 2)
    assert variables["distances"].shape == (7,)
    assert 0 < np.nanmax(variables["distances"]) <= 1
    assert "distance of columns" in (folder / "evaluation" / "report.html").read_text()
    assert (folder / "evaluation" / "figures" / "marginals.png").stat().st_size > 1000
    assert (folder / "codes.png").stat().st_size > 1000


def test_conditions(follow):
    pd = pytest.importorskip("pandas")
    folder, variables = follow("conditions.md")
    frame, lab = variables["frame"], variables["lab"]
    north, either = (pd.read_csv(folder / name) for name in ("north.csv", "any.csv"))
    assert list(north) == [*frame, "lab", "age"]
    assert set(north.lab) == {"north"} and set(north.age) == {40.0}
    assert set(either.lab) == {"north", "south"}
    assert np.load(folder / "south.npy").shape == (2, 4, 6)
    unmoved = np.abs(variables["effect"][lab == "south"]).max()
    assert unmoved < 1e-5 < np.abs(variables["effect"][lab == "north"]).min(0).max()
    assert variables["images"].shape == (10, 1, 8, 8)
    assert (folder / "digits.png").stat().st_size > 1000


def test_outliers(follow):
    pytest.importorskip("pandas")
    folder, variables = follow("outliers.md", epochs=40)
    unusual, far = variables["unusual"], np.flatnonzero(variables["far"])
    assert set(range(5)) <= set(unusual.index)
    assert (variables["deviations"].loc[:4].abs().idxmax(axis=1) == "c").all()
    assert {5, 6, 7} <= set(far) - set(unusual.index)
    assert len(unusual.index.drop(range(8), errors="ignore")) < 0.05 * 400
    assert len(far) < 0.06 * 400
    assert (folder / "scores.png").stat().st_size > 1000


def test_single_cells(follow):
    anndata = pytest.importorskip("anndata")
    folder, variables = follow("single-cells.md")
    adata = anndata.read_h5ad(folder / "cells.h5ad")
    coded = anndata.read_h5ad(folder / "coded.h5ad")
    assert list(coded.obs_names) == list(adata.obs_names)
    assert coded.obsm["X_hebae"].shape == (400, 10)
    assert (coded.X != adata.X).nnz == 0
    generated = anndata.read_h5ad(folder / "generated.h5ad")
    assert list(generated.var_names) == list(adata.var_names)
    assert generated.shape == (200, 100)
    values = np.asarray(generated.to_df())
    assert (values == np.rint(values)).all()
    assert values.min() == 0
    assert variables["adata"].obsm["X_hebae"].shape == (400, 5)
    assert 0 < variables["found"].relation < 1
    assert "library sizes" in (folder / "evaluation" / "report.html").read_text()
    assert (folder / "evaluation" / "figures" / "counts.png").stat().st_size > 1000
    assert (folder / "cells.png").stat().st_size > 1000


def test_genotypes(follow):
    bed_reader = pytest.importorskip("bed_reader")
    folder, variables = follow("genotypes.md")
    properties = variables["properties"]
    with bed_reader.open_bed(folder / "people.bed") as file:
        people = file.read()
    codes = (folder / "codes.csv").read_text().splitlines()
    assert codes[0] == "id,hebae0,hebae1"
    assert [line.split(",")[0] for line in codes[1:]] == properties["iid"]
    known = ~np.isnan(people)
    with bed_reader.open_bed(folder / "filled.bed") as filled:
        assert list(filled.iid) == properties["iid"]
        values = filled.read()
    np.testing.assert_array_equal(values[known], people[known])
    assert set(np.unique(values)) == {0, 1, 2}
    with bed_reader.open_bed(folder / "generated.bed") as generated:
        assert generated.shape == (500, 100)
        assert list(generated.sid) == properties["sid"]
        np.testing.assert_array_equal(generated.bp_position, properties["bp_position"])
        values = generated.read()
    assert set(np.unique(values)) == {0, 1, 2}
    table = (folder / "evaluation" / "evaluation.md").read_text()
    for name in ("correlation of allele frequencies", "LD decay", "imputation accuracy"):
        assert name in table
    with (folder / "evaluation" / "evaluation.csv").open(newline="") as file:
        rows = {row["quantity"]: float(row["value"]) for row in csv.DictReader(file)}
    assert rows["PCA overlap: coverage[20/20], training examples"] > 0.75  # not by file order
    assert (folder / "evaluation" / "figures" / "genotypes.png").stat().st_size > 1000
    assert (folder / "map.png").stat().st_size > 1000


def test_folder_of_images(follow, tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    folder, variables = follow("images.md")
    for name in ("reconstructions.png", "samples.png", "more-samples.png"):
        with Image.open(folder / name) as picture:
            assert picture.mode == "RGB" and picture.width > 8 * 32
    with (folder / "codes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ids = variables["photos"].train.ids.tolist()
    assert ids == sorted(ids) and len(ids) == 500
    assert sorted(row["id"] for row in rows) == ids
    assert all(row["id"].startswith(row["label"] + "/") for row in rows)
    assert variables["codes"].shape == (500, 8)


@pytest.mark.long
def test_loggers(follow):
    pytest.importorskip("tensorboard")
    folder, variables = follow("loggers.md", epochs=1)
    assert list((folder / "runs" / "logged" / "tensorboard").glob("events*"))
    assert len(variables["model"].history_) == 1


@pytest.mark.long
def test_export(follow):
    pytest.importorskip("onnxruntime")
    _, variables = follow("export.md", epochs=1)
    assert variables["images"].shape == (16, 1, 28, 28)


@pytest.mark.long
def test_hub(follow):
    pytest.importorskip("huggingface_hub")
    folder, _ = follow("hub.md", epochs=1)
    assert (folder / "runs" / "digits" / "evaluation.json").exists()


@pytest.mark.long
def test_tune(follow):
    pytest.importorskip("optuna")
    folder, _ = follow("tune.md", epochs=1)
    assert (folder / "runs" / "tuned" / "model.safetensors").exists()
