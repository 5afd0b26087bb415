"""The commands and snippets of the how-to pages run, on files that are made on the spot."""

import csv
import re
import shlex
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def follow(hebae, tmp_path, monkeypatch):
    """Run the blocks of a page in an empty folder; gives the folder and Python's variables."""
    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)

    def run(page, epochs=2):
        text = (PAGES / page).read_text(encoding="utf-8")
        text = re.sub(r"(--epochs |epochs=)\d+", rf"\g<1>{epochs}", text)
        variables = {}
        for language, block in BLOCK.findall(text):
            if language == "python":
                exec(compile(block, page, "exec"), variables)
                continue
            for line in block.splitlines():
                program, *words = shlex.split(line, comments=True)
                assert program in ("hebae", "pip"), line
                if program == "hebae":
                    result = hebae(*words)
                    assert result.status == 0, (line, result.err)
        return tmp_path, variables

    return run


def test_table(follow, tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    species = rng.integers(0, 3, 120)
    frame = pd.DataFrame(
        {
            "species": np.array(["Adelie", "Chinstrap", "Gentoo"])[species],
            "island": rng.choice(["Biscoe", "Dream"], 120),
            "bill_length_mm": np.round(40 + 5 * species + rng.normal(0, 2, 120), 1),
            "bill_depth_mm": np.round(18 - species + rng.normal(0, 1, 120), 1),
            "flipper_length_mm": (190 + 15 * species + rng.normal(0, 5, 120)).round(),
            "body_mass_g": (3700 + 600 * species + rng.normal(0, 300, 120)).round(),
            "sex": rng.choice(["male", "female"], 120),
            "year": rng.integers(2007, 2010, 120),
        }
    )
    frame.loc[[3, 40], "body_mass_g"] = np.nan
    frame.loc[[5, 50], "sex"] = None
    frame.to_csv(tmp_path / "penguins.csv", index=False)
    folder, variables = follow("tables.md")
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
    assert variables["model"].transform(variables["frame"]).shape == (120, 2)
    assert variables["distances"].shape == (7,)
    assert 0 < np.nanmax(variables["distances"]) <= 1
    assert "distance of columns" in (folder / "evaluation" / "report.html").read_text()
    assert (folder / "evaluation" / "figures" / "marginals.png").stat().st_size > 1000
    assert (folder / "codes.png").stat().st_size > 1000


def test_conditions(follow, tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    lab = rng.choice(["north", "south"], 200)
    values = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 6)) + (lab == "south")[:, None]
    frame = pd.DataFrame(values, columns=[f"m{j}" for j in range(6)])
    frame.assign(lab=lab, age=rng.uniform(20, 60, 200).round(1)).to_csv("cells.csv", index=False)
    folder, variables = follow("conditions.md")
    north, either = (pd.read_csv(folder / name) for name in ("north.csv", "any.csv"))
    assert list(north) == [*frame, "lab", "age"]
    assert set(north.lab) == {"north"} and set(north.age) == {40.0}
    assert set(either.lab) == {"north", "south"}
    assert np.load(folder / "south.npy").shape == (2, 4, 6)
    unmoved = np.abs(variables["effect"][lab == "south"]).max()
    assert unmoved < 1e-5 < np.abs(variables["effect"][lab == "north"]).min(0).max()
    assert variables["images"].shape == (10, 1, 8, 8)
    assert (folder / "digits.png").stat().st_size > 1000


def test_outliers(follow, tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2, 8))

    def rows(n):
        values = rng.normal(size=(n, 2)) @ directions + rng.normal(size=(n, 8)) * 0.3
        return pd.DataFrame(values * 10 + 50, columns=list("abcdefgh"))

    rows(2500).to_csv(tmp_path / "ordinary.csv", index=False)
    new = rows(400)
    new.loc[:4, "c"] += 200  # against the relations of the columns
    new.loc[10:12] = 50 + 10 * (np.array([[9.0, 9.0]]) @ directions)  # far along them
    new.to_csv(tmp_path / "new.csv", index=False)
    folder, variables = follow("outliers.md", epochs=20)
    unusual = variables["unusual"]
    assert set(range(5)) <= set(unusual.index)
    others = unusual.drop(index=[*range(5), *range(10, 13)], errors="ignore")
    assert len(others) < 0.05 * 400
    assert (variables["deviations"].loc[:4].abs().idxmax(axis=1) == "c").all()
    assert set(range(10, 13)) <= set(unusual.index) | set(np.flatnonzero(variables["far"]))
    assert variables["far"].mean() < 0.06
    assert (folder / "scores.png").stat().st_size > 1000


