"""Likelihoods of counts, genotypes, categories and tables, against SciPy's densities."""

import numpy as np
import pytest
import torch
from scipy import stats

from hebae.likelihoods import (
    Binomial,
    Categorical,
    Columns,
    Context,
    GaussianColumns,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)

N, D = 40, 6


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def tensor(array):
    return torch.as_tensor(array, dtype=torch.float64)


def nats(likelihood, output, x):
    likelihood = likelihood.double()
    x = tensor(x)
    losses = likelihood.negative_log_likelihood(tensor(output), x, likelihood.describe(x))
    return losses.detach().numpy()


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def means_of(rho, x, mask=True):
    """``l_i softmax(rho_i)_j``, over the observed counts."""
    shares = np.where(mask, np.exp(rho), 0)
    shares /= shares.sum(1, keepdims=True)
    return shares * np.where(mask, x, 0).sum(1, keepdims=True)


def negative_binomial(theta, mean):
    return stats.nbinom(theta, theta / (theta + mean))


def with_dispersion(kind, theta):
    likelihood = kind(shape=(D,))
    likelihood.log_dispersion.data = torch.as_tensor(theta).log()
    return likelihood


# --- Densities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 30, 3000])
def test_poisson_is_that_of_scipy_with_means_in_proportion_to_the_library_size(rng, scale):
    x, rho = rng.poisson(scale * rng.random((N, D))) + np.eye(N, D), rng.normal(size=(N, D))
    expected = stats.poisson(means_of(rho, x)).logpmf(x).sum(1)
    near(nats(Poisson(shape=(D,)), rho, x), -expected)


@pytest.mark.parametrize("scale", [1, 30, 3000])
@pytest.mark.parametrize("theta", [0.02, 1.0, 300.0])
def test_negative_binomial_is_that_of_scipy_with_one_dispersion_per_column(rng, scale, theta):
    theta = theta * np.linspace(0.5, 2, D)
    x, rho = rng.poisson(scale * rng.random((N, D))) + np.eye(N, D), rng.normal(size=(N, D))
    expected = negative_binomial(theta, means_of(rho, x)).logpmf(x).sum(1)
    near(nats(with_dispersion(NegativeBinomial, theta), rho, x), -expected)


def test_zero_inflated_negative_binomial_adds_zeros_with_a_probability(rng):
    theta = np.linspace(0.5, 2, D)
    x = rng.poisson(2 * rng.random((N, D))) + np.eye(N, D)
    rho, gate = rng.normal(size=(2, N, D))
    pi = 1 / (1 + np.exp(-gate))
    law = negative_binomial(theta, means_of(rho, x))
    expected = np.log((1 - pi) * law.pmf(x) + pi * (x == 0)).sum(1)
    likelihood = with_dispersion(ZeroInflatedNegativeBinomial, theta)
    near(nats(likelihood, np.stack([rho, gate], 1), x), -expected)


@pytest.mark.parametrize("trials", [1, 2, 10])
def test_binomial_is_that_of_scipy_for_tables_and_images(rng, trials):
    for shape in ((N, D), (N, 1, 4, 4)):
        x, logits = rng.integers(0, trials + 1, shape), rng.normal(size=shape)
        law = stats.binom(trials, 1 / (1 + np.exp(-logits)))
        expected = law.logpmf(x).reshape(N, -1).sum(1)
        near(nats(Binomial(trials, shape=shape[1:]), logits, x), -expected)


def test_categorical_is_the_cross_entropy_of_each_column(rng):
    sizes = (2, 3, 7)
    x = np.stack([rng.integers(0, size, N) for size in sizes], 1)
    logits = rng.normal(size=(N, sum(sizes)))
    expected = np.zeros(N)
    for codes, part in zip(x.T, np.split(logits, np.cumsum(sizes)[:-1], axis=1), strict=True):
        p = np.exp(part) / np.exp(part).sum(1, keepdims=True)
        for i, row in enumerate(p):
            expected[i] += stats.multinomial(1, row).logpmf(np.eye(len(row))[codes[i]])
    near(nats(Categorical(sizes), logits, x), -expected)


def test_gaussian_columns_have_one_scale_each_in_the_units_of_the_data(rng):
    scales, x = np.array([0.1, 1, 1000]), rng.normal(size=(N, 3)) * [0.1, 1, 1000] + [5, 0, -3000]
    output = rng.normal(size=(N, 3))
    likelihood = GaussianColumns(shape=(3,)).double()
    likelihood.learn(lambda: [tensor(x)])
    likelihood.double().eval().log_scale.copy_(tensor(scales).log())
    mean = output * x.std(0) + x.mean(0)
    found = likelihood.negative_log_likelihood(tensor(output), tensor(x)).numpy()
    expected = stats.norm(mean, scales).logpdf(x).sum(1)
    np.testing.assert_allclose(found, -expected, rtol=1e-5)  # statistics are stored in float32
    np.testing.assert_allclose(likelihood.mean(tensor(output)).numpy(), mean, rtol=1e-5, atol=1e-5)


