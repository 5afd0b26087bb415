"""One step of training: noise and examples in, weights moved, terms of the loss out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hebae.config import TrainingSettings
from hebae.model import Autoencoder, Step
from hebae.objectives import Noise
from hebae.training.capture import CapturedStep
from hebae.training.denormals import clear_denormal_means

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "TakeStep",
    "load_optimizer",
    "make_optimizer",
    "make_step",
    "reset_moments",
    "set_learning_rate",
]

TakeStep = Callable[[Tensor, Noise], Step]
"""From a batch x (m, *shape) and its noise: forward, backward, update."""


def make_optimizer(
    model: Autoencoder, settings: TrainingSettings, device: torch.device
) -> torch.optim.Adam:
    """Adam in one fused kernel, ready for a CUDA graph where the step is to be captured."""
    rate = settings.learning_rate or 1e-3
    captured = is_captured(settings, device)
    adam = torch.optim.Adam(
        model.parameters(),
        # A graph reads what stands at an address, so the rate must have one.
        lr=torch.tensor(rate, device=device) if captured else rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        fused=True,
        capturable=captured,
    )
    clear_denormal_means(adam)
    return adam


def make_step(
    model: Autoencoder,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    fabric: Fabric,
) -> TakeStep:
    """Make the step that the settings ask for.

    Compiled or captured are the full batches alone: a last, smaller one is taken by hand, so that
    there is one program, and the same wherever a run is resumed.

    Parameters
    ----------
    model : Autoencoder
    module, optimizer
        The model and its optimizer, as Fabric has set them up.
    settings : TrainingSettings
    fabric : Fabric
    """
    # With one process, and no loss to be scaled, Fabric's wrappers pass their arguments on: without
    # them, and Adam's own way of freeing gradients, a step of Appendix B.1 takes 2 % less.
    plain = fabric.world_size == 1 and settings.precision != "16-mixed"
    forward: Callable[..., Step] = model if plain else module
    backward = Tensor.backward if plain else fabric.backward
    adam = getattr(optimizer, "optimizer", optimizer) if plain else optimizer
    autocast = nullcontext if settings.precision == "32-true" else fabric.autocast
    parameters = list(model.parameters())

    def by_hand(x: Tensor, noise: Noise, forward: Callable[..., Step] = forward) -> Step:
        with autocast():
            step = forward(x, noise)
        # Here, not after the step: gradients are freed when their memory is wanted.
        for parameter in parameters:
            parameter.grad = None
        backward(step.loss)
        if settings.gradient_clip is not None:
            # To look whether the norm is finite would wait for the device; the monitor finds out.
            fabric.clip_gradients(
                module, optimizer, max_norm=settings.gradient_clip, error_if_nonfinite=False
            )
        adam.step()
        return step

    if settings.compile != "on":
        return by_hand
    if is_captured(settings, fabric.device):
        return CapturedStep(by_hand, settings.batch_size)
    compiled = torch.compile(model, dynamic=False)

    def take(x: Tensor, noise: Noise) -> Step:
        return by_hand(x, noise, compiled if len(x) == settings.batch_size else forward)

    return take


def is_captured(settings: TrainingSettings, device: torch.device) -> bool:
    """Tell whether steps are to be replayed from a CUDA graph."""
    return settings.compile == "on" and device.type == "cuda"


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take up Adam's moments from a checkpoint; its rates and ways of working stay this run's."""
    own = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": own})
    # The fused kernel goes through memory as it lies, so moments must lie as their weights do.
    for parameter, moments in optimizer.state.items():
        for name, tensor in moments.items():
            if tensor.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(tensor).detach()


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all parameters, in place where a CUDA graph reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def reset_moments(optimizer: torch.optim.Optimizer) -> None:
    """Let Adam begin anew: its moments and count of steps are zeros at the start."""
    for state in optimizer.state.values():
        for tensor in state.values():
            tensor.zero_()
