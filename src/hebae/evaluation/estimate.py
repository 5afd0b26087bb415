"""A number estimated from a sample, with how far it may be off."""

from __future__ import annotations

from dataclasses import dataclass

from hebae.errors import UndefinedMetric

__all__ = ["Estimate", "UndefinedMetric"]


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error, in the same unit."""

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.standard_error:.2g}"
