"""AnnData, .h5ad and the files of 10x: sparse counts with barcodes and genes."""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmwrite

from hebae import data
from hebae.data.examples import Examples
from hebae.data.writing import write_examples
from hebae.errors import HebaeError, MissingPackage

anndata = pytest.importorskip("anndata")
h5py = pytest.importorskip("h5py")
REAL = Path(os.environ.get("HEBAE_DATA_DIR", "")) / "singlecell"
COUNTS = np.random.default_rng(0).poisson(0.5, (12, 5))
KINDS = ["B", "T", "T"] * 4


@pytest.fixture
def adata():
    made = anndata.AnnData(sparse.csc_matrix(COUNTS))
    made.obs_names = [f"cell{i}" for i in range(12)]
    made.var_names = [f"gene{i}" for i in range(5)]
    made.obs["kind"] = KINDS
    made.obs["batch"] = [1, 2] * 6
    made.raw = made.copy()
    made.layers["logged"] = np.log1p(COUNTS)
    return made


def load(source, **options):
    return data.load(source, validation_size=0, **options).train


def test_counts_stay_sparse_with_cells_and_genes(adata, tmp_path):
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    for source in (adata, path, anndata.read_h5ad(path, backed="r"), adata[:, :]):
        examples = load(source, label_column="kind")
        assert examples.is_sparse
        assert np.array_equal(examples.values.toarray(), COUNTS)
        assert examples.pixels is False
        assert examples.ids[:2].tolist() == ["cell0", "cell1"]
        assert examples.feature_names == tuple(adata.var_names)
        assert [examples.label_names[label] for label in examples.labels] == KINDS
        assert load(source, label_column="batch").labels.tolist() == [1, 2] * 6
        assert np.allclose(load(source, layer="logged").values, np.log1p(COUNTS))
        assert np.array_equal(load(source, layer="raw").values.toarray(), COUNTS)


def test_genes_of_training_are_found_by_name(adata):
    wanted = ("gene3", "gene1")
    examples = load(adata, feature_names=wanted)
    assert np.array_equal(examples.values.toarray(), COUNTS[:, [3, 1]])
    assert examples.feature_names == wanted
    with pytest.raises(HebaeError, match=r"no gene 'gene9'.*1 of 2 genes are missing"):
        load(adata, feature_names=("gene1", "gene9"))


def test_what_is_wrong_is_named(adata, tmp_path):
    for options, words in (
        ({"layer": "counts"}, "--layer is 'counts', but .* has the layers logged"),
        ({"label_column": "type"}, "--label-column names 'type'.*obs are kind, batch"),
        ({"id_column": "kind"}, "--id-column is 'kind', but"),
    ):
        with pytest.raises(HebaeError, match=words):
            load(adata, **options)
    del adata.layers["logged"]
    adata.raw = None
    with pytest.raises(HebaeError, match=r"'counts', but .* has no layers: leave it out to use X"):
        load(adata, layer="counts")
    adata.obs_names = ["a", "b", "a", *map(str, range(9))]
    with pytest.raises(HebaeError, match="rows 1 and 3 have the same id 'a'"):
        load(adata)
    adata.obs_names_make_unique()
    adata.X = sparse.csr_matrix(np.where(COUNTS[3, 2] == COUNTS, np.nan, COUNTS))
    with pytest.raises(HebaeError, match=r"holds nan in row 1, column 'gene"):
        load(adata)
    path = tmp_path / "broken.h5ad"
    path.write_bytes(b"nonsense")
    with pytest.raises(HebaeError, match=r"broken\.h5ad cannot be read"):
        load(path)


def test_without_anndata_the_message_names_the_extra(adata, tmp_path, monkeypatch):
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingPackage, match=r"pip install 'hebae\[anndata\]'"):
        load(path)
    with pytest.raises(MissingPackage, match=r"pip install 'hebae\[anndata\]'"):
        write_examples(Examples(np.ones((2, 2), np.float32)), tmp_path / "x.h5ad")


