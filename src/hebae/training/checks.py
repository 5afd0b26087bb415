"""Checks of settings, data, memory and machine before a training starts."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.likelihoods import LIKELIHOODS
from hebae.methods import METHODS
from hebae.model import build_objective
from hebae.networks import NETWORKS
from hebae.objectives import OBJECTIVES
from hebae.priors import PRIORS
from hebae.training.memory import estimate_memory, free_memory

LEFT_OUT = 0.01
"""Largest share of the examples that an epoch leaves out without being asked to."""


@dataclass(frozen=True)
class DataSummary:
    """What the checks need to know of the data."""

    name: str
    shape: tuple[int, ...]
    """Of one example."""
    count: int | None
    """Training examples; None where a loader does not tell."""
    range: tuple[float, float]
    """Smallest and largest value, uint8 standing for [0, 1]."""
    held_out: str | None
    """Split that is held out: "validation", "test" or none."""
    held_out_range: tuple[float, float] | None = None
    held_out_count: int = 0


def complete(
    settings: Settings,
    data: DataSummary,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
) -> tuple[Settings, list[str]]:
    """Decide what the settings leave to the data, and check all of them against it.

    `encoder` and `decoder` are networks of the user's own, in place of those of the settings.

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
    network = NETWORKS[settings.network]
    settings = settings.replace(
        encoder_widths=settings.encoder_widths or network.encoder_widths,
        decoder_widths=settings.decoder_widths or network.decoder_widths,
        precision="32-true" if settings.precision == "auto" else settings.precision,
    )
    if settings.likelihood == "auto":
        ranges = (data.range, data.held_out_range or data.range)
        unit = all(low >= 0 and high <= 1 for low, high in ranges)
        settings = settings.replace(likelihood="bernoulli" if unit else "gaussian")
        notes.append(
            f"likelihood {settings.likelihood}: the values are "
            f"{'in' if unit else 'outside'} [0, 1]."
        )
    if settings.learning_rate is None:
        settings = settings.replace(learning_rate=default_learning_rate(data.shape))
        if math.prod(data.shape) != 784:
            notes.append(
                f"learning rate {settings.learning_rate:.2g}, from the {math.prod(data.shape):,} "
                "numbers per example."
            )
    weight = weight_of_mean_squared_error(settings, data.shape)
    if weight is not None:
        notes.append(
            f"{_method(settings)}: penalty weight {settings.penalty_weight:g} corresponds to "
            f"{weight:.4g} relative to the mean squared error of images in [-1, 1]."
        )
    _check_likelihood(settings, data)
    _check_prior(settings, data)
    if build_objective(settings).weight_factor(settings.epochs - 1) < 1:
        raise HebaeError(
            f"--warm-up-epochs {settings.warm_up_epochs} is more than --epochs {settings.epochs}: "
            "the penalty would never have its full weight; use fewer warm-up epochs or more epochs."
        )
    settings = _decide_batches(settings, data, notes)
    _check_early_stopping(settings, data)
    if settings.batch_norm == "frozen" and settings.network != "convolutional":
        raise HebaeError(
            f"--batch-norm frozen has no effect on --network {settings.network}, which has no "
            "batch normalisation; leave it out or use --network convolutional."
        )
    _check_machine(settings)
    _check_memory(settings, data.shape, encoder, decoder)
    return settings, notes


def default_learning_rate(shape: Sequence[int]) -> float:
    """``1e-3 sqrt(784 / d)`` for examples of d numbers, within [1e-4, 3e-3]; 1e-3 for MNIST.

    A rule of thumb: larger inputs mean wider first layers, which take smaller steps.
    """
    rate = 1e-3 * math.sqrt(784 / math.prod(shape))
    return min(max(float(f"{rate:.2g}"), 1e-4), 3e-3)


def weight_of_mean_squared_error(settings: Settings, shape: Sequence[int]) -> float | None:
    """Lambda against the *mean* squared error of images in [-1, 1], as the released code counts it.

    With a Gaussian of fixed scale s on [0, 1] the loss is ``||x - g||^2 / (8 s^2)`` of images in
    [-1, 1], and a constant, plus lambda times the penalty (docs/mathematics.md, section 1). None
    for other likelihoods, and for examples that are not images.
    """
    scale = settings.likelihood_scale
    if settings.likelihood != "gaussian" or isinstance(scale, str) or len(shape) != 3:
        return None
    return float(settings.penalty_weight * 8 * scale**2 / math.prod(shape))


