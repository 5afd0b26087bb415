"""The maximum mean discrepancy, against a double loop and its own definition."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hebae import kernels

seeds = st.integers(0, 2**32 - 1)


def samples(m, n, k, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(m, k, generator=generator, dtype=torch.float64)
    p = torch.randn(n, k, generator=generator, dtype=torch.float64)
    return q.to(dtype), p.to(dtype)


both = pytest.mark.parametrize("mmd", [kernels.mmd_imq, kernels.mmd_rbf], ids=["imq", "rbf"])


def imq(a, b, s2):
    distance, k = math.dist(a, b) ** 2, len(a)
    widths = [2 * k * s2 * c for c in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    return sum(C / (C + distance) for C in widths)


def rbf(a, b, s2):
    return math.exp(-(math.dist(a, b) ** 2) / (2 * len(a) * s2))


@pytest.mark.parametrize(("mmd", "kernel"), [(kernels.mmd_imq, imq), (kernels.mmd_rbf, rbf)])
@given(
    seed=seeds,
    m=st.integers(2, 6),
    n=st.integers(2, 6),
    k=st.integers(1, 4),
    s2=st.floats(0.25, 4),
)
def test_mmd_is_the_double_loop_of_its_definition(mmd, kernel, seed, m, n, k, s2):
    """mean_{i != j} K(q_i, q_j) + mean_{i != j} K(p_i, p_j) - 2 mean_{ij} K(q_i, p_j)."""
    q, p = samples(m, n, k, seed)
    Q, P = q.tolist(), p.tolist()
    within_q = sum(kernel(Q[i], Q[j], s2) for i in range(m) for j in range(m) if i != j)
    within_p = sum(kernel(P[i], P[j], s2) for i in range(n) for j in range(n) if i != j)
    across = sum(kernel(a, b, s2) for a in Q for b in P)
    expected = within_q / (m * (m - 1)) + within_p / (n * (n - 1)) - 2 * across / (m * n)
    assert float(mmd(q, p, s2)) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@both
def test_mmd_of_one_distribution_is_zero_on_average_and_often_negative(mmd):
    """Unbiased: over 2,000 pairs the mean lies within four standard errors of 0."""
    generator = torch.Generator().manual_seed(2)
    pairs = torch.randn(2, 2000, 10, 3, generator=generator, dtype=torch.float64)
    values = torch.func.vmap(mmd)(pairs[0], pairs[1])
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert (values < 0).double().mean() > 0.3
    # Keeping i = j would add 2 (K(0) - K(a, b)) / 10 on average: 0.1 with rbf, 0.6 with imq.
    assert 4 * error < 0.03


@both
@given(seed=seeds, m=st.integers(2, 10), n=st.integers(2, 10))
def test_mmd_is_symmetric_and_knows_no_order_origin_or_axes(mmd, seed, m, n):
    q, p = samples(m, n, 3, seed)
    value = mmd(q, p)
    rotation, _ = torch.linalg.qr(samples(3, 3, 3, seed)[0])
    for other in (
        mmd(p, q),
        mmd(q.flip(0), p.roll(1, 0)),
        mmd(q + 5, p + 5),
        mmd(q @ rotation, p @ rotation),
    ):
        torch.testing.assert_close(other, value, rtol=1e-9, atol=1e-10)


@both
def test_mmd_has_the_right_gradient(mmd):
    q, p = samples(5, 6, 3)
    assert torch.autograd.gradcheck(mmd, (q.requires_grad_(), p.requires_grad_()))


@both
def test_second_derivatives_and_many_at_once_are_right(mmd):
    q, p = samples(4, 5, 2)
    assert torch.autograd.gradgradcheck(mmd, (q.requires_grad_(), p.requires_grad_()))
    pairs = torch.stack([q.detach(), 2 * q.detach(), q.detach() - 1])
    many = torch.func.vmap(torch.func.grad(mmd), in_dims=(0, None))(pairs, p.detach())
    for each, gradient in zip(pairs, many, strict=True):
        torch.testing.assert_close(gradient, torch.func.grad(mmd)(each, p.detach()))


@both
def test_gradient_is_finite_where_codes_coincide(mmd, dtype):
    """The derivative of a distance at zero is not defined; that of its square is."""
    q, p = samples(6, 6, 3, dtype=dtype)
    q[1] = q[0]
    q[2] = p[0]
    (gradient,) = torch.autograd.grad(mmd(q.requires_grad_(), p), q)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient[0], gradient[1])
