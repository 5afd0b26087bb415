"""The origin of a result: command, commit, data, seeds, machine and versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from hebae._version import __version__
from hebae.config import Settings
from hebae.data import Dataset


def provenance(
    command: str, dataset: Dataset, settings: Settings, seeds: Sequence[int]
) -> dict[str, str]:
    """Return what is needed to reproduce a result, as text by name."""
    import torch

    splits = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
    counts = ", ".join(f"{len(split):,} {name}" for name, split in splits.items() if split)
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "numpy")]
    return {
        "command": command,
        "commit": _commit(),
        "data": f"{dataset.name} ({counts} examples), SHA-256 {dataset.fingerprint[:16]}",
        "seeds": ", ".join(map(str, dict.fromkeys(seeds))),
        "epochs": str(settings.epochs),
        "machine": f"{_processor()}, {torch.get_num_threads()} threads, {_device(settings)}",
        "versions": ", ".join(
            [f"hebae {__version__}", f"Python {platform.python_version()}", *versions]
        ),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


@cache
def _commit() -> str:
    """Return the commit of the working copy that holds this package, or the installed release."""

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails for an installed package
        commit = git("describe", "--always", "--abbrev=12")
        # Not by describe --dirty: it locks the index, and leaves the lock if it is killed.
        changed = git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
        return f"{commit}-dirty" if changed else commit
    except (OSError, subprocess.SubprocessError):
        return f"release {__version__}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    except OSError:
        pass
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _device(settings: Settings) -> str:
    import torch

    if settings.device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "no GPU" if settings.device in ("auto", "cpu") else settings.device
