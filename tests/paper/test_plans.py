"""Which runs the studies ask for, how they are named, and which of them are shared."""

import itertools
import math

import pytest

from hebae.config import resolve
from hebae.data import catalogue, load
from hebae.errors import HebaeError
from hebae.experiments.metrics import METRICS
from hebae.paper import NAMES, ablations, choose, faces, figure1a, rate
from hebae.paper.budgets import BUDGETS, planned
from hebae.paper.reproduce import evaluation_settings

SMOKE, SMALL, FULL = (BUDGETS[name] for name in ("smoke", "small", "full"))
STUDIES = {study.name: study for study in choose(["all"])}


def label(**changes):
    return planned("mnist", "hebae", **{"seed": 0, "epochs": 12, **changes}).label


def labels(name, budget=SMALL):
    return {run.label for run in STUDIES[name].plan(budget)}


def test_a_label_names_all_that_affects_the_result_and_nothing_else():
    others = [{"seed": 1}, {"epochs": 13}, {"penalty_weight": 2.0}, {"noise": "diagonal"}]
    others.append({"data": "a.npy"})
    assert len({label()[-8:], *(label(**changes)[-8:] for changes in others)}) == 6
    for changes in ({"device": "cpu"}, {"data_dir": "/elsewhere"}, {"log_every": 7}):
        assert label(**changes) == label()
    # Data in a file are known by its name, wherever it is.
    assert label(data="/here/faces.npy") == label(data="/there/faces.npy")
    assert label(data="/here/faces.npy").startswith("faces-hebae-k20-lambda1-12epochs-seed0-")


def test_labels_are_those_of_the_committed_results():
    """A change would orphan the runs of the committed results, which took days."""
    assert {
        "mnist-hebae-k20-lambda1-12epochs-seed0-73b839ae",
        "mnist-vae-k20-lambda1-12epochs-seed0-a27ca602",
        "mnist-ae-k20-lambda1-12epochs-seed1-b3aca19c",
    } <= labels("table")
    assert "mnist-hebae-k20-lambda1-12epochs-seed0-73b839ae" in labels("ablations")
    assert "celeba-hebae-k64-lambda0.12288-6epochs-seed0-4541d4af" in labels("figure1b")


def test_runs_that_two_studies_ask_for_are_one_run():
    mnist = {one for one in labels("figure2") if one.startswith("mnist")} | labels("figure4")
    assert len(mnist) == 6
    assert mnist <= labels("figure1a")
    # Seed 0 of HEBAE, VAE and WAE is shared; the AE and two further seeds are new.
    assert len(labels("table") - labels("figure1a")) == 3 * 4 - 3
    for name in ("rate", "ablations"):
        assert len(labels(name) & (labels("figure1a") | labels("table"))) >= 3
    for budget in BUDGETS.values():
        assert len(labels("figure3", budget)) == 3
        assert labels("figure3", budget) <= labels("figure2", budget) & labels("figure1b", budget)


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_every_study_asks_for_metrics_and_settings_that_exist(study, budget, monkeypatch):
    monkeypatch.setattr(faces, "inception_problem", lambda: "not asked for in a test")
    monkeypatch.setattr(faces, "efficientnet_problem", lambda: "not asked for in a test")
    for run in study.plan(budget):
        evaluation_settings(study, budget, run)
        assert set(study.metrics_of(budget, run)) <= {*METRICS, "all", "fast"}


def test_figure_1a_covers_the_papers_range_of_lambda():
    steps = [math.log10(b / a) for a, b in itertools.pairwise(figure1a.LAMBDAS)]
    assert (figure1a.LAMBDAS[0], figure1a.LAMBDAS[-1]) == (1e-3, 1e3)
    assert steps == pytest.approx([0.75] * 8, abs=1e-3)
    grid = set(itertools.product((2, 5, 10, 20), figure1a.LAMBDAS))
    for method in ("hebae", "vae"):
        runs = [run.settings for run in figure1a.plan(SMALL) if run.settings.method == method]
        assert {(s.latent_dim, s.penalty_weight) for s in runs} == grid
    assert len(figure1a.plan(FULL)) == 3 * len(grid) * 5
    assert {run.settings.epochs for run in figure1a.plan(FULL)} == {100}


def test_the_rate_study_covers_lambda_and_gamma():
    runs = [run.settings for run in rate.plan(SMALL)]
    points = {(s.penalty_weight, s.rate_weight) for s in runs if s.method == "hebae"}
    assert points == set(itertools.product(rate.LAMBDAS, rate.GAMMAS))
    assert {s.seed for s in runs if s.penalty_weight == 1} == {0, 1, 2}


def test_the_ablations_cover_batches_larger_than_the_code_and_the_released_settings():
    runs = [run.settings for run in ablations.plan(FULL)]
    sizes = {s.batch_size for s in runs if s.latent_dim == 64 and s.network == "mlp"}
    assert sizes == set(ablations.BATCHES)
    assert min(sizes) > 64
    released = [s for s in runs if s.reset_optimizer]
    assert {s.method: s.epochs for s in released} == {"hebae": 100, "vae": 70, "wae": 70}
    assert {s.noise for s in released if s.method == "hebae"} == {"diagonal"}


def test_faces_have_the_presets_weights_networks_and_shapes():
    for method, weight in faces.WEIGHTS.items():
        assert resolve("celeba", None, {"method": method}).penalty_weight == weight
    full, small = (faces.face_run(budget, "hebae").settings for budget in (FULL, SMALL))
    assert full == resolve("celeba", None, {"method": "hebae", "seed": 0})
    assert small.encoder_widths == (16, 32, 64, 128)
    synthetic = faces.face_run(SMOKE, "hebae").settings.data
    assert faces.SHAPES[synthetic] == load(synthetic).shape
    (celeba,) = [source for source in catalogue() if source.name == "celeba"]
    assert faces.SHAPES["celeba"] == celeba.shape


def test_studies_are_chosen_by_name_in_the_papers_order():
    assert [study.name for study in choose(["table", "all"])] == list(NAMES)
    with pytest.raises(HebaeError, match=r"'figure1'.*did you mean 'figure1[ab]'.*all, figure1a"):
        choose(["figure1"])
