"""The estimators as a Python user meets them."""

import copy
import dataclasses
import doctest
import inspect
import pickle

import numpy as np
import pytest
import torch
from command_line import SMALL as SMALL_FLAGS
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import small, uniform
from torch import nn

import hebae
from hebae import HEBAE, VAE, WAE, HebaeError, load
from hebae.config import Settings
from hebae.estimator import ESTIMATORS, NOT_PARAMETERS, Estimator
from hebae.methods import METHODS
from hebae.training.monitor import DivergenceError, find_singular_noise

every_method = pytest.mark.parametrize("cls", ESTIMATORS.values(), ids=ESTIMATORS)
SAMPLERS = ("auto", "normal", "fitted-normal", "mixture")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (150, 1, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def fitted(images):
    return small().fit(images)


# ---- parameters ---------------------------------------------------------------------------------


@every_method
def test_parameters_are_the_settings_of_the_command_line(cls):
    method = METHODS[cls.method]
    assert getattr(hebae, method.class_name) is cls
    options = {name for other in METHODS.values() for name in other.options}
    expected = {*Settings.model_fields} - NOT_PARAMETERS - options | {*method.options}
    parameters = inspect.signature(cls).parameters
    others = {field.name for field in dataclasses.fields(Estimator)}
    assert {*parameters} == expected | others
    defaults = Settings(method=cls.method)
    for name in expected - {"validation_size"}:
        assert parameters[name].default == getattr(defaults, name), name


@every_method
def test_each_parameter_is_documented_in_the_class_itself(cls):
    doc = inspect.getdoc(cls)
    section = doc[doc.index("Parameters\n---") : doc.index("Attributes\n---")]
    for name, parameter in inspect.signature(cls).parameters.items():
        heading = f"\n{name} : "
        assert heading in section
        entry = section.split(heading)[1].split("\n")
        assert repr(parameter.default) in entry[0]
        assert entry[1].startswith("    ")
        assert len(entry[1].split()) > 2, f"{name} is not explained"
    assert "See `" not in doc
    assert max(map(len, doc.splitlines())) <= 110


def test_the_example_in_the_documentation_runs():
    examples = doctest.DocTestFinder(recurse=False).find(HEBAE, globs={})
    assert examples[0].examples
    assert doctest.DocTestRunner().run(examples[0]).failed == 0


@every_method
def test_scikit_learn_can_clone_change_and_pickle_it(cls):
    model = small(cls, adam_beta1=0.5)
    assert clone(model).get_params() == model.get_params()
    assert pickle.loads(pickle.dumps(model)).get_params() == model.get_params()
    assert model.set_params(epochs=7).epochs == 7
    with pytest.raises(ValueError, match="nothing_of_the_kind"):
        model.set_params(nothing_of_the_kind=1)
    with pytest.raises(TypeError, match="nothing_of_the_kind"):
        cls(nothing_of_the_kind=1)


def test_loading_keeps_every_setting(images, tmp_path):
    changes = {"adam_beta1": 0.5, "adam_beta2": 0.9, "reset_optimizer": True, "compile": "off"}
    model = small(**changes, log_every=3, gradient_clip=5.0, validation_size=30).fit(images)
    assert model.settings_.model_dump().items() >= changes.items()
    model.save(tmp_path / "model")
    loaded = hebae.load(tmp_path / "model")
    assert loaded.settings_ == model.settings_
    resolved = {"likelihood": "bernoulli", "learning_rate": 0.003, "drop_last": False}
    assert loaded.get_params() == model.get_params() | resolved
    assert np.array_equal(loaded.fit(images).transform(images), model.transform(images))


# ---- a model ------------------------------------------------------------------------------------


@every_method
def test_shapes_and_ranges_of_everything_a_model_gives(cls, images):
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
        assert 0 <= result.min() <= result.max() <= 1
    assert len(model.history_) == 2
    assert model.n_features_in_ == 64
    for function in (model.transform, model.reconstruct, model.score_samples):
        alone = np.concatenate([function(images[i : i + 1]) for i in (0, 7, 149)])
        # Blocks of other sizes sum in another order: float32 rounding.
        together = function(images)[[0, 7, 149]]
        np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5)


