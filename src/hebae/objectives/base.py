"""The contract of a method: how z is drawn from the encoder's output, and what is penalised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache, wraps
from typing import Any, ClassVar, NamedTuple, TypeAlias, get_type_hints

import torch
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from hebae import gaussian
from hebae.deprecation import warn
from hebae.methods import allowed_values
from hebae.networks import with_condition
from hebae.priors.base import Prior, StandardNormal

Latents: TypeAlias = Float[Tensor, "batch latent"]
LogScales: TypeAlias = Float[Tensor, "batch _"] | None  # latent or 1 of them; None without noise
Covariance: TypeAlias = Float[Tensor, "latent latent"]
Covariances: TypeAlias = Float[Tensor, "*members latent latent"]  # of one model or a stack
Codes: TypeAlias = Float[Tensor, "*members batch latent"]
Condition: TypeAlias = Float[Tensor, "*members batch _"] | None
Noise: TypeAlias = dict[str, Tensor]
Terms: TypeAlias = dict[str, Float[Tensor, ""]]


class Moments(NamedTuple):
    """Mean and covariance of encoder means, over a batch or a population."""

    beta: Float[Tensor, " latent"]
    Sigma: Covariance


def as_noise(
    noise: Noise | Tensor | None,
    shapes: Mapping[str, tuple[int, ...]],
    epsilon: Tensor | None = None,
) -> Noise:
    """Return noise as a dict; one tensor, as in version 0.1.0, is the first of its draws."""
    if isinstance(noise, dict):
        return noise
    given = noise if epsilon is None else epsilon
    if given is None:
        raise TypeError("the noise of the step is missing; give a dict of tensors")
    warn("noise as one tensor, epsilon,", "give a dict of tensors, see noise_shapes", stacklevel=4)
    drawn = {name: torch.randn(shape).to(given) for name, shape in shapes.items()}
    return drawn | dict.fromkeys([*drawn][:1], given)


def _accepts_old_arguments(call: Callable[..., Any]) -> Callable[..., Any]:
    """Let an objective be called as in version 0.1.0: (mean, log_scale, epsilon, running)."""

    @wraps(call)
    def accepting(
        self: Objective,
        mean: Any,
        log_scale: Any,
        noise: Any = None,
        prior: Any = None,
        **rest: Any,
    ) -> Any:
        if not isinstance(noise, dict):
            noise = as_noise(noise, self.noise_shapes(*mean.shape), rest.pop("epsilon", None))
            if isinstance(prior, Moments):
                rest["running"] = prior
            prior = prior if isinstance(prior, Prior) else StandardNormal(mean.shape[-1])
        return call(self, mean, log_scale, noise, prior, **rest)

    return accepting


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A method: its fields are its settings, and calling it gives codes and penalty terms.

    The loss of a batch is ``reconstruction + sum_name weights[name] * terms[name]``. A method has
    no state and draws no random numbers: all random numbers of a step are in `Noise`, standard
    normal, by the names that `noise_shapes` gives them. Nothing branches on the data, so
    ``torch.func.vmap`` can run many models at once.

    An adversarial method also has a `critic`, trained on `critic_loss` by an optimizer of its own
    after each update of the other weights, and the setting ``critic_learning_rate``. A method that
    penalises or changes the decoder overrides `decode` or `prepare_decoder`.
    """

    display_name: ClassVar[str]
    """Name in tables and figures."""
    colour: ClassVar[str]
    """Colour in figures, as ``#RRGGBB``."""
    marker: ClassVar[str]
    """Marker in figures, as matplotlib names it."""
    units: ClassVar[Mapping[str, str]] = {}
    """Unit of each term that is not in nats; "" for a term without a unit, such as the MMD."""
    stochastic: ClassVar[bool]
    """Whether z is random given x. Only then does a model have an ELBO."""
    draws: ClassVar[tuple[str, ...]] = ()
    """Names of the standard normal draws (m, k) of a step, such as "posterior" and "prior"."""
    prior_term: ClassVar[str | None] = None
    """Name of the term with log p(z), by which a learned prior is trained; None if there is none.
    """
    adversarial: ClassVar[bool] = False
    """Whether the method has a critic. Such methods are not stacked."""
    uses_decoder: ClassVar[bool] = False
    """Whether `decode` or `prepare_decoder` is overridden. Such methods are not stacked."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = _accepts_old_arguments(cls.__call__)  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        """Check the settings.

        Raises
        ------
        ValueError
            If a value is not allowed by its annotation.
        """
        for name, check in _checks(type(self)).items():
            value = getattr(self, name)
            try:
                check.validate_python(value, strict=True)
            except ValidationError as error:
                allowed = allowed_values(error.errors()[0])
                raise ValueError(f"{name} is {value!r}; it must be {allowed}.") from None

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """Weight of each penalty term, by name."""

    def weight_factor(self, epoch: int) -> float:
        """Return the factor of all weights after so many epochs, at most 1; for a warm-up."""
        return 1.0

    def log_scale_dim(self, latent_dim: int) -> int:
        """Return how many log-scales the encoder gives per example."""
        return latent_dim if self.stochastic else 0

    def smallest_batch(self, latent_dim: int) -> int:
        """Return the smallest number of examples for which the terms are defined."""
        return 1

    def noise_shapes(self, batch_size: int, latent_dim: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each random tensor that a step needs, in the order of drawing."""
        draws = self.draws or (("posterior",) if self.stochastic else ())
        return dict.fromkeys(draws, (batch_size, latent_dim))

    def draw(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        covariance: Covariance | None = None,
    ) -> Latents:
        """Draw z ~ q(z | x): ``mean + exp(log_scale) * epsilon``, or the mean itself.

        Parameters
        ----------
        mean : Tensor, shape (m, k)
        log_scale : Tensor, shape (m, k) or (m, 1); None if the method is deterministic
        epsilon : Tensor, shape (m, k)
            Standard normal noise.
        covariance : Tensor, shape (k, k), optional
            Population covariance of the encoder means, for methods whose noise depends on it
            (HEBAE). By default: the covariance of this batch.
        """
        return mean if log_scale is None else mean + log_scale.exp() * epsilon

    @_accepts_old_arguments
    def __call__(
        self,
        mean: Latents,
        log_scale: LogScales,
        noise: Noise,
        prior: Prior,
        *,
        running: Moments | None = None,
        critic: nn.Module | None = None,
    ) -> tuple[Latents, Terms]:
        """Return the codes and the unweighted penalty terms of one training step.

        Parameters
        ----------
        mean, log_scale : Tensor
            As in `draw`.
        noise : dict of str to Tensor
            Standard normal numbers, in the shapes of `noise_shapes`.
        prior : Prior
            The model's p(z).
        running : Moments, optional
            Running moments of earlier batches, for methods that keep them.
        critic : nn.Module, optional
            The method's critic. Its weights get no gradient from here.

        Returns
        -------
        z : Tensor, shape (m, k)
        terms : dict of str to Tensor
            In nats per example unless `units` says otherwise.
        """
        # As in version 0.1.0, where a method defined `draw` and `penalty`.
        z = self.draw(mean, log_scale, noise["posterior"]) if self.stochastic else mean
        return z, self.penalty(z, mean, log_scale)

    def penalty(
        self, z: Latents, mean: Latents, log_scale: LogScales, prior: Latents | None = None
    ) -> Terms:
        """Return the penalty terms; deprecated since 0.2, call the objective instead.

        `prior` holds the draws (m, k) from N(0, I) that a WAE compares the codes with.
        """
        warn("penalty of an objective", "call the objective")
        shapes = self.noise_shapes(*mean.shape)
        noise = {name: torch.randn(shape).to(mean) for name, shape in shapes.items()}
        if prior is not None:
            noise["prior"] = prior
        terms: Terms = self(mean, log_scale, noise, StandardNormal(mean.shape[-1]))[1]
        return terms

    def decode(
        self, decoder: nn.Module, z: Codes, noise: Noise, condition: Condition = None
    ) -> tuple[Tensor, Terms]:
        """Return the decoder's output in a training step, and the unweighted terms of the decoder.

        Several processes that share a batch call it with their own codes each, possibly none. A
        term is a mean over the codes, or does not depend on them.

        Parameters
        ----------
        decoder : nn.Module
        z : Tensor, shape (m, k)
        noise : dict of str to Tensor
            As in the call of the objective.
        condition : Tensor, shape (m, c), optional
            Conditions, which are appended to z.
        """
        return decoder(z if condition is None else with_condition(z, condition)), {}

    def prepare_decoder(self, decoder: nn.Module, seed: int) -> nn.Module:
        """Return the decoder as this method uses it, in training and afterwards.

        It is called once, when a model is built, and again when one is loaded: what it adds must be
        in the state dict, and its random numbers must come from `seed` alone.

        Raises
        ------
        ValueError
            If the method cannot use such a decoder.
        """
        return decoder

    def critic(self, latent_dim: int) -> nn.Module:
        """Build the critic of an adversarial method: codes (m, k) to logits (m, 1)."""
        raise NotImplementedError(f"{self.display_name} has no critic.")

    def critic_loss(
        self, critic: nn.Module, z: Latents, noise: Noise, prior: Prior
    ) -> Float[Tensor, ""]:
        """Return the critic's loss, given detached codes z and the noise of the same step."""
        raise NotImplementedError(f"{self.display_name} has no critic.")

    def noise_covariance(self, covariance: Covariances) -> Covariances:
        """Covariance N of the noise before scaling: q(z | x_i) = N(mu_i, D_i N D_i)."""
        if not self.stochastic:
            return torch.zeros_like(covariance)
        identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        return identity.expand_as(covariance)

    def noise_factor(self, mean: Latents, running: Moments | None = None) -> Covariance:
        """L, lower triangular, that shapes the noise of a batch: ``L L^T`` is N."""
        return torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)

    def penalty_floor(self, batch_size: int, latent_dim: int) -> float | None:
        """Mean penalty of perfectly standard-normal codes, in nats; None if it is not known."""
        return None


