"""``hebae encode``, ``impute`` and ``sample``: what comes out, in the format of the data."""

import numpy as np
import pytest
from command_line import refused, small

from hebae import load as load_model
from hebae.data import load

pd = pytest.importorskip("pandas")


@pytest.fixture
def houses(tmp_path):
    rng = np.random.default_rng(0)
    size = rng.gamma(5, 20, 90)
    frame = pd.DataFrame(
        {
            "id": [f"house{i}" for i in range(90)],
            "size": size.round(1),
            "rooms": (size / 25).round().astype(int),
            "price": (size * 3000 + rng.normal(0, 1e4, 90)).astype(int),
            "town": rng.choice(["Ghent", "Lier", "Mol"], 90),
            "garden": rng.random(90) < 0.5,
        }
    ).astype({"garden": object})
    frame.loc[4, "size"] = frame.loc[5, "town"] = frame.loc[6, "garden"] = None
    frame.to_csv(tmp_path / "houses.csv", index=False)
    return frame


@pytest.fixture
def run(hebae, houses):
    result = hebae("train", "--data", "houses.csv", "--output", "run", *small())
    assert result.status == 0, result.err
    return hebae


def test_a_parquet_file_has_what_embedding_atlas_reads(run, houses):
    """Its --x and --y name columns of numbers; every other column is metadata to filter by."""
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run("encode", "run", "--output", "codes.parquet").status == 0
    types = {field.name: str(field.type) for field in parquet.read_schema("codes.parquet")}
    assert list(types)[:6] == ["id", "hebae0", "hebae1", "hebae2", "projection_x", "projection_y"]
    assert {types[name] for name in list(types)[1:6]} == {"float"}
    assert list(types)[6:] == ["size", "rooms", "price", "town", "garden"]
    assert {types["town"], types["id"]} <= {"string", "large_string"}
    table = pd.read_parquet("codes.parquet")
    assert (table.price == houses.price).all()
    assert (table.town.isna() == houses.town.isna()).all()
    codes = table[["hebae0", "hebae1", "hebae2"]].to_numpy(np.float64)
    points = table[["projection_x", "projection_y"]].to_numpy(np.float64)
    from sklearn.decomposition import PCA

    expected = PCA(2).fit_transform(codes)
    assert np.allclose(np.abs(points), np.abs(expected), atol=1e-4)


def test_columns_called_id_and_label_are_kept_beside_ids_and_labels(hebae, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "name": [f"n{i}" for i in range(60)],
            "id": rng.integers(0, 1000, 60),
            "label": rng.choice(["yes", "no"], 60),
            "size": rng.normal(size=60),
            "kind": rng.choice(["a", "b"], 60),
        }
    )
    frame.loc[3, "label"] = None
    frame.to_csv("named.csv", index=False)
    flags = "--data", "named.csv", "--id-column", "name", "--label-column", "kind"
    result = hebae("train", *flags, "--output", "run", *small())
    assert result.status == 0, result.err
    for command, output, ids, label in (
        ("encode", "codes.parquet", ("id", "id_"), ("label", "label_")),
        ("impute", "filled.parquet", ("id_", "id"), ("label_", "label")),
    ):
        assert hebae(command, "run", "--output", output).status == 0
        table = pd.read_parquet(output)
        assert (table[ids[0]] == frame.name).all()
        assert (table[ids[1]] == frame.id).all()
        assert (table[label[0]] == frame.kind).all()
        known = frame.label.notna()
        assert (table[label[1]] == frame.label)[known].all()


def test_codes_of_one_dimension_have_a_map_too(hebae, houses, tmp_path):
    flags = ("--data", "houses.csv", "--label-column", "town", *small(latent_dim=1))
    houses.dropna().to_csv(tmp_path / "houses.csv", index=False)
    assert hebae("train", *flags, "--output", "run").status == 0
    assert hebae("encode", "run", "--output", "codes.parquet").status == 0
    table = pd.read_parquet("codes.parquet")
    assert (table.projection_y == 0).all() and table.projection_x.std() > 0
    assert {*table.label} == {"Ghent", "Lier", "Mol"} and "town" not in table


def test_codes_have_the_ids_of_the_rows_in_their_order(run, houses):
    assert run("encode", "run").status == 0
    codes = pd.read_csv("codes.csv")
    assert list(codes) == ["id", "hebae0", "hebae1", "hebae2"]
    assert list(codes.id) == list(houses.id)
    reordered = houses.iloc[::-1, ::-1].assign(other="x")
    reordered.to_csv("other.csv", index=False)
    result = run("encode", "run", "--data", "other.csv", "--output", "codes.parquet")
    assert "left out: other" in " ".join(result.err.split())
    again = pd.read_parquet("codes.parquet")
    assert list(again.id) == list(houses.id)[::-1]
    expected = codes.iloc[::-1].reset_index(drop=True)
    assert np.allclose(again[list(codes)[1:]], expected.iloc[:, 1:], atol=1e-5)
    assert run("encode", "run", "--output", "codes.npy").status == 0
    assert np.allclose(np.load("codes.npy"), codes.iloc[:, 1:], atol=1e-6)
    anndata = pytest.importorskip("anndata")
    assert run("encode", "run", "--output", "codes.h5ad").status == 0
    adata = anndata.read_h5ad("codes.h5ad")
    assert list(adata.obs_names) == list(houses.id)
    assert adata.obsm["X_hebae"].shape == (90, 3)


