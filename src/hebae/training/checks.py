"""Checks of settings, data, memory and machine before a training starts."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from hebae.config import Settings
from hebae.data import Examples
from hebae.errors import HebaeError
from hebae.methods import METHODS
from hebae.model import (
    build_likelihood,
    build_objective,
    build_prior,
    network_inputs,
    way_into_encoder,
)
from hebae.networks import NETWORKS, is_batch_norm
from hebae.objectives import OBJECTIVES
from hebae.priors import PRIORS, MixtureOfNormals, VampPrior
from hebae.training.likelihood import check_likelihood, choose_likelihood, seen_of

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
            f"the held-out examples have shape {held_out[1].shape} and those of {name} {shape}; "
            "make them alike."
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
    _check_conditions(settings, parts, name)
    _check_prior(settings, name, count)
    if build_objective(settings).weight_factor(settings.epochs - 1) < 1:
        raise HebaeError(
            f"--warm-up-epochs {settings.warm_up_epochs} is more than --epochs {settings.epochs}: "
            "the penalty would never have its full weight; use fewer warm-up epochs or more epochs."
        )
    settings = _decide_batches(settings, name, count, notes, (encoder, decoder))
    if settings.early_stopping is not None:
        _check_early_stopping(settings, name, held_out)
    if settings.batch_norm == "frozen" and not _normalises(settings, encoder, decoder):
        raise HebaeError(
            f"--batch-norm frozen has no effect on --network {settings.network}, which has no "
            "batch normalisation; leave it out or use --network convolutional."
        )
    _check_machine(settings)
    _check_memory(settings, train, encoder, decoder)
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
        chosen = (width, width), (width, width)
        if None in (settings.encoder_widths or networks[0], settings.decoder_widths or networks[1]):
            numbers = f"the {train.shape[0]:,} numbers per example"
            examples = "" if count is None else f" and the {count:,} examples"
            notes.append(f"layers of width {width}, from {numbers}{examples}.")
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
    """Lambda against the *mean* squared error of images in [-1, 1], as the released code counts it.

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


