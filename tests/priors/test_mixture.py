"""Mixtures against SciPy's normals and scikit-learn's EM, and how many components are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from hebae import HebaeError
from hebae.priors import Mixture, fit_mixture, fitting

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 8.0]])
COVARIANCES = np.array([[[1.0, 0.6], [0.6, 1.0]], [[0.5, 0.0], [0.0, 2.0]], [[1.0, 0], [0, 0.3]]])


@pytest.fixture(scope="module")
def known() -> Mixture:
    return Mixture(WEIGHTS, MEANS, COVARIANCES)


@pytest.fixture(scope="module")
def clustered(known: Mixture) -> np.ndarray:
    return known.sample(4000, 0)


def expected_log_density(z: np.ndarray) -> np.ndarray:
    parts = [
        np.log(w) + multivariate_normal(m, c).logpdf(z)
        for w, m, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
    ]
    return logsumexp(parts, axis=0)


def test_log_density_is_that_of_scipys_normals(known: Mixture, clustered: np.ndarray) -> None:
    np.testing.assert_allclose(
        known.log_density(clustered), expected_log_density(clustered), rtol=1e-10
    )


def test_draws_have_the_mixtures_moments(known: Mixture) -> None:
    count = 100_000
    z = known.sample(count, 3)
    mean = WEIGHTS @ MEANS
    second = np.einsum("c,cij->ij", WEIGHTS, COVARIANCES + MEANS[:, :, None] * MEANS[:, None])
    covariance = second - np.outer(mean, mean)
    error = np.sqrt(np.diag(covariance) / count)
    assert (np.abs(z.mean(0) - mean) < 4 * error).all()
    np.testing.assert_allclose(np.cov(z.T), covariance, rtol=0.03)
    assert np.array_equal(z, known.sample(count, 3))
    assert not np.array_equal(z, known.sample(count, 4))


def test_an_em_step_without_prior_and_floor_is_scikit_learns(
    clustered: np.ndarray,
) -> None:
    z = clustered.astype(np.float64)
    start = GaussianMixture(
        3,
        reg_covar=0,
        max_iter=1,
        weights_init=WEIGHTS,
        means_init=MEANS + 0.5,
        precisions_init=np.linalg.inv(COVARIANCES),
    )
    with pytest.warns(UserWarning, match="converge"):
        start.fit(z)
    ours = fitting.em_step(
        torch.from_numpy(z),
        fitting.Parameters(*map(torch.from_numpy, (WEIGHTS, MEANS + 0.5, COVARIANCES))),
        prior_codes=0.0,
        floor=0.0,
    )
    for found, expected in zip(
        ours, (start.weights_, start.means_, start.covariances_), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    density = fitting.log_density(torch.from_numpy(z), ours)
    np.testing.assert_allclose(density, start.score_samples(z), rtol=1e-8)


def test_a_components_covariance_is_pulled_to_the_pooled_one() -> None:
    """(S_c + k/2 P) / (n_c + k/2), for components so far apart that each code has but one."""
    generator = np.random.default_rng(0)
    groups = [generator.normal(size=(40, 2)) - 50, 0.1 * generator.normal(size=(10, 2)) + 50]
    z = torch.from_numpy(np.concatenate(groups))
    means = torch.tensor([[-50.0, -50.0], [50.0, 50.0]], dtype=torch.float64)
    start = fitting.Parameters(
        torch.tensor([0.5, 0.5]).double(), means, torch.eye(2).repeat(2, 1, 1).double()
    )
    found = fitting.em_step(z, start).covariances
    scatters = [np.cov(g.T, bias=True) * len(g) for g in groups]
    pooled = sum(scatters) / 50
    for c, (scatter, group) in enumerate(zip(scatters, groups, strict=True)):
        expected = (scatter + pooled) / (len(group) + 1) + 1e-3 * np.eye(2)
        np.testing.assert_allclose(found[c], expected, rtol=1e-6, atol=1e-9)


def test_held_out_codes_ask_for_many_components_where_there_are_clusters() -> None:
    generator = np.random.default_rng(0)
    centres = 8 * generator.normal(size=(10, 3))
    z = centres[generator.integers(10, size=4000)] + generator.normal(size=(4000, 3))
    fit = fit_mixture(z)
    assert fit.mixture.components == 10
    assert fit.held_out == fit.curve[10]
    assert fit.curve[10] > fit.curve[1] + 1
    assert max(fit.curve) < 400  # the search stopped


def test_held_out_codes_ask_for_one_component_where_codes_are_normal() -> None:
    generator = np.random.default_rng(1)
    z = generator.normal(size=(3000, 4)) @ generator.normal(size=(4, 4))
    fit = fit_mixture(z)
    assert fit.mixture.components == 1
    np.testing.assert_allclose(fit.mixture.means[0], z.mean(0), atol=1e-9)
    np.testing.assert_allclose(
        fit.mixture.covariances[0], np.cov(z.T, bias=True) * 1.001, rtol=1e-6, atol=1e-9
    )


@given(st.integers(0, 2**31))
def test_an_affine_map_of_the_codes_moves_the_density_by_its_jacobian(seed: int) -> None:
    generator = np.random.default_rng(seed)
    z = np.concatenate([generator.normal(size=(150, 2)), 0.3 * generator.normal(size=(150, 2)) + 6])
    A, b = np.diag(np.exp(generator.normal(size=2))) @ rotation(generator.uniform(0, 6)), 5.0
    before = fit_mixture(z, components=(2,)).mixture
    after = fit_mixture(z @ A.T + b, components=(2,)).mixture
    shift = np.log(abs(np.linalg.det(A)))
    np.testing.assert_allclose(
        after.log_density(z @ A.T + b), before.log_density(z) - shift, rtol=1e-4, atol=1e-3
    )


def rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("k", [1, 3])
def test_collapsed_and_single_dimensions_stay_finite(k: int) -> None:
    generator = np.random.default_rng(0)
    z = np.full((600, k), 2.0)
    z[:, 0] = generator.choice([-3.0, 3.0], size=600) + 0.2 * generator.normal(size=600)
    mixture = fit_mixture(z).mixture
    assert mixture.components >= 2
    assert np.isfinite(mixture.log_density(z)).all()
    np.testing.assert_allclose(mixture.sample(200, 0)[:, 1:], 2, atol=0.05)


def test_few_codes_limit_the_components() -> None:
    z = np.random.default_rng(0).normal(size=(200, 2))
    z[::2] += 20
    assert max(fit_mixture(z).curve) <= 180 // 10
    assert set(fit_mixture(z[:20]).curve) == {1}
    with pytest.raises(HebaeError, match=r"19 codes.*at least 20.*normal"):
        fit_mixture(z[:19])


def test_bad_mixtures_are_refused() -> None:
    with pytest.raises(HebaeError, match=r"weights \(3,\)"):
        Mixture(WEIGHTS[:2], MEANS, COVARIANCES)
    with pytest.raises(HebaeError, match="sum 1"):
        Mixture(WEIGHTS / 2, MEANS, COVARIANCES)
    with pytest.raises(HebaeError, match="positive definite"):
        Mixture(WEIGHTS, MEANS, -COVARIANCES)
    with pytest.raises(HebaeError, match="components is empty"):
        fit_mixture(np.random.default_rng(0).normal(size=(50, 2)), components=())
