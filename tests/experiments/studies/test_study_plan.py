"""The same settings, the same folder: what a run's name depends on, and what a budget holds."""

import itertools
import math

import pytest

from hebae.errors import HebaeError
from hebae.experiments.reproduction.budgets import BUDGETS
from hebae.experiments.reproduction.plan import planned, unique
from hebae.experiments.studies import (
    NAMES,
    ablations,
    choose,
    figure1a,
    figure2,
    figure4,
    rate,
    table,
)
from hebae.experiments.studies.ablations.decisions import BATCHES

SMALL = BUDGETS["small"]


def run(**changes):
    return planned("mnist", "hebae", **{"seed": 0, "epochs": 12, **changes})


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
def test_whatever_bears_on_the_result_changes_the_name(changes):
    assert run(**changes).fingerprint != run().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "cpu"},
        {"data_dir": "/elsewhere"},
        {"log_every": 7},
        {"checkpoint_every": 3},
        {"tensorboard": True},
    ],
)
def test_where_and_how_a_run_is_told_does_not(changes):
    assert run(**changes).name == run().name


def test_data_in_a_folder_are_known_by_their_name_wherever_they_lie():
    first, second = run(data="/here/faces.npy"), run(data="/there/faces.npy")
    assert first.name == second.name
    assert first.name.startswith("faces-hebae-k20-lambda1-12epochs-seed0-")


def test_numbers_are_the_same_however_they_are_written():
    assert run(penalty_weight=1).name == run(penalty_weight=1.0).name


def test_names_stay_as_they_are():
    """Runs of days lie under these names: a change of settings, preset or hash would lose them."""
    names = {r.name for r in unique(table.plan(SMALL))}
    assert "mnist-hebae-k20-lambda1-12epochs-seed0-73b839ae" in names
    assert "mnist-vae-k20-lambda1-12epochs-seed0-a27ca602" in names
    assert "mnist-ae-k20-lambda1-12epochs-seed1-b3aca19c" in names


def test_runs_that_two_studies_ask_for_are_one_run():
    everything = [r for study in (figure1a, figure2, figure4, table) for r in study.plan(SMALL)]
    shared = unique(everything)
    assert len({r.name for r in shared}) == len(shared) < len(everything)
    first = {r.name for r in figure1a.plan(SMALL)}
    of_mnist = {r.name for r in (*figure2.plan(SMALL), *figure4.plan(SMALL)) if r.data == "mnist"}
    assert len(of_mnist) == 6
    assert of_mnist <= first
    # Seed 0 of HEBAE, VAE and WAE is there already; two more seeds, and the AE, are not.
    assert len({r.name for r in table.plan(SMALL)} - first) == 3 * 4 - 3


def test_runs_of_one_architecture_and_method_stand_together():
    kinds = [
        (r.settings.method, r.settings.latent_dim) for r in unique(figure1a.plan(BUDGETS["full"]))
    ]
    assert len(list(itertools.groupby(kinds))) == len(set(kinds))


def test_figure_1a_spans_the_papers_range_of_lambda():
    steps = [math.log10(b / a) for a, b in itertools.pairwise(figure1a.LAMBDAS)]
    assert (figure1a.LAMBDAS[0], figure1a.LAMBDAS[-1], len(steps)) == (1e-3, 1e3, 8)
    assert steps == pytest.approx([0.75] * 8, abs=1e-3)
    small = figure1a.plan(SMALL)
    for method in ("hebae", "vae"):
        cells = {
            (r.settings.latent_dim, r.settings.penalty_weight)
            for r in small
            if r.settings.method == method
        }
        assert cells == set(itertools.product((2, 5, 10, 20), figure1a.LAMBDAS))


def test_full_has_every_method_at_every_point_with_five_seeds():
    assert len(figure1a.plan(BUDGETS["full"])) == 3 * 4 * 9 * 5
    assert all(r.settings.epochs == 100 for r in figure1a.plan(BUDGETS["full"]))


def test_all_takes_each_study_once_in_the_papers_order():
    assert [study.name for study in choose(["table", "all"])] == list(NAMES)


def test_an_unknown_study_is_refused_with_what_is_near():
    with pytest.raises(HebaeError, match=r"no study 'figure1'.*did you mean 'figure1[ab]'"):
        choose(["figure1"])


def test_the_runs_of_mnist_that_figure_2_asks_for_stay_as_they_are():
    names = {r.name for r in figure2.plan(SMALL)}
    assert "mnist-hebae-k20-lambda1-12epochs-seed0-73b839ae" in names
    assert "mnist-vae-k20-lambda1-12epochs-seed0-a27ca602" in names


@pytest.mark.parametrize("study", [rate, ablations])
def test_the_papers_models_are_shared_with_the_studies_of_the_paper(study):
    there = {r.name for r in (*figure1a.plan(SMALL), *table.plan(SMALL), *figure2.plan(SMALL))}
    own = {r.name for r in study.plan(SMALL)}
    assert len(own & there) >= 3
    assert own - there


def test_the_rate_study_goes_over_lambda_and_gamma_beside_vae_and_wae():
    runs = unique(rate.plan(SMALL))
    cells = {
        (r.settings.penalty_weight, r.settings.rate_weight)
        for r in runs
        if r.settings.method == "hebae"
    }
    assert cells == set(itertools.product(rate.LAMBDAS, rate.GAMMAS))
    seeds = len(SMALL.table_seeds)
    assert len(runs) == len(cells) + (seeds - 1) * len(rate.GAMMAS) + 2 * seeds
    assert {(1.0, 0.0), (1.0, 1.0)} <= cells  # the paper, and an ELBO


def test_the_batches_of_the_ablation_leave_sigma_its_rank():
    runs = [r.settings for r in ablations.plan(BUDGETS["full"]) if r.settings.latent_dim == 64]
    sizes = {s.batch_size for s in runs if s.network == "mlp"}
    assert sizes == set(BATCHES)
    assert min(sizes) > 64
    assert max(sizes) == 1000


def test_the_released_settings_are_those_of_the_released_code():
    released = [r.settings for r in ablations.plan(BUDGETS["full"]) if r.settings.reset_optimizer]
    epochs = {s.method: s.epochs for s in released}
    assert epochs == {"hebae": 100, "vae": 70, "wae": 70}
    assert {s.noise for s in released if s.method == "hebae"} == {"diagonal"}
    assert {r.settings.epochs for r in ablations.plan(SMALL) if r.data == "mnist"} == {12}
