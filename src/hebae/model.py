"""The module: encoder, objective, decoder, likelihood, and statistics of the population."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hebae import gaussian
from hebae.config import ModelSettings
from hebae.data.examples import Conditions as SeenConditions
from hebae.data.examples import Seen
from hebae.deprecation import old_names
from hebae.errors import HebaeError
from hebae.likelihoods import EMPTY, LIKELIHOODS, Categorical, Columns, Context, Likelihood
from hebae.networks import (
    NETWORKS,
    ConditionEncoder,
    initialised,
    share_batch_norm,
    with_condition,
)
from hebae.objectives import OBJECTIVES, Moments, Noise, Objective
from hebae.objectives.base import as_noise
from hebae.priors import PRIORS, Prior, StandardNormal, VampPrior
from hebae.seeding import seeded
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
        Of an adversarial method; by default the objective's.
    conditions : ConditionEncoder, optional
        Of a conditional model, p(x | z, c): its output is appended to the decoder's input.
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
        """Return what the model is given beside examples x and their codes.

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
            Of a conditional model, of the same examples as x: see `describe`.
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
                f"the model is conditioned on {', '.join(names)}, which its {network} needs, and "
                "the data have no such columns; give --condition."
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


def build(
    settings: ModelSettings,
    input_shape: Sequence[int],
    *,
    seed: int = 0,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    seen: Seen | None = None,
) -> Autoencoder:
    """Make an autoencoder from settings and a seed; networks may be given.

    `seen` is what is known of the training examples besides their shape.

    The same seed gives all methods the same decoder and, except for its last layer, the same
    encoder. No global random state is read or changed. The likelihood must be decided: "auto" is
    for ``training.checks`` to resolve.

    Raises
    ------
    ValueError
        If a network does not take the examples' shape, or its output has another shape.
    """
    objective = build_objective(settings)
    likelihood = build_likelihood(settings, input_shape, seen)
    latent_dim = settings.latent_dim
    output_dim = latent_dim + objective.log_scale_dim(latent_dim)
    network = NETWORKS[settings.network]

    def draw(make: Callable[[], nn.Module], seed: int) -> nn.Module:
        try:
            return initialised(make, seed, 0.02 if settings.initial_weights == "normal" else None)
        except (RuntimeError, MemoryError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"the network could not be made ({reason}); use smaller widths or latent_dim."
            ) from None

    input_shape = tuple(input_shape)
    output_shape, critic = likelihood.output_shape, None
    learned = None if seen is None else seen.conditions
    way = way_into_encoder(settings, likelihood.input_shape, encoder)
    given_shape, code_dim = network_inputs(likelihood, latent_dim, learned, way)
    if decoder is None:
        widths_out = settings.decoder_widths or network.decoder_widths
        decoder = draw(lambda: network.decoder(code_dim, output_shape, widths_out), seed)
    else:
        shapes = objective.noise_shapes(2, latent_dim).items()
        noise = {name: torch.ones(shape) for name, shape in shapes}
        own = decoder

        def decode(z: Tensor) -> Tensor:
            z, condition = z[:, :latent_dim], z[:, latent_dim:]
            options: dict[str, Tensor] = {} if learned is None else {"condition": condition}
            return objective.decode(own, z, {n: e.to(z) for n, e in noise.items()}, **options)[0]

        _check_network("decoder", decoder, (code_dim,), output_shape, decode)
    decoder = objective.prepare_decoder(decoder, seed + 2**34)
    if encoder is None:
        widths_in = settings.encoder_widths or network.encoder_widths
        encoder = draw(lambda: network.encoder(given_shape, output_dim, widths_in), seed + 2**32)
    else:
        _check_network("encoder", encoder, given_shape, (output_dim,), encoder)
    if objective.adversarial:
        critic = draw(lambda: objective.critic(latent_dim), seed + 2**33)
    prior = build_prior(settings, likelihood.input_shape, seed + 2**34)
    model = Autoencoder(
        encoder, decoder, objective, likelihood, input_shape, latent_dim, prior, critic
    )
    if learned is not None:
        sizes = [len(column.categories) for column in learned.columns]
        model.conditions = ConditionEncoder(sizes, learned.mean, learned.unit)
        model.condition_encoder = way
    model.seen = seen
    return model


