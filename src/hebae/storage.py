"""A run is a folder: which files it has, and how they are written and read.

Files are written under a temporary name and renamed, so that a reader finds the old file or the new
one, never half of one. Weights are safetensors and checkpoints are read with ``weights_only``: no
code can run from a file of a run.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter
from torch import Tensor, nn

from hebae._version import __version__
from hebae.building import build, build_likelihood
from hebae.config import Settings, read_mapping
from hebae.data.schema import Seen
from hebae.errors import HebaeError
from hebae.files import (
    LOCK_FILES,
    clear,
    is_leftover,
    read_json,
    read_text,
    reading,
    require_only,
    require_plain,
    sha256_of,
    write_atomically,
    write_text,
)
from hebae.likelihoods import adopt_statistics
from hebae.model import Autoencoder
from hebae.networks import NETWORKS

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
    if not weights_path.is_file():
        raise HebaeError(no_model(folder))
    config, shape = _read_config(folder)
    path = folder / "config.json"
    settings = _settings_of({n: v for n, v in config.items() if n not in _NOT_SETTINGS}, path)
    if settings.likelihood == "auto":  # decided from the data when the model was trained
        raise HebaeError(
            f"{path} does not name the likelihood of the model; add the key 'likelihood' with the "
            "one it was trained with, or train the model again."
        )
    for name, given in (("encoder", encoder), ("decoder", decoder)):
        if config.get(f"own_{name}") and given is None:
            raise HebaeError(
                f"the model in {folder} was made with an {name} of your own; pass that module as "
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
    return content, tuple(shape)


def fingerprint_of(folder: Path) -> str:
    """Return the fingerprint of the data that a run was trained on, by its ``config.json``."""
    config, _ = _read_config(folder)
    if not isinstance(config.get("data_fingerprint"), str):
        raise HebaeError(
            f"{folder / 'config.json'} does not say which data the model was trained on; restore "
            "it, or train the model again."
        )
    return str(config["data_fingerprint"])


def _settings_of(values: Mapping[str, Any], path: Path) -> Settings:
    """Check stored settings; refuse those of a newer version, naming both versions."""
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        raise HebaeError(
            f"{path} has the setting {unknown[0]!r}, which hebae {__version__} does not know; the "
            f"folder was written by hebae {_version_of(path.parent)}. Use that version or a newer "
            "one."
        )
    return Settings.checked(values, str(path))


def _version_of(folder: Path) -> str:
    """Return the version of hebae that wrote a folder last, as far as its files tell."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return str(read_json(folder / "config.json", "restore it")["hebae_version"])
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        entry = read_json(folder / "provenance.json", "restore it", list)[-1]
        return str(entry["versions"].split(",")[0].removeprefix("hebae "))
    return "of an unknown version"


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
            f"{path} holds a model of another architecture: {name} is "
            f"{found.get(name, 'missing')} in the file and {expected.get(name, 'absent')} by the "
            "settings next to it; restore the files or train again."
        )


