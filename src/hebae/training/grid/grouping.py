"""Which jobs can be trained in one program, and how many at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from hebae.training.grid.stack import Stack
from hebae.training.jobs import Job
from hebae.training.population import PASS_SIZE

__all__ = ["available_memory", "bytes_a_member", "groups", "why_alone"]

OWN = {"penalty_weight", "rate_weight", "seed", "learning_rate", "data_dir", "log_every"}
"""Settings in which the members of a grid may differ."""

SHARE_OF_MEMORY = 0.5
"""The rest is for the data's batches, the held-out passes and other programs."""


def why_alone(job: Job) -> str | None:
    """Say why a job cannot be a member of a grid; None if it can."""
    settings = job.prepared.settings
    if settings.network != "mlp":
        return f"network {settings.network} (batch normalisation and convolutions are not stacked)"
    if settings.early_stopping is not None:
        return "early stopping"
    if settings.devices > 1:
        return "several devices"
    if settings.precision == "16-mixed":
        return "16-mixed precision, whose loss is scaled for each model"
    return "TensorBoard" if settings.tensorboard else None


def groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Divide jobs into those that are trained together, in the order of their first; some alone.

    Jobs go together that have the same method, architecture, data and budget, and stand at the same
    step; a group that memory cannot hold is divided.
    """
    together: dict[str, list[Job]] = {}
    for job in jobs:
        key = str(job.path) if why_alone(job) else _key(job)
        together.setdefault(key, []).append(job)
    for members in together.values():
        most = len(members)
        if most > 1:
            most = max(1, int(available_memory(members[0]) // bytes_a_member(members[0])))
        parts = -(-len(members) // most)
        for part in range(parts):  # of equal size, give or take one
            yield members[part * len(members) // parts : (part + 1) * len(members) // parts]


def _key(job: Job) -> str:
    settings = job.prepared.settings
    shared: dict[str, Any] = {
        name: value for name, value in settings.model_dump(mode="json").items() if name not in OWN
    }
    # Without a rate weight HEBAE has other terms.
    shared["rate"] = settings.rate_weight > 0
    shared["data"] = job.prepared.dataset.fingerprint
    shared["position"] = _position(job)
    return json.dumps(shared, sort_keys=True)


def _position(job: Job) -> tuple[int, int]:
    """Epoch and batch at which the job would go on."""
    if not job.folder.checkpoint.is_file():
        return 0, 0
    state = job.folder.read_checkpoint(mapped=True)
    return int(state["epoch"]), int(state["batch"])


def bytes_a_member(job: Job) -> int:
    """Measure the memory of a member in training: one step of a stack of one, on the CPU.

    Weights, gradients and Adam's two moments; the batch; what the forward pass keeps for the
    gradient, and as much again while the gradient is taken; and the layers of a held-out pass.
    """
    settings = job.prepared.settings
    stack = Stack([job.prepared.model])
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    x = torch.zeros(1, settings.batch_size, *stack.input_shape)
    noise = {n: torch.zeros(1, *s) for n, s in stack.noise_shapes(settings.batch_size).items()}
    with saved_tensors_hooks(note, lambda tensor: tensor):
        stack.train()
        stack(x, noise)
    weights: int = sum(parameter.nbytes for parameter in stack.parameters.values())
    widest: int = max(
        max(parameter.shape[1:], default=1) for parameter in stack.parameters.values()
    )
    # Three layers' worth at a time, in float32.
    held_out = 3 * 4 * PASS_SIZE * widest
    wide = 2 if settings.precision == "64-true" else 1
    return wide * (4 * weights + x.nbytes + 2 * sum(kept.values()) + held_out)


def available_memory(job: Job) -> float:
    """Bytes that a grid may take on the device that the job is trained on."""
    device = job.prepared.settings.device
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return SHARE_OF_MEMORY * torch.cuda.mem_get_info()[0]
    import psutil

    return SHARE_OF_MEMORY * float(psutil.virtual_memory().available)
