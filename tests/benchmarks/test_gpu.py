"""Every part of the GPU benchmark runs, at tiny size on the CPU; no time is asserted."""

import json

import jaxtyping
import pytest


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


def test_the_command_measures_in_processes_of_their_own(script, tmp_path):
    output = tmp_path / "gpu.json"
    words = ["--tiny", "--device", "cpu", "--only", "ceilings", "--commit", "abc"]
    ran = script("gpu.py", *words, "--output", output)
    assert ran.returncode == 0, ran.stderr
    record = json.loads(output.read_text())
    assert record["commit"] == "abc"
    assert record["tiny"] is True
    assert record["parts"]["ceilings"]["cases"]["product, bf16"]["tflops"] > 0
