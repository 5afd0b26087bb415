"""Which runs the studies ask for, how they are named, and which of them are shared."""

import itertools
import math

import pytest

from hebae.config import resolve
from hebae.data import catalogue, load
from hebae.errors import HebaeError
from hebae.experiments.metrics import METRICS
from hebae.paper import (
    NAMES,
    ablations,
    choose,
    faces,
    figure1a,
    figure1b,
    figure2,
    figure3,
    figure4,
    rate,
    table,
)
from hebae.paper.budgets import BUDGETS, data_of, planned, unique
from hebae.paper.reproduce import evaluation_settings

SMOKE, SMALL, FULL = (BUDGETS[name] for name in ("smoke", "small", "full"))


def label(**changes):
    return planned("mnist", "hebae", **{"seed": 0, "epochs": 12, **changes}).label


def labels(runs):
    return {run.label for run in runs}


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"epochs": 13},
        {"penalty_weight": 2.0},
        {"latent_dim": 5},
        {"noise": "diagonal"},
        {"batch_size": 64},
        {"data": "mnist-mini"},
    ],
)
def test_every_setting_that_affects_the_result_changes_the_label(changes):
    assert label(**changes)[-8:] != label()[-8:]


@pytest.mark.parametrize(
    "changes", [{"device": "cpu"}, {"data_dir": "/elsewhere"}, {"log_every": 7}]
)
def test_settings_that_do_not_affect_the_result_leave_the_label(changes):
    assert label(**changes) == label()


def test_data_in_a_file_are_known_by_its_name_wherever_it_is():
    assert label(data="/here/faces.npy") == label(data="/there/faces.npy")
    assert label(data="/here/faces.npy").startswith("faces-hebae-k20-lambda1-12epochs-seed0-")


def test_the_number_of_a_setting_is_the_same_however_it_is_written():
    assert label(penalty_weight=1) == label(penalty_weight=1.0)


def test_labels_are_those_of_the_committed_results():
    """A change would orphan the runs of the committed results, which took days."""
    of_table, of_ablations = labels(table.plan(SMALL)), labels(ablations.plan(SMALL))
    assert {
        "mnist-hebae-k20-lambda1-12epochs-seed0-73b839ae",
        "mnist-vae-k20-lambda1-12epochs-seed0-a27ca602",
        "mnist-ae-k20-lambda1-12epochs-seed1-b3aca19c",
    } <= of_table
    assert "mnist-hebae-k20-lambda1-12epochs-seed0-73b839ae" in of_ablations
    weights = labels(figure1b.plan(SMALL))
    assert "celeba-hebae-k64-lambda0.12288-6epochs-seed0-a366d837" in weights


def test_runs_that_two_studies_ask_for_are_one_run():
    first = labels(figure1a.plan(SMALL))
    mnist = {run.label for run in figure2.plan(SMALL) if data_of(run) == "mnist"}
    assert len(mnist | labels(figure4.plan(SMALL))) == 6
    assert mnist | labels(figure4.plan(SMALL)) <= first
    # Seed 0 of HEBAE, VAE and WAE is shared; the AE and two further seeds are new.
    assert len(labels(table.plan(SMALL)) - first) == 3 * 4 - 3
    for study in (rate, ablations):
        own = labels(study.plan(SMALL))
        assert len(own & (first | labels(table.plan(SMALL)))) >= 3


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
def test_the_face_runs_at_the_presets_weight_are_shared(budget):
    shared = labels(figure3.plan(budget))
    assert len(shared) == 3
    assert shared <= labels(figure2.plan(budget)) & labels(figure1b.plan(budget))


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
@pytest.mark.parametrize("name", NAMES)
def test_every_study_asks_for_metrics_and_settings_that_exist(name, budget):
    (study,) = choose([name])
    for run in study.plan(budget):
        evaluation_settings(study, budget, run)
        assert set(study.metrics_of(budget, run)) <= {*METRICS, "all", "fast"}


def test_runs_of_one_architecture_and_method_are_adjacent():
    runs = unique(figure1a.plan(FULL))
    kinds = [(run.settings.method, run.settings.latent_dim) for run in runs]
    assert len(list(itertools.groupby(kinds))) == len(set(kinds))


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


def test_figure_4_has_the_papers_weights():
    weights = {r.settings.method: r.settings.penalty_weight for r in figure4.plan(SMALL)}
    assert weights == {"hebae": 1.0, "vae": 1.0, "wae": 10.0}


def test_the_rate_study_covers_lambda_and_gamma():
    runs = [run.settings for run in rate.plan(SMALL)]
    points = {(s.penalty_weight, s.rate_weight) for s in runs if s.method == "hebae"}
    assert points == set(itertools.product(rate.LAMBDAS, rate.GAMMAS))
    seeds = {s.seed for s in runs if s.penalty_weight == 1 or s.method != "hebae"}
    assert seeds == {0, 1, 2}


def test_the_batches_of_the_ablation_are_larger_than_the_code():
    runs = [run.settings for run in ablations.plan(FULL)]
    sizes = {s.batch_size for s in runs if s.latent_dim == 64 and s.network == "mlp"}
    assert sizes == set(ablations.BATCHES)
    assert min(sizes) > 64


def test_the_released_settings_are_those_of_the_released_code():
    released = [r.settings for r in ablations.plan(FULL) if r.settings.reset_optimizer]
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


def test_all_takes_each_study_once_in_the_papers_order():
    assert [study.name for study in choose(["table", "all"])] == list(NAMES)


def test_an_unknown_study_is_refused_with_a_suggestion():
    with pytest.raises(HebaeError, match=r"no study 'figure1'.*did you mean 'figure1[ab]'"):
        choose(["figure1"])