def require_relevant(
    given: Collection[str], methods: Sequence[str], priors: Collection[str] | None = None
) -> None:
    """Refuse an option that none of the methods (priors) has, such as a WAE's kernel for a VAE."""
    for name in sorted(given if priors is not None else ()):
        having = [prior for prior, kind in PRIORS.items() if name in kind.options.values()]
        if having and not set(having) & set(priors or ()):
            raise HebaeError(
                f"--{name.replace('_', '-')} is an option of --prior {', '.join(having)} and has "
                f"no effect on --prior {', '.join(priors or ())}; leave it out."
            )
    for name in sorted(given):
        owners = [method for method, spec in METHODS.items() if name in spec.options]
        if owners and not set(owners) & set(methods):
            raise HebaeError(
                f"--{name.replace('_', '-')} is an option of {', '.join(owners)} and has no effect "
                f"on {', '.join(methods)}; leave it out."
            )


def _check_likelihood(settings: Settings, data: DataSummary) -> None:
    low, high = LIKELIHOODS[settings.likelihood].support
    for split, limits in (("training", data.range), (data.held_out, data.held_out_range)):
        if limits is not None and (limits[0] < low or limits[1] > high):
            raise HebaeError(
                f"likelihood {settings.likelihood} takes values in [{low:g}, {high:g}], and the "
                f"{split} examples of {data.name} range from {limits[0]:g} to {limits[1]:g}; "
                "scale the data or use --likelihood gaussian."
            )


def _check_prior(settings: Settings, data: DataSummary) -> None:
    if settings.prior == "normal":
        return
    objective = build_objective(settings)
    term = objective.prior_term
    if not objective.stochastic or term is None:
        suitable = [m for m, kind in OBJECTIVES.items() if kind.stochastic and kind.prior_term]
        why = "is deterministic" if not objective.stochastic else "has no term with log p(z)"
        raise HebaeError(
            f"--prior {settings.prior} is learned by the bound on log p(x), and "
            f"{_method(settings)} {why}: codes and prior would shrink to points. Use --prior "
            f"normal, or one of the methods {', '.join(suitable)}."
        )
    if settings.method == "vae" and settings.free_bits:
        raise HebaeError(
            f"--free-bits counts the KL of each dimension, and with --prior {settings.prior} there "
            "is only that of all dimensions together; leave it out or use --prior normal."
        )
    if not objective.weights.get(term):
        flags = {"hebae": "--rate-weight 1", "infovae": "--alpha below 1"}
        raise HebaeError(
            f"--prior {settings.prior} needs the term {term!r}, whose weight is 0: without it the "
            "noise falls to zero, and the bound on log p(x) with it. Use --prior normal or "
            f"{flags.get(settings.method, '--penalty-weight 1')}."
        )
    counted = "prior_components" in PRIORS[settings.prior].options.values()
    if counted and data.count is not None and data.count < settings.prior_components:
        raise HebaeError(
            f"prior_components is {settings.prior_components}, and {data.name} has {data.count:,} "
            "training examples, from which the components start; use fewer components than "
            "examples."
        )
    if settings.precision == "16-mixed":
        raise HebaeError(
            f"--precision 16-mixed scales the gradients, and those of --prior {settings.prior} are "
            "clipped; use bf16-mixed or 32-true."
        )


def _decide_batches(settings: Settings, data: DataSummary, notes: list[str]) -> Settings:
    needed = _smallest_batch(settings)
    size, k = settings.batch_size, settings.latent_dim
    if size < needed:
        advice = f"Use --batch-size {needed} or more"
        if settings.method == "hebae":
            advice = (
                f"Use --batch-size {2 * k} or more (several times latent_dim is better), a smaller "
                "--latent-dim, or --moments shrunk"
            )
        raise HebaeError(
            f"batch_size is {size}, but {_method(settings)} with latent_dim {k} and network "
            f"{settings.network} needs at least {needed} examples per batch. {advice}."
        )
    if size % settings.devices:
        raise HebaeError(
            f"batch_size {size} cannot be shared evenly by {settings.devices} devices; use a "
            "multiple of their number."
        )
    count = data.count
    if count is None:
        return settings
    if count < size and (settings.drop_last or count < needed):
        raise HebaeError(
            f"{data.name} has {count:,} training examples, too few for a batch of {size} and "
            f"{_method(settings)} with latent_dim {k}, which needs at least {needed} in a batch; "
            "use more examples, a smaller --batch-size or a smaller --latent-dim."
        )
    if count < _smallest_batch(settings.replace(moments="batch")):
        raise HebaeError(
            f"{data.name} has {count:,} training examples, not more than latent_dim {k}: their "
            "covariance is singular; use more examples or a smaller --latent-dim."
        )
    last = count % size
    too_small = 0 < last < max(needed, settings.devices)
    if settings.drop_last is None:
        settings = settings.replace(drop_last=too_small and last <= LEFT_OUT * count)
        if settings.drop_last:
            notes.append(
                f"the last batch of each epoch, {last} of {count:,} examples in random order, is "
                f"left out: {_method(settings)} with latent_dim {k} needs at least {needed}."
            )
    if too_small and not settings.drop_last:
        raise HebaeError(
            f"the last batch of an epoch would hold {last} of the {count:,} training examples of "
            f"{data.name}, and {_method(settings)} with latent_dim {k} needs at least {needed}; "
            "leave it out with --drop-last or choose another --batch-size."
        )
    return settings