def test_one_seed_and_the_same_examples_give_the_same_model(images):
    floats = images.astype(np.float32) / 255
    expected = small().fit(images).transform(images)
    for X in (floats, floats.astype(np.float64), torch.from_numpy(images)):
        assert np.array_equal(small().fit(X).transform(X), expected)
    assert not np.array_equal(small(random_state=4).fit(images).transform(images), expected)


def test_hebaes_codes_are_whitened():
    """Uncorrelated, of unit variance and mean zero: what the penalty asks for."""
    generator = np.random.default_rng(1)
    hidden = generator.normal(size=(2000, 3)) @ generator.normal(size=(3, 20))
    X = 1 / (1 + np.exp(-hidden))
    model = small(epochs=25, penalty_weight=5.0, learning_rate=3e-3).fit(X)
    Z = model.transform(X).astype(np.float64)
    np.testing.assert_allclose(Z.mean(0), 0, atol=0.15)
    np.testing.assert_allclose(np.cov(Z.T), np.eye(3), atol=0.15)


def test_score_is_the_mean_of_score_samples_in_nats(fitted, images):
    p = fitted.reconstruct(images).astype(np.float64)
    x = images / 255
    expected = (x * np.log(p) + (1 - x) * np.log1p(-p)).sum((1, 2, 3))
    np.testing.assert_allclose(fitted.score_samples(images), expected, rtol=1e-4)
    assert fitted.score(images) == pytest.approx(expected.mean(), rel=1e-4)


def test_interpolation_ends_at_the_reconstructions(fitted, images):
    line = fitted.interpolate(images[0], images[1], steps=5)
    np.testing.assert_allclose(line[[0, -1]], fitted.reconstruct(images[:2]), atol=1e-6)


@every_method
def test_a_model_is_the_same_once_saved_or_pickled(cls, images, tmp_path):
    model = small(cls).fit(images)
    model.save(tmp_path / "before")  # with the codes alone
    expected = {name: model.sample(4, sampler=name, random_state=1) for name in SAMPLERS}
    model.save(tmp_path / "after")
    names = {path.name for path in (tmp_path / "after").iterdir()}
    assert names == {"model.safetensors", "config.json", "samplers.safetensors"}
    for other in (
        hebae.load(tmp_path / "before"),
        hebae.load(tmp_path / "after"),
        pickle.loads(pickle.dumps(model)),
    ):
        assert type(other) is cls
        assert np.array_equal(other.transform(images), model.transform(images))
        for name in SAMPLERS:
            assert np.array_equal(other.sample(4, sampler=name, random_state=1), expected[name])
    assert any("sampler auto chose" in note for note in model.notes_)
    z = np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32)
    assert np.array_equal(expected["normal"], model.inverse_transform(z))
    assert not np.array_equal(expected["normal"], expected["fitted-normal"])
    assert not hasattr(clone(model), "codes_")


def test_samples_come_from_a_learned_prior_unless_another_sampler_is_named(images):
    model = small(prior="mixture", prior_components=3, penalty_weight=1.0, rate_weight=1.0)
    model.fit(images).codes_ = None  # a fit of a sampler would need them
    expected = model.inverse_transform(model.module_.prior.sample(6, 2))
    for sampler in ("auto", "prior"):
        assert np.array_equal(model.sample(6, sampler=sampler, random_state=2), expected)
    z = np.random.default_rng(2).standard_normal((6, 3), dtype=np.float32)
    normal = model.sample(6, sampler="normal", random_state=2)
    assert np.array_equal(normal, model.inverse_transform(z))


def test_fitted_samplers_are_those_of_the_last_fit(images):
    model = small().fit(images)
    model.sample()
    assert model.samplers_ is not None
    assert model.fit(images[:100]).samplers_ is None


