"""A model whose log p(x) and p(z | x) are known, with encoders of several methods."""

import torch
from torch import nn
from torch.distributions import MultivariateNormal

from hebae import objectives
from hebae.likelihoods import Gaussian
from hebae.model import Autoencoder

METHODS = {"hebae": objectives.HEBAE, "vae": objectives.VAE, "wae": objectives.WAE}


class LinearGaussian:
    """x = W z + b + s epsilon, z ~ N(0, I_k), with encoders whose means are the posterior's."""

    k, d, s = 10, 50, 0.5

    def __init__(self, mixing=0.1, n=40):
        generator = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        # Without mixing, the dimensions are independent given x.
        directions = torch.linalg.qr(normal(self.d, self.k))[0]
        sizes = torch.linspace(0.5, 1.5, self.k).double()
        self.W = directions * sizes @ (torch.eye(self.k) + mixing * normal(self.k, self.k))
        self.b = normal(self.d)
        self.precision = torch.eye(self.k) + self.W.mT @ self.W / self.s**2
        self.posterior_covariance = self.precision.inverse()
        x = normal(n, self.k) @ self.W.mT + self.b + self.s * normal(n, self.d)
        covariance = self.W @ self.W.mT + self.s**2 * torch.eye(self.d)
        self.exact = MultivariateNormal(self.b, covariance).log_prob(x).numpy()
        self.x = x.numpy()

    def model(self, method="hebae", log_scale=0.0):
        """HEBAE's noise is the posterior's; the VAE's has the best scales; both times a scale."""
        objective = METHODS[method]()
        scales = objective.log_scale_dim(self.k)
        encoder, decoder = nn.Linear(self.d, self.k + scales), nn.Linear(self.k, self.d)
        model = Autoencoder(encoder, decoder, objective, Gaussian(self.s), (self.d,), self.k)
        model = model.double().eval()
        to_mean = self.posterior_covariance @ self.W.mT / self.s**2
        with torch.no_grad():
            decoder.weight.copy_(self.W)
            decoder.bias.copy_(self.b)
            encoder.weight.zero_()[: self.k] = to_mean
            encoder.bias.fill_(log_scale)[: self.k] = -to_mean @ self.b
            if method == "vae":
                encoder.bias[self.k :] += self.best_width.log()
        model.population_covariance.copy_(self.posterior_covariance)
        return model

    @property
    def best_width(self):
        """Of q with independent dimensions, by KL(q || p(z | x))."""
        return self.precision.diagonal().rsqrt()