def test_the_optimal_scale_of_a_column_minimises_its_loss_and_has_a_floor(rng):
    x, output = tensor(rng.normal(size=(N, 3)) * [1, 5, 0]), torch.zeros(N, 3).double()
    likelihood = GaussianColumns(shape=(3,)).double()
    best = likelihood.losses(output, x, Context()).mean(0)
    for j, factor in ((0, 0.9), (0, 1.1), (1, 0.9), (1, 1.1)):
        scale = float(x[:, j].square().mean().sqrt()) * factor
        other = GaussianColumns(scale, shape=(3,)).double().losses(output, x, Context()).mean(0)
        assert other[j] > best[j]
    assert best[2] == pytest.approx(-stats.norm(0, 0.01).logpdf(0))  # a constant column


def test_a_mix_of_columns_is_the_product_of_its_columns(rng):
    kinds, sizes = ("number", "category", "count", "binary", "category"), (0, 3, 0, 0, 2)
    x = np.stack(
        [
            rng.normal(size=N),
            rng.integers(0, 3, N),
            rng.poisson(3, N),
            rng.integers(0, 2, N),
            rng.integers(0, 2, N),
        ],
        1,
    )
    likelihood = Columns(kinds, sizes, 0.5)
    assert likelihood.output_shape == (1 + 1 + 1 + 3 + 2,)
    output = rng.normal(size=(N, 8))  # numbers, counts, binary ones, categories
    logits_b, logits_e = output[:, 3:6], output[:, 6:]
    log_p = stats.norm(output[:, 0], 0.5).logpdf(x[:, 0])
    log_p += negative_binomial(1.0, np.exp(output[:, 1])).logpmf(x[:, 2])
    log_p += stats.bernoulli(1 / (1 + np.exp(-output[:, 2]))).logpmf(x[:, 3])
    for logits, codes in ((logits_b, x[:, 1]), (logits_e, x[:, 4])):
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        log_p += np.log(p[np.arange(N), codes.astype(int)])
    near(nats(likelihood, output, x), -log_p)


# --- Missing numbers ------------------------------------------------------------------------------


def all_kinds():
    x = np.random.default_rng(1).integers(0, 3, (N, D)).astype(float)
    return {
        "poisson": (Poisson(shape=(D,)), x),
        "negative_binomial": (NegativeBinomial(shape=(D,)), x),
        "zero_inflated": (ZeroInflatedNegativeBinomial(shape=(D,)), x),
        "binomial": (Binomial(shape=(D,)), x),
        "categorical": (Categorical((3,) * D), x),
        "gaussian_columns": (GaussianColumns(1.5, shape=(D,)), x),
        "columns": (Columns(("number", "count", "category") * 2, (0, 0, 3) * 2, 1.0), x),
    }


@pytest.mark.parametrize("name", all_kinds())
def test_a_missing_number_has_no_loss_no_gradient_and_is_filled_for_the_encoder(name, rng):
    """The loss depends on what was observed alone; nothing is NaN."""
    likelihood, x = all_kinds()[name]
    likelihood.double()
    holes = tensor(np.where(rng.random(x.shape) < 0.3, np.nan, x))
    likelihood.incomplete = True
    likelihood.learn(lambda: [holes[:20], holes[20:]])
    likelihood.double()
    context = likelihood.describe(holes)
    output = tensor(rng.normal(size=(N, *likelihood.output_shape))).requires_grad_()
    losses = likelihood.negative_log_likelihood(output, holes, context)
    (gradient,) = torch.autograd.grad(losses.sum(), output)
    assert losses.isfinite().all()
    assert gradient.isfinite().all()
    if gradient.shape == x.shape and name != "columns":  # one number per column
        assert (gradient[holes.isnan()] == 0).all()
        assert (gradient[~holes.isnan()] != 0).all()
    garbage = tensor(np.where(holes.isnan(), 2.0, x))
    repeated = likelihood.negative_log_likelihood(output, garbage, likelihood.describe(holes))
    torch.testing.assert_close(repeated, losses)
    assert likelihood.encoder_input(holes, context).isfinite().all()


def test_missing_counts_leave_the_density_of_the_others(rng):
    """Means are shares of the observed total: without a column it is as if it never was."""
    x, rho = rng.poisson(5, (N, D)).astype(float), rng.normal(size=(N, D))
    likelihood = NegativeBinomial(shape=(D,)).double()
    likelihood.incomplete = True
    holes = tensor(np.where(np.arange(D) < 2, np.nan, x))
    context = likelihood.describe(holes)
    found = likelihood.negative_log_likelihood(tensor(rho), holes, context).detach().numpy()
    expected = negative_binomial(1.0, means_of(rho[:, 2:], x[:, 2:])).logpmf(x[:, 2:]).sum(1)
    near(found, -expected)


