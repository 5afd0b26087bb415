"""Conditional models p(x | z, c): what the condition changes, and where it comes from."""

import json

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import hebae
from hebae import evaluation, inference
from hebae.building import build
from hebae.by_condition import ByCondition, by_name, categories_of, fit_by_condition
from hebae.config import Settings
from hebae.data import Examples
from hebae.data.schema import Column
from hebae.errors import HebaeError
from hebae.estimator import ESTIMATORS
from hebae.training.stack import Stack

pd = pytest.importorskip("pandas")

TINY = {"encoder_widths": (8,), "decoder_widths": (8,), "latent_dim": 2, "random_state": 0}
SHIFT = np.array([3, -3, 0, 0])
"""What batch b adds to an example."""


@pytest.fixture(scope="module")
def frame():
    """Rows of which those of batch b are shifted."""
    rng = np.random.default_rng(0)
    batch = rng.choice(["a", "b"], 320)
    rows = rng.normal(size=(320, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(320, 4))
    rows += np.where(batch == "b", 1, 0)[:, None] * SHIFT
    return pd.DataFrame(rows, columns=list("wxyz")).assign(batch=batch)


@pytest.fixture(scope="module")
def conditional(frame):
    widths = {"encoder_widths": (32,), "decoder_widths": (32,)}
    model = hebae.VAE(epochs=60, batch_size=32, **TINY | widths)
    return model.fit(frame, condition="batch")


def test_a_counterfactual_shifts_by_the_effect_of_the_batch(frame, conditional):
    as_a, as_b = (conditional.reconstruct(frame, condition={"batch": c}) for c in "ab")
    np.testing.assert_allclose((as_b - as_a).mean(0), SHIFT, atol=0.4)
    own = conditional.reconstruct(frame)
    expected = np.where((frame.batch == "a").to_numpy()[:, None], as_a, as_b)
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_codes_of_a_conditional_model_do_not_tell_the_batch(frame, conditional):
    features = frame.drop(columns="batch")
    plain = clone(conditional).fit(features)
    mixing = [
        evaluation.batch_mixing(codes, frame.batch)
        for codes in (conditional.transform(frame), plain.transform(features))
    ]
    assert mixing[0].value > 0.85
    assert mixing[1].value < 0.6
    # What only the decoder is given is not needed for codes.
    np.testing.assert_array_equal(conditional.transform(features), conditional.transform(frame))


@pytest.mark.parametrize(
    "given", ["b", {"batch": "b"}, ["b"] * 50, pd.DataFrame({"batch": ["b"] * 50, "other": 1})]
)
def test_samples_are_of_the_condition_asked_for(given, conditional):
    options = {"sampler": "normal", "random_state": 0}
    drawn = conditional.sample(50, condition=given, **options)
    np.testing.assert_array_equal(drawn, conditional.sample(50, condition="b", **options))
    other = conditional.sample(50, condition="a", **options)
    np.testing.assert_allclose((drawn - other).mean(0), SHIFT, atol=0.4)


def test_without_a_condition_samples_have_the_training_frequencies(frame, conditional):
    drawn = conditional.sample(4000, sampler="normal", random_state=0)
    assert any("drawn with their frequencies" in note for note in conditional.notes_)
    learned = conditional.module_.seen.conditions
    rows = inference.draw_conditions(conditional.module_, 4000, 0)
    assert abs(rows.mean() - (frame.batch == "b").mean()) < 0.03
    assert dict(zip(learned.rows, learned.counts, strict=True)) == {
        (0.0,): (frame.batch == "a").sum(),
        (1.0,): (frame.batch == "b").sum(),
    }
    z = conditional.module_.prior.sample(4000, 0)
    np.testing.assert_array_equal(drawn, inference.decode(conditional.module_, z, rows))


@pytest.mark.parametrize("method", ESTIMATORS)
def test_every_method_takes_conditions(method, frame):
    rows = frame[:96]
    age = np.linspace(20, 60, 96)
    for condition_encoder in (False, True):
        model = ESTIMATORS[method](epochs=1, condition_encoder=condition_encoder, **TINY)
        both = {"batch": rows.batch, "age": age}
        codes = model.fit_transform(rows[list("wxyz")], condition=both)
        assert np.isfinite(codes).all()
        samples = [
            model.sample(4, condition={"batch": batch, "age": at}, sampler="normal", random_state=0)
            for batch, at in (("a", 30), ("b", 30), ("a", 50))
        ]
        assert np.abs(samples[1] - samples[0]).max() > 1e-3
        assert np.abs(samples[2] - samples[0]).max() > 1e-3


@pytest.mark.parametrize("condition_encoder", [False, True])
def test_convolutional_networks_take_conditions(condition_encoder):
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), np.uint8)
    digits = np.arange(64) % 3
    model = hebae.VAE(
        network="convolutional",
        condition_encoder=condition_encoder,
        **TINY | {"encoder_widths": (4, 4), "decoder_widths": (4, 4)},
        epochs=1,
    ).fit(images, condition=digits)
    first, second = (model.sample(2, condition=d, sampler="normal", random_state=0) for d in (0, 1))
    assert first.shape == (2, 1, 16, 16) and (first != second).any()
    codes = [model.transform(images, condition=d) for d in (0, 1)]
    assert (codes[0] != codes[1]).any() == condition_encoder


