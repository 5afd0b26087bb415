"""What runs the cases of ``gpu.py`` and writes their results."""

from __future__ import annotations

import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from gpu import RESTART, read_record, write_record

ROOT = Path(__file__).parents[1]
METHODS = ("hebae", "vae", "wae")
Result = dict[str, Any]


class Bench:
    """Runs cases and writes their results, or why they failed, to the JSON file."""

    def __init__(
        self,
        part: str,
        output: Path,
        work: Path,
        *,
        limit: float = 1e9,
        device: str = "cuda",
        quick: bool = False,
        tiny: bool = False,
        again: bool = False,
    ) -> None:
        self.part, self.output, self.work = part, output, work
        self.deadline = time.monotonic() + limit
        self.device = torch.device(device)
        self.quick, self.tiny, self.again = quick, tiny, again
        self.graph = "on" if self.device.type == "cuda" else "off"
        self.work.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Seconds that are left for the part."""
        return self.deadline - time.monotonic()

    def case(self, name: str, measure: Callable[[], Result], seconds: float = 5) -> Result | None:
        """Measure a case that takes about `seconds`, unless the file has it already.

        Returns
        -------
        dict or None
            None if it failed or there is no time for it.
        """
        record = read_record(self.output)
        part = record["parts"].setdefault(self.part, {"cases": {}})
        known: Result | None = part["cases"].get(name)
        if known is not None and not known.get("late") and not ("error" in known and self.again):
            return None if "error" in known else known
        if not self.tiny and self.left < seconds:
            result: Result = {"error": f"no time: {self.left:.0f} s left", "late": True}
        else:
            part["running"] = name
            write_record(self.output, record)
            begin = time.perf_counter()
            try:
                result = measure()
            except Exception:
                result = {"error": "".join(traceback.format_exc().splitlines(keepends=True)[-12:])}
            result["case_seconds"] = round(time.perf_counter() - begin, 2)
            result["commit"] = record.get("commit", "")
        record = read_record(self.output)
        part = record["parts"][self.part]
        part.pop("running", None)
        part["cases"][name] = result
        write_record(self.output, record)
        print(f"{self.part}: {name}: {json.dumps(result)[:300]}", flush=True)
        if "error" in result and not self._is_usable():
            sys.exit(RESTART)
        return None if "error" in result else result

    def _is_usable(self) -> bool:
        try:
            torch.zeros(1, device=self.device).add_(1)
            self.wait()
        except RuntimeError:
            return False
        return True

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, function: Callable[[], object], rounds: int, warm_up: int = 3) -> float:
        """Median time of a call, measured by the device."""
        for _ in range(warm_up):
            function()
        self.wait()
        times = []
        for _ in range(rounds):
            if self.device.type == "cuda":
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                function()
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end))
            else:
                started = time.perf_counter()
                function()
                times.append(1e3 * (time.perf_counter() - started))
        return statistics.median(times)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Make a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            yield Path(name)

    def describe(self) -> None:
        """Record the card, versions and commit."""
        record = read_record(self.output)
        on_cuda = self.device.type == "cuda"
        record |= {
            "card": torch.cuda.get_device_name() if on_cuda else "none (CPU)",
            "driver": _driver() if on_cuda else "",
            "cuda": torch.version.cuda or "",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }
        record["tiny"] = self.tiny
        record.setdefault("commit", _commit())
        part = record["parts"].setdefault(self.part, {"cases": {}})
        part |= {name: record[name] for name in ("card", "commit", "date")}
        write_record(self.output, record)


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
