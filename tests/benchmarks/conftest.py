"""The benchmarks are scripts in a folder of their own; here their modules are imported."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let a test import what lies in ``benchmarks``."""
    monkeypatch.syspath_prepend(BENCHMARKS)