def write_10x(folder, symbols=("A", "B", "B", "C", "CD4"), compressed=True):
    folder.mkdir()
    mmwrite(folder / "matrix.mtx", sparse.coo_matrix(COUNTS.T))
    kinds = ["Gene Expression"] * 4 + ["Antibody Capture"]
    features = [f"ENS{i}\t{s}\t{k}" for i, (s, k) in enumerate(zip(symbols, kinds, strict=True))]
    (folder / "features.tsv").write_text("\n".join(features))
    (folder / "barcodes.tsv").write_text("\n".join(f"bar{i}" for i in range(12)))
    if compressed:
        for path in list(folder.iterdir()):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    return folder


@pytest.mark.parametrize("compressed", [False, True])
def test_a_folder_of_10x(tmp_path, compressed):
    dataset = data.load(write_10x(tmp_path / "out", compressed=compressed), validation_size=0)
    examples = dataset.train
    assert examples.is_sparse
    assert np.array_equal(examples.values.toarray(), COUNTS[:, :4])
    assert examples.feature_names == ("A", "B (ENS1)", "B (ENS2)", "C")
    assert examples.ids[11] == "bar11"
    assert dataset.notes == ("1 features that are not gene expression were left out.",)


def test_a_folder_of_10x_with_other_numbers_is_refused(tmp_path):
    folder = write_10x(tmp_path / "out", compressed=False)
    (folder / "barcodes.tsv").write_text("bar0")
    with pytest.raises(HebaeError, match="matrix of 5 x 12, but 5 features and 1 barcodes"):
        load(folder)
    content = (folder / "matrix.mtx").read_bytes()
    for damaged, reason in (
        (content[:-4] + b"\0" + content[-4:], "zero byte"),
        (content[:-1] + b"\v", "last line is incomplete"),
    ):
        (folder / "matrix.mtx").write_bytes(damaged)
        with pytest.raises(HebaeError, match=rf"matrix\.mtx cannot be read .*{reason}"):
            load(folder)
    (folder / "matrix.mtx").write_bytes(content)
    (folder / "barcodes.tsv").unlink()
    with pytest.raises(HebaeError, match=r"no barcodes\.tsv beside its matrix\.mtx"):
        load(folder)
    (folder / "features.tsv").unlink()
    with pytest.raises(HebaeError, match=r"no features\.tsv or genes\.tsv"):
        load(folder)


def test_genes_of_one_name_are_refused():
    adata = pytest.importorskip("anndata").AnnData(sparse.csr_matrix(COUNTS))
    adata.var_names = ["G0", "G1", "G1", "G3", "G4"]
    with pytest.raises(HebaeError, match=r"2 genes called 'G1': .*var_names_make_unique"):
        load(adata)


def test_an_h5_file_of_10x(tmp_path):
    path = tmp_path / "filtered.h5"
    matrix = sparse.csc_matrix(COUNTS.T)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = matrix.shape
        group["barcodes"] = [f"bar{i}".encode() for i in range(12)]
        group["features/id"] = [f"ENS{i}".encode() for i in range(5)]
        group["features/name"] = [f"G{i}".encode() for i in range(5)]
        group["features/feature_type"] = [b"Gene Expression"] * 5
    examples = load(path)
    assert np.array_equal(examples.values.toarray(), COUNTS)
    assert examples.feature_names == ("G0", "G1", "G2", "G3", "G4")
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(HebaeError, match=r"filtered\.h5 cannot be read"):
        load(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real files")
def test_real_files():
    kang = load(REAL / "kang_pbmc_ctrl_stim.h5ad", label_column="group_id")
    assert kang.values.shape == (1556, 1267)
    assert np.bincount(kang.labels).tolist() == [750, 806]
    reduced = load(REAL / "10x_pbmc68k_reduced.h5ad")  # as anndata wrote before version 0.7
    assert not reduced.is_sparse
    assert not reduced.summary.whole
    assert load(REAL / "10x_pbmc68k_reduced.h5ad", layer="raw").is_sparse
    assert load(REAL / "10x_v3").values.shape == (1107, 507)
