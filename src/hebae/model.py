"""The module: encoder, objective, decoder, likelihood, and statistics of the population."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hebae import gaussian
from hebae.data.schema import Seen
from hebae.deprecation import old_names
from hebae.errors import HebaeError
from hebae.likelihoods import EMPTY, Context, Likelihood
from hebae.networks import ConditionEncoder, share_batch_norm, with_condition
from hebae.objectives import Moments, Noise, Objective
from hebae.objectives.base import as_noise
from hebae.priors import Prior, StandardNormal, VampPrior
from hebae.shared_batch import SharedBatch

# Of one model, or with another leading dimension for the members of a stack.
Examples: TypeAlias = Float[Tensor, "_ *_shape"]
Codes: TypeAlias = Float[Tensor, "*members batch latent"]
LogScales: TypeAlias = Float[Tensor, "*members batch _"] | None
Conditions: TypeAlias = Float[Tensor, "*members batch _"] | None


class Step(NamedTuple):
    """Result of one batch: the loss in nats per example and, detached, its parts."""

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    """``reconstruction`` first, then the objective's unweighted terms by name."""
    mean: Codes
    z: Codes


class Autoencoder(nn.Module):
    """Encoder, objective, prior, decoder and likelihood as one module.

    Parameters
    ----------
    encoder : nn.Module
        Maps (m, *input_shape) to (m, latent_dim + objective.log_scale_dim(latent_dim)): means, then
        log-scales.
    decoder : nn.Module
        Maps codes (m, latent_dim) to (m, *likelihood.output_shape): the likelihood's parameters.
    objective : Objective
    likelihood : Likelihood
    input_shape : sequence of int
        Shape of one example.
    latent_dim : int
    prior : Prior, optional
        p(z); by default N(0, I).
    critic : nn.Module, optional
        Critic of an adversarial method; by default the objective's.
    conditions : ConditionEncoder, optional
        For a conditional model p(x | z, c): its output is appended to the decoder's input.
    condition_encoder : {"none", "flat", "channels"}
        Whether it is also appended to the encoder's input: to the numbers of an example in a row,
        or to an image as constant channels.

    Attributes
    ----------
    critic : nn.Module or None
        Trained on `critic_loss` by an optimizer of its own; not among the `main_parameters`.
    population_mean, population_covariance : Tensor, shapes (k,) and (k, k)
        beta and Sigma over the training set, stored at the end of training. Codes of single
        examples are drawn with them, so that they do not depend on the rest of the batch.
    weight_factor : Tensor or None
        Factor of the penalties' weights in training mode, of a method with a warm-up.
    shared : SharedBatch or None
        In training steps, how several processes share each batch; see `share_batches`.
    seen : Seen or None
        What the numbers of the training examples are; None if it is not known.
    aggregate_covariance : Tensor, shape (k, k)
        C, the covariance of the aggregated posterior over the training set.
    """

    population_mean: Tensor
    population_covariance: Tensor
    aggregate_covariance: Tensor
    running_mean: Tensor
    running_covariance: Tensor
    weight_factor: Tensor | None = None
    shared: SharedBatch | None = None
    seen: Seen | None = None

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        objective: Objective,
        likelihood: Likelihood,
        input_shape: Sequence[int],
        latent_dim: int,
        prior: Prior | None = None,
        critic: nn.Module | None = None,
        conditions: ConditionEncoder | None = None,
        condition_encoder: Literal["none", "flat", "channels"] = "none",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.objective = objective
        self.likelihood = likelihood
        self.prior = StandardNormal(latent_dim) if prior is None else prior
        needs_critic = objective.adversarial and critic is None
        self.critic = objective.critic(latent_dim) if needs_critic else critic
        self.conditions = conditions
        self.condition_encoder = condition_encoder
        self.input_shape = tuple(input_shape)
        self.latent_dim = latent_dim
        self.register_buffer("population_mean", torch.zeros(latent_dim))
        self.register_buffer("population_covariance", torch.eye(latent_dim))
        self.register_buffer("aggregate_covariance", torch.eye(latent_dim))
        self.keeps_running_moments = getattr(objective, "moments", None) == "running"
        if self.keeps_running_moments:
            self.register_buffer("running_mean", torch.zeros(latent_dim))
            self.register_buffer("running_covariance", torch.eye(latent_dim))

    def noise_shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each standard normal tensor that a step needs, in order."""
        shapes = self.objective.noise_shapes(batch_size, self.latent_dim)
        if "prior" in shapes:
            shapes["prior"] = (*shapes["prior"][:-1], self.prior.noise_dim)
        return shapes

    def share_batches(self, shared: SharedBatch | None) -> None:
        """Share each batch of the training steps between processes, or no longer (None).

        The encoder's outputs of all processes are then gathered, so that objective and critic see
        the whole batch; the decoder is given this process's codes. Loss, terms and codes of a step
        are those of the whole batch.
        """
        self.shared = shared
        for module in self.modules():
            if isinstance(module, Likelihood):
                module.shared = shared
        share_batch_norm(self, shared)

    def describe(self, x: Examples, condition: Conditions = None) -> Context:
        """Return what the model is given in addition to examples x and their codes.

        `condition` holds the columns of `hebae.data.Examples.conditions`, of a conditional model.
        """
        return self.likelihood.describe(x)._replace(condition=self.code_condition(condition))

    def code_condition(self, condition: Conditions) -> Conditions:
        """Return conditions as the networks are given them."""
        if self.conditions is None or condition is None:
            return None
        coded: Tensor = self.conditions(condition)
        return coded

    def forward(
        self,
        x: Examples,
        noise: Noise | Tensor | None = None,
        condition: Conditions = None,
        context: Context | None = None,
        epsilon: Tensor | None = None,
    ) -> Step:
        """Loss of a training batch, with the moments of this batch.

        Parameters
        ----------
        x : Tensor, shape (m, *shape)
            This process's share of the batch, if several share it.
        noise : dict of str to Tensor
            Standard normal numbers in the shapes of `noise_shapes`, for the whole batch.
        condition : Tensor, shape (m, columns), optional
            Conditions of the examples x, for a conditional model: see `describe`.
        context : Context, optional
            What the likelihood and networks need besides x and z; by default it follows from x and
            the condition.
        epsilon : Tensor, shape (m, k), optional
            Deprecated: noise as one tensor.
        """
        if not isinstance(noise, dict):
            noise = as_noise(noise, self.noise_shapes(len(x)), epsilon)
        context = context or self.describe(x, condition)
        mean, log_scale = self.encode(x, context)
        if self.shared is not None:
            output = mean if log_scale is None else torch.cat([mean, log_scale], 1)
            mean, log_scale = self._parts(self.shared.whole(output))
        running = None
        if self.keeps_running_moments:
            running = Moments(self.running_mean, self.running_covariance)
        # Moments, Cholesky factor and log-determinant lose their meaning in half precision.
        with without_autocast(x):
            z, terms = self.objective(
                mean,
                log_scale,
                noise,
                self._prior_of_step(mean, running),
                running=running,
                critic=self.critic,
            )
        if running is not None:
            beta, Sigma = self.objective.estimate(mean.detach(), running)  # type: ignore[attr-defined]
            self.running_mean.copy_(beta)
            self.running_covariance.copy_(Sigma)
        return self._step(x, z, terms, mean, noise, context, self.shared)

    def held_out_step(
        self,
        x: Examples,
        noise: Noise | Tensor | None = None,
        condition: Conditions = None,
        epsilon: Tensor | None = None,
    ) -> Step:
        """Terms of a held-out batch: noise by the population's Sigma, penalty of this batch."""
        if not isinstance(noise, dict):
            noise = as_noise(noise, self.noise_shapes(len(x)), epsilon)
        context = self.describe(x, condition)
        mean, log_scale = self.encode(x, context)
        with without_autocast(x):
            _, terms = self.objective(mean, log_scale, noise, self.prior, critic=self.critic)
            stochastic = self.objective.stochastic
            z = self.draw(mean, log_scale, noise["posterior"]) if stochastic else mean
        return self._step(x, z, terms, mean, noise, context)

    def _prior_of_step(self, mean: Codes, running: Moments | None) -> Prior:
        """Return the prior, with the components that a VampPrior has in this step."""
        if not isinstance(self.prior, VampPrior):
            return self.prior
        means, log_scale = self._encode_pseudo_inputs(self.prior)
        return self.prior.of_posteriors(
            means, log_scale, self.objective.noise_factor(mean, running)
        )

    def store_prior(self) -> None:
        """Store the components of a VampPrior, with noise shaped by the population's Sigma."""
        if isinstance(self.prior, VampPrior):
            covariance = self.population_covariance.cpu().double()  # MPS has no float64
            factor = gaussian.cholesky(self.objective.noise_covariance(covariance))
            self.prior.store(*self._encode_pseudo_inputs(self.prior), factor)

    def _encode_pseudo_inputs(self, prior: VampPrior) -> tuple[Tensor, Tensor]:
        # In evaluation mode, as the stored components will be: pseudo-inputs must not enter the
        # statistics of batch normalisation.
        training = [module for module in self.encoder.modules() if module.training]
        self.encoder.eval()
        output = at_least_float32(self.encoder(prior.pseudo_inputs))
        for module in training:
            module.training = True
        return output[..., : self.latent_dim], output[..., self.latent_dim :]

    def main_parameters(self) -> list[nn.Parameter]:
        """Return all parameters but the critic's."""
        return [p for name, p in self.named_parameters() if not name.startswith("critic.")]

    def critic_loss(self, z: Codes, noise: Noise) -> Float[Tensor, ""]:
        """Loss of the critic, given the codes (``Step.z``) and the noise of the same step."""
        assert self.critic is not None, "the method has no critic"
        with without_autocast(z):
            return self.objective.critic_loss(self.critic, z, noise, self.prior)

    def _step(
        self,
        x: Tensor,
        z: Tensor,
        terms: dict[str, Tensor],
        mean: Tensor,
        noise: Noise,
        context: Context,
        shared: SharedBatch | None = None,
    ) -> Step:
        own = z
        if shared is not None:
            own = shared.own(z)
            # Directions, of which there are not as many as examples, are for all.
            draws = self.objective.draws or ("posterior",)
            noise = {n: shared.own(e) if n in draws else e for n, e in noise.items()}
        options = {} if self.conditions is None else {"condition": self._condition(context)}
        output, decoder_terms = self.objective.decode(self.decoder, own, noise, **options)
        if shared is not None:  # terms of the decoder are means over its codes
            decoder_terms = {
                n: shared.total(len(own) * t) / shared.size for n, t in decoder_terms.items()
            }
        terms = terms | decoder_terms
        with without_autocast(x):
            nll = self.likelihood.negative_log_likelihood(at_least_float32(output), x, context)
        reconstruction = nll.mean(-1) if shared is None else shared.mean(nll)
        loss = reconstruction
        for name, weight in self.objective.weights.items():
            penalty = weight * terms[name]
            if self.training and self.weight_factor is not None:
                penalty = penalty * self.weight_factor
            loss = loss + penalty
        terms = {n: t.detach() for n, t in {"reconstruction": reconstruction, **terms}.items()}
        return Step(loss, terms, mean.detach(), z.detach())

    def encode(self, x: Examples, context: Context | None = None) -> tuple[Codes, LogScales]:
        """Means (m, k), and log-scales (m, k) or (m, 1); None for a deterministic method."""
        context = context or self.likelihood.describe(x)
        given = self.likelihood.encoder_input(x, context)
        if self.condition_encoder != "none":
            condition = self._condition(context, "encoder")
            if self.condition_encoder == "flat":
                given = given.flatten(condition.dim() - 1)
            given = with_condition(given, condition)
        output = at_least_float32(self.encoder(given))
        return self._parts(output)

    def _parts(self, output: Tensor) -> tuple[Codes, LogScales]:
        mean, log_scale = output[..., : self.latent_dim], output[..., self.latent_dim :]
        return mean, (log_scale if log_scale.shape[-1] else None)

    def draw(self, mean: Codes, log_scale: LogScales, epsilon: Codes) -> Codes:
        """Draw z ~ q(z | x), with noise shaped by the population's Sigma."""
        return self.objective.draw(mean, log_scale, epsilon, covariance=self.population_covariance)

    def _condition(self, context: Context, network: str = "decoder") -> Tensor:
        if context.condition is None:
            learned = None if self.seen is None else self.seen.conditions
            names = () if learned is None else learned.names
            raise HebaeError(
                f"the model is conditioned on {', '.join(names)}, which its {network} needs, but "
                "the data have no such columns; give them with --condition."
            )
        return context.condition

    def output(self, z: Codes, context: Context = EMPTY) -> Tensor:
        """Return the decoder's output, at least in float32: the parameters of p(x | z)."""
        condition = None if self.conditions is None else self._condition(context)
        return at_least_float32(self.decoder(with_condition(z, condition)))

    def decode(self, z: Codes, context: Context = EMPTY) -> Examples:
        """E[x | z], in the units of the data; of a conditional model, given the condition too."""
        return self.likelihood.mean(self.output(z, context), context)

    def reconstruct(self, x: Examples, context: Context | None = None) -> Examples:
        """E[x | z = mu(x)]."""
        context = context or self.likelihood.describe(x)
        return self.decode(self.encode(x, context)[0], context)

    def log_likelihood(self, x: Examples, z: Codes, context: Context | None = None) -> Tensor:
        """``log p(x | z)`` of each example, in nats."""
        context = context or self.likelihood.describe(x)
        return -self.likelihood.negative_log_likelihood(self.output(z, context), x, context)

    def store_optimal_scale(self, mean_squared_error: Tensor) -> None:
        """Keep a Gaussian likelihood's optimal scale of the training set, for evaluation mode."""
        for name, value in self.likelihood.best_scales(mean_squared_error).items():
            self.likelihood.get_buffer(name).copy_(value)


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Turn autocast off on the device of `x`."""
    # Entering autocast takes longer than the query, and it is usually off already.
    device = x.device.type
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision, which only the networks use, to float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def to_floats(
    x: Tensor, dtype: torch.dtype = torch.float32, *, pixels: bool = True
) -> Float[Tensor, "*shape"]:
    """Convert numbers to the given precision; uint8 grey levels 0..255 to [0, 1]."""
    return x.to(dtype).div_(255) if pixels and x.dtype == torch.uint8 else x.to(dtype)


def _from_building(name: str) -> tuple[Callable[[], Any], str]:
    # By name: this module is below the other one.
    building = "hebae.building"
    return lambda: getattr(import_module(building), name), f"import it from {building}"


__getattr__ = old_names(
    __name__,
    {
        "to_unit_interval": (lambda: to_floats, "use to_floats"),
        "build": _from_building("build"),
        "build_objective": _from_building("build_objective"),
    },
)
