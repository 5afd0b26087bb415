"""The estimators as a Python user meets them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import hebae
from hebae import AE, HEBAE, VAE, WAE, HebaeError
from hebae.objectives import OBJECTIVES

CLASSES = (HEBAE, VAE, WAE, AE)
SAMPLERS = ("auto", "normal", "fitted-normal", "mixture")
SMALL = {"latent_dim": 3, "encoder_widths": (16,), "decoder_widths": (16,), "batch_size": 32}


def uniform(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


def small(cls: type = HEBAE, **changes: object) -> hebae.estimator.Estimator:
    return cls(**(SMALL | {"epochs": 2, "random_state": 0, "device": "cpu"} | changes))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (150, 1, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def fitted(images: np.ndarray) -> hebae.estimator.Estimator:
    return small().fit(images)


def test_there_is_an_estimator_for_every_method() -> None:
    from hebae.config import Settings
    from hebae.estimator import ESTIMATORS

    names = set(Settings.model_fields["method"].annotation.__args__)
    assert set(ESTIMATORS) == set(OBJECTIVES) == names


@pytest.mark.parametrize("cls", CLASSES)
def test_defaults_of_parameters_are_those_of_the_settings(cls: type) -> None:
    from hebae.config import Settings

    defaults = Settings().model_dump()
    for name, value in cls().get_params().items():
        if name in defaults and name != "validation_size":
            assert value == defaults[name], name


@pytest.mark.parametrize("cls", CLASSES)
def test_shapes_and_ranges_of_everything_a_model_gives(cls: type, images: np.ndarray) -> None:
    model = small(cls).fit(images)
    Z = model.transform(images)
    assert Z.shape == (150, 3)
    for result, count in (
        (model.inverse_transform(Z[:7]), 7),
        (model.reconstruct(images[:5]), 5),
        (model.sample(9), 9),
        (model.interpolate(images[0], images[1], steps=4), 4),
    ):
        assert result.shape == (count, 1, 8, 8)
        assert result.dtype == np.float32
        assert result.min() >= 0
        assert result.max() <= 1
    assert np.isfinite(model.score(images))
    assert len(model.history_) == 2
    assert model.n_features_in_ == 64


def test_two_fits_with_one_seed_are_bit_identical(images: np.ndarray) -> None:
    first, second, other = (small(random_state=s).fit(images).transform(images) for s in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_bytes_floats_and_tensors_are_the_same_examples(images: np.ndarray) -> None:
    floats = images.astype(np.float32) / 255
    expected = small().fit(images).transform(images)
    for X in (floats, floats.astype(np.float64), torch.from_numpy(images)):
        assert np.array_equal(small().fit(X).transform(X), expected)


@pytest.mark.parametrize("cls", CLASSES)
def test_one_example_gives_the_same_in_any_company(cls: type, images: np.ndarray) -> None:
    model = small(cls).fit(images)
    for function in (model.transform, model.reconstruct, model.score_samples):
        together = function(images)
        alone = np.concatenate([function(images[i : i + 1]) for i in (0, 7, 149)])
        np.testing.assert_allclose(alone, together[[0, 7, 149]], rtol=1e-5, atol=1e-5)


def test_hebaes_codes_are_whitened() -> None:
    """Uncorrelated, of unit variance and mean zero: what the penalty asks for."""
    generator = np.random.default_rng(1)
    hidden = generator.normal(size=(2000, 3)) @ generator.normal(size=(3, 20))
    X = 1 / (1 + np.exp(-hidden))
    model = small(epochs=25, penalty_weight=5.0, learning_rate=3e-3).fit(X)
    Z = model.transform(X).astype(np.float64)
    np.testing.assert_allclose(Z.mean(0), 0, atol=0.15)
    np.testing.assert_allclose(np.cov(Z.T), np.eye(3), atol=0.15)


def test_score_is_the_mean_of_score_samples_in_nats(fitted, images: np.ndarray) -> None:
    p = fitted.reconstruct(images).astype(np.float64)
    x = images / 255
    expected = (x * np.log(p) + (1 - x) * np.log1p(-p)).sum((1, 2, 3))
    np.testing.assert_allclose(fitted.score_samples(images), expected, rtol=1e-4)
    assert fitted.score(images) == pytest.approx(expected.mean(), rel=1e-4)


def test_interpolation_ends_at_the_reconstructions(fitted, images: np.ndarray) -> None:
    line = fitted.interpolate(images[0], images[1], steps=5)
    np.testing.assert_allclose(line[[0, -1]], fitted.reconstruct(images[:2]), atol=1e-6)


@pytest.mark.parametrize("cls", CLASSES)
def test_saved_and_loaded_models_are_equal(cls: type, images: np.ndarray, tmp_path) -> None:
    model = small(cls).fit(images)
    model.save(tmp_path / "model")
    loaded = hebae.load(tmp_path / "model")
    assert type(loaded) is cls
    assert np.array_equal(loaded.transform(images), model.transform(images))
    assert np.array_equal(loaded.sample(4, random_state=1), model.sample(4, random_state=1))
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"model.safetensors", "config.json", "samplers.safetensors"}


@pytest.mark.parametrize("cls", CLASSES)
def test_a_model_samples_the_same_once_saved_pickled_or_both(
    cls: type, images: np.ndarray, tmp_path
) -> None:
    import pickle

    model = small(cls).fit(images)
    model.save(tmp_path / "before")  # with the codes alone
    expected = {name: model.sample(4, sampler=name, random_state=1) for name in SAMPLERS}
    model.save(tmp_path / "after")
    for other in (
        hebae.load(tmp_path / "before"),
        hebae.load(tmp_path / "after"),
        pickle.loads(pickle.dumps(model)),
    ):
        for name in SAMPLERS:
            assert np.array_equal(other.sample(4, sampler=name, random_state=1), expected[name])
    assert any("sampler auto chose" in note for note in model.notes_)
    z = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)
    assert np.array_equal(expected["normal"], model.inverse_transform(z))
    assert not np.array_equal(expected["normal"], expected["fitted-normal"])
    assert not hasattr(clone(model), "codes_")


def test_fitted_samplers_follow_the_last_fit(images: np.ndarray) -> None:
    model = small().fit(images)
    model.sample()
    first = model.samplers_
    model.fit(images[:100])
    assert model.samplers_ is None
    model.sample()
    assert not np.array_equal(model.samplers_["fitted-normal"].mean, first["fitted-normal"].mean)


def test_a_model_without_its_codes_samples_from_the_normal_alone(
    images: np.ndarray, tmp_path
) -> None:
    small().fit(images).save(tmp_path / "model")
    (tmp_path / "model" / "samplers.safetensors").unlink()
    loaded = hebae.load(tmp_path / "model")
    assert loaded.sample(3, sampler="normal").shape == (3, 1, 8, 8)
    with pytest.raises(HebaeError, match=r"without its training codes.*'normal'"):
        loaded.sample(3)
    loaded.save(tmp_path / "copy")
    assert hebae.load(tmp_path / "copy").sample(3, sampler="normal").shape == (3, 1, 8, 8)


def test_a_run_of_the_command_line_loads_as_an_estimator(images: np.ndarray, tmp_path) -> None:
    from hebae.cli import main

    np.save(tmp_path / "images.npy", images)
    flags = "--latent-dim 3 --encoder-widths 16 --decoder-widths 16 --batch-size 32 --epochs 2"
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                *("train", "--data", str(tmp_path / "images.npy"), *flags.split()),
                *("--method", "vae", "--validation-size", "0", "--output", str(tmp_path / "run")),
            ]
        )
    loaded = hebae.load(tmp_path / "run")
    assert isinstance(loaded, VAE)
    assert len(loaded.history_) == 2
    assert np.array_equal(loaded.transform(images), small(VAE).fit(images).transform(images))
    with pytest.raises(HebaeError, match="another folder"):
        loaded.save(tmp_path / "run")
    assert loaded.sample(4).shape == (4, 1, 8, 8)  # fitted to the data of the run
    (tmp_path / "images.npy").unlink()
    assert loaded.sample(4).shape == (4, 1, 8, 8)
    elsewhere = hebae.load(tmp_path / "run")
    assert elsewhere.sample(4, sampler="normal").shape == (4, 1, 8, 8)
    with pytest.raises(HebaeError, match=r"images\.npy.*normal"):
        elsewhere.sample(4)


def test_networks_of_ones_own(images: np.ndarray, tmp_path) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
    decoder = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)))
    before = encoder[1].weight.clone()
    model = small(encoder=encoder, decoder=decoder).fit(images)
    assert torch.equal(encoder[1].weight, before)  # copies are trained
    model.save(tmp_path / "own")
    with pytest.raises(HebaeError, match="encoder of your own"):
        hebae.load(tmp_path / "own")
    loaded = hebae.load(tmp_path / "own", encoder=encoder, decoder=decoder)
    assert np.array_equal(loaded.transform(images), model.transform(images))
    with pytest.raises(HebaeError, match=r"encoder maps .* \(2, 6\)"):
        small(VAE, encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 5))).fit(images)


def test_a_dataloader_of_ones_own(images: np.ndarray) -> None:
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(images), torch.zeros(len(images)))
    loader = torch.utils.data.DataLoader(dataset, batch_size=50, shuffle=True)
    first, second = (small(random_state=1).fit(loader).transform(images) for _ in range(2))
    assert np.array_equal(first, second)
    model = small(random_state=1).fit(loader)
    codes = hebae.inference.encode(model.module_, images).mean
    assert model.codes_.shape == (150, 3)  # gone through once more, in an order of its own
    np.testing.assert_allclose(model.codes_.mean(0), codes.mean(0), atol=0.5)
    assert model.sample(4).shape == (4, 1, 8, 8)
    held_out = small().fit(loader, validation=images).history_[-1]
    assert held_out["held_out_split"] == "validation"


def test_a_dataloader_is_checked_as_an_array_is(images: np.ndarray) -> None:
    def loader(count: int, size: int) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(torch.from_numpy(images[:count]), batch_size=size)

    with pytest.raises(HebaeError, match="last batch"):
        small(latent_dim=3, batch_size=50).fit(loader(52, 50))
    assert small(drop_last=True).fit(loader(52, 50)).history_[-1]["step"] == 2
    with pytest.raises(HebaeError, match="batch_size 3"):
        small().fit(loader(9, 3))
    with pytest.raises(HebaeError, match="validation"):
        small(validation_size=5).fit(loader(52, 26))


def test_double_precision_survives_saving(images: np.ndarray, tmp_path) -> None:
    model = small(precision="64-true").fit(images)
    model.save(tmp_path / "model")
    loaded = hebae.load(tmp_path / "model")
    assert loaded.module_.population_mean.dtype == torch.float64
    assert np.array_equal(loaded.transform(images), model.transform(images))


def test_it_is_a_scikit_learn_estimator(images: np.ndarray) -> None:
    X = images.reshape(150, 64) / 255.0
    model = small(penalty_weight=0.5)
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    Z = make_pipeline(StandardScaler(), small(WAE)).fit_transform(X)
    assert Z.shape == (150, 3)
    frame_names = model.fit(X).get_feature_names_out()
    assert list(frame_names) == ["hebae0", "hebae1", "hebae2"]
    search = GridSearchCV(small(VAE), {"penalty_weight": [0.1, 1.0]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_values_outside_the_unit_interval_take_a_gaussian_and_it_is_said() -> None:
    X = np.random.default_rng(0).normal(size=(200, 5))
    model = small().fit(X)
    assert model.settings_.likelihood == "gaussian"
    assert any("gaussian" in note for note in model.notes_)
    assert any("learning rate" in note for note in model.notes_)
    residual = (model.reconstruct(X) - X).std()
    stored = float(model.module_.likelihood.log_scale.exp())
    assert stored == pytest.approx(residual, rel=0.2)  # the scale was found, not guessed


@pytest.mark.parametrize(
    ("X", "changes", "message"),
    [
        (np.zeros((40, 5)) + np.nan, {}, "not finite|NaN"),
        (uniform(40, 5) * 3, {"likelihood": "bernoulli"}, r"\[0, 1\]"),
        (uniform(20, 5), {"batch_size": 3}, "batch_size 3"),
        (uniform(3, 5), {}, "too few"),
        (uniform(40, 8, 8, 3), {}, "transpose"),
        (uniform(40, 5), {"latent_dim": 0}, "latent_dim"),
        (uniform(40, 5), {"penalty_weight": -1.0}, "penalty_weight"),
        (uniform(40, 5), {"noise": "diagnoal"}, "noise"),
        (uniform(40, 5), {"early_stopping": 2}, "validation"),
        (uniform(40, 5), {"network": "convolutional"}, "mlp"),
    ],
)
def test_what_could_not_work_is_refused_before_training(
    X: np.ndarray, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(HebaeError, match=message):
        small(**changes).fit(X)


def test_misuse_of_a_model_is_refused(fitted, images: np.ndarray, tmp_path) -> None:
    with pytest.raises(NotFittedError):
        small().transform(images)
    with pytest.raises(HebaeError, match=r"\(64,\).*\(1, 8, 8\)"):
        fitted.transform(images.reshape(150, 64))
    with pytest.raises(HebaeError, match=r"\(n, 3\)"):
        fitted.inverse_transform(np.zeros((2, 4)))
    with pytest.raises(HebaeError, match=r"\[0, 1\]"):
        fitted.transform(images.astype(np.float32))
    with pytest.raises(HebaeError, match="finite"):
        fitted.inverse_transform(np.full((2, 3), np.nan))
    with pytest.raises(HebaeError, match="at least 2"):
        fitted.interpolate(images[0], images[1], steps=1)
    with pytest.raises(HebaeError, match="at least 1"):
        fitted.sample(0)
    with pytest.raises(HebaeError, match=r"no sampler 'flow'.*mixture, auto"):
        fitted.sample(4, sampler="flow")
    with pytest.raises(HebaeError, match=r"15 codes.*at least 20.*'normal'"):
        small().fit(images[:15]).sample(4)
    with pytest.raises(HebaeError, match="no folder"):
        hebae.load(tmp_path / "nothing")
