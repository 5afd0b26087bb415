"""What the tests of the command line share."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
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


def stopped(
    *arguments: object, cwd: Path, when: Callable[[], object], number: int = signal.SIGINT
) -> tuple[int, str]:
    """Send a signal to a command once something has happened; return its status and messages."""
    with subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that starts the tests in the background has them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 120
        while not when():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, err


def refused(result: Result, *parts: str) -> None:
    """Status 2, one message, no traceback, and it holds these facts."""
    assert result.status == 2, result
    assert "Traceback" not in result.err + result.out
    message = " ".join(result.err[result.err.index("Error:") :].split())
    for part in parts:
        assert part in message, message


def require_movable(folder: Path) -> None:
    """Every link and picture of the pages in a folder is in the page itself or in the folder."""
    pages = [path for path in folder.rglob("*") if path.suffix in (".html", ".md")]
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        in_html = r"""\b(?:src|href)=["']?(?!data:|https:|#)([^"'\s>#]+)"""
        pattern = in_html if page.suffix == ".html" else r"\]\((?!https:)([^)#]+)"
        for link in re.findall(pattern, re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)):
            target = (page.parent / link).resolve()
            assert not Path(link).is_absolute(), (page, link)
            assert target.is_file() and target.is_relative_to(folder.resolve()), (page, link)