def test_networks_of_your_own_are_given_the_condition(frame):
    seen = []

    class Decoder(nn.Linear):
        def forward(self, z):
            seen.append(z[:, 2:].detach().clone())
            return super().forward(z)

    model = hebae.AE(**TINY, epochs=1, decoder=Decoder(4, 4)).fit(frame, condition="batch")
    model.inverse_transform(np.zeros((2, 2)), condition=["a", "b"])
    assert seen[-1].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(HebaeError, match=r"decoder cannot take examples of shape \(4,\)"):
        hebae.AE(**TINY, epochs=1, decoder=nn.Linear(2, 4)).fit(frame, condition="batch")


def test_members_of_a_stack_compute_what_each_computes_alone(frame):
    examples = hebae.data.load(frame, condition="batch", validation_size=0).train
    settings = Settings.checked(
        {
            "method": "vae",
            "latent_dim": 2,
            "likelihood": "gaussian",
            "condition_encoder": True,
            "encoder_widths": (8,),
            "decoder_widths": (8,),
        }
    )
    models = [build(settings, (4,), seed=s, seen=examples.seen).double() for s in (0, 1)]
    x, condition = (
        torch.from_numpy(part[:32]).double() for part in (examples.values, examples.conditions)
    )
    noise = {
        "posterior": torch.randn(2, 32, 2, generator=torch.Generator().manual_seed(0)).double()
    }
    stack = Stack(models).double()
    together = stack(x.expand(2, 32, 4), noise, condition.expand(2, 32, 1))
    for member, model in enumerate(models):
        alone = model(x, {"posterior": noise["posterior"][member]}, condition)
        assert torch.allclose(together.loss[member], alone.loss, rtol=1e-10)


def test_estimators_follow_scikit_learn(frame):
    features, batch = frame[list("wxyz")].to_numpy(), frame.batch.to_numpy()
    model = hebae.VAE(epochs=1, condition_encoder=True, **TINY)
    assert clone(model).get_params()["condition_encoder"]
    codes = make_pipeline(StandardScaler(), model).fit_transform(features, vae__condition=batch)
    assert codes.shape == (320, 2)
    with sklearn.config_context(enable_metadata_routing=True):
        asks = clone(model).set_fit_request(condition=True).set_score_request(condition=True)
        search = GridSearchCV(asks, {"epochs": [1, 2]}, cv=2).fit(features, condition=batch)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    names = model.fit(frame, condition="batch").feature_names_in_
    assert list(names) == list("wxyz") and model.n_features_in_ == 4
    with pytest.raises(ValueError, match="same order"):
        model.transform(frame[["x", "w", "y", "z", "batch"]])


def test_a_saved_model_is_the_same(frame, conditional, tmp_path):
    conditional.save(tmp_path / "saved")
    again = hebae.load(tmp_path / "saved")
    assert again.module_.seen == conditional.module_.seen
    np.testing.assert_array_equal(again.score_samples(frame), conditional.score_samples(frame))
    options = {"condition": "a", "sampler": "normal", "random_state": 0}
    np.testing.assert_array_equal(again.sample(3, **options), conditional.sample(3, **options))


