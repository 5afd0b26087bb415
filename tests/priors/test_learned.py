"""Learned priors as densities: normalised, drawn from as they say, differentiable, started."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from hebae import HebaeError
from hebae.building import build
from hebae.config import ModelSettings
from hebae.evaluation.posterior import posteriors_of
from hebae.priors import PRIORS, Flow, LearnedMixture, StandardNormal, VampPrior
from hebae.priors.base import Prior

FLOWS = ("nsf", "maf", "realnvp")
KINDS = [*FLOWS, "mixture", "vamp"]


def some(kind: str, k: int = 2, seed: int = 0) -> Prior:
    """A prior in float64 with parameters far from where training starts."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "vamp":
            prior: Prior = VampPrior(k, 5, (4,))
            L = torch.eye(k) + 0.3 * torch.randn(k, k).tril(-1)
            prior.store(torch.randn(5, k), 0.3 * torch.randn(5, k) - 0.5, L)
        elif kind == "mixture":
            prior = LearnedMixture(k, 4)
            with torch.no_grad():
                for parameter in prior.parameters():
                    parameter.copy_(0.5 * torch.randn(parameter.shape))
        else:
            prior = Flow(k, kind, 2, (8,))
            with torch.no_grad():
                for parameter in prior.parameters():
                    parameter.mul_(2 if kind == "nsf" else 1)
    return prior.double()


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_1(kind: str) -> None:
    line = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        total = some(kind).log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert float(total) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", FLOWS)