def way_into_encoder(
    settings: ModelSettings, shape: Sequence[int], encoder: nn.Module | None
) -> Literal["none", "flat", "channels"]:
    """Return how the encoder is given conditions; see `Autoencoder`.

    The convolutional network, and one of the user's own that takes images, get channels.
    """
    if not settings.condition_encoder:
        return "none"
    images = len(shape) == 3 and (encoder is not None or settings.network == "convolutional")
    return "channels" if images else "flat"


def network_inputs(
    likelihood: Likelihood, latent_dim: int, conditions: SeenConditions | None, way: str
) -> tuple[tuple[int, ...], int]:
    """Return the shape that the encoder takes, and how many numbers the decoder takes."""
    shape = likelihood.input_shape
    if conditions is None:
        return shape, latent_dim
    if way == "channels":
        shape = (shape[0] + conditions.dim, *shape[1:])
    elif way == "flat":
        shape = (math.prod(shape) + conditions.dim,)
    return shape, latent_dim + conditions.dim


def build_likelihood(
    settings: ModelSettings, shape: Sequence[int], seen: Seen | None = None
) -> Likelihood:
    """Make the likelihood of examples of a shape, without what it learns from them."""
    kind = LIKELIHOODS[settings.likelihood]
    options = {name: getattr(settings, setting) for name, setting in kind.options.items()}
    columns = () if seen is None or seen.columns is None else seen.columns
    if columns and issubclass(kind, Categorical | Columns):
        options["sizes"] = [len(column.categories) for column in columns]
        if kind is Columns:
            options["kinds"] = [column.kind for column in columns]
    return kind(shape=shape, **options)


def build_objective(settings: ModelSettings) -> Objective:
    """Make the objective, its fields taking the values of the settings of the same names."""
    method = OBJECTIVES[settings.method]
    return method(**{field.name: getattr(settings, field.name) for field in fields(method)})


def build_prior(settings: ModelSettings, input_shape: Sequence[int], seed: int = 0) -> Prior:
    """Make the prior; its first weights depend on the seed alone.

    `input_shape` is that of what the encoder takes, for one example.

    Raises
    ------
    HebaeError
        If a package that it needs is not installed.
    ValueError
        If there is not enough memory for it.
    """
    kind = PRIORS[settings.prior]
    values = settings.model_dump() | {"input_shape": tuple(input_shape)}
    options = {name: values[setting] for name, setting in kind.options.items()}
    try:
        with seeded(seed):
            prior: Prior = kind(settings.latent_dim, **options)
    except (RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the prior {settings.prior} could not be made ({reason}); use smaller prior_widths or "
            "fewer prior_components or prior_transforms."
        ) from None
    return prior


def _check_network(
    name: str,
    network: nn.Module,
    input_shape: tuple[int, ...],
    expected: tuple[int, ...],
    call: Callable[[Tensor], Tensor],
) -> None:
    was_training = network.training
    network.eval()  # batch normalisation must not learn from the trial
    parameter = next(network.parameters(), torch.empty(0))
    if parameter.dtype != torch.float32:
        raise ValueError(
            f"the {name}'s weights are {parameter.dtype}; give it in float32, with {name}.float(). "
            "Precision 64-true makes the whole model float64."
        )
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_meta:
            raise ValueError(
                f"the {name} has weights on the device 'meta', which hold no values; give it on "
                "the CPU."
            )
        if not tensor.is_leaf:
            raise ValueError(
                f"the {name}'s weights are results of a computation, as those of a copy of a "
                "TorchScript module are, and cannot be trained; give the nn.Module itself."
            )
    trial = torch.zeros(2, *input_shape, dtype=parameter.dtype, device=parameter.device)
    try:
        with torch.no_grad(), seeded(0):  # it may draw random numbers
            output = call(trial)
    except Exception as error:
        raise ValueError(
            f"the {name} cannot take examples of shape {input_shape}: {error}"
        ) from error
    finally:
        network.train(was_training)
    given = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if given != (2, *expected):
        raise ValueError(
            f"the {name} maps {(2, *input_shape)} to {given}; it must give one tensor of shape "
            f"{(2, *expected)}, {math.prod(expected)} numbers per example."
        )


__getattr__ = old_names(__name__, {"to_unit_interval": (lambda: to_floats, "use to_floats")})