def _check_conditions(settings: Settings, parts: Mapping[str, Examples], name: str) -> None:
    train = parts["training"]
    if train.conditions is None:
        if settings.condition_encoder:
            raise HebaeError(
                f"--condition-encoder gives the encoder conditions, and {name} has none; name them "
                "with --condition, or leave it out."
            )
        return
    for split, part in parts.items():
        if part.conditions is None:
            raise HebaeError(
                f"the training examples of {name} have conditions and the {split} examples have "
                "none; give both, or name columns with --condition."
            )
    for column, values in zip(train.condition_columns or (), train.conditions.T, strict=True):
        if values.min() == values.max():
            raise HebaeError(
                f"the condition {column.name} is the same for all training examples of {name}, so "
                "that it has no effect; leave it out."
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


def _check_prior(settings: Settings, name: str, count: int | None) -> None:
    if settings.prior == "normal":
        return
    objective = build_objective(settings)
    term = objective.prior_term
    if not objective.stochastic or term is None:
        suitable = [m for m, kind in OBJECTIVES.items() if kind.stochastic and kind.prior_term]
        why = "has no term with log p(z)"
        if not objective.stochastic:
            why = "is deterministic: its codes have no density, and log p(z) no bound"
        raise HebaeError(
            f"--prior {settings.prior} is learned by the bound on log p(x), and "
            f"{_method(settings)} {why}. Use --prior normal, or one of the methods "
            f"{', '.join(suitable)}."
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
    if counted and count is not None and count < settings.prior_components:
        raise HebaeError(
            f"prior_components is {settings.prior_components}, and {name} has {count:,} "
            "training examples, from which the components start; use fewer components than "
            "examples."
        )
    if settings.precision == "16-mixed":
        raise HebaeError(
            f"--precision 16-mixed scales the gradients, and those of --prior {settings.prior} are "
            "clipped; use bf16-mixed or 32-true."
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
        if settings.method == "hebae":
            advice = (
                f"Use --batch-size {2 * k} or more (several times latent_dim is better), a smaller "
                "--latent-dim, or --moments shrunk"
            )
        raise HebaeError(f"batch_size is {size}, but {need}. {advice}.")
    if size % settings.devices:
        raise HebaeError(
            f"batch_size {size} cannot be shared evenly by {settings.devices} devices; use a "
            "multiple of their number."
        )
    if count is None:
        return settings
    if count < size and (settings.drop_last or count < needed):
        raise HebaeError(
            f"{name} has {count:,} training examples, too few for a batch of {size}, and {need}; "
            "use more examples, a smaller --batch-size or a smaller --latent-dim."
        )
    if count < smallest_batch(settings.replace(moments="batch")):
        raise HebaeError(
            f"{name} has {count:,} training examples, not more than latent_dim {k}: their "
            "covariance is singular; use more examples or a smaller --latent-dim."
        )
    last = count % size
    too_small = 0 < last < max(needed, settings.devices)
    if not too_small:
        return settings.replace(drop_last=bool(settings.drop_last))
    if settings.drop_last is False:
        raise HebaeError(
            f"the last batch of an epoch would hold {last} of the {count:,} training examples of "
            f"{name}, and {need}; use --drop-last to leave it out, choose another --batch-size, or "
            "leave drop_last unset: its examples are then spread over the other batches."
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
            "early_stopping needs validation examples, since stopping by test examples would make "
            f"their results too good; {name} has none: give --validation-size."
        )
    # Held-out batches have no running moments to lean on.
    needed = smallest_batch(settings.replace(moments_decay=0.0))
    found = min(len(held_out[1]), settings.batch_size)
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
    settings: Settings, train: Examples, encoder: nn.Module | None, decoder: nn.Module | None
) -> None:
    where = device_type(settings)
    try:
        need = estimate_memory(settings, train, encoder=encoder, decoder=decoder)
    except ValueError as error:  # of a network that does not take such examples
        raise HebaeError(f"{error}") from None
    free = free_memory(where)
    total = (settings.devices if where == "cpu" else 1) * (need.weights + need.batch)
    if total > free:
        raise HebaeError(
            f"training needs about {total / 1e9:.1f} GB of memory "
            f"({need.count / 1e6:,.0f} million weights with gradients and Adam's moments: "
            f"{need.weights / 1e9:.1f} GB; a batch of {settings.batch_size}: "
            f"{need.batch / 1e9:.1f} GB), and {free / 1e9:.1f} GB are free on {where}. Use smaller "
            "--encoder-widths and --decoder-widths, smaller examples, a smaller --batch-size, or "
            "--network convolutional for images."
        )


@dataclass(frozen=True)
class Need:
    """Memory that a training takes on its device."""

    weights: int
    """Bytes of the weights, their gradients and Adam's two moments."""
    batch: int
    """Bytes of a batch, what the forward pass keeps of it for the gradient, and the gradient."""
    count: int
    """Number of weights."""


def estimate_memory(
    settings: Settings,
    train: Examples,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
) -> Need:
    """Estimate the memory of a training from the shapes of its layers; nothing is allocated.

    Parameters
    ----------
    settings : Settings
    train : Examples
        Only what they are counts.
    encoder, decoder : nn.Module, optional
        Networks of the user's own. Of one that is no ``nn.Sequential`` only weights are counted.

    Raises
    ------
    ValueError
        If the network does not take such examples.
    """
    network = NETWORKS[settings.network]
    k = settings.latent_dim
    seen = seen_of(settings, train)
    likelihood = build_likelihood(settings, train.shape, seen)
    output_shape = likelihood.output_shape
    way = way_into_encoder(settings, likelihood.input_shape, encoder)
    shape, code_dim = network_inputs(likelihood, k, seen.conditions, way)
    with torch.device("meta"):  # layers without memory
        encoder = encoder or network.encoder(
            shape,
            k + build_objective(settings).log_scale_dim(k),
            settings.encoder_widths or network.encoder_widths,
        )
        decoder = decoder or network.decoder(
            code_dim, output_shape, settings.decoder_widths or network.decoder_widths
        )
    size = 8 if settings.precision == "64-true" else 4  # bytes of a number
    prior = build_prior(settings, likelihood.input_shape)
    count = sum(p.numel() for part in (encoder, decoder, prior) for p in part.parameters())
    layers = sum(_output_sizes(encoder, shape)) + sum(_output_sizes(decoder, (code_dim,)))
    # Of the batch itself and the decoder's output: the loss of each number, and gradients.
    per_example = 2 * layers + 2 * (math.prod(shape) + math.prod(output_shape))
    share = settings.batch_size // settings.devices
    numbers = share * per_example
    if isinstance(prior, MixtureOfNormals):  # deviations of all codes from all components
        numbers += 8 * share * prior.components * k
    if isinstance(prior, VampPrior):  # pseudo-inputs go through the encoder with the batch
        numbers += prior.components * per_example
    return Need(4 * size * count, size * numbers, count)


def _output_sizes(network: nn.Module, shape: Sequence[int]) -> Iterator[int]:
    """Numbers per example that each layer gives, as far as the layers are known."""
    if not isinstance(network, nn.Sequential):
        return
    for layer in network.children():
        if isinstance(layer, nn.Flatten):
            shape = (math.prod(shape),)
        elif isinstance(layer, nn.Unflatten):
            shape = tuple(layer.unflattened_size)
        elif isinstance(layer, nn.Linear):
            shape = (layer.out_features,)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            up = isinstance(layer, nn.ConvTranspose2d)
            sides = [
                side * stride if up else -(-side // stride)  # with padding, as in our networks
                for side, stride in zip(shape[1:], layer.stride, strict=True)
            ]
            shape = (layer.out_channels, *sides)
        else:
            continue  # activations and normalisation: their outputs are in the factor of two
        yield math.prod(shape)


def free_memory(device: str) -> int:
    """Bytes that a training may take on a device: "cpu", "cuda" or "mps"."""
    if device == "cuda":
        unused = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + unused
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    import psutil

    free = int(psutil.virtual_memory().available)
    folder = Path("/sys/fs/cgroup")  # of a container (control groups, version 2)
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        return min(free, limit - used + int(dict(map(str.split, lines))["inactive_file"]))
    except (OSError, ValueError, KeyError):  # no container, or no limit ("max")
        return free


def _method(settings: Settings) -> str:
    return METHODS[settings.method].display_name