def test_a_model_without_its_codes_samples_from_the_normal_alone(images, tmp_path):
    small().fit(images).save(tmp_path / "model")
    (tmp_path / "model" / "samplers.safetensors").unlink()
    loaded = hebae.load(tmp_path / "model")
    assert loaded.sample(3, sampler="normal").shape == (3, 1, 8, 8)
    with pytest.raises(HebaeError, match=r"saved from Python.*normal"):
        loaded.sample(3)
    loaded.save(tmp_path / "copy")
    assert hebae.load(tmp_path / "copy").sample(3, sampler="normal").shape == (3, 1, 8, 8)


def test_a_run_of_the_command_line_loads_as_an_estimator(hebae, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    flags = ("--method", "vae", "--validation-size", 0, "--output", "run")
    assert hebae("train", "--data", "images.npy", *SMALL_FLAGS, *flags).status == 0
    loaded = load("run")
    assert isinstance(loaded, VAE)
    assert len(loaded.history_) == 2
    assert np.array_equal(loaded.transform(images), small(VAE).fit(images).transform(images))
    with pytest.raises(HebaeError, match="another folder"):
        loaded.save("run")
    assert loaded.sample(4).shape == (4, 1, 8, 8)  # fitted to the data of the run
    (tmp_path / "images.npy").unlink()
    (tmp_path / "run" / "samplers.safetensors").unlink()  # fitted for the pictures of report.html
    assert loaded.sample(4).shape == (4, 1, 8, 8)
    assert load("run").sample(4, sampler="normal").shape == (4, 1, 8, 8)
    with pytest.raises(HebaeError, match=r"images\.npy.*normal"):
        load("run").sample(4)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_networks_of_ones_own(images, tmp_path, precision):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6)).double()
    decoder = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)))
    before = encoder[1].weight.clone()
    model = small(encoder=encoder, decoder=decoder, precision=precision).fit(images)
    assert torch.equal(encoder[1].weight, before)  # copies are trained
    assert encoder[1].weight.dtype == torch.float64
    model.save(tmp_path / "own")
    with pytest.raises(HebaeError, match="your own encoder"):
        hebae.load(tmp_path / "own")
    loaded = hebae.load(tmp_path / "own", encoder=encoder, decoder=decoder)
    assert loaded.module_.population_mean.dtype == getattr(torch, f"float{precision[:2]}")
    assert np.array_equal(loaded.transform(images), model.transform(images))
    with pytest.raises(HebaeError, match=r"encoder maps .* \(2, 6\)"):
        small(VAE, encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 5))).fit(images)
    with pytest.raises(HebaeError, match=r"encoder.*nn\.Module"):
        small(encoder=lambda x: x).fit(images)


def test_an_encoder_narrower_than_the_codes_is_an_error_of_training(images):
    """The codes lie in a plane, so that Sigma is singular. Where rounding gives it a Cholesky
    factor, the model can be used; otherwise drawing z would fail after the training."""
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Linear(2, 6))
    for seed in range(3):
        try:
            model = small(encoder=narrow, random_state=seed).fit(images)
        except DivergenceError as error:
            assert "an encoder whose layers are as wide" in str(error)
        else:
            assert np.isfinite(model.sample(4)).all()
    with torch.no_grad():
        narrow[-1].weight[0].zero_()  # Sigma has a row of zeros
        narrow[-1].bias[0].zero_()
    with pytest.raises(DivergenceError, match=r"step 1: .* an encoder whose layers are as wide"):
        small(encoder=narrow).fit(images)


def test_a_population_without_a_cholesky_factor_is_found(fitted):
    module = copy.deepcopy(fitted.module_)
    assert find_singular_noise(module, 3) is None
    module.population_covariance.fill_(1.0)
    assert "step 3" in str(find_singular_noise(module, 3))
    assert "codes of the training examples is singular" in str(find_singular_noise(module, 3))
    module.objective = dataclasses.replace(module.objective, noise="diagonal")
    assert find_singular_noise(module, 3) is None


def test_a_dataloader_of_ones_own(images):
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


