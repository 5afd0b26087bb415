"""Leapfrog and transitions: reversible, volume-preserving, and p(z) p(x | z)^t is invariant."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hebae.evaluation.hamiltonian import (
    leapfrog,
    standard_normal,
    state_at,
    transition,
    with_gradient,
)

seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(0, 1)


def quartic(z):
    """A log-likelihood that is far from normal: ``-sum_j (z_j - 1)^4 + sin(3 z_1)``."""
    return -(z - 1).pow(4).sum(-1) + torch.sin(3 * z[..., 0])


at = state_at(standard_normal, with_gradient(quartic))


def chains(seed=0, shape=(3, 2, 4)):
    generator = torch.Generator().manual_seed(seed)
    z, momentum = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    step_size = 0.05 + 0.1 * torch.rand(shape[:2], generator=generator, dtype=torch.float64)
    return at(z), momentum, step_size


def same(actual, expected, tolerance=1e-10):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_gradient_is_with_respect_to_z_in_whatever_mode(mode):
    z = chains()[0].z
    with mode():
        value, gradient = with_gradient(quartic)(z)
    same(value, quartic(z))
    expected = -4 * (z - 1).pow(3)
    expected[..., 0] += 3 * torch.cos(3 * z[..., 0])
    same(gradient, expected)


@given(seed=seeds, t=temperatures, steps=st.integers(1, 20))
def test_leapfrog_is_reversible(seed, t, steps):
    state, momentum, step = chains(seed)
    there, last = leapfrog(state, momentum, t, step, steps, at)
    assume(float(last.abs().max()) < 1e3)  # a diverging trajectory, as of seed 1, loses all digits
    back, first = leapfrog(there, -last, t, step, steps, at)
    same(back.z, state.z, 1e-6)
    same(first, -momentum, 1e-6)


@settings(max_examples=10)
@given(seed=seeds, t=temperatures, steps=st.integers(1, 5))
def test_leapfrog_keeps_volumes(seed, t, steps):
    """The Jacobian of (z, momentum) -> (z', momentum') has determinant 1."""
    state, momentum, step = chains(seed, shape=(1, 1, 3))

    def move(flat):
        z, p = flat.reshape(2, 1, 1, 3)
        end, last = leapfrog(at(z), p, t, step, steps, at)
        return torch.stack([end.z, last]).flatten()

    start = torch.stack([state.z, momentum]).flatten()
    assume(float(move(start).abs().max()) < 1e3)
    jacobian = torch.autograd.functional.jacobian(move, start)
    assert float(torch.linalg.det(jacobian)) == pytest.approx(1, abs=1e-6)


def exact_draws(count, t, generator):
    """Draws from the one-dimensional target from the cdf on a grid, and the density there."""
    grid = torch.linspace(-4, 4, 40_001, dtype=torch.float64)
    density = torch.exp(-(grid**2) / 2 + t * quartic(grid[:, None]))
    density /= density.sum()
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    place = torch.searchsorted(density.cumsum(0), u).clamp(max=len(grid) - 1)
    return grid[place], grid, density


@pytest.mark.parametrize(("t", "step"), [(0.0, 1.2), (0.3, 0.7), (1.0, 0.45)])
def test_transitions_leave_their_target_as_it_is(t, step):
    """Moments of 40,000 chains that start there, with steps so large that many are rejected."""
    generator = torch.Generator().manual_seed(1)
    draws, grid, density = exact_draws(40_000, t, generator)
    z = draws[:, None, None]
    state = at(z)
    size = torch.tensor([step], dtype=torch.float64)
    for _ in range(5):
        state, acceptance = transition(state, t, size, 3, at, generator)
    assert 0.3 < float(acceptance.mean()) < 0.97
    assert (state.z != z).double().mean() > 0.9
    for power in (1, 2, 3, 4):
        values = state.z.flatten() ** power
        error = float(values.std()) / math.sqrt(len(values))
        expected = float((density * grid**power).sum())
        assert float(values.mean()) == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("outside", [math.nan, math.inf, -math.inf])
def test_divergent_proposals_are_rejected(outside):
    def walled(z):
        value, gradient = with_gradient(quartic)(z)
        beyond = z.abs().amax(-1) > 6
        return value.where(~beyond, outside), gradient.where(~beyond[..., None], outside)

    state, _, _ = chains()
    size = torch.full((2,), 50.0, dtype=torch.float64)
    evaluate = state_at(standard_normal, walled)
    moved, acceptance = transition(state, 1.0, size, 3, evaluate, torch.Generator().manual_seed(0))
    assert (acceptance == 0).all()
    assert all(torch.equal(*pair) for pair in zip(moved, state, strict=True))


def test_transitions_mix_a_normal_target_whose_steps_fit_its_period():
    """With steps all alike, a half turn would take z to -z, and z^2 would never change."""
    generator = torch.Generator().manual_seed(0)
    z = torch.ones(2000, 1, 1, dtype=torch.float64)
    half_turn = 2 * math.sin(math.pi / 6)  # leapfrog of N(0, 1) turns by 2 asin(step / 2) a step
    size = torch.tensor([half_turn], dtype=torch.float64)
    evaluate = state_at(standard_normal, lambda z: (torch.zeros_like(z[..., 0]), 0 * z))
    state = evaluate(z)
    for _ in range(10):
        state, _ = transition(state, 1.0, size, 3, evaluate, generator)
    squares = state.z.flatten().square().numpy()
    assert np.mean(squares) == pytest.approx(1, abs=4 * math.sqrt(2 / 2000))
    assert np.var(squares) == pytest.approx(2, rel=0.3)
