"""Write the result of a topic as a JSON file, with its provenance."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from contenders import SETTINGS, make_examples
from results import Effort, Result

from hebae.data import load
from hebae.files import write_atomically
from hebae.provenance import provenance

__all__ = ["RESULTS", "write_record"]

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "speed"
LOAD = os.getloadavg()[0]
"""Load average before the benchmark: times on a busy machine scatter."""
PEERS = ("pythae", "jax", "optax", "scikit-learn", "lightning-fabric")


def write_record(folder: Path, topic: str, result: Result, effort: Effort) -> dict[str, Any]:
    """Write ``TOPIC.json`` into `folder`, and return what it holds."""
    shown = {"rounds": effort.rounds, "steps": effort.steps, "smoke": effort.smoke}
    record = {"topic": topic, "provenance": _origin(), "effort": shown} | result.as_record()
    content = json.dumps(record, indent=1) + "\n"
    path = folder / f"{topic}.json"
    write_atomically(path, lambda temporary: temporary.write_text(content, encoding="utf-8"))
    return record


def _origin() -> dict[str, str]:
    command = shlex.join(["python", *sys.argv])
    dataset = load(make_examples(1), validation_size=0)
    origin = provenance(command, dataset, SETTINGS, [SETTINGS.seed])
    kept = {name: origin[name] for name in ("command", "commit", "machine", "versions", "date")}
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    peers = [f"{name} {found[name]}" for name in PEERS if name in found]
    return {
        **kept,
        "other packages": ", ".join(peers),
        "system": platform.platform(),
        "load average before": f"{LOAD:.1f}",
    }
