"""What the studies conclude from numbers that are known."""

import math

import numpy as np
import pytest
from finished import finished

from hebae.experiments.evaluation.metrics import METRICS
from hebae.experiments.reproduction.budgets import BUDGETS
from hebae.experiments.reproduction.deviations import DEVIATIONS
from hebae.experiments.reproduction.measuring import evaluation_settings
from hebae.experiments.studies import NAMES, choose, figure1a, figure2, figure4, table

SMALL = BUDGETS["small"]


def verdicts(findings):
    return {claim.key: claim.verdict for claim in findings.claims}


def test_figure_1a_tells_the_objective_from_the_bounds(tmp_path):
    """As it would be if the objective favoured HEBAE, and the likelihood the VAE."""

    def run(planned):
        s = planned.settings
        lam, hebae = s.penalty_weight, s.method == "hebae"
        objective = -(70 if hebae else 100) - 3 * abs(math.log10(lam)) * (1 if hebae else 4)
        bounds = {"iwae": {"IWAE-500, fitted width": -98.0 - 2 * hebae - 2 * abs(math.log(lam))}}
        if s.method != "wae":
            bounds["elbo"] = {"ELBO": -250.0 if hebae else -101.0 - abs(math.log(lam))}
        return finished(planned, tmp_path, [objective - 9, objective], bounds)

    found = figure1a.conclude(SMALL, [run(planned) for planned in figure1a.plan(SMALL)])
    assert verdicts(found) == {
        "objective": "holds",
        "robust": "holds",
        "elbo": "does not hold",
        "likelihood": "does not hold",
        "robust-likelihood": "does not hold",
    }
    # 72 runs' best, last and ELBO, all 84 of the rest, and two epochs of those at lambda 1.
    by = [r for r in found.records if r["method"] != "wae" and r["quantity"] == "ELBO"]
    assert len(by) == 72
    assert not any(
        r["value"] for r in found.records if r["method"] == "wae" and "ELBO" in r["quantity"]
    )
    (drawing,) = found.drawings
    assert len(drawing.figure.axes) == 16
    assert "not comparable" in drawing.caption


def test_figure_1a_survives_a_divergence(tmp_path):
    plan = figure1a.plan(BUDGETS["smoke"])
    runs = [
        finished(p, tmp_path, diverged="the loss is NaN")
        if p.settings.method == "vae"
        else finished(
            p, tmp_path, [-80.0], {"elbo": {"ELBO": -90.0}, "iwae": {"fitted width": -85.0}}
        )
        for p in plan
    ]
    found = figure1a.conclude(BUDGETS["smoke"], runs)
    assert set(verdicts(found).values()) == {"cannot be told"}


def moments(k, correlation):
    covariance = (1 - correlation) * np.eye(k) + correlation
    return {
        f"mean |correlation| of {name}": {
            "value": correlation,
            "arrays": {"covariance": covariance.tolist()},
        }
        for name in ("mean of q(z|x)", "z")
    }


def test_figure_2_holds_codes_to_mean_field_and_information(tmp_path):
    correlations = {"hebae": 0.02, "vae": 0.15, "wae": 0.04}
    of_faces = {"hebae": 0.09, "vae": 0.15, "wae": 0.04}
    coefficients = {"hebae": 0.087, "vae": 0.045, "wae": 0.088}
    runs = [
        finished(
            planned,
            tmp_path,
            measurements={
                "moments": moments(
                    planned.settings.latent_dim,
                    (correlations if planned.data == "mnist" else of_faces)[
                        planned.settings.method
                    ],
                ),
                "information": {"I(i; z) of 10000 examples": 9.2, "log N, the most that": 9.21},
                "mic": {
                    f"{name}_e{what}": factor * coefficients[planned.settings.method]
                    for name, factor in (("MIC", 1), ("TIC", 100))
                    for what in ("(i, z), mean over dimensions", " of permuted indices")
                },
            },
        )
        for planned in figure2.plan(SMALL)
    ]
    found = figure2.conclude(SMALL, runs)
    assert verdicts(found) == {
        "correlation": "holds",
        "correlation-of-z": "holds",
        "mic": "does not hold",  # the WAE's is the greater
        "tic": "does not hold",
        "celeba-correlation": "does not hold",
        "celeba-correlation-of-z": "does not hold",
        "celeba-mic": "does not hold",
        "celeba-tic": "does not hold",
    }
    assert [d.name for d in found.drawings] == [
        f"figure2-{data}-{what}"
        for data in ("mnist", "celeba")
        for what in ("mean", "z", "information")
    ]
    assert found.claims[0].numbers == correlations
    assert found.claims[4].says.startswith("CelebA: HEBAE's codes correlate the least")
    assert len(found.drawings[3].figure.axes[0].get_images()[0].get_array()) == 64

    without = figure2.conclude(SMALL, [run for run in runs if run.planned.data == "mnist"])
    assert len(without.claims) == 4
    assert any("celeba is left out" in note for note in without.notes)


def test_the_table_states_medians_over_seeds_and_judges_what_was_aimed_at(tmp_path):
    def run(planned):
        s = planned.settings
        elbo = {"ELBO": -103.0 - s.seed, "ELBO's reconstruction": 64.0 + s.seed}
        correlation = {"hebae": 0.019, "vae": 0.09}.get(s.method, 0.03)
        distances = {"N(0, I), the paper's": 14.5, "mixture": 0.7}
        if s.method == "vae":
            distances = {"N(0, I), the paper's": 7.0, "mixture": 1.7}
        measured = {
            "elbo": elbo,
            "moments": {"mean |correlation| of mean of q(z|x)": correlation},
            "frechet": {f"frechet[c@9/9], {way}": d for way, d in distances.items()},
        }
        return finished(planned, tmp_path, measurements=measured)

    found = table.conclude(SMALL, [run(planned) for planned in table.plan(SMALL)])
    assert verdicts(found) == {
        "vae-elbo": "holds",  # 104 at most, and the median is 104
        "hebae-reconstruction": "holds",
        "hebae-correlation": "holds",
        "vae-correlation": "does not hold",
        "samples-normal": "does not hold",
        "samples-mixture": "holds",
    }
    (made,) = found.tables
    assert list(made.columns) == ["HEBAE", "VAE", "WAE-MMD", "AE"]
    assert made.rows[0].values[0] == [-103.0, -104.0, -105.0]


def test_figure_4_is_of_the_papers_weights():
    weights = {r.settings.method: r.settings.penalty_weight for r in figure4.plan(SMALL)}
    assert weights == {"hebae": 1.0, "vae": 1.0, "wae": 10.0}
    assert {r.settings.latent_dim for r in figure4.plan(SMALL)} == {10}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
@pytest.mark.parametrize("name", NAMES)
def test_every_study_asks_for_what_there_is(name, budget):
    (study,) = choose([name])
    assert study.name == name
    assert set(study.deviations) <= set(DEVIATIONS)
    evaluation_settings(study, budget)
    for run in study.plan(budget):
        assert set(study.measures(budget, run)) <= {*METRICS, "all", "fast"}
