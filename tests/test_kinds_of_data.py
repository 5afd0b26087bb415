"""What numbers mean is decided by the data and said; training and new data must agree."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import hebae
from hebae.data import Examples
from hebae.data.schema import Column
from hebae.errors import HebaeError
from hebae.evaluation.bounds import elbo, iwae
from hebae.training.monitor import DivergenceError


def fitted(X, cls=hebae.VAE, **changes):
    values = {"epochs": 2, "encoder_widths": (16,), "decoder_widths": (16,), "random_state": 0}
    return cls(**{"latent_dim": 2, "batch_size": 25} | values | changes).fit(X)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def genotypes(rng, n=300, d=20):
    """Two populations with other allele frequencies."""
    frequency = rng.random((2, d))
    return rng.binomial(2, frequency[rng.integers(0, 2, n)])


# --- Integers (fault 1) ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32, np.float64])
def test_genotypes_are_never_grey_levels(rng, dtype):
    """Whatever their type, 0, 1 and 2 have a binomial distribution, and the model is the same."""
    X = genotypes(rng)
    model = fitted(X.astype(dtype))
    assert model.settings_.likelihood == "binomial"
    assert any("0, 1 and 2" in note for note in model.notes_)
    same = fitted(X.astype(np.float32))
    np.testing.assert_array_equal(model.transform(X.astype(dtype)), same.transform(X.astype("f")))
    assert model.reconstruct(X.astype(dtype)).max() > 1  # in the units of the data


def test_genotypes_are_reconstructed(rng):
    X = genotypes(rng).astype(np.uint8)
    model = fitted(X, epochs=60)
    assert np.corrcoef(model.reconstruct(X).ravel(), X.ravel())[0, 1] > 0.6


@pytest.mark.parametrize(
    ("X", "likelihood"),
    [
        (np.arange(200).reshape(50, 4) ** 2 // 7 % 2, "bernoulli"),
        (np.arange(200).reshape(50, 4) ** 2 // 7 % 3, "binomial"),
        (np.arange(200).reshape(50, 4) ** 2 // 7 % 5, "negative_binomial"),
        (np.arange(200).reshape(50, 4) + 1, "gaussian_columns"),
        (np.arange(200).reshape(50, 4) - 7, "gaussian_columns"),
    ],
)
def test_integers_are_taken_for_what_they_are(X, likelihood):
    for dtype in (np.int64, np.int16):
        assert fitted(X.astype(dtype), epochs=1).settings_.likelihood == likelihood
    if X.max() < 16 and X.min() >= 0:
        assert fitted(X.astype(np.uint8), epochs=1).settings_.likelihood == likelihood


def test_grey_levels_are_uint8_above_15_unless_the_user_says_otherwise(rng):
    X = rng.integers(0, 40, (100, 6)).astype(np.uint8)
    assert Examples(X).are_pixels
    assert not Examples(X % 16).are_pixels
    assert fitted(X, epochs=1).module_.seen.kind == "grey levels"
    counts = fitted(Examples(X % 30, pixels=False), epochs=1)
    assert counts.module_.seen.kind == "whole numbers"
    assert counts.reconstruct(Examples(X % 30, pixels=False)).max() > 2
    binary = fitted((X[:, :1, None, None] % 2).repeat(4, 2).repeat(4, 3), epochs=1)
    assert binary.settings_.likelihood == "bernoulli"
    assert binary.module_.seen.kind == "whole numbers"


@pytest.mark.parametrize("code", [9, -1, -9])
def test_a_code_for_missing_genotypes_is_asked_for(rng, code):
    X = genotypes(rng)
    X[3, 4] = code
    with pytest.raises(HebaeError, match=rf"0, 1, 2 and {code}.*NaN"):
        fitted(X)


def test_no_message_advises_to_change_what_integers_mean(rng):
    images = rng.integers(0, 256, (20, 1, 8, 8))
    with pytest.raises(HebaeError, match="what the numbers mean: give uint8 for grey levels"):
        fitted(images)
    with pytest.raises(HebaeError, match="float32"):
        fitted(np.full((40, 3), 2**24))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (lambda c: c / 2, "0.5 in row 1, column 2"),
        (lambda c: c - 1, "-1 in row 1, column 1"),
        (lambda c: np.log1p(c), r"0.693147\d* in row 1, column 2"),
    ],
)
def test_counts_must_be_counts(X, message):
    counts = np.arange(120.0).reshape(40, 3)
    with pytest.raises(HebaeError, match=message):
        fitted(X(counts), likelihood="negative_binomial")
    model = fitted(counts, likelihood="poisson", epochs=1)
    with pytest.raises(HebaeError, match=f"X holds {message}"):
        model.transform(X(counts))


# --- Another type than in training (fault 2) ------------------------------------------------------


def test_another_kind_than_that_of_training_is_refused_by_every_method(rng, tmp_path):
    X = rng.integers(0, 17, (60, 6)).astype(np.float32)
    fitted(X).save(tmp_path / "run")
    for model in (fitted(X), hebae.load(tmp_path / "run")):
        for method in (model.transform, model.score, model.reconstruct, model.impute):
            with pytest.raises(HebaeError, match=r"uint8, .* model was trained on floats"):
                method(X.astype(np.uint8))
        with pytest.raises(HebaeError, match="uint8"):
            elbo(model, X.astype(np.uint8))


def test_held_out_examples_are_of_the_kind_of_training(rng):
    X = rng.integers(0, 17, (60, 6)).astype(np.float32)
    for likelihood in ("auto", "gaussian"):
        with pytest.raises(HebaeError, match=r"validation split.*uint8.*trained on floats"):
            hebae.VAE(latent_dim=2, likelihood=likelihood).fit(X, validation=X.astype(np.uint8))
        with pytest.raises(HebaeError, match=r"validation split.*from 0 to 16.*grey levels"):
            hebae.VAE(latent_dim=2, likelihood=likelihood).fit(X.astype(np.uint8), validation=X)


def test_categories_of_an_array_are_those_of_training(rng):
    X = np.stack([rng.integers(0, 3, 60), rng.integers(0, 2, 60)], 1)
    model = fitted(X, likelihood="categorical")
    assert [len(column.categories) for column in model.module_.seen.columns] == [3, 2]
    assert set(np.unique(model.sample(50))) <= {0, 1, 2}
    with pytest.raises(HebaeError, match="holds 2 in row 1, column 2"):
        model.transform(X * 0 + 2)
    with pytest.raises(HebaeError, match="likelihood categorical takes codes"):
        fitted(X / 2, likelihood="categorical")
    with pytest.raises(HebaeError, match="needs the kind of each column"):
        fitted(X, likelihood="columns")


def test_grey_levels_are_not_taken_as_floats_of_another_range(rng):
    X = rng.integers(0, 256, (60, 1, 4, 4)).astype(np.uint8)
    model = fitted(X)
    codes = model.transform(X)
    np.testing.assert_allclose(model.transform(X / np.float32(255)), codes, atol=1e-5)
    dark = X // 20  # the meaning is that of training, not of these numbers
    np.testing.assert_allclose(
        model.transform(dark), model.transform(dark / np.float32(255)), atol=1e-5
    )
    for likelihood in ("auto", "gaussian"):
        with pytest.raises(HebaeError, match="trained on uint8 grey levels"):
            fitted(X, likelihood=likelihood).transform(X.astype(np.float32))


# --- Scales (fault 3) -----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [hebae.HEBAE, hebae.VAE, hebae.AE])
def test_the_scale_of_columns_changes_nothing_but_the_units(rng, cls):
    X = rng.normal(size=(100, 5)).astype(np.float32)
    units = np.array([1e-3, 1, 1e3, 1e5, 1], np.float32)
    plain, scaled = fitted(X, cls), fitted(X * units + 7 * units, cls)
    np.testing.assert_allclose(
        scaled.transform(X * units + 7 * units), plain.transform(X), atol=0.01
    )
    np.testing.assert_allclose(
        scaled.reconstruct(X * units + 7 * units) / units - 7, plain.reconstruct(X), atol=0.01
    )
    assert scaled.sample(10).std(axis=0)[3] > 1e3


def test_unscaled_tables_and_images_train_by_default(rng):
    model = fitted(rng.normal(size=(200, 30)) * 1000, hebae.HEBAE)
    assert np.isfinite(model.score(rng.normal(size=(20, 30)) * 1000))
    images = (rng.random((100, 1, 8, 8)) * 255).astype(np.float32)
    model = fitted(images, hebae.HEBAE, epochs=10)
    assert model.settings_.likelihood == "gaussian"
    assert abs(model.reconstruct(images).mean() - images.mean()) < 10


def test_images_in_minus_1_to_1_are_given_to_the_networks_as_they_are(rng):
    model = fitted(rng.random((50, 1, 4, 4)).astype(np.float32) * 2 - 1)
    assert model.module_.likelihood.filling is None
    assert set(model.module_.likelihood.state_dict()) == {"log_scale"}


def test_a_divergence_names_large_numbers_and_equal_rows(rng):
    X = rng.normal(size=(1000, 3)).astype(np.float32)
    X[0, 1] = 1e12
    with pytest.raises(DivergenceError, match=r"given to the encoder, at position 1"):
        fitted(X, hebae.HEBAE, learning_rate=1e6, epochs=20)
    copies = np.repeat(rng.random((8, 4)), 15, axis=0)
    with pytest.raises(DivergenceError, match="only 8 differ"):
        fitted(copies, hebae.HEBAE, latent_dim=6, learning_rate=1e9, epochs=40)


def test_copies_of_too_few_examples_are_refused_before_training(rng):
    copies = np.repeat(rng.random((3, 4)), 40, axis=0)
    for method, count, message in (
        (hebae.HEBAE, 1, "all training examples of array are equal"),
        (hebae.HEBAE, 3, "array has only 3 different training examples.*latent_dim.*at least 7"),
        (hebae.AE, 1, "all training examples of array are equal"),
    ):
        with pytest.raises(HebaeError, match=message):
            fitted(copies[: 40 * count], method, latent_dim=6)
    assert np.isfinite(fitted(copies, hebae.VAE, latent_dim=6).score(copies))


def test_few_negative_numbers_among_counts_are_named(rng):
    counts = rng.poisson(0.5, (100, 6))
    counts[70, 2] = -3
    with pytest.raises(
        HebaeError, match="holds -3 in row 71, column 3, but its other numbers are counts"
    ):
        fitted(counts)
    assert fitted(counts, likelihood="gaussian_columns").settings_.likelihood == "gaussian_columns"
    assert fitted(counts - 1).settings_.likelihood == "gaussian_columns"  # many: they are meant
    with pytest.raises(HebaeError, match=r"grey levels.*int32"):
        fitted((counts + 20).astype(np.uint8), likelihood="poisson")


# --- The ends of [0, 1] (fault 6) -----------------------------------------------------------------


def test_rounding_does_not_change_the_likelihood(rng):
    X = rng.random((60, 4)).astype(np.float32)
    X[0, 0], X[1, 1] = 1.0000001, -1e-9
    assert fitted(X).settings_.likelihood == "bernoulli"
    assert np.isfinite(fitted(X, likelihood="continuous_bernoulli").score(X))
    X[0, 0] = 1.00001
    with pytest.raises(HebaeError, match=r"to 1\.00001001"):
        fitted(X, likelihood="bernoulli")


def test_new_data_outside_the_range_are_encoded_with_a_warning(rng):
    X = rng.random((60, 4)).astype(np.float32)
    model = fitted(X)
    with pytest.warns(UserWarning, match=r"to 1\.25, outside of \[0, 1\]"):
        codes = model.transform(X * 0 + 1.25)
    assert np.isfinite(codes).all()
    with pytest.warns(UserWarning, match="nearest end"):
        assert np.isfinite(model.score(X * 300))
    with pytest.raises(HebaeError, match=r"\[0, 1\]"):  # a bound is for what the likelihood takes
        elbo(model, X * 3)


@pytest.mark.filterwarnings("ignore:X ranges from")
def test_a_pipeline_with_a_min_max_scaler_can_be_cross_validated(rng):
    X = rng.standard_t(2, size=(90, 4))
    model = hebae.AE(latent_dim=2, epochs=1, encoder_widths=(8,), decoder_widths=(8,))
    scores = cross_val_score(make_pipeline(MinMaxScaler(), model), X, cv=3, error_score="raise")
    assert np.isfinite(scores).all()


# --- Missing, sparse and mixed data through training, storage and bounds --------------------------


def test_missing_numbers_are_imputed_better_than_by_the_mean(rng):
    z = rng.normal(size=(400, 2))
    X = (z @ rng.normal(size=(2, 8)) * 10 + 5).astype(np.float32)
    holes = np.where(rng.random(X.shape) < 0.1, np.nan, X).astype(np.float32)
    model = fitted(holes, hebae.HEBAE, epochs=60, latent_dim=3)
    filled, hole = model.impute(holes), np.isnan(holes)
    np.testing.assert_array_equal(filled[~hole], X[~hole])
    error = np.square(filled - X)[hole].mean()
    assert error < 0.5 * np.square(np.nanmean(holes, 0) - X)[hole].mean()
    masked = Examples(np.nan_to_num(holes), missing=hole)
    np.testing.assert_array_equal(model.transform(masked), model.transform(holes))
    complete = fitted(X)  # learned the means too
    assert np.isfinite(complete.impute(holes)).all()


def test_complete_images_give_no_means_to_fill_with(rng):
    X = rng.random((50, 1, 4, 4)).astype(np.float32)
    model = fitted(X)
    X[0, 0, 0, 0] = np.nan
    with pytest.raises(HebaeError, match="trained on complete images"):
        model.transform(X)
    filled = fitted(X).impute(X)  # a training with missing pixels learns the means
    assert np.isfinite(filled).all()


def table(rng, n=120):
    X = np.stack(
        [rng.normal(size=n) * 50, rng.integers(0, 3, n), rng.integers(0, 2, n), rng.poisson(4, n)],
        1,
    ).astype(np.float32)
    columns = (
        Column("income", "number"),
        Column("colour", "category", ("red", "green", "blue")),
        Column("member", "binary", ("no", "yes")),
        Column("visits", "count"),
    )
    return Examples(np.where(rng.random(X.shape) < 0.1, np.nan, X), columns=columns)


def cases():
    rng = np.random.default_rng(2)
    counts = rng.negative_binomial(1, 0.2, (120, 6)).astype(np.float32)
    with_holes = genotypes(rng, 120, 6).astype(np.float32)
    with_holes[rng.random(with_holes.shape) < 0.1] = np.nan
    return {
        "negative_binomial": Examples(scipy.sparse.csr_array(counts)),
        "zero_inflated_negative_binomial": counts,
        "poisson": counts,
        "binomial": with_holes,
        "gaussian_columns": with_holes * 100,
        "columns": table(rng),
    }


@pytest.mark.parametrize("name", cases())
def test_a_model_of_each_kind_is_stored_and_bounded(name, tmp_path):
    """Stored and read, it gives the same; ELBO <= IWAE; held-out terms are those of the bound."""
    X = cases()[name]
    auto = {} if name in ("negative_binomial", "binomial", "columns") else {"likelihood": name}
    model = fitted(X, hebae.HEBAE, validation_size=40, **auto)
    assert model.settings_.likelihood == name
    assert np.isfinite(model.history_[-1]["held_out"]["objective"])
    model.save(tmp_path / "run")
    again = hebae.load(tmp_path / "run")
    assert again.module_.seen == model.module_.seen
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert np.isfinite(again.impute(X)).all()
    lower, tighter = elbo(model, X), iwae(model, X, samples=50)
    assert lower.value < tighter.value < 0 or name == "gaussian_columns"
    assert lower.bits_per_dimension is not None
    assert model.sample(3).shape == (3, model.n_features_in_)


def test_sparse_and_dense_counts_give_the_same_model():
    counts = np.random.default_rng(0).negative_binomial(1, 0.3, (100, 8)).astype(np.float32)
    dense = fitted(Examples(counts, pixels=False))
    sparse = fitted(Examples(scipy.sparse.csr_array(counts)))
    assert dense.settings_.likelihood == sparse.settings_.likelihood == "negative_binomial"
    np.testing.assert_array_equal(
        dense.transform(counts), sparse.transform(Examples(scipy.sparse.csr_array(counts)))
    )


def test_numbers_are_probabilities_only_if_rounding_explains_what_is_below_0(rng):
    X = rng.random((60, 4)).astype(np.float32)
    assert fitted(X - np.float32(5e-7)).settings_.likelihood == "bernoulli"
    for scale in (1e-6, 1e-7, 1e-12):
        small = rng.normal(size=(60, 4)) * scale
        assert fitted(small).settings_.likelihood == "gaussian_columns"


def test_a_column_whose_squares_are_0_in_float32_is_refused_before_training(rng):
    X = rng.normal(size=(60, 4))
    X[:, 1] *= 1e-17
    codes = fitted(X).transform(X)
    assert np.isfinite(codes).all()
    X[:, 1] *= 1e-4
    with pytest.raises(HebaeError, match=r"deviation is 9e-22, too small .*multiply it"):
        fitted(X)
