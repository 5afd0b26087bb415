"""Samplers stored with the model whose codes they were fitted to: ``samplers.safetensors``.

The file names the weights by their SHA-256: samplers of other weights, such as those of a run that
was trained further since, count as missing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.numpy import save

from hebae import inference
from hebae.config import DataSettings
from hebae.data import Dataset
from hebae.deprecation import keep_moved_modules, old_names
from hebae.errors import HebaeError, MissingPackage
from hebae.files import reading, write_atomically
from hebae.folders import locked
from hebae.model import Autoencoder
from hebae.priors import *  # noqa: F403, since they lived here in version 0.1.0
from hebae.priors import NAMES, Prior, Samplers, StandardNormal, check_name, fit_samplers
from hebae.priors.base import Floats
from hebae.priors.choice import SAMPLERS, sampler_class
from hebae.run_folder import RunFolder

Key: TypeAlias = tuple[int, ...]
"""Codes of the categories of a condition, one per column of categories."""


@dataclass(frozen=True)
class Stored:
    """What a folder holds for a model."""

    samplers: Samplers | None = None
    codes: Floats | None = None
    """Training codes (n, k), which a model saved from Python has in place of its data."""
    conditions: Floats | None = None
    """Conditions (n, p) of these codes, if the model has conditions."""
    by_condition: Mapping[Key, Samplers] = field(default_factory=dict)
    """Samplers of the training codes with the same categories, where they were asked for."""


def codes_of(model: Autoencoder, values: Any, seed: int = 0) -> Floats:
    """One z ~ q(z|x) of each example, float32 (n, k); mu itself for a deterministic encoder."""
    return inference.draw(model, inference.encode(model, values), seed)


def samplers_of(
    run_folder: Path,
    model: Any,
    load_training_values: Callable[[], Any],
    seed: int = 0,
    names: Sequence[str] = NAMES,
) -> dict[str, Prior]:
    """Return the samplers of a run by name; see `fitted_samplers`."""
    found = fitted_samplers(run_folder, model, load_training_values, seed, names)
    return {name: found[name] for name in names}


def fitted_samplers(
    run_folder: Path,
    model: Any,
    load_training_values: Callable[[], Any],
    seed: int = 0,
    names: Sequence[str] = NAMES,
    notify: Callable[[str], object] | None = None,
) -> Samplers:
    """Return the samplers of a run: those stored in its folder, and missing ones, fitted once.

    "prior", the model's own, needs no fit and is not stored.

    Parameters
    ----------
    run_folder : Path
        Fitted samplers are stored here.
    model : Autoencoder or fitted estimator
        The model of this folder.
    load_training_values : callable
        Returns the training examples (n, *shape). Called only if something is missing.
    seed : int
        Seed of the codes' noise and of the fit; stored samplers keep theirs.
    names : sequence of str
    notify : callable, optional
        Called with one sentence if the folder cannot be written; by default a HebaeError is raised.
    """
    module = inference.module_of(model)
    for name in names:
        check_name(name, others=("prior",))
    given: dict[str, Prior] = {"prior": module.prior, "normal": StandardNormal(module.latent_dim)}
    if set(names) <= set(given):
        return Samplers({name: given[name] for name in names}, {})
    stored = read_samplers(run_folder, module)
    fitted, codes = stored.samplers, stored.codes
    fits = [name for name in names if name != "prior"]
    if fitted is None or not set(fits) <= set(fitted.by_name):
        if codes is None:
            codes = codes_of(module, load_training_values(), fitted.seed if fitted else seed)
        fitted = fit_samplers(codes, seed, fits, fitted)
        try:
            with locked(run_folder):
                write_samplers(run_folder, module, replace(stored, samplers=fitted))
        except HebaeError as error:
            if notify is None:
                raise
            notify(f"the fitted samplers are used but not stored: {error}")
    return replace(fitted, by_name=fitted.by_name | {"prior": module.prior})


def resolve(name: str, model: Autoencoder) -> str:
    """Return "prior" for "auto" if the model's own prior was learned; other names as they are."""
    return "prior" if name == "auto" and model.prior.is_learned else name


def write_samplers(folder: Path, model: Autoencoder, stored: Stored) -> None:
    """Write ``samplers.safetensors`` whole or not at all."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    facts: dict[str, Any] = {}
    for name, array in (("codes", stored.codes), ("conditions", stored.conditions)):
        if array is not None:
            tensors[name] = np.ascontiguousarray(array)
    if stored.samplers is not None:
        facts = _pack(stored.samplers, "", tensors)
    if stored.by_condition:
        facts["by_condition"] = {
            _text(key): _pack(samplers, f"{_text(key)} ", tensors)
            for key, samplers in stored.by_condition.items()
        }
    facts = json.loads(json.dumps(facts))  # keys are text from here on, as in the file
    facts["sha256"] = _digest(tensors, facts)
    metadata = {"weights": _fingerprint(model), "samplers": json.dumps(facts)}
    # Not save_file, see `hebae.storage.save_model`.
    content = save(tensors, metadata=metadata)
    write_atomically(RunFolder(folder).samplers, lambda path: path.write_bytes(content))


def _text(key: Key) -> str:
    return ",".join(map(str, key))


def _pack(samplers: Samplers, prefix: str, tensors: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Add the tensors of samplers, under names with a prefix; return what else is known of them."""
    names = [name for name in samplers.by_name if name in SAMPLERS]
    for name in names:
        for part, value in samplers.by_name[name].to_tensors().items():
            tensors[f"{prefix}{name}.{part}"] = np.ascontiguousarray(value.cpu().numpy())
    return {
        "names": names,
        "held_out": samplers.held_out,
        "seed": samplers.seed,
        "curve": samplers.curve,
        "distances": samplers.distances,
    }


