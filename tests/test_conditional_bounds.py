"""Codes and bounds of a conditional model p(x | z, c) that is known exactly."""

import numpy as np
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from hebae import evaluation, inference
from hebae.data import Examples
from hebae.data.schema import Column
from hebae.likelihoods import Gaussian
from hebae.model import Autoencoder
from hebae.networks import ConditionEncoder
from hebae.objectives import HEBAE


class Exact:
    """x = W z + A c + b + s epsilon, with the encoder of the posterior p(z | x, c)."""

    k, d, s, n = 2, 5, 0.5, 12
    columns = (Column("batch", "category", ("a", "b", "c")), Column("age", "number"))

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        shapes = (self.d, self.k), (self.d, 4), (self.d,), (self.n, self.d)
        W, A, b, x = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes)
        rng = np.random.default_rng(0)
        conditions = np.column_stack([rng.integers(0, 3, self.n), rng.uniform(20, 60, self.n)])
        self.examples = Examples(
            x.float().numpy(),
            conditions=conditions.astype(np.float32),
            condition_columns=self.columns,
        )
        c = torch.zeros(self.n, 4, dtype=torch.float64)
        c[torch.arange(self.n), torch.from_numpy(conditions[:, 0]).long()] = 1
        c[:, 3] = (torch.from_numpy(self.examples.conditions[:, 1]).double() - 40) / 10
        centre = b + c @ A.mT
        covariance = W @ W.mT + self.s**2 * torch.eye(self.d)
        x = x.float().double()
        self.exact = MultivariateNormal(centre, covariance).log_prob(x).numpy()
        posterior = (torch.eye(self.k) + W.mT @ W / self.s**2).inverse()
        to_mean = posterior @ W.mT / self.s**2
        self.means = (x - centre) @ to_mean.mT
        encoder, decoder = nn.Linear(self.d + 4, 2 * self.k), nn.Linear(self.k + 4, self.d)
        self.model = Autoencoder(
            encoder,
            decoder,
            HEBAE(),
            Gaussian(self.s),
            (self.d,),
            self.k,
            conditions=ConditionEncoder([3, 0], [0, 40], [1, 10]),
            condition_encoder="flat",
        )
        self.model.double().eval().population_covariance.copy_(posterior)
        with torch.no_grad():
            decoder.weight.copy_(torch.cat([W, A], 1))
            decoder.bias.copy_(b)
            encoder.weight.zero_()[: self.k] = torch.cat([to_mean, -to_mean @ A], 1)
            encoder.bias.zero_()[: self.k] = -to_mean @ b


def test_codes_and_bounds_of_a_linear_gaussian_model_are_exact():
    linear = Exact()
    model, examples = linear.model, linear.examples
    np.testing.assert_allclose(inference.encode(model, examples).mean, linear.means, atol=1e-6)
    # With the exact posterior every weight of importance sampling is p(x | c).
    bound = evaluation.iwae(model, examples, samples=2)
    np.testing.assert_allclose(bound.per_example, linear.exact, rtol=1e-6)
    assert abs(evaluation.elbo(model, examples, draws=200).value - linear.exact.mean()) < 0.2
    annealed = evaluation.ais(model, examples, temperatures=60, chains=8)
    assert abs(annealed.value - linear.exact.mean()) < 0.5
    information = evaluation.mutual_information(model, examples)
    expected = evaluation.posterior_information(
        linear.means,
        torch.zeros(linear.n, linear.k),
        torch.linalg.cholesky(model.population_covariance),
    )
    assert abs(information.value - expected.value) < 1e-5
    others = Examples(
        examples.values, conditions=examples.conditions[::-1], condition_columns=linear.columns
    )
    wrong = evaluation.iwae(model, others, samples=2)
    assert np.abs(wrong.per_example - linear.exact).mean() > 0.5
