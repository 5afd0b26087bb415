"""Running means of the loss's terms, and the watch for a loss that is no longer a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hebae.errors import HebaeError
from hebae.gaussian import batch_moments
from hebae.model import Step

__all__ = ["DivergenceError", "Monitor", "require_finite"]


class DivergenceError(HebaeError):
    """The loss stopped being a finite number; the last good checkpoint is kept."""


class _Seen(NamedTuple):
    """A step that was looked at: its number, loss and terms, and the encoder's means."""

    number: int
    values: Tensor
    mean: Tensor


class Monitor:
    """Takes note of steps, and is looked at now and then: no step waits for it, nor does its work.

    Parameters
    ----------
    names : list of str
        Names of the terms, "reconstruction" first.
    device : torch.device
    reduce : callable, optional
        Sums a tensor over all processes.
    members : sequence of int
        Leading dimensions of the terms: none of one model, (n,) of a stack of n.

    Attributes
    ----------
    sums : Tensor, shape (*members, terms)
        Over the examples that were looked at, float64, on the CPU.
    seen : list
        The steps that were looked at since the last `means`, so that one that broke can be named.
    """

    def __init__(
        self,
        names: list[str],
        device: torch.device,
        reduce: Callable[[Tensor], Tensor] = lambda total: total,
        members: Sequence[int] = (),
    ) -> None:
        self.names = ["loss", *names]
        self.device = device
        self.sums = torch.zeros(*members, len(self.names), dtype=torch.float64)
        self.count = 0
        self.reduce = reduce
        self.seen: list[_Seen] = []
        self._new: list[tuple[int, Step]] = []

    def add(self, number: int, step: Step) -> None:
        """Take note of step `number`."""
        self.count += step.mean.shape[-2]
        self._new.append((number, step._replace(loss=step.loss.detach())))

    def look(self) -> None:
        """Sum what is new; waits for the device."""
        if not self._new:
            return
        rows = [torch.stack([s.loss, *s.terms.values()], dim=-1) for _, s in self._new]
        values = torch.stack(rows).cpu().double()
        for (number, step), row in zip(self._new, values, strict=True):
            self.sums.add_(row, alpha=step.mean.shape[-2])
            self.seen.append(_Seen(number, row, step.mean))
        self._new.clear()

    def means(self) -> dict[str, float]:
        """Mean of each term over the examples since the last `reset`; waits for the device.

        Of one model: of a stack, ask a `member`.

        Raises
        ------
        DivergenceError
            If any term since the last look is not finite: the first such step, its terms, the
            smallest eigenvalue of its codes' covariance, and advice.
        """
        self.look()
        sums = torch.cat([self.sums, self.sums.new_tensor([self.count])])
        # MPS has no float64.
        sums = sums.float() if self.device.type == "mps" else sums
        *totals, count = self.reduce(sums.to(self.device)).tolist()
        if not all(map(math.isfinite, totals)):
            raise self._diverged()
        self.seen.clear()
        return {name: total / count for name, total in zip(self.names, totals, strict=True)}

    def reset(self) -> None:
        """Begin a new epoch."""
        self.sums.zero_()
        self.count = 0
        self.seen.clear()
        self._new.clear()

    def member(self, index: int) -> Monitor:
        """Return what one member of a stack would have seen alone."""
        self.look()
        alone = Monitor(self.names[1:], self.device)
        alone.sums, alone.count = self.sums[index], self.count
        alone.seen = [_Seen(n, values[index], mean[index]) for n, values, mean in self.seen]
        return alone

    def state(self) -> dict[str, Any]:
        """For a checkpoint in the middle of an epoch."""
        self.look()
        return {"sums": self.sums.clone(), "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state`."""
        self.sums.copy_(state["sums"])
        self.count = int(state["count"])

    def _diverged(self) -> DivergenceError:
        number, values, mean = next(
            (step for step in self.seen if not bool(step.values.isfinite().all())), self.seen[-1]
        )
        terms = ", ".join(
            f"{name} {value:.4g}" for name, value in zip(self.names, values.tolist(), strict=True)
        )
        if bool(mean.isfinite().all()):
            smallest = float(torch.linalg.eigvalsh(batch_moments(mean.double().cpu())[1])[0])
            codes = f"the smallest eigenvalue of Sigma was {smallest:.3g}"
        else:
            codes = (
                "the encoder's outputs were not finite, so Sigma has no eigenvalues: the step "
                "before had broken the weights"
            )
        return DivergenceError(
            f"training stopped at step {number}: the loss is not a finite number ({terms}); "
            f"{codes}. Try a smaller learning_rate, gradient_clip 10, a larger batch_size, or for "
            "HEBAE moments 'shrunk'."
        )


def require_finite(parameters: Iterable[tuple[str, Tensor]], step: int) -> None:
    """Raise a DivergenceError for weights that broke in a step whose loss was still a number."""
    for name, parameter in parameters:
        if not bool(parameter.isfinite().all()):
            raise DivergenceError(
                f"training stopped at step {step}: the weights {name} are not finite though the "
                "loss was; try a smaller learning_rate or gradient_clip 10."
            )