def read_samplers(folder: Path, model: Autoencoder) -> Stored:
    """Read ``samplers.safetensors``; nothing if it belongs to other weights.

    Raises
    ------
    HebaeError
        If the file is truncated or altered.
    """
    path = RunFolder(folder).samplers
    if not os.path.lexists(path):
        return Stored()
    with reading(path, "remove it, and the samplers are fitted again"):
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata["weights"] != _fingerprint(model):
                return Stored()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(metadata["samplers"])
        checksum = facts.pop("sha256", None)  # which version 0.1.0 did not store
        if checksum is not None and checksum != _digest(tensors, facts):
            raise ValueError("its content has another checksum than when it was written")
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ValueError("a number in it is not finite")
        return _from_file(tensors, facts, model.latent_dim)


def _from_file(
    tensors: dict[str, npt.NDArray[Any]], facts: dict[str, Any], latent_dim: int
) -> Stored:
    by_condition = {
        tuple(map(int, key.split(","))): _unpack(tensors, own, latent_dim, f"{key} ")
        for key, own in facts.pop("by_condition", {}).items()
    }
    samplers = _unpack(tensors, facts, latent_dim, "") if facts else None
    return Stored(samplers, tensors.get("codes"), tensors.get("conditions"), by_condition)


def _unpack(
    tensors: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any], latent_dim: int, prefix: str
) -> Samplers:
    by_name: dict[str, Prior] = {}
    for name in facts["names"]:
        start = f"{prefix}{name}."
        parts = {
            key.removeprefix(start): torch.from_numpy(value)
            for key, value in tensors.items()
            if key.startswith(start)
        }
        with suppress(MissingPackage):  # it counts as missing; the others can be used
            by_name[name] = sampler_class(name).from_tensors(latent_dim, parts)
    if any(sampler.latent_dim != latent_dim for sampler in by_name.values()):
        raise ValueError("samplers of another latent dimension")
    curve = {int(count): float(value) for count, value in facts["curve"].items()}
    distances = {name: tuple(blocks) for name, blocks in facts.get("distances", {}).items()}
    held_out, seed = dict(facts["held_out"]), int(facts["seed"])
    return Samplers(by_name, held_out, seed, curve, distances)


def _fingerprint(model: Autoencoder) -> str:
    """SHA-256 of the names, types, shapes and bytes of the model's weights and buffers."""
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    return _digest(weights, {})


def _digest(tensors: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode() if facts else b"")
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def training_data(
    folder: Path,
    config: Mapping[str, Any],
    data: str | None = None,
    data_dir: Path | None = None,
    *,
    need: str = "a sampler is fitted to the training data",
    otherwise: str = "use --sampler normal, which needs no data",
) -> Dataset:
    """Load the data of the run in `folder`, given its ``config.json``.

    `data` and `data_dir` say where the data are now, if they were moved. Data with other content
    are refused; `need` and `otherwise` say in the message what they are for and what else to do.
    """
    from hebae.data import load
    from hebae.data.loading import located

    if "data_fingerprint" not in config:
        raise HebaeError(
            f"{need}, but {folder} was saved from Python without a record of these; {otherwise}."
        )
    try:
        stored = {name: config[name] for name in DataSettings.model_fields if name in config}
        source = DataSettings.model_validate(stored).source
        dataset = load(**located(source, data, data_dir))
    except HebaeError as error:
        raise HebaeError(
            f"{need}, which could not be loaded: {error} Name them with --data or --data-dir, or "
            f"{otherwise}."
        ) from None
    if dataset.fingerprint != config["data_fingerprint"]:
        raise HebaeError(
            f"the content of {dataset.name} differs from what the run in {folder} was trained on "
            f"({config.get('data_name')}, SHA-256 {config['data_fingerprint'][:16]}); name its "
            f"data with --data or --data-dir, or {otherwise}."
        )
    return dataset


def _training_values(*arguments: Any, **options: Any) -> Any:
    return training_data(*arguments, **options).train.values


__getattr__ = old_names(
    __name__,
    {
        "Sampler": (lambda: Prior, "use hebae.priors.Prior"),
        "training_values": (lambda: _training_values, "use training_data(...).train.values"),
    },
)

keep_moved_modules(__name__)
