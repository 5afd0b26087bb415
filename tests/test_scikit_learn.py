"""The rules of scikit-learn: its own checks, names of columns, pipelines, searches, odd input."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import estimator_checks
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hebae import AE, HEBAE, VAE, HebaeError
from hebae.estimator import ESTIMATORS

MAY_FAIL = {
    "check_methods_subset_invariance": "float32: other sizes of batches are summed otherwise",
    "check_methods_sample_order_invariance": "the same",
}
"""Checks of scikit-learn that fail on some processors, and why; in float64 they pass on all."""


def small(cls=HEBAE, **changes):
    options = {"epochs": 1, "random_state": 0, "device": "cpu", "batch_size": 64}
    widths = {"encoder_widths": (8,), "decoder_widths": (8,)}
    return cls(**{"n_components": 2} | options | widths | changes)


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(0)
    return (generator.normal(size=(90, 2)) @ generator.normal(size=(2, 5))).astype(np.float32)


# ---- scikit-learn's own checks ------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cls", ESTIMATORS.values(), ids=ESTIMATORS)
def test_scikit_learns_own_checks_pass(cls):
    estimator_checks.check_estimator(small(cls), expected_failed_checks=MAY_FAIL, on_skip=None)


@pytest.mark.filterwarnings("ignore")
def test_the_default_codes_need_more_rows_than_some_checks_have():
    """HEBAE() has 20 dimensions, and the covariance of 20 rows or fewer is singular."""
    reports = estimator_checks.check_estimator(HEBAE(epochs=1), on_skip=None, on_fail=None)
    failed = [report["exception"] for report in reports if report["status"] == "failed"]
    assert failed
    for error in failed:
        assert "needs at least 21 examples" in f"{error!r} {error.__cause__!r}"


@pytest.mark.parametrize("name", MAY_FAIL)
def test_the_checks_that_float32_fails_pass_in_float64(name):
    getattr(estimator_checks, name)("HEBAE", small(precision="64-true"))


@pytest.mark.parametrize(
    "name",
    [
        "check_dataframe_column_names_consistency",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks_of_data_frames_pass(name):
    for package in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(package)
    getattr(estimator_checks, name)("HEBAE", small())


# ---- names and frames ---------------------------------------------------------------------------


def test_n_components_is_another_name_of_latent_dim(table):
    by_name = small(n_components=3).fit(table)
    same = small(n_components=None, latent_dim=3).fit(table)
    assert np.array_equal(by_name.transform(table), same.transform(table))
    search = GridSearchCV(small(VAE), {"n_components": np.arange(1, 3)}, cv=2).fit(table)
    assert search.best_estimator_.transform(table).shape[1] == search.best_params_["n_components"]
    with pytest.raises(HebaeError, match=r"n_components is 3 and latent_dim 4.*set one"):
        small(n_components=3, latent_dim=4).fit(table)
    with pytest.raises(HebaeError, match=r"n_components is 'two'.*whole number"):
        small(n_components="two").fit(table)


def test_columns_are_checked_by_name_and_order(table, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table, columns=list("abcde"))
    model = small().fit(frame)
    assert model.feature_names_in_.tolist() == list("abcde")
    for refused in (frame[list("bacde")], frame.rename(columns={"a": "z"}), frame[list("abc")]):
        for method in (model.transform, model.score, model.reconstruct, model.impute):
            with pytest.raises(ValueError, match="feature names should match"):
                method(refused)
    model.save(tmp_path / "model")
    from hebae import load

    loaded = load(tmp_path / "model")
    assert loaded.feature_names_in_.tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.transform(frame[list("bacde")])
    assert not hasattr(model.fit(table), "feature_names_in_")
    assert not hasattr(model.fit(pandas.DataFrame(table)), "feature_names_in_")
    with pytest.raises(TypeError, match="string names"):
        model.fit(pandas.DataFrame(table, columns=[0, 1, "c", 3, 4]))


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_codes_come_in_the_frames_that_are_asked_for(table, package):
    module = pytest.importorskip(package)
    model = small(VAE).set_output(transform=package)
    codes = model.fit_transform(table)
    assert isinstance(codes, module.DataFrame)
    assert list(codes.columns) == ["vae0", "vae1"]
    np.testing.assert_array_equal(codes.to_numpy(), clone(small(VAE)).fit_transform(table))


def test_nullable_and_boolean_columns_are_numbers_and_missing_values(table):
    pandas = pytest.importorskip("pandas")
    numbers = table.copy()
    numbers[:, 3] = np.rint(numbers[:, 3])
    numbers[::9, 3] = np.nan
    numbers[:, 4] = numbers[:, 4] > 0
    frame = pandas.DataFrame(numbers, columns=list("abcde"))
    frame = frame.astype({"d": "Int64", "e": "boolean"})
    model = small(likelihood="gaussian_columns").fit(frame)
    same = small(likelihood="gaussian_columns").fit(numbers)
    np.testing.assert_allclose(model.transform(frame), same.transform(numbers), rtol=1e-5)


# ---- composition --------------------------------------------------------------------------------


def test_pipelines_column_transformers_and_searches(table):
    scaled = make_pipeline(MinMaxScaler(), small())
    assert np.isfinite(cross_val_score(scaled, table, cv=3)).all()
    both = ColumnTransformer([("code", small(), [0, 1, 2]), ("pca", PCA(1), [3, 4])])
    assert make_pipeline(StandardScaler(), both).fit_transform(table).shape == (90, 3)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_searches_in_parallel_give_the_serial_result(table, backend):
    grid = {"penalty_weight": [0.5, 2.0]}
    serial = GridSearchCV(small(), grid, cv=2).fit(table)
    with joblib.parallel_backend(backend):
        parallel = GridSearchCV(small(), grid, cv=2, n_jobs=2).fit(table)
    name = "mean_test_score"
    # Workers may have fewer threads, which sum in another order.
    np.testing.assert_allclose(parallel.cv_results_[name], serial.cv_results_[name], rtol=1e-5)


def test_fitted_models_survive_pickle_joblib_and_clone(table, tmp_path):
    model = small().fit(table)
    joblib.dump(model, tmp_path / "model.joblib")
    for other in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        assert np.array_equal(other.transform(table), model.transform(table))
    assert not hasattr(clone(model), "module_")


# ---- training further ---------------------------------------------------------------------------


def test_a_warm_start_goes_on_with_the_weights(table):
    model = small(AE, warm_start=True, epochs=5, learning_rate=0.01).fit(table)
    first, score = model.module_, model.score(table)
    model.fit(table)
    assert model.score(table) > score
    assert [record["epoch"] for record in model.history_] == list(range(1, 11))
    assert model.module_ is not first
    assert model.set_params(learning_rate=1e-9, epochs=1).fit(table).score(table) == pytest.approx(
        model.score(table), rel=1e-3
    )
    with pytest.raises(HebaeError, match=r"warm_start.*architecture"):
        model.set_params(n_components=4).fit(table)
    with pytest.raises(ValueError, match=r"4 features.*5 features"):
        model.set_params(n_components=2).fit(table[:, :4])
    cold = model.set_params(warm_start=False).fit(table)
    assert len(cold.history_) == 1


# ---- input --------------------------------------------------------------------------------------


def test_what_is_masked_is_missing(table):
    mask = np.zeros(table.shape, bool)
    mask[::7, 2] = True
    masked = np.ma.array(np.where(mask, 1e6, table), mask=mask)
    with_nan = np.where(mask, np.nan, table)
    codes = small().fit(masked).transform(masked)
    np.testing.assert_array_equal(codes, small().fit(with_nan).transform(with_nan))
    filled = small().fit(masked).impute(masked)
    np.testing.assert_array_equal(filled[~mask], table[~mask])
    assert np.abs(filled).max() < 100


def test_a_column_without_any_value_is_named(table):
    table = np.where(np.arange(5) == 3, np.nan, table)
    with pytest.raises(HebaeError, match=r"all values in column 4 .*missing"):
        small().fit(table)


def test_sparse_and_dense_give_the_same_codes(table):
    counts = np.random.default_rng(0).poisson(0.7, (90, 6))
    model = small(likelihood="poisson")
    dense = model.fit_transform(counts.astype(np.float32))
    for form in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        X = form(counts)
        np.testing.assert_allclose(model.fit(X).transform(X), dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.ones((20, 3)) * 1j, ValueError, "Complex data not supported"),
        (np.array([["a", "b"]] * 20, object), ValueError, "could not convert string to float"),
        (np.array([["a", "b"]] * 20), ValueError, "numeric"),
        (np.array([[{}, 1]] * 20, object), TypeError, "argument must be .* string.* number"),
        (np.empty((0, 3)), ValueError, r"0 sample\(s\)"),
        (np.empty((20, 0)), ValueError, r"0 feature\(s\)"),
        (np.ones(20), ValueError, "Reshape your data"),
        (np.ones((1, 3)), ValueError, r"1 sample\(s\).*minimum of 2"),
        ([[1.0, 2.0], [3.0]], ValueError, "inhomogeneous"),
    ],
)
def test_refusals_are_worded_as_in_scikit_learn(X, error, message):
    with pytest.raises(error, match=message):
        small().fit(X)
    pandas = pytest.importorskip("pandas")
    in_frame = ("Complex", "0 ", "1 ")
    if isinstance(X, np.ndarray) and message.startswith(in_frame):
        with pytest.raises(error, match=message):
            small().fit(pandas.DataFrame(X))


def test_one_example_and_a_few_grey_images(table):
    images = np.random.default_rng(0).random((40, 3, 4)).astype(np.float32)
    model = small().fit(images)
    assert model.transform(images[:4]).shape == (4, 2)
    assert model.transform(images[:1]).shape == (1, 2)
    colour = np.random.default_rng(0).random((40, 3, 4, 4)).astype(np.float32)
    with pytest.raises(HebaeError, match=r"one example.*X\[None\]"):
        small().fit(colour).transform(colour[0])


# ---- sizes of batches and networks --------------------------------------------------------------


@pytest.mark.parametrize("count", [144, 180, 129, 300])
def test_default_sizes_are_never_refused(count):
    X = np.random.default_rng(0).normal(size=(count, 4))
    model = HEBAE(epochs=1, random_state=0, encoder_widths=(20,), decoder_widths=(8,)).fit(X)
    rest = count % 128
    assert model.history_[-1]["step"] == count // 128 + (rest >= 21)
    if 0.01 * count < rest < 21:
        assert any("spread over" in note for note in model.notes_)


def test_widths_for_tables_follow_from_the_data_and_are_said():
    X = np.random.default_rng(0).normal(size=(600, 30))
    model = HEBAE(epochs=1, random_state=0, n_components=2).fit(X)
    assert model.settings_.encoder_widths == (128, 128)
    assert any("width 128" in note for note in model.notes_)
    wide = HEBAE(epochs=1, random_state=0, n_components=130, batch_size=200)  # codes of full rank
    assert wide.fit(X).settings_.encoder_widths == (130, 130)
    assert any("width 130, from the latent dimension" in note for note in wide.notes_)
    images = np.random.default_rng(0).random((40, 4, 4))
    assert small(encoder_widths=None, epochs=1).fit(images).settings_.encoder_widths == (784, 800)


def test_batch_normalisation_in_ones_own_networks_never_meets_a_batch_of_one(table):
    encoder = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    for model in (small(VAE, encoder=encoder, batch_size=89), small(AE, batch_size=89)):
        assert model.fit(table).transform(table).shape == (90, 2)
    with pytest.raises(HebaeError, match=r"last batch.*1 of the 90.*at least 2"):
        small(VAE, encoder=encoder, batch_size=89, drop_last=False).fit(table)


# ---- loaders ------------------------------------------------------------------------------------


def loader(*batches):
    class Batches(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(batches)

    return DataLoader(Batches(), batch_size=None)


def test_codes_of_a_loader_are_those_of_its_examples(table):
    X = torch.from_numpy(table)
    model = small().fit(DataLoader(TensorDataset(X, X[:, 0]), batch_size=32, shuffle=True))
    ordered = DataLoader(TensorDataset(X, X[:, 0]), batch_size=32)
    for method in (model.transform, model.reconstruct, model.score_samples):
        np.testing.assert_allclose(method(ordered), method(table), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [lambda x: x, torch.from_numpy, lambda x: {"y": 0, "image": x}])
def test_batches_may_be_arrays_tensors_and_dicts(table, form):
    model = small().fit(loader(form(table[:40]), form(table[40:])))
    np.testing.assert_allclose(
        model.transform(loader(form(table))), model.transform(table), rtol=1e-4, atol=1e-5
    )


def test_a_last_batch_of_one_joins_the_one_before(table):
    model = small().fit(loader(table[:45], table[45:89], table[89:]))
    assert model.history_[-1]["step"] == 2
    assert model.codes_.shape == (90, 2)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (np.full((40, 5), 7, np.float32), r"batch 2 .*7"),
        (np.zeros((40, 4), np.float32), r"batch 2 .*\(4,\).*\(5,\)"),
        (np.zeros((40, 5), np.uint8), "batch 2 .*uint8.*float32"),
        (np.full((40, 5), np.inf, np.float32), "batch 2 .*infinite"),
        ({"a": np.zeros((40, 5)), "b": np.zeros((40, 5))}, "batch 2 .*keys a, b"),
        (["text"], "batch 2 .*begins with a str"),
        (np.zeros((1, 5), np.float32), "batch 2 .*1 example"),
    ],
)
def test_each_batch_of_a_loader_is_checked_and_named(second, message):
    first = np.random.default_rng(0).random((40, 5)).astype(np.float32)
    with pytest.raises(HebaeError, match=message), warnings.catch_warnings():
        warnings.simplefilter("error")
        small(likelihood="bernoulli").fit(loader(first, second, first))


RANDOM = np.random.default_rng(0).random((40, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("first", "second", "likelihood", "kind"),
    [
        (RANDOM, 9 * RANDOM - 3, "gaussian_columns", "numbers"),
        (RANDOM, 2 * RANDOM, "gaussian_columns", "numbers"),
        (
            (9 * RANDOM).astype(np.uint8),
            (255 * RANDOM).astype(np.uint8),
            "bernoulli",
            "grey levels",
        ),
        ((9 * RANDOM).astype(int), (255 * RANDOM).astype(int), "gaussian_columns", "whole numbers"),
        ((2 * RANDOM).astype(int), (3 * RANDOM).astype(int), "binomial", "whole numbers"),
    ],
)
def test_all_batches_of_a_loader_decide_what_its_numbers_are(first, second, likelihood, kind):
    model = small(epochs=1).fit(loader(first, second))
    whole = small(epochs=1).fit(np.concatenate([first, second]))
    for fitted in (model, whole):
        assert (fitted.settings_.likelihood, fitted.module_.seen.kind) == (likelihood, kind)
    for name, of_all in whole.module_.likelihood.named_buffers():
        of_batches = getattr(model.module_.likelihood, name)
        if name in ("filling", "shift", "unit", "typical"):
            np.testing.assert_allclose(of_batches, of_all, rtol=1e-5)


@pytest.mark.parametrize(
    ("batches", "likelihood", "message"),
    [
        ([(9 * RANDOM).astype(int), RANDOM], "auto", "batch 2 .*float32.*whole numbers"),
        ([RANDOM.round(), RANDOM.round(), RANDOM], "poisson", "batch 3 .*row 1, column 1"),
        ([RANDOM.round(), 3 * RANDOM.round()], "binomial", "batch 2 .*holds 3 in row 1, column 1"),
        ([np.zeros((40, 5), np.uint8), (255 * RANDOM).astype(np.uint8)], "poisson", "grey levels"),
        ([torch.zeros(5)] * 40 + [torch.zeros(4)] * 2 + [torch.zeros(5)] * 2, "auto", "batch 11 "),
    ],
)
def test_a_later_batch_that_the_likelihood_does_not_take_is_named(batches, likelihood, message):
    X = loader(*batches) if len(batches) < 5 else DataLoader(batches, batch_size=4)
    with pytest.raises(HebaeError, match=message):
        small(likelihood=likelihood).fit(X)


def test_held_out_examples_may_be_a_loader(table):
    fitted = [small().fit(table[:60], validation=v) for v in (table[60:], loader(table[60:]))]
    assert fitted[0].history_[-1]["held_out"] == fitted[1].history_[-1]["held_out"]
