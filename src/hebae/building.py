"""Make an autoencoder, or its parts, from settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Literal

import torch
from torch import Tensor, nn

from hebae.config import ModelSettings
from hebae.data.schema import Conditions, Seen
from hebae.likelihoods import LIKELIHOODS, Categorical, Columns, Likelihood
from hebae.model import Autoencoder
from hebae.networks import NETWORKS, ConditionEncoder, initialised
from hebae.objectives import OBJECTIVES, Objective
from hebae.priors import PRIORS, Prior
from hebae.seeding import seeded


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
    likelihood: Likelihood, latent_dim: int, conditions: Conditions | None, way: str
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
