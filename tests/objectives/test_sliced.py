"""SIGReg, VISReg and VICReg against NumPy, quadrature and closed forms."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from hebae.objectives import SIGReg, VICReg, VISReg
from hebae.priors import StandardNormal

ROOT = np.sqrt(2 * np.pi)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def terms_of(method, codes, directions=None):
    noise = {} if directions is None else {"directions": directions}
    z, terms = method(codes, None, noise, StandardNormal(codes.shape[1]))
    assert z is codes
    return {name: term.item() for name, term in terms.items()}


def gradient_of(method, codes, directions=None):
    codes = codes.clone().requires_grad_()
    noise = {} if directions is None else {"directions": directions}
    _, terms = method(codes, None, noise, StandardNormal(codes.shape[1]))
    (gradient,) = torch.autograd.grad(sum(terms.values()), codes)
    return gradient


def projections(codes, directions):
    a = directions.numpy()
    return codes.numpy() @ (a / np.linalg.norm(a, axis=1, keepdims=True)).T


every = pytest.mark.parametrize("method", [SIGReg(directions=3), VISReg(directions=3), VICReg()])


@every
@pytest.mark.parametrize("k", [1, 4])
def test_the_smallest_batch_is_enough_and_constant_codes_are_finite(method, k):
    m = method.smallest_batch(k)
    directions = normal(3, k, seed=1)
    for codes in (normal(m, k), torch.full((m, k), 2.0).double(), torch.zeros(m, k).double()):
        assert np.isfinite(list(terms_of(method, codes, directions).values())).all()
        assert gradient_of(method, codes, directions).isfinite().all()


@every
def test_the_order_of_the_examples_does_not_matter(method):
    codes, directions = normal(9, 4), normal(3, 4, seed=1)
    assert terms_of(method, codes.flip(0), directions) == pytest.approx(
        terms_of(method, codes, directions)
    )


@pytest.mark.parametrize("method", [SIGReg(), VISReg()])
def test_directions_are_of_the_noise_and_their_lengths_do_not_count(method):
    method = dataclasses.replace(method, directions=7)
    assert method.noise_shapes(100, 4) == {"directions": (7, 4)}
    codes, directions = normal(9, 4), normal(7, 4, seed=1)
    scaled = directions * torch.arange(1.0, 8).double()[:, None]
    expected = terms_of(method, codes, directions)
    assert terms_of(method, codes, scaled) == pytest.approx(expected)
    assert terms_of(method, codes, -directions) == pytest.approx(expected)


# ---- SIGReg --------------------------------------------------------------------------------------


def epps_pulley(x):
    """In closed form: the integral over all t of |phi(t) - exp(-t^2/2)|^2 exp(-t^2/2), times m.

    Products of exponentials are integrated pair by pair (Epps and Pulley 1983; Henze and Zirkler
    1990, with the smoothing parameter 1).
    """
    pairs = np.exp(-np.square(x[:, None] - x[None, :]) / 2).sum() / len(x)
    return ROOT * (pairs - 2 * np.exp(-np.square(x) / 4).sum() / np.sqrt(2) + len(x) / np.sqrt(3))


@pytest.mark.parametrize(("m", "k"), [(2, 1), (12, 3), (128, 20)])
@pytest.mark.parametrize("scale", [0.2, 1.0, 2.0])
def test_sigreg_is_epps_and_pulleys_statistic_averaged_over_projections(m, k, scale):
    codes, directions = scale * normal(m, k) + 0.3, normal(5, k, seed=1)
    expected = np.mean([epps_pulley(x) for x in projections(codes, directions).T])
    found = terms_of(SIGReg(directions=5), codes, directions)["epps_pulley"]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5 * m)  # by trapezoids


def test_sigreg_is_the_integral_by_adaptive_quadrature():
    codes, direction = normal(10, 1) * 1.5 - 0.4, torch.ones(1, 1).double()
    x = codes.numpy()[:, 0]

    def integrand(t):
        return abs(np.exp(1j * t * x).mean() - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)

    found = terms_of(SIGReg(directions=1), codes, direction)["epps_pulley"]
    assert found == pytest.approx(10 * quad(integrand, -5, 5)[0], rel=1e-4)


@pytest.mark.parametrize("m", [2, 50])
def test_sigreg_of_standard_normal_codes_has_the_stated_mean(m):
    """sqrt(2 pi) (1 - 1 / sqrt(3)) for every m, over 2,000 batches."""
    many = normal(2000, m, 1, seed=3)
    found = [
        terms_of(SIGReg(directions=1), codes, torch.ones(1, 1).double())["epps_pulley"]
        for codes in many
    ]
    expected = ROOT * (1 - 1 / np.sqrt(3))
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(len(found))


def test_sigreg_of_collapsed_codes_is_known():
    found = terms_of(SIGReg(directions=2), torch.zeros(30, 4).double(), normal(2, 4))
    expected = 30 * ROOT * (1 - 2 / np.sqrt(2) + 1 / np.sqrt(3))
    assert found["epps_pulley"] == pytest.approx(expected, rel=1e-4)


def test_sigreg_sees_a_mean_a_scale_a_correlation_and_a_shape():
    codes, directions = normal(256, 4), normal(200, 4, seed=1)
    correlated = codes.clone()
    correlated[:, 1] = 0.9 * codes[:, 0] + np.sqrt(1 - 0.9**2) * codes[:, 1]
    standard = terms_of(SIGReg(directions=200), codes, directions)["epps_pulley"]
    for other in (codes + 0.5, 1.5 * codes, correlated, codes.sign()):
        assert terms_of(SIGReg(directions=200), other, directions)["epps_pulley"] > 3 * standard


@pytest.mark.parametrize("method", [SIGReg(directions=20_000), VISReg(directions=20_000)])
def test_averaged_over_directions_the_sliced_term_does_not_see_a_rotation(method):
    codes = normal(20, 3) * torch.tensor([1.0, 2.0, 0.5]).double()
    codes = (codes - codes.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(codes.T.cov()).mT)
    rotation, _ = torch.linalg.qr(normal(3, 3, seed=2))
    name = "epps_pulley" if isinstance(method, SIGReg) else "shape"
    one, other = (
        terms_of(method, x, normal(20_000, 3, seed=4))[name] for x in (codes, codes @ rotation)
    )
    assert one == pytest.approx(other, rel=0.02)


# ---- VISReg --------------------------------------------------------------------------------------


def test_visreg_is_its_three_equations():
    """By loops over dimensions and projections, with SciPy's quantiles."""
    codes, directions = 2 * normal(15, 3) + 1, normal(4, 3, seed=1)
    x = codes.numpy()
    m, k = x.shape
    centre = sum(x[:, j].mean() ** 2 for j in range(k)) / k
    scale = sum((1 - np.sqrt(np.mean((x[:, j] - x[:, j].mean()) ** 2))) ** 2 for j in range(k)) / k
    standardised = torch.from_numpy((x - x.mean(0)) / (x.std(0) + 1e-4))
    quantiles = stats.norm.ppf([i / (m + 1) for i in range(1, m + 1)])
    shape = np.mean([
        np.mean((np.sort(p) - quantiles) ** 2) for p in projections(standardised, directions).T
    ])  # fmt: skip
    assert terms_of(VISReg(directions=4), codes, directions) == pytest.approx(
        {"centre": centre, "scale": scale, "shape": shape}, rel=1e-10
    )


