"""The contract of a likelihood p(x | z): what the decoder's output means."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hebae.shared_batch import SharedBatch


class Context(NamedTuple):
    """What p(x | z) may depend on besides z; None if the data do not have it."""

    mask: Bool[Tensor, "*batch *shape"] | None = None
    """True where a number was observed. Other numbers are ignored, even if they are NaN."""
    size_factor: Float[Tensor, "*batch"] | None = None
    """Size of each example, such as the library size of a cell."""
    condition: Float[Tensor, "*batch _"] | None = None
    """What the networks are given in addition to x or z: see `hebae.networks.ConditionEncoder`."""


EMPTY = Context()

TOLERANCE = 1e-6
"""Tolerance for numbers that rounding moves out of the support of a likelihood."""

STATISTICS = ("filling", "shift", "unit", "typical", "size_quantiles")
"""Names of the buffers that `Likelihood.learn` sets."""


class Likelihood(nn.Module):
    """The distribution of an example, given the decoder's output.

    Losses are in nats, summed over the observed numbers of an example, never averaged over them:
    that would change the meaning of a penalty's weight. Tensors may have further leading
    dimensions. A new likelihood is a subclass in a file in ``likelihoods/`` and a line in the list
    in ``likelihoods/__init__.py``.

    Parameters
    ----------
    shape : sequence of int
        Shape of one example.

    Attributes
    ----------
    filling : Tensor or None
        The encoder is given this in place of what is missing: the means of the training examples.
    shift, unit : Tensor or None
        Mean and standard deviation by which the encoder's input is standardised.
    typical : Tensor or None
        For counts: the mean size of an example, or the mean of each column.
    size_quantiles : Tensor or None
        For counts: evenly spaced quantiles of the sizes of the training examples.
    incomplete : bool
        Whether numbers are missing in training. Evaluation always looks, if there is a `filling`.
    """

    support: ClassVar[tuple[float, float]]
    """Smallest and largest value that x may take."""
    density: ClassVar[bool]
    """Whether p(x | z) integrates, or sums, to 1 over the support."""
    whole: ClassVar[bool] = False
    """Whether x must be whole numbers."""
    scale: float | str | None = None
    """Scale of a Gaussian likelihood: a number, "learned" or "optimal"."""
    scale_shape: tuple[int, ...] = ()
    """Shape of the mean squared error for `best_scales`: of all numbers, or of each column."""
    tables_only: ClassVar[bool] = False
    """Whether an example must be a row of numbers, not an image."""
    standardises: ClassVar[bool] = False
    """Whether the encoder is given standardised features."""
    options: ClassVar[Mapping[str, str]] = {}
    """Further parameters of the constructor, and the settings that they are taken from."""
    shared: SharedBatch | None = None
    """Set in training steps of several processes, whose `losses` see a part of the batch."""
    filling: Tensor | None
    shift: Tensor | None
    unit: Tensor | None
    typical: Tensor | None
    size_quantiles: Tensor | None

    def __init__(self, *, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.incomplete = False
        for name in STATISTICS:
            self.register_buffer(name, None)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the decoder's output per example: that of the example, by default."""
        return self.shape

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the encoder's input per example."""
        return tuple(self.features(torch.zeros(1, *self.shape), EMPTY).shape[1:])

    def describe(self, x: Float[Tensor, "*batch *shape"]) -> Context:
        """Return the context that follows from x, in which NaN stands for a missing number."""
        looks = self.incomplete if self.training else self.filling is not None
        return Context(~x.isnan() if looks else None)

    def features(self, x: Tensor, context: Context) -> Tensor:
        """Return what the encoder is given, before it is filled and standardised: by default x."""
        return x

    def encoder_input(self, x: Tensor, context: Context = EMPTY) -> Tensor:
        """Return what the encoder is given in place of x.

        The `features` of x, with the training mean (0 if it was not learned) where they are
        missing, standardised if the likelihood does so.
        """
        if context.mask is not None:
            x = x.masked_fill(~context.mask, torch.nan)
        features = self.features(x, context)
        if context.mask is not None:
            filling = 0.0 if self.filling is None else self.filling
            features = torch.where(features.isnan(), filling, features)
        if self.shift is not None and self.unit is not None:
            features = (features - self.shift) / self.unit
        return features

    @torch.no_grad()
    def learn(self, batches: Callable[[], Iterable[Float[Tensor, "batch *shape"]]]) -> None:
        """Learn the means and standard deviations of the `features` of the training examples.

        `batches` gives the examples anew at each call, NaN where a number is missing.
        """
        low, high = math.inf, -math.inf

        def features(x: Tensor) -> Tensor:
            nonlocal low, high
            low = min(low, float(x.nan_to_num(math.inf, math.inf).min()))
            high = max(high, float(x.nan_to_num(-math.inf).max()))
            return self.features(x, self.describe(x))

        self.set_statistics(moments(map(features, batches())), (low, high))

    def set_statistics(self, of_features: Moments, extremes: tuple[float, float]) -> None:
        """Keep what is needed of the moments of the features, and of the range of x."""
        self.filling = of_features.mean.float()
        if self.standardises:
            self.shift, self.unit = of_features.mean.float(), unit_of(of_features.variance)

    def best_scales(self, mean_squared_error: Tensor) -> dict[str, Tensor]:
        """Return the buffers of an optimal scale, by name, given the training set's error."""
        return {}

    @abstractmethod
    def losses(
        self,
        output: Float[Tensor, "*batch *output"],
        x: Float[Tensor, "*batch *shape"],
        context: Context,
    ) -> Float[Tensor, "*batch *shape"]:
        """``-log p(x | z)`` of each number, in nats."""

    def negative_log_likelihood(
        self,
        output: Float[Tensor, "batch *output"],
        x: Float[Tensor, "batch *shape"],
        context: Context = EMPTY,
    ) -> Float[Tensor, " batch"]:
        """``-log p(x | z)`` of each example, in nats, summed over its observed numbers.

        In evaluation mode, a number outside of the support counts as its nearest end.
        """
        if not self.training and any(map(math.isfinite, self.support)):
            x = x.clamp(*self.support)
        if context.mask is None:
            return self.losses(output, x, context).flatten(1).sum(1)
        # What is missing must be finite before, or its gradient would be NaN times zero.
        losses = self.losses(output, x.masked_fill(~context.mask, 0), context)
        return losses.masked_fill(~context.mask, 0).flatten(1).sum(1)

    forward = negative_log_likelihood

    @abstractmethod
    def mean(
        self, output: Float[Tensor, "*batch *output"], context: Context = EMPTY
    ) -> Float[Tensor, "*batch *shape"]:
        """``E[x | z]``, in the units of x."""

    def mean_steps(self) -> list[dict[str, Any]] | None:
        """Return `mean` as steps that the script of a page takes (``report/codes.js``).

        A step makes `count` numbers of an example from the next `outputs` numbers of the decoder,
        by a rule that the script knows as `kind`; in order, unless `at` has their places. None: the
        script has no rule for this likelihood.
        """
        return None

    @abstractmethod
    def sample(
        self,
        output: Float[Tensor, "*batch *output"],
        generator: torch.Generator,
        context: Context = EMPTY,
    ) -> Float[Tensor, "*batch *shape"]:
        """Draw x ~ p(x | z), by the generator."""


