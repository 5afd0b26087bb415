"""What a training asks of the machine: a device, processes, a compiler, memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hebae.building import (
    build_likelihood,
    build_objective,
    build_prior,
    network_inputs,
    way_into_encoder,
)
from hebae.config import Settings
from hebae.data import Examples
from hebae.errors import HebaeError
from hebae.methods import METHODS
from hebae.networks import NETWORKS
from hebae.priors import PRIORS, MixtureOfNormals, VampPrior
from hebae.training.likelihood import seen_of
from hebae.training.loggers import require_clients
from hebae.training.processes import is_supervised

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def device_type(settings: Settings) -> str:
    """Return what "auto" stands for on this machine: "cuda", "mps" or "cpu"."""
    if settings.device != "auto":
        return settings.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def make_fabric(settings: Settings, machines: int = 1) -> Fabric:
    """Lightning Fabric for the settings' device, number of processes and precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    class Mixed(MixedPrecision):
        """Autocast for the networks; examples and noise keep their precision."""

        def convert_input(self, data: Any) -> Any:
            return data

    gpu = device_type(settings) == "cuda"
    precision = "32-true" if settings.precision == "auto" else settings.precision
    mixed = precision in ("16-mixed", "bf16-mixed")
    plugins: list[Any] = [Mixed(precision, "cuda" if gpu else "cpu")] if mixed else []  # type: ignore[arg-type]
    if is_supervised():  # also where SLURM would be found
        plugins.append(LightningEnvironment())
    several = settings.devices * machines > 1
    return Fabric(
        accelerator="gpu" if settings.device == "cuda" else settings.device,
        devices=settings.devices,
        num_nodes=machines,
        strategy="ddp" if several else "auto",
        precision=None if mixed else precision,
        plugins=plugins,
    )


def check_machine(settings: Settings) -> None:
    """Raise a HebaeError if a requested device, logger or compiler is not available."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(settings.device, True):
        raise HebaeError(
            f"--device {settings.device} is not available on this machine; use cpu or auto."
        )
    kind = device_type(settings)
    there = torch.cuda.device_count() if kind == "cuda" else 1
    if settings.devices > max(1, there) and kind != "cpu":
        raise HebaeError(
            f"--devices is {settings.devices}, but this machine has {there} {kind} device(s); use "
            f"--devices {there} or --device cpu."
        )
    require_clients(settings)
    if settings.compile != "on":
        return
    if settings.devices > 1:
        raise HebaeError(
            f"--compile on is for one process, but --devices is {settings.devices}; use --compile "
            "off."
        )
    where = device_type(settings)
    if where == "mps":
        raise HebaeError("--compile on is for cpu and cuda, not for mps; use --compile off.")
    if where == "cuda" and settings.precision == "16-mixed":
        raise HebaeError(
            "--compile on captures the step in a CUDA graph, which 16-mixed does not allow, since "
            "its loss scale depends on the step before; use --precision bf16-mixed, or --compile "
            "off."
        )
    if where == "cpu":
        try:
            _compile_something()
        except RuntimeError as error:
            lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
            raise HebaeError(
                f"--compile on does not work here ({lines[0].rstrip('.')[:200]}). On the CPU it "
                "needs a C++ compiler such as g++. Install one, or use --compile off."
            ) from None


@cache
def _compile_something() -> None:
    """Compile a trivial function: only this shows whether there is a working compiler."""
    torch.compile(lambda x: -x, options={"fx_graph_cache": False})(torch.ones(2))


def check_memory(
    settings: Settings, train: Examples, encoder: nn.Module | None, decoder: nn.Module | None
) -> None:
    """Raise a HebaeError if weights, Adam's moments and a batch do not fit into free memory."""
    where = device_type(settings)
    try:
        need = estimate_memory(settings, train, encoder=encoder, decoder=decoder)
    except ValueError as error:  # of a network that does not take such examples
        raise HebaeError(f"{error}") from None
    free = free_memory(where)
    total = (settings.devices if where == "cpu" else 1) * (need.weights + need.batch)
    if total > free:
        widths = ["--encoder-widths", "--decoder-widths"]
        own = METHODS[settings.method].options.keys() | PRIORS[settings.prior].options.values()
        widths += [
            f"--{n.replace('_', '-')}" for n in ("critic_widths", "prior_widths") if n in own
        ]
        raise HebaeError(
            f"training needs about {total / 1e9:.1f} GB of memory "
            f"({need.count / 1e6:,.0f} million weights with gradients and Adam's moments: "
            f"{need.weights / 1e9:.1f} GB; a batch of {settings.batch_size}: "
            f"{need.batch / 1e9:.1f} GB), but only {free / 1e9:.1f} GB are free on {where}. Use "
            f"smaller {', '.join(widths)}, smaller examples, a smaller --batch-size, or --network "
            "convolutional for images."
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
    objective = build_objective(settings)
    with torch.device("meta"):  # layers without memory
        encoder = encoder or network.encoder(
            shape,
            k + objective.log_scale_dim(k),
            settings.encoder_widths or network.encoder_widths,
        )
        decoder = decoder or network.decoder(
            code_dim, output_shape, settings.decoder_widths or network.decoder_widths
        )
        critic = objective.critic(k) if objective.adversarial else nn.Identity()
    size = 8 if settings.precision == "64-true" else 4  # bytes of a number
    prior = build_prior(settings, likelihood.input_shape)
    parts = (encoder, decoder, critic, prior)
    count = sum(p.numel() for part in parts for p in part.parameters())
    layers = sum(_output_sizes(encoder, shape)) + sum(_output_sizes(decoder, (code_dim,)))
    layers += 2 * sum(_output_sizes(critic, (k,)))  # of codes and of draws from the prior
    # Of the batch itself and the decoder's output: the loss of each number, and gradients.
    per_example = 2 * layers + 2 * (math.prod(shape) + math.prod(output_shape))
    share = -(-settings.batch_size // settings.devices)
    numbers = share * per_example
    if isinstance(prior, MixtureOfNormals):  # deviations of all codes from all components
        numbers += 8 * settings.batch_size * prior.components * k
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
