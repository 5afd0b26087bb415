"""Measures of tables, against closed forms, scipy and scikit-learn, and known cases."""

import numpy as np
import pytest
from scipy.stats import contingency, ks_2samp, norm

from hebae import evaluation
from hebae.data.examples import Examples
from hebae.data.schema import Column
from hebae.errors import HebaeError, UndefinedMetric

NAN = np.nan


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def mixed(rng, n):
    """Numbers 0 and 1, categories 2 (of three) and 3 (of two); some of them belong together."""
    category = rng.integers(0, 3, n)
    x = np.stack([rng.normal(category, 1), rng.normal(size=n), category, rng.integers(0, 2, n)], 1)
    x[rng.random(x.shape) < 0.05] = NAN
    return x, [False, False, True, True]


def test_identical_and_permuted_tables_have_no_distance(rng):
    x, categorical = mixed(rng, 200)
    shuffled = x[rng.permutation(200)]
    assert evaluation.marginal_distances(x, shuffled, categorical).tolist() == [0] * 4
    a, b = (evaluation.associations(values, categorical) for values in (x, shuffled))
    assert evaluation.association_difference(a, b) < 1e-12
    order = [2, 0, 3, 1]
    turned = evaluation.associations(x[:, order], [categorical[i] for i in order])
    np.testing.assert_allclose(turned, a[np.ix_(order, order)], atol=1e-12)
    other, _ = mixed(rng, 100)
    kinds = np.take(categorical, order)
    turned = evaluation.marginal_distances(x[:, order], other[:, order], kinds)
    plain = evaluation.marginal_distances(x, other, categorical)
    np.testing.assert_allclose(turned, plain[order], atol=1e-12)


def test_marginal_distances_are_those_of_the_laws(rng):
    n = 40_000
    shift = np.stack([rng.normal(size=n), rng.choice(3, n, p=[0.5, 0.3, 0.2])], 1)
    other = np.stack([rng.normal(0.5, 1, n), rng.choice(3, n, p=[0.2, 0.3, 0.5])], 1)
    found = evaluation.marginal_distances(shift, other, [False, True])
    # The distribution functions of N(0, 1) and N(a, 1) differ most half-way.
    np.testing.assert_allclose(found, [2 * norm.cdf(0.25) - 1, 0.3], atol=0.015)
    found = evaluation.marginal_distances([[1, 0], [2, 1]], [[3, 7], [NAN, 7]], [False, True])
    assert found.tolist() == [1, 1]
    assert np.isnan(evaluation.marginal_distances([[NAN]], [[1.0]])).all()


def test_associations_are_those_of_numpy_and_scipy(rng):
    x, categorical = mixed(rng, 300)
    found = evaluation.associations(x, categorical)

    def known(i, j):
        return x[~np.isnan(x[:, i] + x[:, j])][:, [i, j]].T

    assert found[0, 1] == pytest.approx(np.corrcoef(known(0, 1))[0, 1])
    codes, numbers = known(2, 0)
    within = sum(((numbers[codes == c] - numbers[codes == c].mean()) ** 2).sum() for c in range(3))
    total = ((numbers - numbers.mean()) ** 2).sum()
    assert found[2, 0] == found[0, 2] == pytest.approx(np.sqrt(1 - within / total))
    a, b = known(2, 3).astype(int)
    table = np.zeros((3, 2), int)
    np.add.at(table, (a, b), 1)
    assert found[2, 3] == pytest.approx(contingency.association(table, correction=False))


def test_ends_of_the_associations(rng):
    category = np.repeat([0.0, 1, 2], 20)
    x = np.stack([category, category * 7 + 1, (2 - category) % 3, 1 - category, category * 0], 1)
    found = evaluation.associations(x, [True, False, True, False, False])
    assert found[0, :4] == pytest.approx([1, 1, 1, 1])
    assert found[1, 3] == pytest.approx(-1)
    assert found[4].tolist() == [0, 0, 0, 0, 1]  # does not vary
    assert evaluation.association_difference(found, np.eye(5)) == pytest.approx(6 / 10)
    with pytest.raises(UndefinedMetric, match="no pairs"):
        evaluation.association_difference(np.eye(1), np.eye(1))


def rows_with_answer(rng, n, classes=2):
    x = rng.normal(size=(n, 3))
    score = x[:, 0] + rng.normal(0, 1, n)
    answer = np.digitize(score, np.linspace(-0.5, 0.5, classes - 1)) if classes else score
    return np.column_stack([x, answer]), [False, False, False, bool(classes)]