def test_visregs_shape_sends_no_gradient_through_the_scale():
    """Its gradient, with the scale as a number."""
    codes, directions = 2 * normal(15, 3) + 1, normal(4, 3, seed=1)
    x = codes.clone().requires_grad_()
    noise = {"directions": directions}
    _, terms = VISReg(directions=4)(x, None, noise, StandardNormal(3))
    (found,) = torch.autograd.grad(terms["shape"], x)
    a = directions.numpy() / np.linalg.norm(directions.numpy(), axis=1, keepdims=True)
    s = codes.numpy().std(0) + 1e-4
    quantiles = stats.norm.ppf(np.arange(1, 16) / 16)
    p = (codes.numpy() - codes.numpy().mean(0)) / s @ a.T
    ranks = p.argsort(0).argsort(0)
    slope = 2 * (p - quantiles[ranks]) / p.size @ a / s  # by the standardised codes, then by codes
    np.testing.assert_allclose(found.numpy(), slope - slope.mean(0), rtol=1e-9, atol=1e-12)


def test_visregs_parts_see_what_they_are_named_for():
    codes, directions = normal(40, 3), normal(9, 3, seed=1)
    method = VISReg(directions=9)
    before = terms_of(method, codes, directions)
    moved = terms_of(method, codes + torch.tensor([3.0, 0, 0]).double(), directions)
    wider = terms_of(method, (codes - codes.mean(0)) * 5 + codes.mean(0), directions)
    assert moved["scale"] == pytest.approx(before["scale"])
    assert moved["shape"] == pytest.approx(before["shape"])
    assert wider["centre"] == pytest.approx(before["centre"])
    assert wider["shape"] == pytest.approx(before["shape"], rel=1e-3)
    assert moved["centre"] > 1
    assert wider["scale"] > 1


def test_visreg_pushes_collapsed_codes_apart():
    """Where SIGReg's gradient vanishes: the scale's stays at its full size."""
    codes = 1e-3 * normal(64, 4)
    x = codes.clone().requires_grad_()
    _, terms = VISReg(directions=9)(x, None, {"directions": normal(9, 4, seed=1)},
                                    StandardNormal(4))  # fmt: skip
    (gradient,) = torch.autograd.grad(terms["scale"], x)
    # d/dz of mean_j (1 - s_j)^2 is -(2 / k)(1 - s_j)(z - zbar) / (m s_j), of norm 2/k (1-s)/sqrt(m)
    expected = 2 / 4 * (1 - codes.std(0, correction=0)) / np.sqrt(64)
    torch.testing.assert_close(gradient.norm(dim=0), expected)


# ---- VICReg --------------------------------------------------------------------------------------


def test_vicreg_is_hinges_of_deviations_and_squares_of_covariances():
    codes = normal(12, 4) * torch.tensor([0.1, 0.5, 1.0, 3.0]).double() + 2
    codes[:, 1] += 0.4 * codes[:, 3]
    C = np.cov(codes.numpy(), rowvar=False)
    variance = sum(max(0, 1 - np.sqrt(C[j, j] + 1e-4)) for j in range(4))
    covariance = sum(C[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    expected = {"variance": variance, "covariance": covariance}
    assert terms_of(VICReg(), codes) == pytest.approx(expected, rel=1e-10)


def test_vicreg_asks_no_more_of_codes_that_are_wide_and_uncorrelated():
    codes = normal(50, 3)
    codes = (codes - codes.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(codes.T.cov()).mT)
    found = terms_of(VICReg(), 1.5 * codes + 7)
    assert found == pytest.approx({"variance": 0, "covariance": 0}, abs=1e-12)
    constant = terms_of(VICReg(), torch.ones(5, 3).double())
    assert constant == pytest.approx({"variance": 3 * (1 - 0.01), "covariance": 0})
