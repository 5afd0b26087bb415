"""The contract of a likelihood p(x | z): what the decoder's output means."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Context(NamedTuple):
    """What p(x | z) may depend on besides z; None if the data do not have it."""

    mask: Bool[Tensor, "batch *shape"] | None = None
    """True where a number was observed. Other numbers are ignored, even if they are NaN."""
    size_factor: Float[Tensor, " batch"] | None = None
    """Size of each example, such as the library size of a cell."""


EMPTY = Context()


class Likelihood(nn.Module):
    """The distribution of an example, given the decoder's output.

    Losses are in nats, summed over the numbers of an example, never averaged over them: that would
    change the meaning of a penalty's weight. A new likelihood is a subclass in a file in
    ``likelihoods/`` and a line in the list in ``likelihoods/__init__.py``.

    Parameters
    ----------
    shape : sequence of int
        Shape of one example.
    """

    support: ClassVar[tuple[float, float]]
    """Smallest and largest value that x may take."""
    density: ClassVar[bool]
    """Whether p(x | z) integrates to 1 over the support."""
    options: ClassVar[Mapping[str, str]] = {}
    """Further parameters of the constructor, and the settings that they are taken from."""

    def __init__(self, *, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.shape = tuple(shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the decoder's output per example: that of the example, by default."""
        return self.shape

    def encoder_input(self, x: Tensor, context: Context = EMPTY) -> Tensor:
        """Return what the encoder is given in place of x: x itself, 0 where it is missing."""
        return x if context.mask is None else x.masked_fill(~context.mask, 0)

    @abstractmethod
    def losses(
        self,
        output: Float[Tensor, "batch *shape"],
        x: Float[Tensor, "batch *shape"],
        context: Context,
    ) -> Float[Tensor, "batch *shape"]:
        """``-log p(x | z)`` of each number, in nats."""

    def negative_log_likelihood(
        self,
        output: Float[Tensor, "batch *shape"],
        x: Float[Tensor, "batch *shape"],
        context: Context = EMPTY,
    ) -> Float[Tensor, " batch"]:
        """``-log p(x | z)`` of each example, in nats, summed over its observed numbers."""
        if context.mask is None:
            return self.losses(output, x, context).flatten(1).sum(1)
        # What is missing must be finite before, or its gradient would be NaN times zero.
        losses = self.losses(output, x.masked_fill(~context.mask, 0), context)
        return losses.masked_fill(~context.mask, 0).flatten(1).sum(1)

    forward = negative_log_likelihood

    @abstractmethod
    def mean(
        self, output: Float[Tensor, "batch *shape"], context: Context = EMPTY
    ) -> Float[Tensor, "batch *shape"]:
        """``E[x | z]``, in the units of x."""

    @abstractmethod
    def sample(
        self,
        output: Float[Tensor, "batch *shape"],
        generator: torch.Generator,
        context: Context = EMPTY,
    ) -> Float[Tensor, "batch *shape"]:
        """Draw x ~ p(x | z), on the generator's device."""
