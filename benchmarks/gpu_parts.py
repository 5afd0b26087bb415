"""The parts of ``gpu.py``: each case is a function that returns numbers for the JSON file.

``python -m gpu_parts PART OUTPUT WORK OPTIONS`` measures one part; ``gpu.py`` calls it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from gpu_bench import ROOT, Bench, Result
from gpu_steps import compile_steps, grid, steps
from gpu_trainings import celeba, mnist


def ceilings(bench: Bench) -> None:
    """Measure what the card can do: matrix products, copies, launches."""
    size = 256 if bench.tiny else 8192
    for name, dtype, mode in (
        ("bf16", torch.bfloat16, "high"),
        ("tf32", torch.float32, "high"),
        ("float32", torch.float32, "highest"),
        ("float64", torch.float64, "highest"),
    ):
        bench.case(f"product, {name}", lambda d=dtype, m=mode: _product_rate(bench, size, d, m))
    bench.case("copy", lambda: _copy_rate(bench, 2**20 if bench.tiny else 2**32))
    bench.case("launch", lambda: _launch_time(bench))


def _product_rate(bench: Bench, size: int, dtype: torch.dtype, mode: str) -> Result:
    torch.set_float32_matmul_precision(mode)
    a, b = torch.randn(2, size, size, device=bench.device, dtype=dtype)
    rounds = 10 if dtype != torch.float64 else 3
    milliseconds = bench.milliseconds(lambda: a @ b, rounds)
    return {"size": size, "tflops": 2e-9 * size**3 / milliseconds}


def _copy_rate(bench: Bench, size: int) -> Result:
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    milliseconds = bench.milliseconds(lambda: target.copy_(source), 10)
    return {"bytes": size, "gb_per_second": 2e-6 * size / milliseconds}


def _launch_time(bench: Bench, count: int = 1000) -> Result:
    x = torch.zeros(1, device=bench.device)

    def launch() -> None:
        for _ in range(count):
            x.add_(1)

    return {"microseconds": 1e3 * bench.milliseconds(launch, 5) / count}


def tests(bench: Bench) -> None:
    """Run the tests that compare CUDA with the CPU."""
    bench.case("tests/cuda", lambda: _run_tests(bench), seconds=30)


def _run_tests(bench: Bench) -> Result:
    command = [sys.executable, "-m", "pytest", "tests/cuda", "-q", "-p", "no:cacheprovider"]
    command += ["--durations=5", "--tb=short"]
    if bench.tiny:
        command += ["-k", "mmd"]
    environment = {"HEBAE_TEST_DEVICE": bench.device.type}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=None if bench.tiny else bench.left - 2,
    )
    lines = done.stdout.splitlines()
    print(done.stdout[-9000:], done.stderr[-2000:], flush=True)
    return {
        "status": done.returncode,
        "summary": lines[-1] if lines else "",
        "failed": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
        "output": "" if done.returncode == 0 else "\n".join(lines[-400:]),
    }


def _environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


PARTS = {
    "ceilings": ceilings,
    "tests": tests,
    "steps": steps,
    "grid": grid,
    "mnist": mnist,
    "celeba": celeba,
    "compile": compile_steps,
}


def main() -> None:
    part, output, work, options = sys.argv[1:]
    bench = Bench(part, Path(output), Path(work), **json.loads(options))
    bench.describe()
    PARTS[part](bench)


if __name__ == "__main__":
    main()
