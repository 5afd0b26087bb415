"""SWAE and CWAE: distances to the prior against SciPy, quadrature and closed forms."""

import numpy as np
import pytest
import torch
from calls import terms_of
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.special import hyp1f1
from scipy.stats import norm

from hebae.objectives import CWAE, SWAE
from hebae.priors import StandardNormal


def sliced(mean, prior, directions):
    noise = {"prior": prior, "directions": directions}
    z, terms = SWAE()(mean, None, noise, StandardNormal(mean.shape[1]))
    assert torch.equal(z, mean)
    return float(terms["sliced_wasserstein"])


def cramer_wold(z):
    return float(terms_of(CWAE(), torch.as_tensor(z), None)["cramer_wold"])


# --- SWAE -----------------------------------------------------------------------------------------


def test_the_sliced_distance_is_that_of_the_best_assignment(batch):
    """Direction by direction, among all ways to pair codes with draws."""
    mean, directions, prior = batch(11, 4)
    costs = []
    for direction in directions.numpy():
        theta = direction / np.linalg.norm(direction)
        cost = (mean.numpy() @ theta)[:, None] - prior.numpy() @ theta
        costs.append((cost**2)[linear_sum_assignment(cost**2)].mean())
    assert sliced(mean, prior, directions) == pytest.approx(np.mean(costs), rel=1e-10)


def test_the_sliced_distance_of_shifted_draws_is_the_projected_shift(batch):
    """And k times its mean is the squared length of the shift."""
    _, _, prior = batch(40, 3)
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(20_000, 3, generator=generator, dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.5]).double()
    order = torch.randperm(40, generator=generator)
    assert 3 * sliced((prior + shift)[order], prior, directions) == pytest.approx(5.25, rel=0.02)
    assert sliced(prior[order], prior, directions) == pytest.approx(0, abs=1e-20)


def test_directions_are_among_the_random_numbers_of_a_step():
    shapes = SWAE(directions=7).noise_shapes(32, 5)
    assert shapes == {"prior": (32, 5), "directions": (7, 5)}


# --- CWAE -----------------------------------------------------------------------------------------


def along(points, gamma):
    """Integral of the squared difference of smoothed points and the smoothed N(0, 1)."""

    def squared(t):
        smooth = norm.pdf(t, points, np.sqrt(gamma)).mean()
        return (smooth - norm.pdf(t, 0, np.sqrt(1 + gamma))) ** 2

    return quad(squared, -12, 12, limit=400, epsabs=1e-13)[0]


@pytest.mark.parametrize("k", [1, 2])
def test_the_distance_in_one_and_two_dimensions_is_its_definition(k, batch):
    """Mean over all lines of the squared L2 distance between the smoothed projections."""
    z = batch(6, k)[0].numpy()
    gamma = (4 / (3 * 6)) ** (2 / 5)
    angles = np.pi * (np.arange(64) + 0.5) / 64
    lines = [np.ones(1)] if k == 1 else [np.array([np.cos(a), np.sin(a)]) for a in angles]
    squared = np.mean([along(z @ line, gamma) for line in lines])
    assert cramer_wold(z) == pytest.approx(np.log(2 * np.sqrt(np.pi) * squared), rel=1e-7)


@pytest.mark.parametrize(("k", "tolerance"), [(8, 0.04), (20, 0.015), (64, 0.004)])
def test_from_eight_dimensions_the_asymptotic_formula_is_near_the_exact_one(k, tolerance, batch):
    """The exact one has Kummer's function 1F1(1/2; k/2; -s); of codes that are far from normal."""
    z = 0.3 + 0.5 * batch(50, k)[2].numpy()
    gamma = (4 / (3 * 50)) ** (2 / 5)
    pairs = ((z[:, None] - z) ** 2).sum(-1)
    within = hyp1f1(0.5, k / 2, -pairs / (4 * gamma)).mean() / np.sqrt(gamma)
    lengths = (z**2).sum(1) / (2 + 4 * gamma)
    across = hyp1f1(0.5, k / 2, -lengths).mean() / np.sqrt(gamma + 0.5)
    exact = within + 1 / np.sqrt(1 + gamma) - 2 * across
    assert np.exp(cramer_wold(z)) == pytest.approx(exact, abs=tolerance)


def test_the_asymptotic_formula_is_that_of_the_paper(batch):
    """Theorem 3 without its factor 1 / (2 sqrt(pi)), pair by pair."""
    n, k = 7, 9
    z = batch(n, k)[0].numpy()
    gamma = (4 / (3 * n)) ** (2 / 5)
    K = 2 * k - 3
    total = (1 + gamma) ** -0.5
    for a in z:
        total -= 2 / n * (gamma + 0.5 + a @ a / K) ** -0.5
        total += sum((gamma + (a - b) @ (a - b) / K) ** -0.5 for b in z) / n**2
    assert cramer_wold(z) == pytest.approx(np.log(total), rel=1e-10)


@pytest.mark.parametrize("k", [1, 2, 8, 20])
def test_the_distance_is_least_for_codes_of_about_unit_scale(k):
    z = np.random.default_rng(0).standard_normal((400, k))
    z = (z - z.mean(0)) / z.std(0)
    scales = np.arange(0.8, 1.2, 0.05)
    best = scales[np.argmin([cramer_wold(scale * z) for scale in scales])]
    assert best == pytest.approx(1, abs=0.051)


@pytest.mark.parametrize("k", [1, 2, 3, 20])
@pytest.mark.parametrize("m", [1, 2, 300])
@pytest.mark.parametrize("value", [0.0, 1.0, 50.0])
def test_constant_codes_have_a_finite_distance_and_gradient(k, m, value):
    z = torch.full((m, k), value, requires_grad=True)
    term = terms_of(CWAE(), z, None)["cramer_wold"]
    assert term.isfinite()
    assert torch.autograd.grad(term, z)[0].isfinite().all()
