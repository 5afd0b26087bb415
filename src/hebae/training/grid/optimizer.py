"""One fused Adam for a stack, each member with a step size and a gradient's norm of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hebae.training.denormals import clear_denormal_means
from hebae.training.grid.layers import VECTOR
from hebae.training.grid.stack import Stack

__all__ = ["StackedAdam"]


class _Piece(NamedTuple):
    """What the optimiser takes for one tensor: a parameter of one or several members."""

    parameter: int
    """Its place among a model's parameters."""
    members: slice
    tensor: Tensor


class StackedAdam:
    """Adam over stacked parameters.

    The fused kernel takes one step size a parameter group, so that neighbours with equal step sizes
    make a group, whose tensors are slices of the stack: order the members by step size.

    Parameters
    ----------
    stack : Stack
    rates : sequence of float
        Step size of each member.
    betas : (float, float)
    gradient_clip : float, optional
        Largest norm of a member's gradient.
    """

    def __init__(
        self,
        stack: Stack,
        rates: Sequence[float],
        betas: tuple[float, float],
        gradient_clip: float | None = None,
    ) -> None:
        self.parameters = list(stack.parameters.values())
        self.rates = list(rates)
        self.gradient_clip = gradient_clip
        groups: list[dict[str, Any]] = []
        self.pieces: list[list[_Piece]] = []
        for rate, members in groupby(range(stack.size), key=self.rates.__getitem__):
            positions = list(members)
            pieces = list(_cut(self.parameters, positions[0], positions[-1] + 1))
            self.pieces.append(pieces)
            groups.append({"params": [piece.tensor for piece in pieces], "lr": rate})
        self.adam = torch.optim.Adam(groups, betas=betas, fused=True)
        clear_denormal_means(self.adam)

    def step(self, loss: Tensor) -> None:
        """Take a step for every member; `loss` is the sum of their losses."""
        gradients = torch.autograd.grad(loss, self.parameters)
        if self.gradient_clip is not None:
            _clip(gradients, self.gradient_clip)
        for pieces in self.pieces:
            for piece in pieces:
                piece.tensor.grad = gradients[piece.parameter][piece.members]
        self.adam.step()

    def set_factor(self, factor: float) -> None:
        """Multiply every member's step size by a schedule's factor."""
        for pieces, group in zip(self.pieces, self.adam.param_groups, strict=True):
            group["lr"] = self.rates[pieces[0].members.start] * factor

    def reset(self) -> None:
        """Forget all moments."""
        self.adam.state.clear()

    def state_of(self, member: int) -> dict[str, Any]:
        """Return the state dict that the member's own Adam would have, its tensors being views."""
        state: dict[int, Any] = {}
        settings: dict[str, Any] = {}
        for pieces, group in zip(self.pieces, self.adam.param_groups, strict=True):
            for piece in pieces:
                start, stop = piece.members.start, piece.members.stop
                if not start <= member < stop:
                    continue
                settings = {name: value for name, value in group.items() if name != "params"}
                if piece.tensor in self.adam.state:
                    state[piece.parameter] = {
                        name: value if name == "step" else value[member - start]
                        for name, value in self.adam.state[piece.tensor].items()
                    }
        order = list(range(len(self.parameters)))
        return {
            "state": {index: state[index] for index in order if index in state},
            "param_groups": [{**settings, "params": order}],
        }

    def load(self, states: Sequence[dict[str, Any]]) -> None:
        """Take up the states of the members' own Adams, all after equally many steps."""
        self.reset()
        for piece in (piece for pieces in self.pieces for piece in pieces):
            own = [state["state"].get(piece.parameter) for state in states[piece.members]]
            if own[0] is None:  # not one step was taken, or the moments were just forgotten
                continue
            device = piece.tensor.device
            self.adam.state[piece.tensor] = {
                name: value.to(device, copy=True)
                if name == "step"
                else torch.stack([moments[name] for moments in own]).to(device)
                for name, value in own[0].items()
            }


def _cut(parameters: Sequence[Tensor], start: int, stop: int) -> Iterator[_Piece]:
    """Cut out of each parameter the members from `start` to `stop`, at once or one by one.

    The CPU's fused kernel rounds what is left over at the end of a tensor, when it has taken whole
    vectors, otherwise: a parameter of such a size is updated member by member, as it is alone.
    """
    for index, parameter in enumerate(parameters):
        if parameter.device.type != "cpu" or parameter[0].numel() % VECTOR == 0:
            members = slice(start, stop)
            yield _Piece(index, members, parameter.detach()[members])
            continue
        for member in range(start, stop):
            alone = slice(member, member + 1)
            yield _Piece(index, alone, parameter.detach()[alone])


def _clip(gradients: Sequence[Tensor], largest: float) -> None:
    """``torch.nn.utils.clip_grad_norm_`` of each member."""
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients])
    factor = (largest / (norms.norm(dim=0) + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