def test_examples_with_other_codes_of_the_categories_mean_the_same(frame, conditional):
    both = hebae.data.load(frame, condition="batch", validation_size=0).train
    rows = np.flatnonzero(frame.batch == "b")[:20]
    here = Examples(
        both.values[rows],
        feature_names=both.feature_names,
        conditions=np.zeros((20, 1), np.float32),
        condition_columns=(Column("batch", "category", ("b",), "text"),),
    )
    expected = conditional.score_samples(frame.iloc[rows])
    np.testing.assert_allclose(conditional.score_samples(here), expected, rtol=1e-5)
    error = evaluation.reconstruction_error(conditional, here)
    assert abs(error.negative_log_likelihood.value + expected.mean()) < 1e-3
    elsewhere = Column("batch", "category", ("c",), "text")
    strange = Examples(here.values, conditions=here.conditions, condition_columns=(elsewhere,))
    with pytest.raises(HebaeError, match="'batch' is 'c'"):
        evaluation.elbo(conditional, strange)


@pytest.fixture(scope="module")
def telling(frame):
    """A model whose codes tell the batch: three of 320 rows are of a rare one."""
    labs = frame.batch.where(frame.index >= 3, "rare")
    shifted = frame[list("wxyz")] + 5 * (labs == "b").to_numpy()[:, None]
    return hebae.AE(epochs=20, **TINY).fit(shifted, condition={"batch": labs}), labs.to_numpy()


def test_codes_are_drawn_from_those_of_the_condition(telling, tmp_path):
    model, labs = telling
    asked = np.array([[0], [1]] * 500)  # a, b, a, b, ...
    given = categories_of(model.module_, model.conditions_)
    found = fit_by_condition(model.codes_, given, asked, ("fitted-normal",), {})
    drawn = ByCondition(model.module_.prior, by_name(found, "fitted-normal"), asked).sample(1000, 0)
    for position, lab in enumerate("ab"):
        own, codes = drawn[position::2], model.codes_[labs == lab]
        spread = codes.std(0)
        np.testing.assert_allclose(own.mean(0), codes.mean(0), atol=0.2 * spread.max())
        np.testing.assert_allclose(own.std(0), spread, rtol=0.2)
    # The same, decoded, is what sample returns: in both orders, saved and loaded.
    options = {"sampler": "fitted-normal", "random_state": 0}
    samples = model.sample(40, condition=["a", "b"] * 20, **options)
    model.save(tmp_path / "model")
    again = hebae.load(tmp_path / "model")
    assert set(again._by_condition) >= {(0,), (1,)}
    again.codes_ = None  # fitted samplers need no codes
    np.testing.assert_array_equal(again.sample(40, condition=["a", "b"] * 20, **options), samples)
    assert not np.allclose(samples[::2].mean(0), samples[1::2].mean(0), atol=1)


def test_a_rare_condition_draws_from_all_codes_and_says_so(telling):
    model, _ = telling
    options = {"sampler": "fitted-normal", "random_state": 0}
    drawn = model.sample(30, condition="rare", **options)
    z = model.samplers_["fitted-normal"].sample(30, 0)
    conditions = np.full((30, 1), 2, np.float32)
    np.testing.assert_array_equal(drawn, inference.decode(model.module_, z, conditions))
    assert any("Too few training examples" in n and "batch=rare" in n for n in model.notes_)


def test_methods_without_a_rate_say_that_codes_may_tell_the_condition(frame, conditional):
    assert not any("has no rate" in note for note in conditional.notes_)
    for options, says in (({}, True), ({"rate_weight": 1}, False)):
        model = hebae.HEBAE(epochs=1, **options, **TINY).fit(frame, condition="batch")
        found = [note for note in model.notes_ if "use rate_weight 1" in note]
        assert bool(found) == says


def test_altered_conditions_of_a_saved_model_are_refused(conditional, tmp_path):
    conditional.save(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text())
    for name, value in (("mean", []), ("counts", [1]), ("columns", 3)):
        altered = config["seen"]["conditions"] | {name: value}
        path.write_text(json.dumps(config | {"seen": config["seen"] | {"conditions": altered}}))
        with pytest.raises(HebaeError, match=r"cannot read the model|altered"):
            hebae.load(tmp_path / "saved")


