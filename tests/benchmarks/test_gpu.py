"""Every part of the GPU benchmark runs, at tiny size on the CPU; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_checks_of_shapes():
    """Shapes are checked in the tests alone, and torch.compile cannot trace the checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def bench(tmp_path):
    from gpu_parts import Bench

    def bench(part, **options):
        return Bench(
            part, tmp_path / "gpu.json", tmp_path / "runs", device="cpu", tiny=True, **options
        )

    return bench


def cases(tmp_path, part):
    return json.loads((tmp_path / "gpu.json").read_text())["parts"][part]["cases"]


@pytest.mark.parametrize("part", ["ceilings", "steps", "grid", "mnist", "celeba", "compile"])
def test_every_case_of_a_part_runs(part, bench, tmp_path):
    from gpu_parts import PARTS

    small = bench(part)
    small.describe()
    PARTS[part](small)
    results = cases(tmp_path, part)
    assert results
    assert {name: case["error"] for name, case in results.items() if "error" in case} == {}


def test_a_case_that_failed_is_recorded_and_the_next_one_runs(bench, tmp_path):
    def fail():
        raise ValueError("no such kernel")

    first = bench("steps")
    first.describe()
    assert first.case("broken", fail) is None
    assert first.case("fine", lambda: {"ms": 1.0})["ms"] == 1.0
    assert "no such kernel" in cases(tmp_path, "steps")["broken"]["error"]
    # Resumed, nothing is measured again; failed cases only when asked for.
    second = bench("steps")
    assert second.case("fine", lambda: {"ms": 2.0})["ms"] == 1.0
    assert second.case("broken", lambda: {"ms": 3.0}) is None
    assert bench("steps", again=True).case("broken", lambda: {"ms": 3.0})["ms"] == 3.0


def test_the_command_measures_in_processes_of_their_own(tmp_path):
    output = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--tiny", "--device", "cpu"]
    command += ["--only", "ceilings", "--output", str(output), "--commit", "abc"]
    subprocess.run(command, check=True, capture_output=True)
    record = json.loads(output.read_text())
    assert record["commit"] == "abc"
    assert record["tiny"] is True
    assert record["parts"]["ceilings"]["cases"]["product, bf16"]["tflops"] > 0


def test_files_are_joined_and_the_later_measurement_is_kept(tmp_path):
    from gpu import _join

    first = {"card": "H100", "parts": {"steps": {"cases": {"a": {"ms": 1}, "b": {"ms": 2}}}}}
    second = {"card": "H100", "parts": {"steps": {"cases": {"a": {"ms": 3}, "b": {"error": "x"}}}}}
    assert _join([first, second])["parts"]["steps"]["cases"] == {"a": {"ms": 3}, "b": {"ms": 2}}