def test_single_cells(follow, tmp_path):
    anndata = pytest.importorskip("anndata")
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 150)
    rates = rng.gamma(1, 1, (2, 40))[kinds] * rng.uniform(0.5, 2, (150, 1))
    adata = anndata.AnnData(csr_matrix(rng.poisson(rates).astype(np.int32)))
    adata.obs_names = [f"cell{i}" for i in range(150)]
    adata.var_names = [f"gene{i}" for i in range(40)]
    adata.obs["cell_type"] = np.array(["B", "T"])[kinds]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    folder, variables = follow("single-cells.md")
    coded = anndata.read_h5ad(folder / "coded.h5ad")
    assert list(coded.obs_names) == list(adata.obs_names)
    assert coded.obsm["X_hebae"].shape == (150, 10)
    assert (coded.X != adata.X).nnz == 0
    generated = anndata.read_h5ad(folder / "generated.h5ad")
    assert list(generated.var_names) == list(adata.var_names)
    assert generated.shape == (200, 40)
    values = np.asarray(generated.to_df())
    assert (values == np.rint(values)).all()
    assert values.min() == 0
    assert variables["adata"].obsm["X_hebae"].shape == (150, 5)
    assert 0 < variables["found"].relation < 1
    assert "library sizes" in (folder / "evaluation" / "report.html").read_text()
    assert (folder / "evaluation" / "figures" / "counts.png").stat().st_size > 1000
    assert (folder / "cells.png").stat().st_size > 1000


def test_genotypes(follow, tmp_path):
    bed_reader = pytest.importorskip("bed_reader")
    rng = np.random.default_rng(0)
    frequencies = rng.uniform(0.1, 0.9, (2, 50))
    population = np.arange(140) // 70
    people = rng.binomial(2, frequencies[population]).astype(np.float32)
    people[rng.random(people.shape) < 0.02] = np.nan
    properties = {
        "iid": [f"person{i}" for i in range(140)],
        "sid": [f"rs{i}" for i in range(50)],
        "chromosome": ["1"] * 50,
        "bp_position": np.arange(50) * 5000 + 100,
        "allele_1": ["A"] * 50,
        "allele_2": ["G"] * 50,
    }
    bed_reader.to_bed(tmp_path / "people.bed", people, properties=properties)
    rows = "".join(f"person{i},{['north', 'south'][p]}\n" for i, p in enumerate(population))
    (tmp_path / "populations.csv").write_text("id,population\n" + rows)
    folder, _ = follow("genotypes.md")
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
        assert generated.shape == (500, 50)
        assert list(generated.sid) == properties["sid"]
        np.testing.assert_array_equal(generated.bp_position, properties["bp_position"])
        values = generated.read()
    assert set(np.unique(values)) == {0, 1, 2}
    table = (folder / "evaluation" / "evaluation.md").read_text()
    for name in ("correlation of allele frequencies", "LD decay", "imputation accuracy"):
        assert name in table
    with (folder / "evaluation" / "evaluation.csv").open(newline="") as file:
        rows = {row["quantity"]: float(row["value"]) for row in csv.DictReader(file)}
    assert rows["PCA overlap: coverage[14/14], training examples"] > 0.75  # not by file order
    assert (folder / "evaluation" / "figures" / "genotypes.png").stat().st_size > 1000
    assert (folder / "map.png").stat().st_size > 1000


def test_folder_of_images(follow, tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "dogs").mkdir()
    for number in range(170):
        size = (*rng.integers(20, 50, 2), 3)
        image = Image.fromarray(rng.integers(0, 256, size, np.uint8))
        image = image if number % 3 else image.convert("L")
        image.save(tmp_path / "photos" / ("cats", "dogs")[number % 2] / f"{number}.png")
    (tmp_path / "photos" / "cats" / "damaged.jpg").write_bytes(b"no image")
    folder, variables = follow("images.md")
    for name in ("reconstructions.png", "samples.png", "more-samples.png"):
        with Image.open(folder / name) as picture:
            assert picture.mode == "RGB" and picture.width > 8 * 32
    with (folder / "codes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ids = variables["photos"].train.ids.tolist()
    assert ids == sorted(ids) and len(ids) == 170
    assert sorted(row["id"] for row in rows) == ids
    assert all(row["id"].startswith(row["label"] + "/") for row in rows)
    assert variables["codes"].shape == (170, 8)
