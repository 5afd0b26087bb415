"""The study of real data, on small synthetic files in the layout of the real ones."""

import gzip
import importlib
import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hebae.data import load
from hebae.data.genotypes import write_bed
from hebae.data.schema import Variants
from hebae.evaluation.features import classifier
from hebae.likelihoods.base import EMPTY

STUDY = Path(__file__).parents[1] / "tools" / "data_study"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of tools/data_study by its name."""
    monkeypatch.syspath_prepend(str(STUDY))
    return importlib.import_module


def test_counts_of_a_log_gaussian_have_probabilities_that_add_up_to_one(study: Any) -> None:
    kang = study("kang")
    likelihood = kang.CountsOfLogGaussian(0.7, shape=(2,)).eval()
    likelihood.size = 5.0
    # The other column fills each cell up to 60 counts.
    x = torch.arange(60.0)[:, None] * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 60.0])
    output = torch.tensor([0.4, 0.1]).expand(60, 2)
    total = (-likelihood.losses(output, x, EMPTY)[:, 0]).exp().sum()
    edge = math.log1p(59.5 * 5 / 60)
    beyond = 1 - torch.special.ndtr(torch.tensor((edge - 0.4) / 0.7))
    assert float(total + beyond) == pytest.approx(1, abs=1e-5)


def people(folder: Path, rng: np.random.Generator) -> None:
    """Genotypes of 60 people of three populations, in pairs of relatives."""
    folder.mkdir()
    names = np.repeat(["YRI", "CEU", "CHB"], 20)
    loci = 50
    shares = {name: rng.uniform(0.1, 0.9, loci) for name in set(names)}
    calls = np.array([rng.binomial(2, shares[name]) for name in names]).astype(float)
    calls[rng.random(calls.shape) < 0.02] = np.nan
    alleles = (np.full(loci, allele) for allele in "AC")
    variants = Variants(np.full(loci, "1"), np.arange(loci) * 1000 + 1, *alleles)
    ids = [f"person{i}" for i in range(60)]
    hapmap = folder / "HM3_thinned_autosomal_overlap.bed"
    write_bed(hapmap, calls, ids, [f"rs{i}" for i in range(loci)], variants)
    table = {"FID": [f"family{i // 2}" for i in range(60)], "IID": ids, "population": names}
    path = folder / "relationships_w_pops_121708.txt"
    pd.DataFrame(table).to_csv(path, sep="\t", index=False)


def cells(folder: Path, rng: np.random.Generator) -> None:
    """Counts of 120 cells of two types, half of them with interferon."""
    anndata = pytest.importorskip("anndata")
    from scipy import sparse

    folder.mkdir()
    types = np.tile(["CD4 T cells", "B cells"], 60)
    groups = np.repeat(["ctrl", "stim"], 60)
    means = np.full((120, 30), 2.0)
    means[types == "B cells", :10] = 8
    means[groups == "stim", 0] = 30
    obs = pd.DataFrame({"cluster_id": types, "group_id": groups}, [f"cell{i}" for i in range(120)])
    var = pd.DataFrame(index=["ISG15", *(f"gene{i}" for i in range(29))])
    counts = sparse.csr_matrix(rng.poisson(means).astype(np.int32))
    path = folder / "kang_pbmc_ctrl_stim.h5ad"
    anndata.AnnData(counts, obs=obs, var=var).write_h5ad(path)


def census(folder: Path, names: list[str], rng: np.random.Generator) -> None:
    """Rows in the format of Adult, whose test file has a first line of its own."""
    folder.mkdir()
    for file, end, rows in (("adult.data.gz", "", 400), ("adult.test.gz", ".", 200)):
        frame = pd.DataFrame({name: rng.choice(["a", "b", "?"], rows) for name in names})
        for name in ("age", "fnlwgt", "hours_per_week"):
            frame[name] = rng.integers(17, 90, rows)
        for name in ("capital_gain", "capital_loss"):
            frame[name] = rng.choice([0, 0, 0, *range(100, 130)], rows)
        frame["education"] = np.tile(["a", "b"], rows // 2)
        frame["education_num"] = np.tile([1.0, 2.0], rows // 2)
        frame["income"] = np.where(frame["age"] > 50, "<=50K", ">50K")
        frame["income"] += end
        text = frame.to_csv(index=False, header=False)
        path = folder / file
        head = "|1x3 Cross validator\n" if end else ""
        with gzip.open(path, "wt", encoding="utf-8") as opened:
            opened.write(head + text.replace(",", ", "))


@pytest.mark.long
def test_the_study_measures_every_part_and_resumes(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    rng = np.random.default_rng(0)
    people(tmp_path / "genotypes", rng)
    cells(tmp_path / "singlecell", rng)
    census(tmp_path / "tables", study("adult").NAMES, rng)
    monkeypatch.setenv("HEBAE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(classifier, "STEPS", 30)
    small = load("mnist-mini", validation_size=0, train_size=1000)
    monkeypatch.setattr(study("digits"), "dataset", lambda: small)
    monkeypatch.setattr(study("adult"), "NEAREST", 50)
    run = runpy.run_path(str(STUDY / "__main__.py"))["main"]
    arguments = [str(tmp_path / "work"), "--output", str(tmp_path / "page"), "--quick"]
    run([*arguments, "--seeds", "0"])
    parts = ("hapmap", "kang", "adult", "digits")
    found = {part: json.loads((tmp_path / "page" / f"{part}.json").read_text()) for part in parts}
    for part in parts:
        assert (tmp_path / "page" / f"{part}.png").stat().st_size > 10_000
        assert "tools/data_study" in found[part]["provenance"]["command"]
    results = {part: content["seeds"]["0"] for part, content in found.items()}
    assert results["hapmap"]["k = 2"]["PCA"]["accuracy"] > 0.9  # populations differ strongly
    assert results["kang"]["PCA"]["types"] > 0.9
    assert results["adult"]["real rows"]["auc"] > 0.95  # income follows from the age
    assert len(results["digits"]["HEBAE"]["by_digit"]) == 10

    capsys.readouterr()
    run([*arguments, "--seeds", "0", "--parts", "hapmap"])
    assert capsys.readouterr().out == "wrote hapmap\n"  # nothing is trained or measured again
