"""A trained model in its run folder: weights as safetensors, and the settings to rebuild it.

The other files of the folder are those of `hebae.run_folder.RunFolder`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from hebae._version import __version__
from hebae.building import build, build_likelihood
from hebae.config import Settings
from hebae.data.schema import Seen
from hebae.errors import HebaeError
from hebae.files import (
    read_json,
    reading,
    sha256_of,
    shortened,
    write_atomically,
    write_text,
)
from hebae.likelihoods import adopt_statistics
from hebae.model import Autoencoder
from hebae.networks import NETWORKS
from hebae.run_folder import RunFolder as RunFolder
from hebae.run_folder import no_model, settings_of

_NOT_SETTINGS = {
    "model_type",
    "hebae_version",
    "input_shape",
    "data_name",
    "data_fingerprint",
    "data_range",
    "own_encoder",
    "own_decoder",
    "seen",
    "weights_sha256",
}
"""What else ``config.json`` holds."""


def save_model(
    folder: Path, model: Autoencoder, settings: Settings, extra: Mapping[str, Any]
) -> None:
    """Write ``model.safetensors`` and ``config.json``, which holds all settings and `extra`."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # Not save_file, whose files only their owner may read, and which leaves others if it is killed.
    weights = safetensors.torch.save(tensors, metadata={"format": "pt"})
    config = {
        "model_type": "hebae",
        "hebae_version": __version__,
        "input_shape": list(model.input_shape),
        "seen": None if model.seen is None else asdict(model.seen),
        **settings.model_dump(mode="json"),
        **extra,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    # The weights go last: a folder that has them is complete.
    write_atomically(folder / "model.safetensors", lambda path: path.write_bytes(weights))


def load_model(
    folder: Path, *, encoder: nn.Module | None = None, decoder: nn.Module | None = None
) -> tuple[Autoencoder, dict[str, Any]]:
    """Read a model and its ``config.json``, defaults included, from a folder.

    Networks of the user's own must be given again; their weights are taken from the file. The model
    is on the CPU, in evaluation mode.

    Raises
    ------
    HebaeError
        If the folder holds no model, or one that is truncated, altered, of another architecture or
        of a newer version.
    """
    weights_path = folder / "model.safetensors"
    if not os.path.lexists(weights_path):
        raise HebaeError(no_model(folder))
    config, shape = _read_config(folder)
    path = folder / "config.json"
    settings = settings_of({n: v for n, v in config.items() if n not in _NOT_SETTINGS}, path)
    if settings.likelihood == "auto":  # decided from the data when the model was trained
        raise HebaeError(
            f"{path} does not name the likelihood of the model; add the key 'likelihood' with the "
            "one it was trained with, or train the model again."
        )
    for name, given in (("encoder", encoder), ("decoder", decoder)):
        if config.get(f"own_{name}") and given is None:
            raise HebaeError(
                f"the model in {folder} was trained with your own {name}; pass that module as "
                f"hebae.load({str(folder)!r}, {name}=...)."
            )
    remedy = "restore it, or train the model again"
    with reading(weights_path, remedy):
        tensors = safetensors.torch.load_file(weights_path)
    with reading(path, remedy):
        seen = Seen.of(config["seen"]) if config.get("seen") else None
        count = sum(tensor.numel() for tensor in tensors.values())
        if encoder is decoder is None and _claimed(settings, shape, seen) > count:
            raise ValueError(
                f"its settings have another architecture, of more than the {count:,} weights in "
                f"{weights_path.name}"
            )
        model = build(settings, shape, encoder=encoder, decoder=decoder, seen=seen)
    require_same_architecture(model, tensors, weights_path)
    checksum = config.get("weights_sha256")  # which version 0.1.0 did not store
    if checksum is not None and sha256_of(weights_path) != checksum:
        raise HebaeError(
            f"{weights_path} was altered: its SHA-256 is not the one in config.json; {remedy}."
        )
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise HebaeError(f"{weights_path} holds numbers that are not finite, in {name}.")
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        model.double()
    model.load_state_dict(tensors)
    return model.eval(), {**settings.model_dump(mode="json"), **config}


def _claimed(settings: Settings, shape: tuple[int, ...], seen: Seen | None) -> int:
    """Return how many weights the settings claim at least; they take no memory here."""
    network, k = NETWORKS[settings.network], settings.latent_dim
    likelihood = build_likelihood(settings, shape, seen)
    with torch.device("meta"):
        widths = settings.encoder_widths or network.encoder_widths
        encoder = network.encoder(likelihood.input_shape, k, widths)
        widths = settings.decoder_widths or network.decoder_widths
        decoder = network.decoder(k, likelihood.output_shape, widths)
    of_prior = {
        "mixture": settings.prior_components * k,
        "vamp": settings.prior_components * math.prod(likelihood.input_shape),
        "flow": sum(before * after for before, after in pairwise(settings.prior_widths)),
    }
    parameters = [*encoder.parameters(), *decoder.parameters()]
    return sum(p.numel() for p in parameters) + of_prior.get(settings.prior, 0)


def _read_config(folder: Path) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return the content of ``config.json``, and the shape of an example in it."""
    path = folder / "config.json"
    content = read_json(path, "restore it, or train the model again")
    shape = content.get("input_shape")
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        raise HebaeError(
            f"{path} has no input_shape, so it is truncated or altered; restore it, or train the "
            "model again."
        )
    limits = content.get("data_range", [0, 1])
    if not (isinstance(limits, list) and len(limits) == 2 and all(map(_is_finite, limits))):
        raise HebaeError(
            f"{path} has data_range {shortened(repr(limits))}, not two numbers; restore it, or "
            "train the model again."
        )
    return content, tuple(shape)


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def fingerprint_of(folder: Path) -> str:
    """Return the fingerprint of the data that a run was trained on, by its ``config.json``."""
    config, _ = _read_config(folder)
    if not isinstance(config.get("data_fingerprint"), str):
        raise HebaeError(
            f"{folder / 'config.json'} does not say which data the model was trained on; restore "
            "it, or train the model again."
        )
    return str(config["data_fingerprint"])


def require_same_architecture(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise, naming the first tensor that differs, if `tensors` are of another architecture.

    What a likelihood learns from the training examples is no part of that: it is as in the file.
    """
    adopt_statistics(model, tensors)
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if expected != found:
        name = min(n for n in expected | found if expected.get(n) != found.get(n))
        raise HebaeError(
            f"{path} holds a model of another architecture: {name} is {found.get(name, 'missing')} "
            f"in the file but {expected.get(name, 'absent')} according to the settings next to it; "
            "restore the files or train again."
        )
