"""What an evaluation can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EvaluationSettings"]

Count = Annotated[int, Field(ge=1)]


class EvaluationSettings(BaseModel):
    """How much, and of what; each measurement is kept with the settings that it depends on."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    split: Literal["test", "validation", "train"] | None = None
    """Examples to judge on [default: test, or validation where there is no test split]."""
    samples: int = Field(default=10_000, ge=10)
    """Samples to draw from each sampler; and as many references, or all that there are."""
    samplers: tuple[Literal["normal", "fitted-normal", "mixture"], ...] | None = None
    """Distributions to draw z from [default: all three; without the mixture if fast]."""
    features: tuple[str, ...] | None = None
    """Features to compare samples in: classifier, pixels, random (of an untrained network),
    inception, timm:NAME, or an exported network's file [default: classifier where images have
    labels, else pixels; pixels if fast]."""
    weights: Path | None = None
    """File of Inception's weights, in place of a download."""
    allow_rank_deficient: bool = False
    """Take Frechet distances of fewer samples than the features need."""
    extrapolate: bool = False
    """Add the Frechet distance extrapolated to infinitely many samples."""
    iwae_samples: Count = 5000
    """K of the importance-weighted bounds."""
    iwae_examples: int = Field(default=500, ge=2)
    """Examples that these bounds are taken over."""
    ais_temperatures: int = Field(default=1000, ge=2)
    """Steps of annealed importance sampling."""
    ais_chains: Count = 16
    """Its chains an example."""
    ais_examples: int = Field(default=100, ge=2)
    """Examples that it is taken over."""
    evaluation_seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of samples, draws and subsets."""

    def for_fast(self) -> Self:
        """Fill in what was not chosen with what takes no training: pixels, and two samplers."""
        chosen = self.model_fields_set
        quick: dict[str, Any] = {"features": ("pixels",), "samplers": ("normal", "fitted-normal")}
        values = quick | {name: getattr(self, name) for name in chosen}
        return self.model_construct(
            _fields_set=set(chosen), **values
        )  # what was chosen stays known

    def kept(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the settings of these names as JSON keeps them."""
        return self.model_dump(mode="json", include=set(names))
