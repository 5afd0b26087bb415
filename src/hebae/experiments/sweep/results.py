"""What became of each run of a sweep, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hebae import inference
from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.evaluation import latent
from hebae.storage import load_model
from hebae.training.many import Result

__all__ = ["Measures", "SweptRun", "collect"]


@dataclass(frozen=True)
class Measures:
    """Numbers of a finished run, on held-out examples; None where a quantity is not defined.

    The terms of the loss are those of the epoch whose weights were kept, from ``metrics.jsonl``.
    """

    split: str
    """Split that the numbers are of; "train" if nothing is held out."""
    objective: float | None
    """What was optimised, negated, in nats an example; not comparable between methods."""
    reconstruction: float | None
    """``-log p(x | z)``, z ~ q(z | x), in nats an example."""
    penalty: dict[str, float | None]
    """The method's own unweighted terms."""
    excess: float | None
    """HEBAE's penalty less its noise floor at this batch size, in nats."""
    median_sigma: float | None
    correlation: float | None
    """Mean |off-diagonal correlation| of the encoder's means."""
    seconds: float
    """Spent in training steps."""


@dataclass(frozen=True)
class SweptRun:
    """A run of a sweep and what became of it."""

    label: str
    values: Mapping[str, Any]
    """By axis."""
    settings: Settings
    """As resolved for the data."""
    state: str
    """"finished" or "diverged"."""
    reason: str
    """Why it diverged."""
    measures: Measures | None
    """None unless it finished."""

    @property
    def method(self) -> str:
        """The method that was trained."""
        return self.settings.method


def collect(values: Mapping[str, Any], result: Result) -> SweptRun:
    """Measure a finished run; of a diverged one, keep the reason.

    Parameters
    ----------
    values : mapping of str to value
        By axis.
    result : Result
        Of a job that is over.

    Raises
    ------
    HebaeError
        If the run's files are damaged.
    """
    job = result.job
    measures = _measure(result) if result.state == "finished" else None
    settings = job.prepared.settings
    return SweptRun(job.label, values, settings, result.state, result.message, measures)


def _measure(result: Result) -> Measures:
    job = result.job
    settings, dataset = job.prepared.settings, job.prepared.dataset
    history = job.folder.history()
    if not history:
        raise HebaeError(f"{job.folder.metrics} is missing or empty; remove {job.path}.")
    split, examples = dataset.held_out() or ("train", dataset.train)
    terms = dict(_kept(history, settings).get("held_out") or history[-1]["train"])
    objective, reconstruction = terms.pop("objective"), terms.pop("reconstruction")
    model, _ = load_model(job.path)
    size = min(settings.batch_size, len(examples))
    floor = model.objective.penalty_floor(size, settings.latent_dim)
    moments = terms.get("moments")
    codes = inference.encode(model, examples.values)
    correlation = latent.correlation(latent.covariance(codes.mean))
    return Measures(
        split=split,
        objective=objective,
        reconstruction=reconstruction,
        penalty=terms,
        excess=None if floor is None or moments is None else moments - floor,
        median_sigma=latent.median_scale(codes.log_scale),
        correlation=latent.mean_absolute_off_diagonal(correlation),
        seconds=history[-1]["seconds"],
    )


def _kept(history: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """Return the record of the weights that are kept: the last, or the best if stopped early."""
    if settings.early_stopping is None:
        return history[-1]
    known = [record for record in history if record["held_out"]["objective"] is not None]
    return max(known, key=lambda record: record["held_out"]["objective"], default=history[-1])
