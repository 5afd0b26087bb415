"""The binomial likelihood, such as of genotypes (docs/mathematics.md, 11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from hebae.likelihoods.base import EMPTY, Context, Likelihood

SMALLEST_MEAN = 1e-3
"""Of x / n, or of 1 - x / n: columns that hardly vary start there."""


class Binomial(Likelihood):
    """Binomial distributions of whole numbers 0 to n; the encoder is given x / n.

    The decoder's output is added to the logit of the training mean of x / n, so that training
    starts at the mean of each column.

    Parameters
    ----------
    trials : int
        n: 2 for the number of copies of an allele.
    shape : sequence of int
        Shape of one example.
    """

    support = (0.0, 2.0)
    density = True
    whole = True
    options: ClassVar = {"trials": "trials"}

    def __init__(self, trials: int = 2, *, shape: Sequence[int] = ()) -> None:
        super().__init__(shape=shape)
        self.trials = trials
        self.support = (0.0, float(trials))

    def features(self, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`."""
        return x / self.trials

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds the logits of p, less those of the training mean."""
        n, logits = self.trials, self._logits(output)
        # In place, since genotypes of many variants take much memory.
        losses = F.binary_cross_entropy_with_logits(logits, x / n, reduction="none").mul_(n)
        if n <= 2:  # log gamma would take a quarter of the time of a training step
            return losses.sub_((n - x).mul_(x).mul_(math.log(2)))
        losses += (x + 1).lgamma_().add_((n + 1 - x).lgamma_())
        return losses.sub_(math.lgamma(n + 1))

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        return self.trials * self._logits(output).sigmoid()

    def mean_steps(self) -> list[dict[str, Any]]:
        """See `Likelihood`."""
        n = math.prod(self.shape)
        start = None if self.filling is None else self.filling.logit(SMALLEST_MEAN)
        step = {"kind": "sigmoid", "count": n, "outputs": n, "trials": self.trials}
        return [step | {"offset": start}]

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        p = self._logits(output).sigmoid().to(generator.device)
        draws = torch.binomial(torch.full_like(p, self.trials), p, generator=generator)
        return draws.to(output)

    def _logits(self, output: Tensor) -> Tensor:
        return output if self.filling is None else output + self.filling.logit(SMALLEST_MEAN)
