"""What tests of trainings share: stored weights and records, and Ctrl-C at a step."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hebae.training.callbacks import Callback
from hebae.training.many import Result, Watcher


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


class Told(Watcher):
    """Keeps what it is told; `on_step` may do more."""

    def __init__(self, on_step: Callable[[int], None] = lambda taken: None) -> None:
        self.on_step = on_step
        self.promised = self.taken = self.spared = 0
        self.earlier: list[str] = []
        self.over: list[tuple[str, str]] = []
        self.ended = 0

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        self.earlier = [result.job.label for result in results]
        self.promised = steps

    def on_steps(self, count: int) -> None:
        assert count >= 0
        self.taken += count
        self.on_step(self.taken)

    def on_spared(self, count: int) -> None:
        assert count >= 0
        self.spared += count

    def on_result(self, result: Result) -> None:
        self.over.append((result.job.label, result.state))

    def on_end(self) -> None:
        self.ended += 1
