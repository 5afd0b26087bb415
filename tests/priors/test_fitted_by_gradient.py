"""Samplers with networks: flow matching, the second VAE and the spline flow, on known densities."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from hebae.priors import FittedNormal, Mixture, Prior, fit_samplers
from hebae.priors.flow_matching import FlowMatching, Velocity
from hebae.priors.two_stage import TwoStage

FLOW = pytest.param(
    "flow",
    marks=pytest.mark.skipif(importlib.util.find_spec("zuko") is None, reason="zuko is missing"),
)
ALL = ["flow-matching", "two-stage", FLOW]


def moons(n: int, seed: int) -> np.ndarray:
    """Two moons, by independent draws, which scikit-learn's are not."""
    rng = np.random.default_rng(seed)
    angle, upper = rng.uniform(0, np.pi, n), rng.random(n) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return 3 * (np.stack([x, y], axis=1) + 0.08 * rng.normal(size=(n, 2))) + 5


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased: 0 on average for two samples of one distribution."""

    def within(x: np.ndarray) -> float:
        return cdist(x, x).sum() / (len(x) * (len(x) - 1))

    return 2 * cdist(a, b).mean() - within(a) - within(b)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Prior]:
    """Samplers fitted to two moons, a curved density in two dimensions, by name."""
    names = ["fitted-normal", "mixture", "flow-matching", "two-stage"]
    names += ["flow"] * (importlib.util.find_spec("zuko") is not None)
    return fit_samplers(moons(2000, 0), seed=0, names=names).by_name


def test_flow_matching_cannot_be_told_from_fresh_draws(fitted: dict[str, Prior]) -> None:
    """By the energy distance, whose noise comes from distances between true samples."""
    noise = [energy_distance(moons(1000, 2 * s), moons(1000, 2 * s + 1)) for s in range(5, 25)]
    distance = energy_distance(fitted["flow-matching"].sample(1000, 3), moons(1000, 3))
    assert distance < np.mean(noise) + 4 * np.std(noise)


@pytest.mark.parametrize("name", ALL)
def test_on_a_curved_density_all_are_better_than_a_normal(
    name: str, fitted: dict[str, Prior]
) -> None:
    target = moons(2000, 1)
    distances = {n: energy_distance(fitted[n].sample(2000, 0), target) for n in fitted}
    assert distances[name] < (0.6 if name == "two-stage" else 0.2) * distances["fitted-normal"]
    gain = fitted[name].log_density(target) - fitted["fitted-normal"].log_density(target)
    assert gain.mean() > 0.1


@pytest.mark.parametrize("name", ALL)
def test_densities_integrate_to_one(name: str, fitted: dict[str, Prior]) -> None:
    """Over a grid; two-stage gives a lower bound, so that its integral is at most 1."""
    axes = np.arange(0, 13, 0.12), np.arange(1.5, 10, 0.12)
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    integral = np.exp(fitted[name].log_density(grid)).sum() * 0.12**2
    assert integral < 1.02
    assert integral > (0.98 if fitted[name].exact else 0.8)


def test_the_divergence_is_the_trace_of_the_jacobian() -> None:
    velocity = Velocity(5, seed=0).double()
    torch.nn.init.normal_(velocity.third.weight)
    w, t = torch.randn(7, 5, dtype=torch.float64), torch.rand(7, 1, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda w: velocity(w, t), w)
    trace = torch.stack([jacobian[i, :, i].trace() for i in range(7)])
    torch.testing.assert_close(velocity.divergence(w, t), trace)


def test_flow_matching_leaves_a_right_source_alone() -> None:
    """The codes are draws of a mixture: the flow moves its draws by little, and keeps log p."""
    source = Mixture([0.5, 0.5], [[-3.0, 0, 0], [3.0, 0, 0]], np.stack([np.eye(3)] * 2))
    fitted = fit_samplers(source.sample(2000, 0), names=["flow-matching"]).by_name
    flow, mixture = fitted["flow-matching"], fitted["mixture"]
    assert isinstance(flow, FlowMatching)
    epsilon = torch.from_numpy(np.random.default_rng(1).normal(size=(1000, 4)).astype("float32"))
    moved = flow.transform(epsilon) - flow.codes(flow.source.transform(epsilon))
    assert moved.square().sum(dim=1).mean().sqrt() < 0.1 * 3**0.5  # of a component's width
    test = source.sample(2000, 2)
    lost = source.log_density(test).mean() - flow.log_density(test).mean()
    also_lost = source.log_density(test).mean() - mixture.log_density(test).mean()
    assert lost < also_lost + 0.03


def test_the_bound_of_two_stage_is_exact_where_the_posterior_is() -> None:
    """A linear decoder whose encoder is the true posterior: every importance weight is p(z)."""
    sampler = TwoStage(np.array([1.0, -2.0]), np.diag([2.0, 0.5]))
    gamma = 0.7
    for network in (sampler.encoder, sampler.decoder):
        for layer in network:
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.zeros_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
    sampler.log_gamma.data.fill_(np.log(gamma))  # z does not depend on u: q(u|z) = N(0, I) is exact
    normal = FittedNormal([1.0, -2.0], np.diag([(2 * gamma) ** 2, (0.5 * gamma) ** 2]))
    z = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(
        sampler.requires_grad_(False).log_density(z), normal.log_density(z), rtol=1e-5
    )


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_sampler(name: str) -> None:
    codes = moons(60, 0)
    state = torch.random.get_rng_state()
    first, again, other = (
        fit_samplers(codes, seed=seed, names=[name])[name].sample(10, 4) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's generator is left alone


@pytest.mark.parametrize("name", ALL)
def test_codes_that_fill_a_plane_and_few_codes_are_no_obstacle(name: str) -> None:
    flat = np.random.default_rng(0).normal(size=(20, 3))
    flat[:, 2] = flat[:, 0]
    draws = fit_samplers(flat, names=[name])[name].sample(50, 0)
    assert np.isfinite(draws).all()
    assert np.abs(draws[:, 2] - draws[:, 0]).max() < 0.1