def test_warm_start_goes_on_with_the_conditions_of_the_first_fit(frame):
    model = hebae.VAE(epochs=1, warm_start=True, **TINY)
    ages = np.linspace(20, 60, 320)
    features = frame[list("wxyz")]
    model.fit(features, condition={"age": ages})
    first = model.module_.seen
    model.fit(features[:160], condition={"age": ages[:160]})
    assert model.module_.seen == first and model.history_[-1]["epoch"] == 2
    with pytest.raises(HebaeError, match="model that has conditions; give condition"):
        model.fit(features)


def test_held_out_examples_have_conditions_too(frame):
    train, held_out = frame[:240], frame[240:]
    model = hebae.VAE(epochs=1, **TINY).fit(train, validation=held_out, condition="batch")
    columns = [part[list("wxyz")] for part in (train, held_out)]
    same = clone(model).fit(
        columns[0],
        validation=columns[1],
        condition=train.batch,
        validation_condition=held_out.batch,
    )
    assert model.history_[0]["held_out"] == same.history_[0]["held_out"]
    with pytest.raises(HebaeError, match="validation examples have none"):
        clone(model).fit(columns[0], validation=columns[1], condition=train.batch)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("c", "condition 'batch' is 'c', but the categories seen in training are a, b"),
        (["a", "c", "b", "a", "a"], "is 'c' in row 2"),
        ({"bath": "a"}, "conditioned on batch, but 'bath' was given"),
        (["a", "b"], "2 values for 5 examples"),
        ([None] * 5, "no value in row 1"),
        ({}, "'batch' is missing"),
    ],
)
def test_conditions_that_the_model_does_not_know_are_refused(given, message, conditional):
    with pytest.raises(HebaeError, match=message):
        conditional.sample(5, condition=given)


def test_what_needs_a_condition_says_so(frame, conditional):
    features = frame.drop(columns="batch")
    for call in (conditional.score, conditional.reconstruct, conditional.impute):
        with pytest.raises(HebaeError, match="conditioned on batch, which its decoder needs"):
            call(features)
    with pytest.raises(HebaeError, match="conditioned on batch, which its decoder needs"):
        conditional.inverse_transform(np.zeros((1, 2)))
    plain = hebae.AE(epochs=1, **TINY).fit(features)
    with pytest.raises(HebaeError, match="fitted without"):
        plain.sample(2, condition="a")
    with pytest.raises(HebaeError, match="fitted without"):
        plain.transform(features, condition="a")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("stim", "names 'stim', but The data frame has no such column"),
        (["a"] * 319, "319 values for 320 examples"),
        ({"batch": ["a"] * 320}, "batch is the same for all training examples"),
        ({"id": [f"cell{i}" for i in range(320)]}, "320 different values in 320 rows"),
        ({"age": [np.nan] + [1.5] * 319}, "no value in row 1"),
        ({"age": [np.inf] + [1.5] * 319}, "inf in row 1, which is not a number"),
        (np.zeros((320, 2)), r"has shape \(320, 2\)"),
    ],
)
def test_conditions_that_cannot_be_learned_are_refused(given, message, frame):
    with pytest.raises(HebaeError, match=message):
        hebae.VAE(epochs=1, **TINY).fit(frame.drop(columns="batch"), condition=given)


def test_a_data_loader_a_vamp_prior_and_an_encoder_without_conditions_are_refused(frame):
    features = frame[list("wxyz")].to_numpy(np.float32)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(features)))
    with pytest.raises(HebaeError, match="a DataLoader gives examples without conditions"):
        hebae.VAE(epochs=1, **TINY).fit(loader, condition=frame.batch)
    with pytest.raises(HebaeError, match="condition_encoder gives the encoder conditions"):
        hebae.VAE(epochs=1, condition_encoder=True, **TINY).fit(features)
    vamp = hebae.VAE(epochs=1, prior="vamp", prior_components=5, condition_encoder=True, **TINY)
    with pytest.raises(HebaeError, match="pseudo-inputs, which have no condition"):
        vamp.fit(features, condition=frame.batch)
