"""A model whose log p(x) and p(z | x) are known, with encoders of several methods."""

import math

import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from hebae.likelihoods import Gaussian
from hebae.model import Autoencoder
from hebae.objectives import AE, HEBAE, VAE, WAE
from hebae.priors import LearnedMixture, Prior

METHODS = {method.__name__.lower(): method for method in (HEBAE, VAE, WAE, AE)}


class Affine(Prior):
    """p(z) = N(shift, A A^T) with A lower triangular, as weights of a module."""

    name = "affine"

    def __init__(self, shift, A):
        super().__init__()
        self.latent_dim = len(shift)
        self.shift, self.A = nn.Parameter(shift), nn.Parameter(A)

    def log_prob(self, z):
        white = torch.linalg.solve_triangular(self.A, (z - self.shift).mT, upper=False)
        volume = self.A.diagonal().log().sum() + len(self.A) / 2 * math.log(2 * math.pi)
        return -0.5 * white.square().sum(0) - volume

    def transform(self, epsilon):
        return self.shift + epsilon @ self.A.mT


class MixtureLinearGaussian:
    """x = W z + b + s epsilon, z ~ a mixture of normals: log p(x) is a mixture's, and exact.

    The encoder is that of one posterior: the mean for a prior N(0, I), with HEBAE's noise.
    """

    def __init__(self, n=24, k=3, d=5, s=0.5):
        plain = LinearGaussian(n=n, k=k, d=d, s=s)
        generator = torch.Generator().manual_seed(1)
        prior = LearnedMixture(k, 4).double()
        with torch.no_grad():
            prior.means.copy_(1.5 * torch.randn(4, k, generator=generator))
            prior.logits.copy_(torch.randn(4, generator=generator))
            prior.triangles.copy_(0.3 * torch.randn(4, k, k, generator=generator) - 0.5)
        W, b = plain.W, plain.b
        with torch.no_grad():
            covariances = W @ (prior.factors @ prior.factors.mT) @ W.mT + s**2 * torch.eye(d)
            marginal = MixtureSameFamily(
                Categorical(prior.weights.detach()),
                MultivariateNormal((prior.means @ W.mT + b).detach(), covariances.detach()),
            )
            x = marginal.sample((n,))
        self.exact = marginal.log_prob(x).numpy()
        self.x = x.numpy()
        self.plain, self.prior = plain, prior

    def model(self):
        model = self.plain.model()
        model.prior = self.prior
        return model


class LinearGaussian:
    """x = W z + b + s epsilon, z ~ p(z) normal, with encoders whose means are the posterior's."""

    def __init__(self, mixing=0.1, n=40, k=10, d=50, s=0.5, prior=False):
        self.k, self.d, self.s = k, d, s
        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        # Without mixing, the dimensions are independent given x.
        directions = torch.linalg.qr(normal(d, k))[0]
        sizes = torch.linspace(0.5, 1.5, k).double()
        self.W = directions * sizes @ (torch.eye(k) + mixing * normal(k, k))
        self.b = normal(d)
        self.prior_mean, self.prior_factor = torch.zeros(k).double(), torch.eye(k).double()
        if prior:
            self.prior_mean = normal(k)
            self.prior_factor = torch.eye(k) + 0.2 * normal(k, k).tril(-1)
        self.has_prior = prior
        prior_covariance = self.prior_factor @ self.prior_factor.mT
        self.prior_distribution = MultivariateNormal(self.prior_mean, prior_covariance)
        self.precision = prior_covariance.inverse() + self.W.mT @ self.W / s**2
        self.posterior_covariance = self.precision.inverse()
        z = self.prior_mean + normal(n, k) @ self.prior_factor.mT
        x = z @ self.W.mT + self.b + s * normal(n, d)
        covariance = self.W @ prior_covariance @ self.W.mT + s**2 * torch.eye(d)
        self.marginal = MultivariateNormal(self.b + self.W @ self.prior_mean, covariance)
        self.exact = self.marginal.log_prob(x).numpy()
        self.x = x.numpy()

    def model(self, method="hebae", log_scale=0.0):
        """HEBAE's noise is the posterior's; the VAE's has the best scales; both times a scale."""
        objective = METHODS[method]()
        scales = objective.log_scale_dim(self.k)
        encoder, decoder = nn.Linear(self.d, self.k + scales), nn.Linear(self.k, self.d)
        prior = Affine(self.prior_mean, self.prior_factor) if self.has_prior else None
        likelihood = Gaussian(self.s)
        model = Autoencoder(encoder, decoder, objective, likelihood, (self.d,), self.k, prior=prior)
        model = model.double().eval()
        to_mean = self.posterior_covariance @ self.W.mT / self.s**2
        prior_part = torch.linalg.solve(self.prior_distribution.covariance_matrix, self.prior_mean)
        with torch.no_grad():
            decoder.weight.copy_(self.W)
            decoder.bias.copy_(self.b)
            encoder.weight.zero_()[: self.k] = to_mean
            offset = self.posterior_covariance @ prior_part - to_mean @ self.b
            encoder.bias.fill_(log_scale)[: self.k] = offset
            if method == "vae":
                encoder.bias[self.k :] += self.best_width.log()
        model.population_covariance.copy_(self.posterior_covariance)
        return model

    @property
    def best_width(self):
        """Of q with independent dimensions, by KL(q || p(z | x))."""
        return self.precision.diagonal().rsqrt()