def test_reconstructions_find_the_columns_of_another_file_by_name(run, houses):
    """It was read without the model's columns, so that reordered ones were refused or mixed up."""
    houses.iloc[:, ::-1].to_csv("other.csv", index=False)
    pairs = {}
    for data in ("houses.csv", "other.csv"):
        result = run("reconstruct", "run", "--data", data, "--count", "4", "--output", "r.npy")
        assert result.status == 0, result.err
        pairs[data] = np.load("r.npy")
    np.testing.assert_allclose(pairs["other.csv"], pairs["houses.csv"], atol=1e-5)
    houses.drop(columns="town").to_csv("less.csv", index=False)
    result = run("reconstruct", "run", "--data", "less.csv", "--count", "4", "--output", "r.npy")
    assert result.status == 2
    assert "town" in result.err


def test_gaps_are_filled_and_the_rest_stays(run, houses):
    result = run("impute", "run", "--output", "filled.csv")
    assert "Filled 3 missing values" in result.out
    filled = pd.read_csv("filled.csv")
    assert list(filled) == list(houses)
    assert filled.notna().all(axis=None)
    assert filled.town[5] in ("Ghent", "Lier", "Mol")
    there = houses.notna()
    for column in houses:
        same = filled[column][there[column]].tolist()
        assert same == houses[column][there[column]].tolist(), column


def test_samples_have_the_columns_and_types_of_the_table(run, houses):
    assert run("sample", "run", "--sampler", "normal", "--output", "new.csv").status == 0
    new = pd.read_csv("new.csv")
    assert list(new) == list(houses)[1:]
    assert new.shape == (64, 5)
    assert new.price.dtype == new.rooms.dtype == np.int64
    assert new.garden.dtype == bool
    assert set(new.town) <= {"Ghent", "Lier", "Mol"}
    assert houses.price.min() <= new.price.min() < new.price.max() <= houses.price.max()
    assert len(set(new["size"])) > 50  # drawn, not the mean


def test_new_data_that_are_unlike_training_are_refused(run, houses):
    houses.assign(town="Aalst").to_csv("other.csv", index=False)
    result = run("encode", "run", "--data", "other.csv")
    refused(result, "other.csv holds 'Aalst' in row 1, column 'town'")
    houses.drop(columns="price").to_csv("other.csv", index=False)
    refused(run("encode", "run", "--data", "other.csv"), "no column 'price'")
    houses.assign(id="twice").to_csv("other.csv", index=False)
    refused(run("encode", "run", "--data", "other.csv"), "rows 1 and 2 have the same id 'twice'")
    refused(run("encode", "run", "--output", "codes.txt"), "must end in .csv, .tsv, .parquet")


def test_splits_and_labels_of_arrays(hebae, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.random((60, 5)), "x_test": rng.random((20, 5))}
    labels = {"y_train": np.arange(60) % 3, "y_test": np.arange(20) % 3}
    np.savez(tmp_path / "x.npz", **arrays, **labels)
    assert hebae("train", "--data", "x.npz", "--output", "run", *small()).status == 0
    assert hebae("encode", "run").status == 0
    codes = pd.read_csv("codes.csv")
    assert list(codes.split) == ["train"] * 60 + ["test"] * 20
    assert list(codes.label) == [*labels["y_train"], *labels["y_test"]]
    np.save(tmp_path / "new.npy", arrays["x_test"])
    assert hebae("encode", "run", "--data", "new.npy", "--output", "new.csv").status == 0
    new = pd.read_csv(tmp_path / "new.csv")
    assert np.allclose(new.iloc[:, 1:], codes.iloc[60:, 3:], atol=1e-5)
    np.save(tmp_path / "wide.npy", rng.random((20, 6)))
    refused(hebae("encode", "run", "--data", "wide.npy"), "shape (6,)", "(5,)")


def test_counts_of_a_sparse_file(hebae, tmp_path):
    from scipy import sparse

    counts = np.random.default_rng(0).poisson(0.5, (100, 8))
    sparse.save_npz(tmp_path / "counts.npz", sparse.csr_matrix(counts))
    result = hebae("train", "--data", "counts.npz", "--output", "run", *small())
    assert result.status == 0, result.err
    assert "negative_binomial" in (tmp_path / "run" / "config.yaml").read_text()
    assert hebae("sample", "run", "--sampler", "normal", "--output", "new.csv").status == 0
    new = pd.read_csv(tmp_path / "new.csv")
    assert (new.dtypes == np.int64).all()
    assert new.min(axis=None) == 0
    assert load(tmp_path / "new.csv").train.shape == (8,)


def test_a_new_file_is_read_as_that_of_training(hebae, tmp_path):
    anndata = pytest.importorskip("anndata")
    counts = np.random.default_rng(0).poisson(1, (80, 6)).astype(np.float32)
    adata = anndata.AnnData(np.log1p(counts), layers={"counts": counts})
    adata.write_h5ad(tmp_path / "cells.h5ad")
    flags = ["--data", "cells.h5ad", "--layer", "counts", "--likelihood", "poisson"]
    assert hebae("train", *flags, "--output", "run", *small()).status == 0
    assert hebae("encode", "run", "--output", "codes.npy").status == 0
    assert hebae("encode", "run", "--data", "cells.h5ad", "--output", "again.npy").status == 0
    codes = np.load(tmp_path / "codes.npy")
    assert np.array_equal(np.load(tmp_path / "again.npy"), codes)
    model = load_model(tmp_path / "run")
    assert np.allclose(model.transform(str(tmp_path / "cells.h5ad")), codes, atol=1e-6)
