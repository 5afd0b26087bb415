"""Settings of an evaluation; importable without torch, since the command line needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from hebae.methods import AUTOMATIC, SAMPLER_NAMES

if TYPE_CHECKING:
    from hebae.data import Dataset

    SamplerName = str
else:
    SamplerName = Literal[SAMPLER_NAMES]

Count = Annotated[int, Field(ge=1)]


class ClusterSettings(BaseModel):
    """Where the runs of an experiment are trained and measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    ray: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True)] = None
    """Train and measure in several processes, as tasks of Ray (needs hebae[ray]). Without a value:
    on the cores of this machine, or on the cluster in RAY_ADDRESS. HOST:PORT: on the cluster with
    this head node. auto: on the cluster that was started on this machine."""
    ray_cpus: float = 1
    """CPUs per task; also the number of threads of its process."""
    ray_gpus: float | None = None
    """GPUs per task: 0, 1 or a share of one, such as 0.25 [default: 1 if the cluster has any and
    --device allows it]."""


class EvaluationSettings(BaseModel):
    """What to evaluate, and how precisely.

    Each measurement is stored with the settings that it depends on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    split: Literal["test", "validation", "train"] | None = None
    """Examples to evaluate on [default: test, or validation if there is no test split]."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device to run the models on; auto: a GPU if there is one."""
    samples: int = Field(default=10_000, ge=10)
    """Samples per sampler, compared with as many real examples, or with all if there are fewer.
    Counts and tables: at most this number, and no more than the real rows they are compared with.
    Genotypes: at most 1,000 people."""
    target: str | None = None
    """Tables: column that is predicted for real rows, after training on generated ones."""
    samplers: tuple[SamplerName, ...] | None = Field(
        default=None,
        description=f"Distributions to draw z from: {', '.join(SAMPLER_NAMES)} [default: "
        f"{', '.join(AUTOMATIC)}, and prior if it was learned; without the mixture for fast "
        "metrics].",
    )
    features: tuple[str, ...] | None = None
    """Features to compare samples in: classifier, pixels, random (an untrained network),
    efficientnet-lite0 (trained on ImageNet), inception, timm:NAME, or the file of an exported
    network [default: classifier for images with labels, otherwise pixels; pixels for fast
    metrics]."""
    weights: Path | None = None
    """File with Inception's weights, instead of a download."""
    allow_rank_deficient: bool = False
    """Compute Frechet distances even from fewer samples than the features need."""
    extrapolate: bool = False
    """Add the Frechet distance extrapolated to infinitely many samples."""
    iwae_samples: Count = 5000
    """Samples per example (K) of the importance-weighted bounds."""
    iwae_examples: int = Field(default=500, ge=2)
    """Examples for the importance-weighted bounds."""
    ais_temperatures: int = Field(default=1000, ge=2)
    """Steps of annealed importance sampling."""
    ais_chains: Count = 16
    """Chains per example of annealed importance sampling."""
    ais_examples: int = Field(default=100, ge=2)
    """Examples for annealed importance sampling."""
    evaluation_seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of samples, draws and subsets."""

    def for_fast(self) -> Self:
        """Fill in features and samplers that need no training, where none were chosen."""
        chosen = self.model_fields_set
        quick: dict[str, Any] = {"features": ("pixels",), "samplers": ("normal", "fitted-normal")}
        values = quick | {name: getattr(self, name) for name in chosen}
        return self.model_construct(_fields_set=set(chosen), **values)


def held_out(dataset: Dataset, device: str) -> EvaluationSettings:
    """Return the evaluation on what is held out of the training, or on its examples otherwise."""
    split, _ = dataset.held_out() or ("train", None)
    return EvaluationSettings.model_validate({"split": split, "device": device})
