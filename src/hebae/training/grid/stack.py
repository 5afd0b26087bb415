"""The stack: many autoencoders of one architecture as one, with a leading dimension for the member.

It speaks as `Autoencoder` does (encode, draw, held_out_step, population buffers), so that what is
written with negative dimensions works on either.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from hebae.likelihoods import Likelihood, optimal_log_scale
from hebae.model import Autoencoder, Step, at_least_float32, without_autocast
from hebae.objectives import Moments, Noise, Objective
from hebae.training.grid.layers import fills_vectors, is_stackable, rounds_alike, stacked_forward

__all__ = ["Stack"]


class Stack:
    """Autoencoders of one architecture and method, their parameters stacked.

    Parameters
    ----------
    models : sequence of Autoencoder
        All with the same networks, likelihood and objective, but for weights (of the network and of
        the objective's terms). They are copied; `state_of` gives a member's state back.

    Attributes
    ----------
    parameters, buffers : dict of str to Tensor
        By their names in an `Autoencoder`, with a leading dimension for the member.
    """

    def __init__(self, models: Sequence[Autoencoder]) -> None:
        template = models[0]
        if not (is_stackable(template.encoder) and is_stackable(template.decoder)):
            raise ValueError("only fully connected networks can be stacked; train these in turn.")
        stacked, buffers = stack_module_state(list(models))
        self.buffers: dict[str, Tensor] = buffers
        self.parameters = {n: p.detach().requires_grad_() for n, p in stacked.items()}
        self.template = copy.deepcopy(template)
        self.objective: Objective = self.template.objective
        self.likelihood: Likelihood = self.template.likelihood
        self.input_shape = template.input_shape
        self.latent_dim = template.latent_dim
        self.size = len(models)
        self.device = template.population_mean.device
        self.weights = {
            name: torch.tensor(
                [model.objective.weights[name] for model in models],
                device=self.device,
                dtype=template.population_mean.dtype,
            )
            for name in self.objective.weights
        }
        self._negative_log_likelihood = _NegativeLogLikelihood(self.likelihood)

    def __call__(self, x: Float[Tensor, "... batch *shape"], noise: Noise) -> Step:
        """`Autoencoder.forward` of each member; a loss and terms of shape (n,)."""
        mean, log_scale = self.encode(x)
        noise = self._noise_of_members(noise)
        running = self._running_moments()
        with without_autocast(mean):
            z, terms = _each(self._call, mean, log_scale, noise, running)
        if running is not None:
            self._update_running(mean.detach(), running)
        return self._step(x, z, terms, mean)

    def held_out_step(self, x: Float[Tensor, "... batch *shape"], noise: Noise) -> Step:
        """`Autoencoder.held_out_step` of each member."""
        mean, log_scale = self.encode(x)
        noise = self._noise_of_members(noise)
        with without_autocast(mean):
            _, terms = _each(self._call, mean, log_scale, noise, None)
            z = self.draw(mean, log_scale, noise["posterior"]) if "posterior" in noise else mean
        return self._step(x, z, terms, mean)

    def noise_shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """`Autoencoder.noise_shapes` of one member."""
        return self.template.noise_shapes(batch_size)

    def _noise_of_members(self, noise: Noise) -> Noise:
        return {n: t if t.dim() == 3 else t.expand(self.size, *t.shape) for n, t in noise.items()}

    def _call(self, mean: Tensor, log_scale: Any, noise: Noise, running: Any) -> Any:
        return self.objective(mean, log_scale, noise, self.template.prior, running)

    def _step(self, x: Tensor, z: Tensor, terms: dict[str, Tensor], mean: Tensor) -> Step:
        output = self._decoder(z)
        with without_autocast(output):
            nll = self._of_each_example(at_least_float32(output), self._members(x))
        reconstruction = nll.mean(dim=1)
        loss = reconstruction
        for name, weight in self.weights.items():
            loss = loss + weight * terms[name]
        terms = {"reconstruction": reconstruction, **terms}
        terms = {name: term.detach() for name, term in terms.items()}
        return Step(loss, terms, mean.detach(), z.detach())

    def encode(self, x: Float[Tensor, "... batch *shape"]) -> tuple[Tensor, Tensor | None]:
        """Means (n, m, k), and log-scales (n, m, k) or (n, m, 1), or None."""
        parameters = self._part(self.parameters, "encoder.")
        output = stacked_forward(self.template.encoder, parameters, self._members(x))
        output = at_least_float32(output)
        mean, log_scale = output[..., : self.latent_dim], output[..., self.latent_dim :]
        return mean, (log_scale if log_scale.shape[-1] else None)

    def draw(self, mean: Tensor, log_scale: Tensor | None, epsilon: Tensor) -> Tensor:
        """Z ~ q(z | x), the noise shaped by each member's population covariance."""
        draw: Any = lambda m, s, e, c: self.objective.draw(m, s, e, covariance=c)  # noqa: E731
        z: Tensor = _each(
            draw, mean, log_scale, epsilon.expand_as(mean), self.population_covariance
        )
        return z

    def decode(self, z: Float[Tensor, "member batch latent"]) -> Tensor:
        """E[x | z], in the units of the data."""
        return self.likelihood.mean(at_least_float32(self._decoder(z)))

    def _decoder(self, z: Tensor) -> Tensor:
        return stacked_forward(self.template.decoder, self._part(self.parameters, "decoder."), z)

    def _of_each_example(self, output: Tensor, x: Tensor) -> Tensor:
        """``-log p(x | z)``, shape (n, m); by one call for all where the likelihood is the same."""
        own = self._part(self.parameters | self.buffers, "likelihood.")
        own = {f"likelihood.{name}": tensor for name, tensor in own.items()}
        apart = not fills_vectors(output)
        if not own and not apart:
            both = self.likelihood.negative_log_likelihood(output.flatten(0, 1), x.flatten(0, 1))
            return both.view(output.shape[:2])
        of_one = partial(functional_call, self._negative_log_likelihood)
        each: Tensor
        if apart:
            each = _one_by_one(lambda out, x, own: of_one(own, (out, x)), output, x, own)
        else:
            each = vmap(of_one)(own, (output, x))
        return each

    def _members(self, x: Tensor) -> Tensor:
        """Give each member a batch: its own, or the one that there is for all."""
        shared = x.dim() == 1 + len(self.input_shape)
        return x.expand(self.size, *x.shape) if shared else x

    @staticmethod
    def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

    def _running_moments(self) -> Moments | None:
        if not self.template.keeps_running_moments:
            return None
        return Moments(self.buffers["running_mean"], self.buffers["running_covariance"])

    @torch.no_grad()
    def _update_running(self, mean: Tensor, running: Moments) -> None:
        estimate = self.objective.estimate  # type: ignore[attr-defined]
        beta, Sigma = vmap(estimate)(mean, running)
        self.buffers["running_mean"].copy_(beta)
        self.buffers["running_covariance"].copy_(Sigma)

    @property
    def population_mean(self) -> Float[Tensor, "member latent"]:
        """See `Autoencoder`."""
        return self.buffers["population_mean"]

    @property
    def population_covariance(self) -> Float[Tensor, "member latent latent"]:
        """See `Autoencoder`."""
        return self.buffers["population_covariance"]

    @property
    def aggregate_covariance(self) -> Float[Tensor, "member latent latent"]:
        """See `Autoencoder`."""
        return self.buffers["aggregate_covariance"]

    def store_optimal_scale(self, mean_squared_error: Float[Tensor, " member"]) -> None:
        """See `Autoencoder`."""
        self.buffers["likelihood.log_scale"].copy_(optimal_log_scale(mean_squared_error))

    @property
    def training(self) -> bool:
        """Whether in training mode."""
        return self.template.training

    def train(self, mode: bool = True) -> None:
        """Set training or evaluation mode."""
        self.template.train(mode)

    def eval(self) -> None:
        """Set evaluation mode."""
        self.template.eval()

    def state_of(self, member: int) -> dict[str, Tensor]:
        """Return the state dict of a member's `Autoencoder`; views, not copies."""
        both = self.parameters | self.buffers
        return {name: both[name][member].detach() for name in self.template.state_dict()}


class _NegativeLogLikelihood(nn.Module):
    """A likelihood as a module to be called, its tensors under the names they have in the model."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, output: Tensor, x: Tensor) -> Tensor:
        return self.likelihood.negative_log_likelihood(output, x)


def _each(function: Any, mean: Tensor, *arguments: Any) -> Any:
    """Apply a function of one model to each member's share of the arguments; None stays None."""
    m, k = mean.shape[1:]
    tensors = [mean, *(a for a in tree_leaves(arguments) if isinstance(a, Tensor))]
    # The smallest products are those of the noise and Sigma's factor.
    if rounds_alike(m, k, k, mean.device) and all(map(fills_vectors, tensors)):
        in_dims = (0, *(0 if tree_leaves(a) not in ([], [None]) else None for a in arguments))
        return vmap(function, in_dims=in_dims)(mean, *arguments)
    return _one_by_one(function, mean, *arguments)


def _one_by_one(function: Any, *arguments: Any) -> Any:
    results = []
    for member in range(len(arguments[0])):
        share = [tree_map_only(Tensor, itemgetter(member), argument) for argument in arguments]
        results.append(function(*share))
    return tree_map(lambda *each: torch.stack(each), *results)
