"""A number estimated from a sample, with how far it may be off."""

from __future__ import annotations

from dataclasses import dataclass

from hebae.errors import HebaeError

__all__ = ["Estimate", "UndefinedMetric"]


class UndefinedMetric(HebaeError):  # noqa: N818  a state of affairs, not a mistake
    """The quantity does not exist for this model or these data; the sentence says why."""


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error, in the same unit."""

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.standard_error:.2g}"