def test_draws_of_a_flow_have_its_density(kind: str) -> None:
    """log p(z) = log N(epsilon) - log |dz/depsilon|, for one and for three dimensions."""
    for k in (1, 3):
        prior = some(kind, k)
        epsilon = torch.randn(6, k, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        z = prior.transform(epsilon)
        jacobians = torch.func.vmap(torch.func.jacrev(lambda e, p=prior: p.transform(e[None])[0]))
        log_volume = torch.linalg.slogdet(jacobians(epsilon))[1]
        expected = StandardNormal(k).log_prob(epsilon) - log_volume
        torch.testing.assert_close(prior.log_prob(z), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["mixture", "vamp"])
def test_mixtures_are_those_of_scipy_and_so_are_their_draws(kind: str) -> None:
    prior = some(kind, 3)
    weights, means, factors = (
        part.detach().numpy() for part in (prior.weights, prior.means, prior.factors)
    )
    covariances = factors @ factors.transpose(0, 2, 1)
    z = np.random.default_rng(0).normal(size=(20, 3))
    parts = [
        np.log(w) + multivariate_normal(m, C).logpdf(z)
        for w, m, C in zip(weights, means, covariances, strict=True)
    ]
    np.testing.assert_allclose(prior.log_density(z), logsumexp(parts, axis=0), rtol=1e-9)
    draws = prior.sample(50_000, 3)
    mean = weights @ means
    second = np.einsum("c,cij->ij", weights, covariances + means[:, :, None] * means[:, None])
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), second - np.outer(mean, mean), atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_with_respect_to_codes_and_parameters(kind: str) -> None:
    prior = some(kind)
    z = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    names = [name for name, _ in prior.named_parameters() if name != "pseudo_inputs"]
    values = [prior.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def log_prob(z: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        parameters = dict(zip(names, values, strict=True))
        call = lambda module: torch.func.functional_call(module, parameters, (z,))  # noqa: E731
        return call(_LogProb(prior, parameters))

    assert torch.autograd.gradcheck(log_prob, (z.requires_grad_(), *values), atol=1e-6)


class _LogProb(torch.nn.Module):
    """Turn `log_prob` into a forward call, under the names that its parameters have alone."""

    def __init__(self, prior: Prior, parameters: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.prior = (prior,)
        for name, module in prior.named_children():
            self.add_module(name, module)
        for name in parameters:
            if "." not in name:
                self.register_parameter(name, prior.get_parameter(name))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        prior = self.prior[0]
        saved = dict(prior._parameters)
        prior._parameters.update(self._parameters)
        try:
            return prior.log_prob(z)
        finally:
            prior._parameters.update(saved)


def test_a_spline_flow_has_the_tails_of_a_standard_normal() -> None:
    """Outside [-5, 5] it is the identity, and its density has no step at the edge."""
    prior = some("nsf")
    far = torch.tensor([[6.0, -7.0], [-5.5, 8.0], [9.0, 5.01]], dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(far), StandardNormal(2).log_prob(far))
    edge = torch.tensor([[5.0, 0.3], [0.7, -5.0]], dtype=torch.float64)
    near = [prior.log_prob(edge * factor) for factor in (1 - 1e-9, 1 + 1e-9)]
    torch.testing.assert_close(near[0], near[1], rtol=0, atol=1e-6)


def test_a_mixture_starts_with_the_moments_of_a_standard_normal_and_the_codes_shape() -> None:
    """Whatever scale and place the codes have; and the same seed starts at the same place."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
    codes = centres.repeat(300, 1) + 0.2 * torch.randn(900, 2, generator=generator)
    codes = 1e-2 * codes @ torch.tensor([[1.0, 0.5], [0.0, 1.0]]) + 3.0
    starts = []
    for _ in range(2):
        prior = LearnedMixture(2, 3)
        prior.start([(codes, codes)], 5)
        starts.append(prior)
    assert all(map(torch.equal, starts[0].parameters(), starts[1].parameters()))
    draws = starts[0].sample(20_000, 0)
    np.testing.assert_allclose(draws.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(2), atol=0.1)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(torch.cov(codes.T)), (codes - codes.mean(0)).T, upper=False
    ).T
    gain = starts[0].log_density(white.numpy()).mean() - StandardNormal(2).log_density(white).mean()
    assert gain > 1  # three clusters; a rotation apart, which whitening leaves open
    with pytest.raises(HebaeError, match="prior_components is 3, but there are only 2 training"):
        LearnedMixture(2, 3).start([(codes[:2], codes[:2])], 0)


@pytest.mark.parametrize("options", [{}, {"scale": "scalar"}, {"noise": "diagonal"}])
@pytest.mark.parametrize("method", ["hebae", "vae"])
def test_a_vamp_priors_components_are_the_posteriors_of_its_pseudo_inputs(
    method: str, options: dict[str, str]
) -> None:
    """In a training step with the batch's Sigma; stored, with the population's."""
    if method == "vae" and options:
        pytest.skip("options of HEBAE")
    settings = ModelSettings(
        method=method,
        latent_dim=3,
        encoder_widths=(8,),
        decoder_widths=(8,),
        prior="vamp",
        prior_components=4,
        likelihood="gaussian",
        **options,
    )
    model = build(settings, (5,)).double()
    generator = torch.Generator().manual_seed(3)
    u, x = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (4, 20))
    model.prior.start([(u, u)], 0)
    mean, _ = model.encode(x)
    model.population_covariance.copy_(torch.cov(mean.mT, correction=0))
    model.store_prior()
    posteriors = posteriors_of(model.eval(), u.numpy())
    z = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    each = torch.stack([posteriors.log_density(row.expand(4, 3)) for row in z])
    expected = each.logsumexp(1) - math.log(4)
    torch.testing.assert_close(model.prior.log_prob(z), expected, rtol=1e-5, atol=1e-5)
    current = model.train()._prior_of_step(mean, None)
    torch.testing.assert_close(current.log_prob(z), expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(current.log_prob(z).sum(), model.prior.pseudo_inputs)
    assert gradient.abs().min() > 0


def test_pseudo_inputs_do_not_enter_the_statistics_of_batch_normalisation() -> None:
    settings = ModelSettings(
        method="vae",
        latent_dim=2,
        network="convolutional",
        encoder_widths=(4,),
        decoder_widths=(4,),
        prior="vamp",
        prior_components=3,
        likelihood="bernoulli",
    )
    model = build(settings, (1, 16, 16)).train()
    before = {name: buffer.clone() for name, buffer in model.encoder.named_buffers()}
    model._prior_of_step(torch.zeros(2, 2), None)
    assert all(torch.equal(before[n], buffer) for n, buffer in model.encoder.named_buffers())
    assert all(module.training for module in model.encoder.modules())


def test_a_flow_without_zuko_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(HebaeError, match=r"pip install 'hebae\[flow\]'"):
        Flow(3)


def test_first_weights_depend_on_the_seed_alone() -> None:
    state = torch.random.get_rng_state()
    settings = ModelSettings(
        method="vae",
        latent_dim=3,
        prior="flow",
        likelihood="gaussian",
        encoder_widths=(4,),
        decoder_widths=(4,),
    )
    one, two, other = (build(settings, (5,), seed=seed).prior for seed in (1, 1, 2))
    assert all(map(torch.equal, one.parameters(), two.parameters()))
    assert not all(map(torch.equal, one.parameters(), other.parameters()))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert set(PRIORS) == {"normal", "mixture", "vamp", "flow"}