def mean_kl(
    mean: Latents, log_scale: Float[Tensor, "batch _"], z: Latents, epsilon: Latents, prior: Prior
) -> Float[Tensor, ""]:
    """``(1/m) sum_i KL(N(mu_i, diag sigma_i^2) || p)`` in nats; exact if p is N(0, I).

    For another prior it is `monte_carlo_rate`, with the z of the same step.
    """
    if isinstance(prior, StandardNormal):
        return gaussian.mean_kl_to_standard_normal(mean, log_scale)
    return monte_carlo_rate(log_scale, z, epsilon, prior)


def monte_carlo_rate(
    log_scale: Float[Tensor, "batch _"],
    z: Latents,
    epsilon: Latents,
    prior: Prior,
    noise_log_determinant: Float[Tensor, ""] | float = 0.0,
) -> Float[Tensor, ""]:
    """``(1/m) sum_i [log q(z_i | x_i) - log p(z_i)]`` in nats (section 11 of docs/mathematics.md).

    Parameters
    ----------
    log_scale : Tensor, shape (m, k) or (m, 1)
    z, epsilon : Tensor, shape (m, k)
        ``z_i = mu_i + sigma_i * (L epsilon_i)``.
    prior : Prior
    noise_log_determinant : Tensor, scalar
        ``log |L L^T|``; 0 if L is the identity.
    """
    log_volume = log_scale.expand_as(z).sum(dim=1) + 0.5 * noise_log_determinant
    return (gaussian.log_standard_normal(epsilon) - log_volume - prior.log_prob(z)).mean()


@cache
def _checks(method: type[Objective]) -> dict[str, Any]:
    """Return a check of each setting, from its annotation."""
    types = get_type_hints(method, include_extras=True)
    return {field.name: TypeAdapter(types[field.name]) for field in fields(method)}