def _smallest_batch(settings: Settings) -> int:
    needed = build_objective(settings).smallest_batch(settings.latent_dim)
    # Batch normalisation has no variance to divide by in a batch of one.
    return max(needed, 2) if settings.network == "convolutional" else needed


def _check_early_stopping(settings: Settings, data: DataSummary) -> None:
    if settings.early_stopping is None:
        return
    if data.held_out != "validation":
        raise HebaeError(
            "early_stopping needs validation examples, since stopping by test examples would make "
            f"their results too good; {data.name} has none: give --validation-size."
        )
    # Held-out batches have no running moments to lean on.
    needed = _smallest_batch(settings.replace(moments_decay=0.0))
    found = min(data.held_out_count, settings.batch_size)
    if found < needed:
        raise HebaeError(
            f"early_stopping needs at least {needed} validation examples in a batch, for "
            f"{_method(settings)} with latent_dim {settings.latent_dim} to have a held-out "
            f"objective, and there are {found}; give a larger --validation-size or --batch-size."
        )


def device_type(settings: Settings) -> str:
    """Return what "auto" stands for on this machine: "cuda", "mps" or "cpu"."""
    if settings.device != "auto":
        return settings.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_machine(settings: Settings) -> None:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(settings.device, True):
        raise HebaeError(
            f"--device {settings.device} is not available on this machine; use cpu or auto."
        )
    if settings.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise HebaeError(
            "--tensorboard needs the package tensorboard; install it with: "
            "pip install 'hebae[tensorboard]'"
        )
    if settings.compile != "on":
        return
    if settings.devices > 1:
        raise HebaeError(
            f"--compile on is for one process, and --devices is {settings.devices}; use --compile "
            "off."
        )
    where = device_type(settings)
    if where == "mps":
        raise HebaeError("--compile on is for cpu and cuda, not for mps; use --compile off.")
    if where == "cuda" and settings.precision == "16-mixed":
        raise HebaeError(
            "--compile on captures the step in a CUDA graph, and 16-mixed scales its loss by the "
            "result of the step before; use --precision bf16-mixed, or --compile off."
        )
    if where == "cpu":
        try:
            _compile_something()
        except RuntimeError as error:
            lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
            raise HebaeError(
                f"--compile on does not work here ({lines[0].rstrip('.')[:200]}); on the CPU it "
                "needs a C++ compiler such as g++; use --compile off."
            ) from None


@cache
def _compile_something() -> None:
    """Compile a trivial function: only this shows whether there is a working compiler."""
    torch.compile(lambda x: -x, options={"fx_graph_cache": False})(torch.ones(2))


def _check_memory(
    settings: Settings, shape: Sequence[int], encoder: nn.Module | None, decoder: nn.Module | None
) -> None:
    where = device_type(settings)
    try:
        need = estimate_memory(settings, shape, encoder=encoder, decoder=decoder)
    except ValueError as error:  # of a network that does not take such examples
        raise HebaeError(f"{error}") from None
    processes = settings.devices if where == "cpu" else 1
    free = free_memory(where)
    total = processes * (need.weights + need.batch)
    if total > free:
        raise HebaeError(
            f"training needs about {total / 1e9:.1f} GB of memory "
            f"({need.count / 1e6:,.0f} million weights with gradients and Adam's moments: "
            f"{need.weights / 1e9:.1f} GB; a batch of {settings.batch_size}: "
            f"{need.batch / 1e9:.1f} GB), and {free / 1e9:.1f} GB are free on {where}. Use smaller "
            "--encoder-widths and --decoder-widths, smaller examples, a smaller --batch-size, or "
            "--network convolutional for images."
        )


def _method(settings: Settings) -> str:
    return METHODS[settings.method].display_name
