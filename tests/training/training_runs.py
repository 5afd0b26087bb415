"""What tests of trainings share: stored weights and records, and Ctrl-C at a step."""

from __future__ import annotations

import json
import signal

import torch
from safetensors.torch import load_file

from hebae.training.callbacks import Callback
from hebae.training.many import Watcher


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def history(folder):
    """Records without their times, which no two runs share."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


class StopAt(Callback):
    """Press Ctrl-C once, when a step has been logged."""

    def __init__(self, step):
        self.step = step

    def on_log(self, step, epoch, means):
        if step >= self.step:
            signal.raise_signal(signal.SIGINT)
            self.step = 10**9


class Told(Watcher):
    """Keeps what it is told; `on_step` may do more."""

    def __init__(self, on_step=lambda taken: None):
        self.on_step = on_step
        self.promised = self.taken = self.spared = 0
        self.earlier: list[str] = []
        self.over: list[tuple[str, str]] = []
        self.ended = 0

    def on_start(self, results, waiting, steps):
        self.earlier = [result.job.label for result in results]
        self.promised = steps

    def on_steps(self, count):
        assert count >= 0
        self.taken += count
        self.on_step(self.taken)

    def on_spared(self, count):
        assert count >= 0
        self.spared += count

    def on_result(self, result):
        self.over.append((result.job.label, result.state))

    def on_end(self):
        self.ended += 1