def test_a_dataloader_is_checked_as_an_array_is(images):
    def loader(count, size):
        return torch.utils.data.DataLoader(torch.from_numpy(images[:count]), batch_size=size)

    model = small(epochs=1).fit(loader(52, 50))  # the last two join the others
    assert model.history_[-1]["step"] == 1
    assert small(drop_last=True).fit(loader(52, 50)).history_[-1]["step"] == 2
    with pytest.raises(HebaeError, match=r"batch 1 .* 3 examples.*at least 4.*batch_size"):
        small().fit(loader(9, 3))
    with pytest.raises(HebaeError, match="validation"):
        small(validation_size=5).fit(loader(52, 26))


def test_it_works_in_pipelines_and_searches(images):
    X = images.reshape(150, 64) / 255.0
    Z = make_pipeline(StandardScaler(), small(WAE)).fit_transform(X)
    assert Z.shape == (150, 3)
    assert list(small().fit(X).get_feature_names_out()) == ["hebae0", "hebae1", "hebae2"]
    search = GridSearchCV(small(VAE), {"penalty_weight": [0.1, 1.0]}, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_values_outside_the_unit_interval_take_a_gaussian_and_it_is_said():
    X = np.random.default_rng(0).normal(size=(200, 5))
    model = small().fit(X)
    assert model.settings_.likelihood == "gaussian_columns"
    assert any("gaussian_columns" in note for note in model.notes_)
    residual = (model.reconstruct(X) - X).std(axis=0)
    stored = model.module_.likelihood.log_scale.exp().numpy()
    assert stored == pytest.approx(residual, rel=0.2)  # the scales were found, not guessed


@pytest.mark.parametrize(
    ("X", "changes", "message"),
    [
        (np.zeros((40, 5)) + np.nan, {}, "missing"),
        (uniform(40, 5) * 3, {"likelihood": "bernoulli"}, r"\[0, 1\]"),
        (uniform(20, 5), {"batch_size": 3}, "batch_size.* 3"),
        (uniform(40, 8, 8, 3), {}, "transpose"),
        (uniform(40, 5), {"penalty_weight": -1.0}, "penalty_weight"),
        (uniform(40, 5), {"early_stopping": 2}, "validation"),
    ],
)
def test_what_could_not_work_is_refused_before_training(X, changes, message):
    with pytest.raises(HebaeError, match=message) as refused:
        small(**changes).fit(X)
    assert "--" not in str(refused.value)  # it names parameters, not flags


def test_misuse_of_a_model_is_refused(fitted, images, tmp_path):
    with pytest.raises(NotFittedError):
        small().transform(images)
    few = small().fit(images[:15])
    for message, call in {
        r"\(64,\).*\(1, 8, 8\)": lambda: fitted.transform(images.reshape(150, 64)),
        r"\[0, 1\]": lambda: fitted.transform(images.astype(np.float32)),
        r"\(n, 3\)": lambda: fitted.inverse_transform(np.zeros((2, 4))),
        "finite": lambda: fitted.inverse_transform(np.full((2, 3), np.nan)),
        "Z.*numbers": lambda: fitted.inverse_transform("codes"),
        "steps is 1.*at least 2": lambda: fitted.interpolate(images[0], images[1], steps=1),
        "count is 0.*at least 1": lambda: fitted.sample(0),
        r"count is 2\.0.*whole number": lambda: fitted.sample(2.0),
        r"count is True.*whole number": lambda: fitted.sample(True),
        "random_state is -1": lambda: fitted.sample(1, random_state=-1),
        "random_state is 4294967296": lambda: fitted.sample(1, random_state=2**32),
        "random_state is 'one'": lambda: fitted.sample(1, random_state="one"),
        "no sampler 'gan'.*mixture.*auto": lambda: fitted.sample(4, sampler="gan"),
        "15 codes.*at least 20.*'normal'": lambda: few.sample(4),
        "no folder": lambda: hebae.load(tmp_path / "nothing"),
    }.items():
        with pytest.raises(HebaeError, match=message):
            call()
