"""What is measured, one topic a file; each has ``measure(effort) -> Result``."""

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
"""In the order in which they are measured and shown."""

LONG = ("mapped", "decoding", "agreement")
"""Measured only when asked for, and shown when they were."""


def measure(topic: str, effort: Effort) -> Result:
    """Measure a topic of `TOPICS` or `LONG`."""
    result: Result = import_module(f"topics.{topic}").measure(effort)
    return result
