"""Checks of settings and data before a training starts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping, Sequence

from torch import nn

from hebae.building import build_objective
from hebae.config import Settings
from hebae.data import Examples
from hebae.errors import HebaeError
from hebae.methods import METHODS
from hebae.networks import NETWORKS, is_batch_norm
from hebae.objectives import OBJECTIVES
from hebae.priors import PRIORS
from hebae.training.likelihood import check_likelihood, choose_likelihood
from hebae.training.machine import check_machine, check_memory
from hebae.training.processes import require_shareable

LEFT_OUT = 0.01
"""Largest share of the examples that an epoch leaves out without being asked to, as version 0.1.0
did: its runs resume exactly. A larger remainder, which it refused, is spread over the batches."""


def complete(
    settings: Settings,
    train: Examples,
    held_out: tuple[str, Examples] | None,
    *,
    name: str,
    count: int | None,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
) -> tuple[Settings, list[str]]:
    """Decide what the settings leave to the data, and check all of them against it.

    `held_out` is a split, "validation" or "test", and its examples. `name` is that of the data, for
    messages; `count` of training examples is None if a loader does not tell it. `encoder` and
    `decoder` are networks of the user's own, in place of those of the settings.

    Returns
    -------
    settings : Settings
        With ``likelihood``, ``learning_rate``, widths, ``precision`` and ``drop_last`` decided.
    notes : list of str
        What was decided, for the user.

    Raises
    ------
    HebaeError
        At the first thing that could not work.
    """
    notes: list[str] = []
    shape = train.shape
    if held_out is not None and held_out[1].shape != shape:
        raise HebaeError(
            f"the held-out examples have shape {held_out[1].shape}, but those of {name} have shape "
            f"{shape}; give both the same shape."
        )
    parts = {"training": train} | ({held_out[0]: held_out[1]} if held_out else {})
    if settings.precision == "auto":
        settings = settings.replace(precision="32-true")
    settings = _decide_widths(settings, train, count, notes, (encoder, decoder))
    if settings.likelihood == "auto":
        likelihood, reason = choose_likelihood(train, list(parts.values())[1:], name)
        settings = settings.replace(likelihood=likelihood)
        notes.append(f"likelihood {likelihood}: {reason}.")
    if settings.learning_rate is None:
        settings = settings.replace(learning_rate=default_learning_rate(shape))
        if math.prod(shape) != 784:
            notes.append(
                f"learning rate {settings.learning_rate:.2g}, from the {math.prod(shape):,} "
                "numbers per example."
            )
    weight = weight_of_mean_squared_error(settings, shape)
    if weight is not None:
        notes.append(
            f"{_method(settings)}: penalty weight {settings.penalty_weight:g} corresponds to "
            f"{weight:.4g} relative to the mean squared error of images in [-1, 1]."
        )
    check_likelihood(settings, parts, name)
    _check_conditions(settings, parts, name, notes)
    _check_prior(settings, name, count)
    if build_objective(settings).weight_factor(settings.epochs - 1) < 1:
        raise HebaeError(
            f"--warm-up-epochs {settings.warm_up_epochs} is more than --epochs {settings.epochs}: "
            "the penalty would never have its full weight; use fewer warm-up epochs or more epochs."
        )
    settings = _decide_batches(settings, name, count, notes, (encoder, decoder))
    _check_differences(settings, train, name)
    if settings.network == "mlp" and encoder is None:
        check_last_width(settings)
    if settings.early_stopping is not None:
        _check_early_stopping(settings, name, held_out)
    if settings.batch_norm == "frozen" and not _normalises(settings, encoder, decoder):
        raise HebaeError(
            f"--batch-norm frozen has no effect on --network {settings.network}, which has no "
            "batch normalisation; leave it out or use --network convolutional."
        )
    if settings.tensorboard:
        notes.append("--tensorboard is deprecated: use --logger tensorboard.")
    check_machine(settings)
    check_memory(settings, train, encoder, decoder)
    return settings, notes


def _decide_widths(
    settings: Settings,
    train: Examples,
    count: int | None,
    notes: list[str],
    networks: Sequence[nn.Module | None],
) -> Settings:
    architecture = NETWORKS[settings.network]
    chosen = architecture.encoder_widths, architecture.decoder_widths
    if len(train.shape) == 1 and not train.are_pixels:  # a table, not flat images
        width = default_width(train.shape[0], count)
        reason = f"the {train.shape[0]:,} numbers per example"
        reason += "" if count is None else f" and the {count:,} examples"
        if width < settings.latent_dim:  # the codes would not fill their space
            width, reason = settings.latent_dim, "the latent dimension"
        chosen = (width, width), (width, width)
        if None in (settings.encoder_widths or networks[0], settings.decoder_widths or networks[1]):
            notes.append(f"layers of width {width}, from {reason}.")
    return settings.replace(
        encoder_widths=settings.encoder_widths or chosen[0],
        decoder_widths=settings.decoder_widths or chosen[1],
    )


def default_width(d: int, count: int | None) -> int:
    """Return the width of the two hidden layers of encoder and decoder for a table.

    The power of 2 at or above min(4 d, n / 8) for n examples of d numbers, within [64, 512]: a rule
    of thumb. The paper's 784 and 800 are for 60,000 images of 784 numbers. Above 16,384 numbers it
    is at or above 2^23 / d: wider layers take gigabytes.
    """
    wanted = min(4 * d, 512 if count is None else count / 8, 2**23 / d)
    return next((width for width in (64, 128, 256) if width >= wanted), 512)


def default_learning_rate(shape: Sequence[int]) -> float:
    """``1e-3 sqrt(784 / d)`` for examples of d numbers, within [1e-4, 3e-3]; 1e-3 for MNIST.

    A rule of thumb: larger inputs mean wider first layers, which take smaller steps.
    """
    rate = 1e-3 * math.sqrt(784 / math.prod(shape))
    return min(max(float(f"{rate:.2g}"), 1e-4), 3e-3)


def weight_of_mean_squared_error(settings: Settings, shape: Sequence[int]) -> float | None:
    """Lambda relative to the *mean* squared error of images in [-1, 1], as in the released code.

    With a Gaussian of fixed scale s on [0, 1] the loss is ``||x - g||^2 / (8 s^2)`` of images in
    [-1, 1], and a constant, plus lambda times the penalty (docs/mathematics.md, section 1). None
    for other likelihoods, and for examples that are not images.
    """
    scale = settings.likelihood_scale
    if settings.likelihood != "gaussian" or isinstance(scale, str) or len(shape) != 3:
        return None
    return float(settings.penalty_weight * 8 * scale**2 / math.prod(shape))


_OPTIONS: dict[str, dict[str, Collection[str]]] = {
    "method": {name: method.options for name, method in METHODS.items()},
    "prior": {name: set(kind.options.values()) for name, kind in PRIORS.items()},
}
"""Settings that only some methods have, and that only some priors have."""


def require_relevant(given: Collection[str], runs: Sequence[Settings]) -> None:
    """Refuse an option that no method or prior of the runs has, such as a WAE's kernel for a VAE.

    `given` are the names of settings that the user chose.
    """
    for name in sorted(given):
        for kind, options in _OPTIONS.items():
            owners = [owner for owner, names in options.items() if name in names]
            used = list(dict.fromkeys(getattr(run, kind) for run in runs))
            if owners and not set(owners) & set(used):
                flag = "" if kind == "method" else "--prior "
                raise HebaeError(
                    f"--{name.replace('_', '-')} is an option of {flag}{', '.join(owners)} and has "
                    f"no effect on {flag}{', '.join(used)}; leave it out."
                )


def _check_conditions(
    settings: Settings, parts: Mapping[str, Examples], name: str, notes: list[str]
) -> None:
    train = parts["training"]
    if train.conditions is None:
        if settings.condition_encoder:
            raise HebaeError(
                f"--condition-encoder gives the encoder conditions, but {name} has none; name them "
                "with --condition, or leave it out."
            )
        return
    for split, part in parts.items():
        if part.conditions is None:
            raise HebaeError(
                f"the training examples of {name} have conditions, but the {split} examples have "
                "none; give conditions for both, or name columns with --condition."
            )
    for column, values in zip(train.condition_columns or (), train.conditions.T, strict=True):
        if values.min() == values.max():
            raise HebaeError(
                f"the condition {column.name} is the same for all training examples of {name}, so "
                "it has no effect; leave it out."
            )
    if settings.condition_encoder and settings.prior == "vamp":
        raise HebaeError(
            "--prior vamp encodes pseudo-inputs, which have no condition; use another prior, or "
            "leave out --condition-encoder."
        )
    if "condition" not in inspect.signature(OBJECTIVES[settings.method].decode).parameters:
        raise HebaeError(
            f"the method {_method(settings)} overrides Objective.decode without the parameter "
            "condition; add it, or train without conditions."
        )
    objective = build_objective(settings)
    if not objective.weights.get(objective.prior_term or ""):
        advice = "rate_weight 1" if settings.method == "hebae" else "vae, or hebae with a rate"
        notes.append(
            f"{_method(settings)} has no rate term here, so codes may contain information about "
            f"the conditions; to remove it, use {advice}."
        )


def _check_prior(settings: Settings, name: str, count: int | None) -> None:
    if settings.prior == "normal":
        return
    objective = build_objective(settings)
    term = objective.prior_term
    if not objective.stochastic or term is None:
        suitable = [m for m, kind in OBJECTIVES.items() if kind.stochastic and kind.prior_term]
        why = "has no term with log p(z)"
        if not objective.stochastic:
            why = "is deterministic and has no such bound"
        raise HebaeError(
            f"--prior {settings.prior} is learned by maximising a bound on log p(x), but "
            f"{_method(settings)} {why}. Use --prior normal, or one of the methods "
            f"{', '.join(suitable)}."
        )
    if settings.method == "vae" and settings.free_bits:
        raise HebaeError(
            f"--free-bits needs the KL of each dimension, but --prior {settings.prior} only gives "
            "the KL of all dimensions together; leave it out or use --prior normal."
        )
    if not objective.weights.get(term):
        flags = {"hebae": "--rate-weight 1", "infovae": "--alpha below 1"}
        raise HebaeError(
            f"--prior {settings.prior} needs the term {term!r}, but its weight is 0: the noise "
            "would shrink to zero, and the bound on log p(x) fall without limit. Use --prior "
            f"normal or {flags.get(settings.method, '--penalty-weight 1')}."
        )
    counted = "prior_components" in PRIORS[settings.prior].options.values()
    if counted and count is not None and count < settings.prior_components:
        raise HebaeError(
            f"prior_components is {settings.prior_components}, but {name} has only {count:,} "
            f"training examples to start the components from; use at most {count:,} components."
        )
    if settings.precision == "16-mixed":
        raise HebaeError(
            f"--precision 16-mixed scales the gradients, but those of --prior {settings.prior} are "
            "clipped; use bf16-mixed or 32-true."
        )


def _check_differences(settings: Settings, train: Examples, name: str) -> None:
    """Refuse copies of too few examples: their codes have a singular covariance."""
    needed = max(2, smallest_batch(settings.replace(moments_decay=0.0)))
    different: set[bytes] = set()
    for row in (row for part in train.parts() for row in part):
        different.add(row.tobytes())
        if len(different) >= needed:
            return
    if len(different) == 1:
        raise HebaeError(
            f"all training examples of {name} are equal as 32-bit numbers, so there is nothing to "
            "learn; check how they were made, or subtract what they have in common."
        )
    raise HebaeError(
        f"{name} has only {len(different)} different training examples, but {_method(settings)} "
        f"with latent_dim {settings.latent_dim} needs at least {needed}; check how they were made, "
        "or use a smaller --latent-dim."
    )


def check_last_width(settings: Settings) -> None:
    """Refuse a last layer from which linear maps give codes with a singular covariance."""
    width, k = (settings.encoder_widths or (math.inf,))[-1], settings.latent_dim
    if width < smallest_batch(settings.replace(moments="batch")) - 1:
        raise HebaeError(
            f"the last of --encoder-widths is {width}, below latent_dim {k}: the codes would lie "
            f"in {width} dimensions, but {_method(settings)} needs a covariance of rank {k}. Use "
            "a wider layer or a smaller --latent-dim."
        )


def _decide_batches(
    settings: Settings,
    name: str,
    count: int | None,
    notes: list[str],
    networks: Sequence[nn.Module | None],
) -> Settings:
    needed = smallest_batch(settings, *networks)
    size, k = settings.batch_size, settings.latent_dim
    need = (
        f"{_method(settings)} with latent_dim {k} and network {settings.network} needs at least "
        f"{needed} examples per batch"
    )
    if size < needed:
        advice = f"Use --batch-size {needed} or more"
        if settings.method == "hebae" and settings.moments == "batch" and k > 1:
            advice = (
                f"Use --batch-size {2 * k} or more (several times latent_dim is better), a smaller "
                "--latent-dim, or --moments shrunk"
            )
        raise HebaeError(f"batch_size is {size}, but {need}. {advice}.")
    require_shareable(size, settings.devices)
    if count is None:
        return settings
    if count < size and (settings.drop_last or count < needed):
        raise HebaeError(
            f"{name} has {count:,} training examples, too few for a batch of {size}; {need}. Use "
            "more examples, a smaller --batch-size or a smaller --latent-dim."
        )
    if count < smallest_batch(settings.replace(moments="batch")):
        raise HebaeError(
            f"{name} has {count:,} training examples, not more than latent_dim {k}: the covariance "
            "of their codes is singular; use more examples or a smaller --latent-dim."
        )
    last = count % size
    too_small = 0 < last < needed
    if not too_small:
        return settings.replace(drop_last=bool(settings.drop_last))
    if settings.drop_last is False:
        raise HebaeError(
            f"the last batch of an epoch would hold {last} of the {count:,} training examples of "
            f"{name}, but {need}; use --drop-last to leave it out, choose another --batch-size, or "
            "remove --no-drop-last."
        )
    if settings.drop_last is None and last <= LEFT_OUT * count:
        settings = settings.replace(drop_last=True)
        notes.append(
            f"the last batch of each epoch, {last} of {count:,} examples in random order, is "
            f"left out: {need}."
        )
    elif settings.drop_last is None:
        notes.append(
            f"the last {last} of {count:,} examples of an epoch are spread over the other batches: "
            f"{need}."
        )
    return settings


def smallest_batch(settings: Settings, *networks: nn.Module | None) -> int:
    """Return the fewest examples per batch that the objective and the networks can use.

    `networks` are the user's own; batch normalisation has no variance to divide by in a batch of 1.
    """
    least = 2 if _normalises(settings, *networks) else 1
    return max(build_objective(settings).smallest_batch(settings.latent_dim), least)


def _normalises(settings: Settings, *networks: nn.Module | None) -> bool:
    layers = (layer for network in networks if network is not None for layer in network.modules())
    return settings.network == "convolutional" or any(map(is_batch_norm, layers))


def _check_early_stopping(
    settings: Settings, name: str, held_out: tuple[str, Examples] | None
) -> None:
    if held_out is None or held_out[0] != "validation":
        raise HebaeError(
            f"early_stopping needs validation examples, but {name} has none (stopping by test "
            "examples would bias their results); set some aside with --validation-size."
        )
    # Held-out batches have no running moments to lean on.
    needed = smallest_batch(settings.replace(moments_decay=0.0))
    found = min(len(held_out[1]), settings.batch_size)
    if found < needed:
        raise HebaeError(
            f"early_stopping needs at least {needed} validation examples per batch to compute the "
            f"held-out objective of {_method(settings)} with latent_dim {settings.latent_dim}, but "
            f"there are {found}; give a larger --validation-size or --batch-size."
        )


def _method(settings: Settings) -> str:
    return METHODS[settings.method].display_name