def test_the_encoder_is_given_what_the_documentation_says(rng):
    x = rng.poisson(5, (N, D)) + 1.0
    x[0, 0] = np.nan
    likelihood = Poisson(shape=(D,))
    likelihood.incomplete = True
    likelihood.learn(lambda: [tensor(x).float()])
    given = likelihood.encoder_input(tensor(x).float(), likelihood.describe(tensor(x).float()))
    sizes = np.nansum(x, 1, keepdims=True)
    expected = np.log1p(x * sizes.mean() / sizes)
    expected[0, 0] = np.nanmean(expected[:, 0])
    np.testing.assert_allclose(given.numpy(), expected, rtol=1e-5)

    likelihood = GaussianColumns(shape=(D,))
    likelihood.incomplete = True
    likelihood.learn(lambda: [tensor(x).float()])
    given = likelihood.encoder_input(tensor(x).float(), likelihood.describe(tensor(x).float()))
    expected = (x - np.nanmean(x, 0)) / np.nanstd(x, 0)
    np.testing.assert_allclose(given.numpy(), np.nan_to_num(expected), rtol=1e-3, atol=1e-5)

    codes = torch.tensor([[0.0, 1], [2, np.nan], [2, 0]])
    likelihood = Categorical((3, 2))
    likelihood.incomplete = True
    likelihood.learn(lambda: [codes])
    given = likelihood.encoder_input(codes, likelihood.describe(codes))
    assert given.tolist() == [[1, 0, 0, 0, 1], [0, 0, 1, 0.5, 0.5], [0, 0, 1, 1, 0]]


# --- Draws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", all_kinds())
def test_draws_have_the_mean_that_the_likelihood_says(name, rng):
    likelihood, x = all_kinds()[name]
    likelihood.learn(lambda: [tensor(x).float()])
    output = torch.from_numpy(rng.normal(size=likelihood.output_shape)).float()
    many = output.expand(20_000, *output.shape)
    with torch.no_grad():
        draws = likelihood.sample(many, torch.Generator().manual_seed(0))
        again = likelihood.sample(many, torch.Generator().manual_seed(0))
        mean = likelihood.mean(output[None])[0]
    assert torch.equal(draws, again)
    assert draws.shape == (20_000, D)
    compared = [j for j in range(D) if name != "columns" or j % 3 < 2]
    if name == "categorical":  # the mean is the most probable category
        frequencies = torch.stack([(draws == k).float().mean(0) for k in range(3)])
        assert torch.equal(frequencies.argmax(0).float(), mean)
    else:
        errors = draws.std(0) / 20_000**0.5
        assert ((draws.mean(0) - mean).abs() < 4.5 * errors + 1e-6)[compared].all()


def test_draws_of_counts_have_the_variance_of_the_negative_binomial():
    likelihood = NegativeBinomial(shape=(2,))
    likelihood.log_dispersion.data = torch.tensor([0.5, 4.0]).log()
    with torch.no_grad():
        rho = torch.zeros(100_000, 2)
        context = Context(size_factor=torch.full((100_000,), 20.0))
        draws = likelihood.sample(rho, torch.Generator().manual_seed(0), context)
    np.testing.assert_allclose(draws.var(0), [10 + 100 / 0.5, 10 + 100 / 4], rtol=0.05)


@torch.no_grad()
@pytest.mark.parametrize("kind", [Poisson, NegativeBinomial, ZeroInflatedNegativeBinomial])
def test_drawn_examples_are_as_large_as_those_of_training(kind, rng):
    """Unless the context has a size; columns of a mix, whose counts have no common size, aside."""
    training = np.zeros((2000, D))
    training[:, 0] = rng.lognormal(7, 1, 2000).round()
    likelihood = kind(shape=(D,))
    likelihood.learn(lambda: iter(torch.as_tensor(training).float().split(300)))
    if kind is not Poisson:
        likelihood.log_dispersion.data.fill_(7.0)  # nearly a Poisson distribution
    output = torch.zeros(4000, *likelihood.output_shape)
    if kind is ZeroInflatedNegativeBinomial:
        output[:, 1] = -20
    generator = torch.Generator().manual_seed(0)
    sizes = likelihood.sample(output, generator).sum(1).numpy()
    assert stats.ks_2samp(sizes, training.sum(1)).statistic < 0.05
    given = likelihood.sample(output, generator, Context(size_factor=torch.full((4000,), 50.0)))
    assert given.sum(1).mean() == pytest.approx(50, abs=0.5)
