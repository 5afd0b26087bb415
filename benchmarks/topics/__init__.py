"""What is measured: one topic per file, each with ``measure(effort) -> Result``."""

from __future__ import annotations

from importlib import import_module

from results import Effort, Result

__all__ = ["LONG", "TOPICS", "measure"]

TOPICS = (
    "step",
    "denormals",
    "epoch",
    "moments",
    "grid",
    "scaling",
    "memory",
    "information",
    "startup",
    "profile",
)
"""In the order of measuring and of the report."""

LONG = ("mapped", "decoding", "agreement", "cluster")
"""Measured only if named; shown if they were measured."""


def measure(topic: str, effort: Effort) -> Result:
    """Measure a topic of `TOPICS` or `LONG`."""
    result: Result = import_module(f"topics.{topic}").measure(effort)
    return result
