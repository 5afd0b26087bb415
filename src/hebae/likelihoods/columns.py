"""Likelihoods of tables: categories, and a mix of columns (docs/mathematics.md, 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from hebae.likelihoods.base import EMPTY, Context, Likelihood
from hebae.likelihoods.bernoulli import Bernoulli
from hebae.likelihoods.counts import NegativeBinomial
from hebae.likelihoods.gaussian import GaussianColumns


class Categorical(Likelihood):
    """Categories, by their codes 0, 1, ... in each column; the encoder is given them one-hot.

    A missing category is filled with the frequencies of all categories. Since categories have no
    mean, `mean` returns the most probable one.

    Parameters
    ----------
    sizes : sequence of int
        Number of categories of each column.
    shape : sequence of int
        Shape of one example; by default one number per column.
    """

    support = (0.0, float("inf"))
    density = True
    whole = True
    tables_only = True

    def __init__(self, sizes: Sequence[int] = (2,), *, shape: Sequence[int] = ()) -> None:
        super().__init__(shape=shape or (len(sizes),))
        self.sizes = list(sizes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """See `Likelihood`: the logits of the columns' categories, one column after the other."""
        return (sum(self.sizes),)

    def features(self, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`."""
        columns = []
        for codes, size in zip(x.unbind(-1), self.sizes, strict=True):
            known = torch.arange(size, device=x.device)
            one_hot = (codes[..., None] == known).to(x.dtype)
            columns.append(torch.where(codes.isnan()[..., None], torch.nan, one_hot))
        return torch.cat(columns, -1)

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds logits."""
        losses = []
        for logits, codes in zip(torch.split(output, self.sizes, -1), x.unbind(-1), strict=True):
            chosen = codes.long().clamp(0, logits.shape[-1] - 1)[..., None]
            losses.append(-logits.log_softmax(-1).gather(-1, chosen)[..., 0])
        return torch.stack(losses, -1)

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`: the most probable category of each column."""
        best = [logits.argmax(-1) for logits in torch.split(output, self.sizes, -1)]
        return torch.stack(best, -1).to(output)

    def mean_steps(self) -> list[dict[str, Any]]:
        """See `Likelihood`."""
        count, outputs = len(self.sizes), sum(self.sizes)
        return [{"kind": "category", "count": count, "outputs": outputs, "sizes": self.sizes}]

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`; by the largest of logits plus Gumbel noise."""
        u = torch.rand(output.shape, generator=generator, device=generator.device).to(output)
        return self.mean(output - (-u.clamp(min=1e-20).log()).log())


class Columns(Likelihood):
    """A mix of columns: numbers, counts, binary ones and categories, independent given z.

    Numbers have `GaussianColumns`; counts negative binomial distributions, whose means do not
    depend on the other columns; binary columns, coded 0 and 1, `Bernoulli`; categories, by their
    codes, `Categorical`.

    Parameters
    ----------
    kinds : sequence of str
        Kind of each column: "number", "count", "binary" or "category".
    sizes : sequence of int
        Number of categories of each column; 0 for others.
    scale : float, "learned" or "optimal"
        Scale of the numbers; see `GaussianColumns`.
    shape : sequence of int
        Shape of one example; by default one number per column.
    """

    support = (float("-inf"), float("inf"))
    density = True
    tables_only = True
    options: ClassVar = {"scale": "likelihood_scale"}

    def __init__(
        self,
        kinds: Sequence[str] = ("number",),
        sizes: Sequence[int] = (0,),
        scale: float | Literal["learned", "optimal"] = "optimal",
        *,
        shape: Sequence[int] = (),
    ) -> None:
        super().__init__(shape=shape or (len(kinds),))
        make: dict[str, Callable[[list[int]], Likelihood]] = {
            "number": lambda where: GaussianColumns(scale, shape=(len(where),)),
            "count": lambda where: NegativeBinomial(shape=(len(where),), sized=False),
            "binary": lambda where: Bernoulli(shape=(len(where),)),
            "category": lambda where: Categorical([sizes[i] for i in where]),
        }
        self.where = {k: [i for i, kind in enumerate(kinds) if kind == k] for k in make}
        self.where = {kind: where for kind, where in self.where.items() if where}
        self.parts = nn.ModuleDict({kind: make[kind](at) for kind, at in self.where.items()})
        order = [i for where in self.where.values() for i in where]
        self.back = sorted(range(len(order)), key=order.__getitem__)
        self._indices: dict[tuple[str, torch.device], Tensor] = {}
        self.scale = scale if "number" in self.parts else None
        self.scale_shape = self.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """See `Likelihood`."""
        return (sum(self._output_sizes),)

    @property
    def _output_sizes(self) -> list[int]:
        return [part.output_shape[0] for part in self._parts()]

    def _parts(self) -> list[Likelihood]:
        return [self.parts[kind] for kind in self.where]

    def _of_parts(self, x: Tensor, context: Context) -> list[tuple[Likelihood, Tensor, Context]]:
        return [
            (
                part,
                self._select(x, kind),
                Context(None if context.mask is None else self._select(context.mask, kind)),
            )
            for part, kind in zip(self._parts(), self.where, strict=True)
        ]

    def _select(self, x: Tensor, kind: str) -> Tensor:
        # A list of indices would be copied to the device in each step.
        key = kind, x.device
        if key not in self._indices:
            where = self.back if kind == "back" else self.where[kind]
            with torch.inference_mode(False):  # for later steps with gradients
                self._indices[key] = torch.tensor(where, device=x.device)
        return x.index_select(-1, self._indices[key])

    def _joined(self, columns: list[Tensor]) -> Tensor:
        return self._select(torch.cat(columns, -1), "back")

    def features(self, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`."""
        return torch.cat([part.features(y, c) for part, y, c in self._of_parts(x, context)], -1)

    def encoder_input(self, x: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        parts = self._of_parts(x, context)
        return torch.cat([part.encoder_input(y, c) for part, y, c in parts], -1)

    @torch.no_grad()
    def learn(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """See `Likelihood`."""
        for part, kind in zip(self._parts(), self.where, strict=True):
            part.learn(lambda kind=kind: (self._select(x, kind) for x in batches()))
        self.filling = torch.zeros(())  # of the parts

    def best_scales(self, mean_squared_error: Tensor) -> dict[str, Tensor]:
        """See `Likelihood`."""
        of_numbers = self._select(mean_squared_error, "number")
        found = self.parts["number"].best_scales(of_numbers)  # type: ignore[operator]
        return {f"parts.number.{name}": value for name, value in found.items()}

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`."""
        outputs = torch.split(output, self._output_sizes, -1)
        parts = zip(outputs, self._of_parts(x, context), strict=True)
        return self._joined([part.losses(o, y, c) for o, (part, y, c) in parts])

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`; of a category, the most probable one."""
        parts = zip(self._parts(), torch.split(output, self._output_sizes, -1), strict=True)
        return self._joined([part.mean(o) for part, o in parts])

    def mean_steps(self) -> list[dict[str, Any]] | None:
        """See `Likelihood`: the steps of the parts, with the places of their columns."""
        found = []
        for part, where in zip(self._parts(), self.where.values(), strict=True):
            for step in part.mean_steps() or ():
                found.append(step | {"at": where})
        return found

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        parts = zip(self._parts(), torch.split(output, self._output_sizes, -1), strict=True)
        return self._joined([part.sample(o, generator) for part, o in parts])
