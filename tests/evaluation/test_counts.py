"""Measures of counts, against their definitions and against known distributions."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import ks_2samp

from hebae import evaluation
from hebae.data.examples import Examples
from hebae.errors import HebaeError, UndefinedMetric

NAN = np.nan


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def draw(rng, n, mean, theta):
    """Negative binomial counts with variance mean + mean^2 / theta."""
    return rng.poisson(rng.gamma(theta, mean / theta, (n, len(mean))))


def test_statistics_are_those_of_numpy_dense_sparse_or_with_missing_counts(rng):
    x = draw(rng, 50, rng.gamma(1, 2, 12), 1.5)
    examples = Examples(csr_matrix(x.astype(np.float32)), pixels=False)
    for counts in (x, x.astype(np.float32), csr_matrix(x), examples):
        found = evaluation.count_statistics(counts, block=100)  # several blocks
        np.testing.assert_allclose(found.mean, x.mean(axis=0))
        np.testing.assert_allclose(found.variance, x.var(axis=0))
        np.testing.assert_allclose(found.zeros, (x == 0).mean(axis=0))
        np.testing.assert_array_equal(found.library_sizes, x.sum(axis=1))
    some = np.where(rng.random(x.shape) < 0.2, NAN, x)
    found = evaluation.count_statistics(some)
    np.testing.assert_allclose(found.variance, np.nanvar(some, axis=0))
    np.testing.assert_array_equal(found.library_sizes, np.nansum(some, axis=1))


def test_identical_and_permuted_counts_do_not_differ(rng):
    x = draw(rng, 80, rng.gamma(1, 2, 30), 2)
    found = evaluation.compare_counts(x, x[rng.permutation(80)])
    assert found.means == pytest.approx(1)
    assert found.variances == pytest.approx(1)
    assert max(found[2:]) < 1e-12
    y = draw(rng, 60, rng.gamma(1, 2, 30), 2)
    order = rng.permutation(30)
    again = evaluation.compare_counts(x[:, order], y[:, order])
    assert again == pytest.approx(evaluation.compare_counts(x, y))


def test_the_relation_is_the_overdispersion_of_the_law(rng):
    mean = rng.uniform(2, 20, 40)
    poisson, spread = rng.poisson(mean, (20_000, 40)), draw(rng, 20_000, mean, 3)
    found = evaluation.compare_counts(poisson, spread)
    assert found.relation == pytest.approx(np.log10(1 + mean / 3).mean(), abs=0.01)
    assert found.means > 0.999
    zeros = np.abs((1 + mean / 3) ** -3.0 - np.exp(-mean)).mean()
    assert found.zeros == pytest.approx(zeros, abs=0.003)
    sizes = [x.sum(axis=1) for x in (poisson, spread)]
    assert found.library_sizes == pytest.approx(ks_2samp(*sizes).statistic)
    assert evaluation.compare_counts(poisson, 10 * spread + 5).library_sizes == 1


def test_what_does_not_exist_is_undefined_and_what_are_no_counts_is_refused():
    x = np.ones((4, 3))
    found = evaluation.compare_counts(x, x)
    assert isinstance(found.means, UndefinedMetric)
    assert isinstance(found.relation, UndefinedMetric)
    assert found.zeros == found.library_sizes == 0
    with pytest.raises(HebaeError, match=r"holds 0\.5 in row 2, column 3"):
        evaluation.count_statistics([[1, 2, 3], [1, 2, 0.5]])
    with pytest.raises(HebaeError, match="holds -1 in row 1, column 1"):
        evaluation.count_statistics(csr_matrix([[-1.0, 2]]))
    with pytest.raises(HebaeError, match=r"shape \(2,\)"):
        evaluation.count_statistics([1, 2])
    with pytest.raises(HebaeError, match="real has 3 genes and fake 2"):
        evaluation.compare_counts(x, x[:, 1:])
