"""The files of a run, by name, and how they are written and read.

Files are written under a temporary name and renamed, so that a reader finds the old file or the new
one, never half of one. Checkpoints are read with ``weights_only``: no code can run from a file of a
run.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, TypeAdapter

from hebae._version import __version__
from hebae.config import Settings
from hebae.errors import FolderError, HebaeError
from hebae.files import (
    read_bytes,
    read_json,
    read_text,
    reading,
    require_folder,
    require_plain,
    write_atomically,
    write_text,
)
from hebae.folders import LOCK_FILES, clear, is_leftover, require_only
from hebae.yaml_files import read_mapping


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
        "report.html",
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
        self.report = path / "report.html"

    @property
    def is_run(self) -> bool:
        """Whether a run was ever started here."""
        return os.path.lexists(self.config)  # what is no file is refused when it is read

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds nothing but traces of processes that were killed."""
        return all(file.name in LOCK_FILES or is_leftover(file) for file in self.path.iterdir())

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds a trained model."""
        return os.path.lexists(self.weights)

    @property
    def stopped_before_checkpoint(self) -> bool:
        """Whether a run was started here and stopped before its first checkpoint."""
        return self.is_run and not self.is_finished and not self.checkpoint.exists()

    def settings(self) -> Settings:
        """Read the settings of the run, as resolved when it started."""
        if not self.is_run:
            raise HebaeError(no_model(self.path))
        return settings_of(read_mapping(self.config), self.config)

    def history(self, size: int | None = None) -> list[dict[str, Any]]:
        """Return the records of ``metrics.jsonl``, one per epoch, up to `size` bytes."""
        if not self.metrics.exists():
            return []
        with reading(self.metrics, "restore it, or train again"):
            text = read_bytes(self.metrics)[:size].decode()
            records = [json.loads(line) for line in text.splitlines()]
            _RECORDS.validate_python(records)
            for record in records:
                require_plain(record)
        return records

    def divergence_reason(self) -> str:
        """Return at which step the training diverged, and how; empty if it did not."""
        return read_text(self.divergence).strip() if self.divergence.exists() else ""

    def require_free(self, *, overwrite: bool) -> None:
        """Raise unless a run may be written here; a folder with other files is never replaced."""
        require_folder(self.path, "--output")
        if not self.path.exists() or self.is_empty:
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
            raise FolderError(
                f"the disk of --output {self.path} has {free / 1e6:,.0f} MB left, but the run "
                f"needs {space_needed / 1e6:,.0f} MB; free some space or choose another folder."
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
        if not os.path.lexists(self.checkpoint):
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
        return f"{folder} holds no model, because the run diverged; see {run.divergence}."
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


def settings_of(values: Mapping[str, Any], path: Path) -> Settings:
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