class RunFolder:
    """The files of a run, by name."""

    NAMES = (
        "config.yaml",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "samplers.safetensors",
        "evaluation.json",
        "resume.pt",
        "provenance.json",
        "diverged.txt",
        "figures",
        "tensorboard",
        "wandb",
        "mlflow.db",
        "mlflow-artifacts",
        "loggers.json",
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self.weights = path / "model.safetensors"
        self.samplers = path / "samplers.safetensors"
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.evaluation = path / "evaluation.json"
        self.checkpoint = path / "resume.pt"
        self.provenance = path / "provenance.json"
        self.divergence = path / "diverged.txt"
        self.figures = path / "figures"

    @property
    def is_run(self) -> bool:
        """Whether a run was ever started here."""
        return self.config.is_file()

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds nothing but traces of processes that were killed."""
        return all(file.name in LOCK_FILES or is_leftover(file) for file in self.path.iterdir())

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds a trained model."""
        return self.weights.is_file()

    @property
    def stopped_before_checkpoint(self) -> bool:
        """Whether a run was started here and stopped before its first checkpoint."""
        return self.is_run and not self.is_finished and not self.checkpoint.exists()

    def settings(self) -> Settings:
        """Read the settings of the run, as resolved when it started."""
        if not self.is_run:
            raise HebaeError(no_model(self.path))
        return _settings_of(read_mapping(self.config), self.config)

    def history(self) -> list[dict[str, Any]]:
        """Return the records of ``metrics.jsonl``, one per epoch."""
        if not self.metrics.exists():
            return []
        with reading(self.metrics, "restore it, or train again"):
            records = [json.loads(line) for line in read_text(self.metrics).splitlines()]
            _RECORDS.validate_python(records)
            for record in records:
                require_plain(record)
        return records

    def divergence_reason(self) -> str:
        """Return at which step the training diverged, and how; empty if it did not."""
        return read_text(self.divergence).strip() if self.divergence.exists() else ""

    def require_free(self, *, overwrite: bool) -> None:
        """Raise unless a run may be written here; a folder with other files is never replaced."""
        if not self.path.exists() and not self.path.is_symlink():
            return
        if not self.path.is_dir():
            raise HebaeError(f"--output {self.path} is a file; name a folder.")
        if self.is_empty:
            return
        if not self.is_run:
            raise HebaeError(
                f"--output {self.path} holds files that are not of a run; name another folder."
            )
        if not overwrite:
            raise HebaeError(
                f"{self.path} already holds a run; resume it with --resume, replace it with "
                "--overwrite, or name another --output."
            )
        self.settings()  # a config.yaml that is not ours raises
        require_only(self.path, self.NAMES)

    def create(self, settings: Settings, *, overwrite: bool, space_needed: int) -> None:
        """Empty the folder, if its disk has `space_needed` bytes left, and write the settings."""
        self.require_free(overwrite=overwrite)
        free = shutil.disk_usage(self.path).free
        if free < space_needed:
            raise HebaeError(
                f"the disk of --output {self.path} has {free / 1e6:,.0f} MB left and the run needs "
                f"{space_needed / 1e6:,.0f} MB; free some space or choose another."
            )
        clear(self.path, self.NAMES)
        self.write_settings(settings)

    def write_settings(self, settings: Settings) -> None:
        """Write ``config.yaml``."""
        write_text(self.config, settings.to_yaml())

    def add_provenance(self, origin: Mapping[str, str]) -> None:
        """Add an entry to ``provenance.json``, once for each start or resume."""
        entries = self.origins() if self.provenance.exists() else []
        write_text(self.provenance, json.dumps([*entries, dict(origin)], indent=2) + "\n")

    def origins(self) -> list[dict[str, str]]:
        """Return the entries of ``provenance.json``."""
        with reading(self.provenance, "remove it"):
            return _ORIGINS.validate_python(read_json(self.provenance, "remove it", list))

    def mark_diverged(self, reason: str) -> None:
        """Write ``diverged.txt``: at which step the training diverged, and how."""
        write_text(self.divergence, reason + "\n")

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write ``resume.pt``."""

        def write(path: Path) -> None:
            with path.open("wb") as file:
                disk = _Disk(file)
                try:
                    torch.save(dict(state), disk)  # type: ignore[arg-type]
                except RuntimeError as error:
                    raise disk.error or error from None

        write_atomically(self.checkpoint, write)

    def read_checkpoint(self, *, mapped: bool = False) -> dict[str, Any]:
        """Read ``resume.pt``: tensors and plain values only; `mapped` reads tensors when used."""
        if not self.checkpoint.is_file():
            raise HebaeError(
                f"{self.path} has no resume.pt, so it cannot be resumed; train again with "
                "--overwrite."
            )
        with reading(self.checkpoint, "restore it, or train again with --overwrite"):
            if not mapped:
                _require_undamaged(self.checkpoint)
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
        if not isinstance(state, dict) or "model" not in state:
            raise HebaeError(
                f"{self.checkpoint} is not a checkpoint of hebae; train again with --overwrite."
            )
        return state


class _Disk:
    """A file to write, which keeps the reason why that failed: torch hides it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.flush = file.flush

    def write(self, content: bytes) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = self.error or error
            raise


def _require_undamaged(path: Path) -> None:
    """Check the checksums that ``torch.save`` stores and ``torch.load`` does not look at."""
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed, as torch does not write it")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it has another checksum than when it was written")


class _Record(BaseModel):
    """What every line of ``metrics.jsonl`` has."""

    model_config = ConfigDict(strict=True, extra="allow")

    epoch: NonNegativeInt
    step: NonNegativeInt
    seconds: float
    learning_rate: float
    train: dict[str, float | None]
    held_out: dict[str, float | None] = {}
    held_out_split: str = ""


_RECORDS = TypeAdapter(list[_Record])
_ORIGINS = TypeAdapter(list[dict[str, str]])


def no_model(folder: Path) -> str:
    """Say why a folder holds no trained model."""
    run = RunFolder(folder)
    if run.divergence.is_file():
        return f"{folder} holds no model, because the run diverged: {run.divergence} says how."
    if run.is_run:
        return (
            f"{folder} is still training, or was stopped: it is not finished. Wait, or resume it "
            f"with: hebae train --resume --output {folder}"
        )
    if not folder.exists():
        return f"there is no folder {folder}; name a run folder that hebae train made."
    if folder.is_dir() and run.is_empty:
        return (
            f"{folder} holds no run: it is empty, or was left before one began in it. Start it "
            "again without --resume."
        )
    return f"{folder} holds no model; name a run folder that hebae train made."
