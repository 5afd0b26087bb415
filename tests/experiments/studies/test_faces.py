"""Studies of faces: shared runs, lambda in its units, and figures that are not published."""

import numpy as np
import pytest
from finished import finished

from hebae.config import resolve
from hebae.data import load
from hebae.data.celeba import CELEBA
from hebae.experiments.reproduction import faces, pictures
from hebae.experiments.reproduction.budgets import BUDGETS
from hebae.experiments.studies import figure1b, figure2, figure3

SMALL, FULL, SMOKE = (BUDGETS[name] for name in ("small", "full", "smoke"))


def names(runs):
    return {run.name for run in runs}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
def test_the_runs_at_the_presets_weight_are_shared(budget):
    of_figure3 = names(figure3.plan(budget))
    assert of_figure3 <= names(figure2.plan(budget)) & names(figure1b.plan(budget))
    assert len(of_figure3) == 3


def test_the_weights_are_those_of_the_preset():
    for method in faces.METHODS:
        assert resolve("celeba", None, {"method": method}).penalty_weight == faces.PRESET[method]


def test_full_is_the_preset_and_small_narrows_it():
    full, small = (faces.face_run(budget, "hebae").settings for budget in (FULL, SMALL))
    assert full == resolve("celeba", None, {"method": "hebae", "seed": 0})
    assert small.encoder_widths == (16, 32, 64, 128)
    assert (small.latent_dim, small.batch_size) == (64, 100)


def test_lambda_is_told_in_each_unit():
    """12.288 against the sum is 0.001 against the mean; 2,000 is 100 against 0.05 of the sum."""
    hebae, wae = (faces.weights(faces.face_run(FULL, m)) for m in ("hebae", "wae"))
    assert list(hebae.values()) == [12.288, pytest.approx(0.001), None]
    assert list(wae.values()) == [2000.0, pytest.approx(2000 / 12288), 100.0]


def test_the_shapes_by_which_the_mean_is_taken_are_those_of_the_data():
    assert faces.SHAPES["made-faces"] == load("made-faces").shape
    assert faces.SHAPES["celeba"] == CELEBA.describe(()).shape


def test_a_subset_is_not_called_celeba():
    for budget in (SMALL, FULL):
        assert any("are not CelebA" in note for note in faces.notes(budget))
    assert any("nothing here is of CelebA" in note for note in faces.notes(SMOKE))


def made(folder, distance, diverged=(), space="random-convolutional"):
    """Figure 1b's runs, with distances by method and ratio to the preset's weight."""
    runs = []
    for planned in figure1b.plan(SMALL):
        method = planned.settings.method
        ratio = round(planned.settings.penalty_weight / faces.PRESET[method], 4)
        value = distance(method, ratio)
        measured = {
            "frechet": {
                f"frechet[{space}@9/5], N(0, I), the paper's": value,
                f"frechet[{space}@9/5], mixture": 10 - value,
                f"frechet[{space}@5/5], reconstructions": 0.5,
                "frechet": {"undefined": "no weights: put a copy at /home/me, or name it."},
            }
        }
        gone = method in diverged or (method, ratio) in diverged
        runs.append(finished(planned, folder, [], {} if gone else measured, "NaN" if gone else ""))
    return runs


def test_figure_1b_compares_distances_at_the_presets_weight_and_their_range(tmp_path):
    # HEBAE is the best where lambda is the preset's, and depends on it the most.
    def distance(method, ratio):
        return 1.0 + 5 * (ratio != 1) if method == "hebae" else 2.0 + (ratio == 100)

    found = figure1b.conclude(SMALL, made(tmp_path, distance))
    claims = {claim.key: claim for claim in found.claims}
    assert claims["samples"].verdict == "holds"
    assert claims["samples"].numbers == {"hebae": 1.0, "vae": 2.0, "wae": 2.0}
    assert claims["robust"].verdict == "does not hold"
    assert claims["robust"].numbers == {"hebae": 6.0, "vae": 1.5, "wae": 1.5}
    assert claims["samples-mixture"].verdict == "does not hold"
    assert "A Frechet distance is undefined: no weights." in found.notes
    (drawing,) = found.drawings
    assert not drawing.shows_faces
    assert [axes.get_title(loc="left") for axes in drawing.figure.axes] == [
        *figure1b.KINDS.values()
    ]
    (table,) = found.tables
    assert len(table.rows) == 5 * 3
    assert table.rows[7].values[0] == pytest.approx(0.001)


def test_figure_1b_tells_nothing_of_a_method_that_diverged(tmp_path):
    found = figure1b.conclude(SMALL, made(tmp_path, lambda m, r: 1.0, diverged=("hebae",)))
    assert {claim.verdict for claim in found.claims} == {"cannot be told"}


def test_a_method_that_diverged_at_some_lambda_does_not_depend_the_least_on_it(tmp_path):
    found = figure1b.conclude(SMALL, made(tmp_path, lambda m, r: 1.0, diverged=[("hebae", 0.01)]))
    claims = {claim.key: claim for claim in found.claims}
    assert claims["robust"].verdict == "does not hold"
    assert claims["robust"].numbers == {"hebae": None, "vae": 1.0, "wae": 1.0}
    assert claims["samples"].numbers["hebae"] == 1.0


def test_figure_1b_without_any_distance_draws_nothing(tmp_path):
    found = figure1b.conclude(SMALL, made(tmp_path, lambda m, r: 1.0, diverged=faces.METHODS))
    assert found.drawings == []
    assert {claim.verdict for claim in found.claims} == {"cannot be told"}


class Pictures:
    """In place of an evaluated run: images, and a model that is not there."""

    model = None

    def some(self, count):
        return np.zeros((count, 3, 8, 8), np.uint8)

    def shown(self, way, count):
        return np.zeros((count, 3, 8, 8), np.float32)


def test_figure_3_shows_faces_of_celeba_where_they_are_not_published(tmp_path, monkeypatch):
    runs = []
    for error, planned in enumerate(figure3.plan(SMALL), 1):
        found = {"reconstruction": {"squared error": float(error)}}
        run = finished(planned, tmp_path, measurements=found)
        runs.append(type(run)(run.planned, run.path, run.kept, Pictures))
    monkeypatch.setattr(pictures.inference, "reconstruct", lambda model, x: x / np.float32(255))
    monkeypatch.setattr(
        pictures.inference,
        "interpolate",
        lambda model, a, b, steps: np.zeros((len(a), steps, 3, 8, 8), np.float32),
    )
    found = figure3.conclude(SMALL, runs)
    assert found.claims[0].verdict == "holds"
    assert [d.shows_faces for d in found.drawings] == [True] * 3
    assert [d.name.removeprefix("figure3-") for d in found.drawings] == [
        "reconstructions",
        "interpolations",
        "samples",
    ]