def test_area_and_curve_are_those_of_scikit_learn(rng):
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score, roc_curve

    for classes in (2, 3):
        train, categorical = rows_with_answer(rng, 300, classes)
        test, _ = rows_with_answer(rng, 200, classes)
        test[3, 1] = NAN
        found = evaluation.prediction(train, test, 3, categorical, seed=1)
        booster = HistGradientBoostingClassifier(random_state=1).fit(train[:, :3], train[:, 3])
        shares = booster.predict_proba(test[:, :3])
        shares = shares if classes > 2 else shares[:, 1]
        expected = roc_auc_score(test[:, 3], shares, multi_class="ovr", average="macro")
        assert found.measure == "AUC"
        assert found.score.value == pytest.approx(expected)
        if classes == 2:
            curve = np.column_stack(roc_curve(test[:, 3], shares)[:2])
            np.testing.assert_allclose(found.curve, curve)
        else:
            assert len(found.curve) == 0


def test_error_of_the_area_is_its_spread_over_test_sets(rng):
    from hebae.evaluation.tables import _area

    areas, errors = [], []
    for _ in range(300):
        positive = rng.random(80) < 0.3
        area, influence = _area(rng.normal(positive, 1), positive)
        areas.append(area)
        errors.append(influence.std(ddof=1) / np.sqrt(80))
    assert np.mean(areas) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.015)
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.12)


def test_prediction_tells_data_that_hold_the_answer_from_noise(rng):
    train, categorical = rows_with_answer(rng, 400)
    test, _ = rows_with_answer(rng, 400)
    noise = train.copy()
    noise[:, 3] = rng.permutation(noise[:, 3])
    good, bad = (evaluation.prediction(x, test, 3, categorical) for x in (train, noise))
    assert good.score.value > 0.7
    assert abs(bad.score.value - 0.5) < 4 * bad.score.standard_error
    numbers, none = rows_with_answer(rng, 400, 0)
    r2 = evaluation.prediction(numbers, rows_with_answer(rng, 400, 0)[0], 3, none)
    assert r2.measure == "R2"
    assert 0.25 < r2.score.value < 0.5  # at most 1/2: half of the variance is noise
    constant = train * [1, 1, 1, 0]
    with pytest.raises(UndefinedMetric, match="only one value in the rows to train on"):
        evaluation.prediction(constant, test, 3, categorical)
    with pytest.raises(HebaeError, match="target is 4; it must be from 0 to 3"):
        evaluation.prediction(train, test, 4)


def test_closest_records_tell_copies_from_rows_of_the_same_law(rng):
    (train, categorical), (held_out, _), (fresh, _) = (mixed(rng, n) for n in (300, 200, 200))
    same = evaluation.closest_records(fresh, train, held_out, categorical)
    nearer = same.nearer_to_training
    assert abs(nearer.value - 0.5) < 4 * nearer.standard_error
    assert (same.copies, same.held_out_copies) == (0, 0)
    assert ks_2samp(same.distances, same.held_out).pvalue > 0.01
    copied = evaluation.closest_records(train[:150], train[:200], held_out, categorical)
    assert copied.copies == copied.nearer_to_training.value == 1
    assert copied.distances.max() == 0
    of_held_out = evaluation.closest_records(held_out, train, held_out, categorical)
    assert of_held_out.nearer_to_training.value == 0
    half = np.concatenate([train[:100], fresh[:100]])
    assert evaluation.closest_records(half, train, held_out, categorical).copies == 0.5


def test_distances_are_in_standard_deviations_and_categories():
    train = np.array([[0.0, 0], [10, 0], [20, 0], [30, 0]])  # standard deviation 11.18
    fake = np.array([[30, 0], [0, 1], [40, 1]])
    found = evaluation.closest_records(fake, train, train[:2] + 1, [False, True])
    unit = 10 / train[:, 0].std()
    np.testing.assert_allclose(found.distances, [0, 1, np.hypot(unit, 1)])


def test_examples_say_which_columns_hold_categories():
    columns = (Column("size", "number"), Column("kind", "category", ("a", "b", "c")))
    x = Examples(np.array([[0, 0], [1, 2]], np.float32), columns=columns)
    y = Examples(np.array([[0, 1], [1, 1]], np.float32), columns=columns)
    assert evaluation.marginal_distances(x, y).tolist() == [0, 1]
    assert evaluation.marginal_distances(x.values, y.values).tolist() == [0, 0.5]


@pytest.mark.parametrize(
    ("real", "categorical", "message"),
    [
        ([[1.0, 2]], None, r"have 2 and 1 columns"),
        ([1.0], None, r"real has shape \(1,\)"),
        ([[np.inf]], None, "infinite"),
        ([[1.0]], [True, False], "for each of the 1 columns"),
        ([["a"]], None, "real numbers"),
    ],
)
def test_what_is_no_table_is_refused(real, categorical, message):
    with pytest.raises(HebaeError, match=message):
        evaluation.marginal_distances(real, [[1.0]], categorical)
