"""Measure `hebae` on a GPU: one command, at most 8 minutes on one H100-class card.

``python benchmarks/gpu.py --help``. Each part is a list of cases in ``gpu_parts``; what a case
returns is written to the JSON file as soon as it is there, so a run can be stopped and resumed.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts.validators import Number

PARTS = {
    "ceilings": 20,
    "tests": 60,
    "steps": 100,
    "grid": 45,
    "mnist": 150,
    "celeba": 260,
    "compile": 90,
}
"""Parts in order, with their time limits in seconds."""

Part = Literal["ceilings", "tests", "steps", "grid", "mnist", "celeba", "compile"]
RESULT = Path(__file__).parents[1] / "docs" / "results" / "speed" / "gpu.json"
LEAST_SECONDS = 10
"""A part is not started if less time is left."""


def main(
    *,
    only: Annotated[list[Part] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    skip: Annotated[list[Part] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    seconds: Annotated[float, cyclopts.Parameter(validator=Number(gt=0))] = 480,
    output: Path = RESULT,
    work: Path | None = None,
    device: Literal["cuda", "cpu"] = "cuda",
    quick: bool = False,
    tiny: bool = False,
    again: bool = False,
    commit: str | None = None,
    join: Annotated[list[Path] | None, cyclopts.Parameter(consume_multiple=True)] = None,
) -> None:
    """Measure each part and write JSON; cases that are in the file already are not repeated.

    Parameters
    ----------
    only
        Parts to measure.
    skip
        Parts to leave out.
    seconds
        Time limit for everything. Cases that do not fit are listed as not measured.
    output
        JSON file.
    work
        Folder for the trained models; by default beside the JSON file. Finished runs are reused.
    device
        "cpu" only makes sense with --tiny.
    quick
        Fewer cases per part: a first look in two minutes.
    tiny
        Tiny sizes, to check that everything runs.
    again
        Repeat cases that failed before.
    commit
        Commit to record, where the code is not in a git checkout.
    join
        Measure nothing: combine these JSON files; later files take precedence.
    """
    if join:
        write_record(output, _join([read_record(path) for path in join]))
        return
    started = time.monotonic()
    work = work or output.parent / f"{output.stem}-runs"
    record = read_record(output)
    record["command"] = shlex.join(["python", *sys.argv])
    if commit:
        record["commit"] = commit
    write_record(output, record)
    for part in PARTS:
        if (only and part not in only) or part in (skip or []):
            continue
        limit = min(PARTS[part], seconds - (time.monotonic() - started))
        while limit > LEAST_SECONDS or tiny:
            status = _run_part(part, limit, output, work, device, quick, tiny, again)
            again = False
            if status != RESTART:
                break
            limit = min(limit, seconds - (time.monotonic() - started))
        _summarize(part, read_record(output))
    record = read_record(output)
    record["seconds"] = record.get("seconds", 0) + round(time.monotonic() - started, 1)
    write_record(output, record)


RESTART = 3
"""Exit status of a process that can no longer use its device; a new one measures the rest."""


def _run_part(
    part: str,
    limit: float,
    output: Path,
    work: Path,
    device: str,
    quick: bool,
    tiny: bool,
    again: bool,
) -> int:
    """Measure a part in a separate process, so that a crash or a hang only ends that part."""
    options = {"limit": limit, "device": device, "quick": quick, "tiny": tiny, "again": again}
    arguments = [part, str(output.resolve()), str(work.resolve()), json.dumps(options)]
    root = Path(__file__).parents[1]
    paths = [str(root / "src"), str(root / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "gpu_parts", *arguments]
    try:
        status = subprocess.run(command, env=environment, check=False, timeout=limit).returncode
        problem = f"the process ended with status {status}" if status not in (0, RESTART) else None
    except subprocess.TimeoutExpired:
        status, problem = 1, f"not done after {limit:.0f} s"
    record = read_record(output)
    running = record["parts"].get(part, {}).pop("running", None)
    if running is not None and problem is not None:
        record["parts"][part]["cases"][running] = {"error": problem}
        write_record(output, record)
        return RESTART if "status" in problem else 1
    return status


def _join(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine the cases of several files; later measurements replace earlier ones."""
    joined: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for record in records:
        joined |= record
        for name, part in record["parts"].items():
            known = parts.setdefault(name, {"cases": {}})
            measured = {n: case for n, case in part["cases"].items() if "error" not in case}
            cases = part["cases"] | known["cases"] | measured
            parts[name] = known | part | {"cases": cases}
    for part in parts.values():
        for case in part["cases"].values():
            if "error" in case:  # without the traceback
                case["error"] = case["error"].strip().splitlines()[-1]
    seconds = round(sum(record.get("seconds", 0) for record in records), 1)
    return joined | {"command": "python benchmarks/gpu.py", "seconds": seconds, "parts": parts}


def _summarize(part: str, record: dict[str, Any]) -> None:
    cases = record["parts"].get(part, {}).get("cases", {})
    failed = {name: case["error"] for name, case in cases.items() if "error" in case}
    print(f"== {part}: {len(cases) - len(failed)} measured, {len(failed)} not", flush=True)
    for name, error in failed.items():
        print(f"   {name}: {error.strip().splitlines()[-1][:300]}", flush=True)


def read_record(output: Path) -> dict[str, Any]:
    if not output.is_file():
        return {"parts": {}}
    record: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return record


def write_record(output: Path, record: dict[str, Any]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(output)


if __name__ == "__main__":
    cyclopts.run(main)
