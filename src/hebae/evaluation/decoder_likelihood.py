"""What annealing asks of a model: log p(x | z) with its gradient, and simulated examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hebae.evaluation.hamiltonian import LogLikelihood, with_gradient
from hebae.model import Autoencoder, at_least_float32

__all__ = ["decoder_log_likelihood", "simulate"]


@contextmanager
def decoder_log_likelihood(module: Autoencoder, x: Tensor, block: int) -> Iterator[LogLikelihood]:
    """Give ``log p(x_i | z)`` of examples x (n, *shape), the module being in evaluation mode.

    At most `block` codes go through the decoder at once, or all chains of one example.
    """

    def of_block(z: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
        chains, n, k = z.shape
        repeated = part.expand(chains, *part.shape).flatten(0, 1)
        evaluate = with_gradient(lambda rows: module.log_likelihood(repeated, rows))
        value, gradient = evaluate(z.to(part).flatten(0, 1))
        return value.reshape(chains, n), gradient.reshape(chains, n, k)

    def log_likelihood(z: Tensor) -> tuple[Tensor, Tensor]:
        examples = max(1, block // len(z))
        parts = zip(torch.split(z, examples, dim=1), torch.split(x, examples), strict=True)
        values, gradients = zip(*(of_block(*part) for part in parts), strict=True)
        return torch.cat(values, dim=1).to(z), torch.cat(gradients, dim=1).to(z)

    with _evaluation_mode(module):
        yield log_likelihood


def simulate(module: Autoencoder, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Codes z ~ N(0, I) (count, k), float64 on the CPU, and examples x ~ p(x | z)."""
    like = module.population_mean
    # In the decoder's precision, so that z is exactly what x was made from.
    z = torch.randn(count, module.latent_dim, generator=generator).to(like)
    with _evaluation_mode(module), torch.no_grad():
        x = module.likelihood.sample(at_least_float32(module.decoder(z)), generator)
    return z.double().cpu(), x


@contextmanager
def _evaluation_mode(module: Autoencoder) -> Iterator[None]:
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
