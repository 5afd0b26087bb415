"""A run is a folder: which files it has, and how they are written and read.

Files are written under a temporary name and renamed, so that a reader finds the old file or the new
one, never half of one. Weights are safetensors and checkpoints are read with ``weights_only``: no
code can run from a file of a run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hebae._version import __version__
from hebae.config import Settings, read_mapping
from hebae.data.examples import Seen
from hebae.errors import HebaeError
from hebae.files import LOCK_FILES, NOT_A_PICKLE, clear, require_only, write_atomically
from hebae.likelihoods import adopt_statistics
from hebae.model import Autoencoder, build

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
}
"""What else ``config.json`` holds."""


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file of tensors whole or not at all; a full disk gives a HebaeError."""

    def with_os_error(temporary: Path) -> None:
        try:
            write(temporary)
        except (RuntimeError, SafetensorError) as error:  # what they raise for a full disk
            raise OSError("the file could not be written in full") from error

    write_atomically(path, with_os_error)


def save_model(
    folder: Path, model: Autoencoder, settings: Settings, extra: Mapping[str, Any]
) -> None:
    """Write ``model.safetensors`` and ``config.json``, which holds all settings and `extra`."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    config = {
        "model_type": "hebae",
        "hebae_version": __version__,
        "input_shape": list(model.input_shape),
        "seen": None if model.seen is None else asdict(model.seen),
        **settings.model_dump(mode="json"),
        **extra,
    }
    _write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    # The weights go last: a folder that has them is complete.
    write_tensors(
        folder / "model.safetensors",
        lambda path: save_file(tensors, path, metadata={"format": "pt"}),
    )


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
    path = folder / "config.json"
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
        shape = tuple(int(n) for n in config["input_shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HebaeError(
            f"{path} is missing, truncated or altered ({type(error).__name__}); "
            "restore it or train the model again."
        ) from None
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
    try:
        tensors = load_file(weights_path)
        seen = Seen.of(config["seen"]) if config.get("seen") else None
        model = build(settings, shape, encoder=encoder, decoder=decoder, seen=seen)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise HebaeError(
            f"cannot read the model in {folder}: {error}; restore it or train again."
        ) from None
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        model.double()
    require_same_architecture(model, tensors, weights_path)
    model.load_state_dict(tensors)
    return model.eval(), {**settings.model_dump(mode="json"), **config}


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
        return str(json.loads((folder / "config.json").read_text("utf-8"))["hebae_version"])
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        entry = json.loads((folder / "provenance.json").read_text("utf-8"))[-1]
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
        self.tensorboard = path / "tensorboard"

    @property
    def is_run(self) -> bool:
        """Whether a run was ever started here."""
        return self.config.is_file()

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
        return _settings_of(read_mapping(self.config, self.config.read_text), self.config)

    def history(self) -> list[dict[str, Any]]:
        """Return the records of ``metrics.jsonl``, one per epoch."""
        try:
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines]
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise HebaeError(f"{self.metrics} is altered or truncated: {error}.") from None

    def require_free(self, *, overwrite: bool) -> None:
        """Raise unless a run may be written here; a folder with other files is never replaced."""
        if not self.path.exists() and not self.path.is_symlink():
            return
        if not self.path.is_dir():
            raise HebaeError(f"--output {self.path} is a file; name a folder.")
        if all(file.name in LOCK_FILES for file in self.path.iterdir()):
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
        _write_text(self.config, settings.to_yaml())

    def add_provenance(self, origin: Mapping[str, str]) -> None:
        """Add an entry to ``provenance.json``, once for each start or resume."""
        entries = []
        if self.provenance.is_file():
            try:
                entries = list(json.loads(self.provenance.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise HebaeError(f"{self.provenance} is altered: {error}; remove it.") from None
        _write_text(self.provenance, json.dumps([*entries, dict(origin)], indent=2) + "\n")

    def mark_diverged(self, reason: str) -> None:
        """Write ``diverged.txt``: at which step the training diverged, and how."""
        _write_text(self.divergence, reason + "\n")

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write ``resume.pt``."""
        write_tensors(self.checkpoint, lambda path: torch.save(dict(state), path))

    def read_checkpoint(self, *, mapped: bool = False) -> dict[str, Any]:
        """Read ``resume.pt``: tensors and plain values only; `mapped` reads tensors when used."""
        if not self.checkpoint.is_file():
            raise HebaeError(
                f"{self.path} has no resume.pt, so it cannot be resumed; train again with "
                "--overwrite."
            )
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
        except NOT_A_PICKLE as error:
            raise HebaeError(
                f"{self.checkpoint} is truncated or altered ({type(error).__name__}) and was not "
                "loaded; restore it, or train again with --overwrite."
            ) from None
        if not isinstance(state, dict) or "model" not in state:
            raise HebaeError(
                f"{self.checkpoint} is not a checkpoint of hebae; train again with --overwrite."
            )
        return state


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
    return f"{folder} holds no model; name a run folder that hebae train made."
