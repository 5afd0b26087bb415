"""What the tests of the command line share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

WITH_FEW_UNITS = {"encoder_widths": 16, "decoder_widths": 16, "latent_dim": 3}


def small(**changes: object) -> list[str]:
    """Flags of a training that takes well under a second."""
    values = WITH_FEW_UNITS | {"batch_size": 32, "epochs": 2, "device": "cpu"} | changes
    return [word for n, v in values.items() for word in (f"--{n.replace('_', '-')}", str(v))]


SMALL = small()


class Result(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Result]
"""The fixture `hebae`: from the words of a command line to what came of it."""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hebae", *map(str, arguments)]


def in_a_process(
    *arguments: object, cwd: Path, env: dict[str, str] | None = None, **options: Any
) -> Result:
    """Run the command line in a process of its own, for what a process has once."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"} | (env or {}),
        check=False,
        **{"capture_output": True, "text": True} | options,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def refused(result: Result, *parts: str) -> None:
    """Status 2, one message, no traceback, and it holds these facts."""
    assert result.status == 2, result
    assert "Traceback" not in result.err + result.out
    message = " ".join(result.err[result.err.index("Error:") :].split())
    for part in parts:
        assert part in message, message