@dataclass(frozen=True)
class Moments:
    """Moments of columns, over the numbers that were observed, in float64."""

    count: Tensor
    mean: Tensor
    variance: Tensor


def moments(batches: Iterable[Float[Tensor, "batch *shape"]]) -> Moments:
    """Count, mean and variance of each column; NaN stands for a missing number.

    Computed by the update of Chan, Golub and LeVeque (1983), as exact as two passes.
    """
    count = mean = scatter = torch.zeros((), dtype=torch.float64)
    for x in batches:
        observed = ~x.isnan()
        values = x.double().nan_to_num(0.0)
        m = observed.sum(0)
        centre = values.sum(0) / m.clamp(min=1)
        spread = (values - centre).masked_fill(~observed, 0).square().sum(0)
        shift, total = centre - mean, count + m
        mean = mean + shift * m / total.clamp(min=1)
        scatter = scatter + spread + shift.square() * count * m / total.clamp(min=1)
        count = total
    return Moments(count, mean, scatter / count.clamp(min=1))


def unit_of(variance: Tensor) -> Tensor:
    """Return standard deviations in float32; 1 for what does not vary."""
    return torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance)).float()


def adopt_statistics(module: nn.Module, tensors: Mapping[str, Any], prefix: str = "") -> None:
    """Make room for the learned buffers of the likelihoods in `module` that `tensors` hold."""
    for path, likelihood in module.named_modules(prefix=prefix):
        if isinstance(likelihood, Likelihood):
            for name in STATISTICS:
                tensor = tensors.get(f"{path}.{name}" if path else name)
                setattr(likelihood, name, None if tensor is None else torch.empty_like(tensor))
