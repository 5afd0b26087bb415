"""The binomial likelihood, such as of genotypes (docs/mathematics.md, 11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from hebae.likelihoods.base import EMPTY, Context, Likelihood


class Binomial(Likelihood):
    """Binomial distributions of whole numbers 0 to n, on logits; the encoder is given x / n.

    Parameters
    ----------
    trials : int
        n: 2 for the number of copies of an allele.
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
        """See `Likelihood`; `output` holds the logits of p."""
        n = self.trials
        # In place, since genotypes of many variants take much memory.
        losses = F.binary_cross_entropy_with_logits(output, x / n, reduction="none").mul_(n)
        losses += (x + 1).lgamma_().add_((n + 1 - x).lgamma_())
        return losses.sub_(math.lgamma(n + 1))

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        return self.trials * output.sigmoid()

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        p = output.sigmoid().to(generator.device)
        draws = torch.binomial(torch.full_like(p, self.trials), p, generator=generator)
        return draws.to(output)
