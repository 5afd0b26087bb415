"""What tests of trainings share: stored weights and records, and Ctrl-C at a step."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hebae.training.callbacks import Callback


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def history(folder: Path) -> list[dict[str, object]]:
    """Records without their times, which no two runs share."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


class StopAt(Callback):
    """Press Ctrl-C once, when a step has been logged."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_log(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        if step >= self.step:
            signal.raise_signal(signal.SIGINT)
            self.step = 10**9
