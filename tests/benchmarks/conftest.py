"""The benchmarks are scripts in a folder of their own; here they run, and their modules import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let a test import what lies in ``benchmarks``."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture(scope="session")
def script():
    """Run a script with some words, on one thread."""

    def script(name, *words, **variables):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"} | variables
        command = [sys.executable, str(BENCHMARKS / name), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return script
