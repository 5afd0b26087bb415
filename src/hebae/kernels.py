"""Maximum mean discrepancy between two samples (section 3 of docs/mathematics.md).

Unbiased estimators, so that a value may be negative, after Tolstikhin et al. (2018), "Wasserstein
Auto-Encoders".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["MULTIPLES", "mmd_imq", "mmd_rbf"]

MULTIPLES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The multiples c of the base width that the inverse multiquadratic kernel sums over."""


def mmd_imq(
    q: Float[Tensor, "batch latent"],
    p: Float[Tensor, "prior latent"],
    base_variance: float = 1.0,
) -> Float[Tensor, ""]:
    """MMD with inverse multiquadratic kernels ``C / (C + ||a - b||^2)``, summed over `MULTIPLES`.

    Parameters
    ----------
    q : Tensor, shape (m, k)
        Codes.
    p : Tensor, shape (n, k)
        Draws from the prior.
    base_variance : float
        s2 in ``C = 2 k s2 c``: the prior's variance; 2 in the released CelebA code.

    Returns
    -------
    Tensor, scalar
        Zero on average where both samples come from one distribution; may be negative.
    """
    base = 2 * q.shape[-1] * base_variance
    widths = tuple(base * multiple for multiple in MULTIPLES)

    def kernel(squared_distance: Tensor) -> Tensor:
        total: Tensor = _SumOfInverses.apply(squared_distance, widths)  # type: ignore[no-untyped-call]
        return total

    return _unbiased_mmd(q, p, kernel)


def mmd_rbf(
    q: Float[Tensor, "batch latent"],
    p: Float[Tensor, "prior latent"],
    base_variance: float = 1.0,
) -> Float[Tensor, ""]:
    """MMD with the Gaussian kernel ``exp(-||a - b||^2 / (2 k s2))``; parameters as in `mmd_imq`."""
    width = 2 * q.shape[-1] * base_variance
    return _unbiased_mmd(q, p, lambda squared_distance: torch.exp(-squared_distance / width))


def unit(directions: Float[Tensor, "direction latent"]) -> Float[Tensor, "direction latent"]:
    """Scale each row to length 1: of standard normal rows, uniform directions."""
    length: Tensor = directions.norm(dim=1, keepdim=True)
    return directions / length


class _SumOfInverses(torch.autograd.Function):
    """``sum_C C / (C + d)`` of squared distances d, entrywise.

    Autograd would keep a matrix for each C and go through all of them again; this keeps d alone,
    and takes the slope ``-sum_C C / (C + d)^2`` where a gradient is asked for. On a CPU one C after
    the other stays in the cache; on a GPU all at once need a tenth of the launches.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(squared_distance: Tensor, widths: tuple[float, ...]) -> Tensor:
        if squared_distance.device.type != "cpu":
            C = _along_a_first_dimension(widths, squared_distance)
            return (C / (squared_distance + C)).sum(0)
        total = torch.zeros_like(squared_distance)
        for width in widths:
            total = total.add((squared_distance + width).reciprocal(), alpha=width)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[float, ...]], output: Tensor) -> None:
        squared_distance, ctx.widths = inputs
        ctx.save_for_backward(squared_distance)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (squared_distance,) = ctx.saved_tensors
        if squared_distance.device.type != "cpu":
            C = _along_a_first_dimension(ctx.widths, squared_distance)
            return -gradients[0] * (C / (squared_distance + C).square()).sum(0), None
        slope = torch.zeros_like(squared_distance)
        for width in ctx.widths:
            inverse = (squared_distance + width).reciprocal()
            slope = slope.addcmul(inverse, inverse, value=-width)
        return gradients[0] * slope, None


def _along_a_first_dimension(values: tuple[float, ...], like: Tensor) -> Tensor:
    # Made on the device: a copy of numbers from the host would make each step wait.
    made = torch.stack([like.new_full((), value) for value in values])
    return made.view(-1, *[1] * like.dim())


def _unbiased_mmd(q: Tensor, p: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    within_q = _mean_off_diagonal(kernel(squared_distances(q, q)))
    within_p = _mean_off_diagonal(kernel(squared_distances(p, p)))
    return within_q + within_p - 2 * kernel(squared_distances(q, p)).mean()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """``||a_i - b_j||^2`` between the rows of two matrices."""
    # Not torch.cdist, whose gradient at zero distance (the diagonal) is not defined.
    squared = a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - 2 * (a @ b.mT)
    return squared.clamp(min=0)


def _mean_off_diagonal(matrix: Tensor) -> Tensor:
    n = matrix.shape[0]
    return (matrix.sum() - matrix.diagonal().sum()) / (n * (n - 1))
