"""The numbers of one finished run, on held-out examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.config import Settings
from hebae.data import Dataset
from hebae.evaluation import latent
from hebae.model import Autoencoder
from hebae.training.batches import ArrayBatches
from hebae.training.population import held_out_terms

__all__ = ["Measures", "measure"]


@dataclass(frozen=True)
class Measures:
    """What a comparison tells of a run; None where a quantity is not defined for the method."""

    split: str
    """Split that the numbers are of."""
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
    milliseconds_a_step: float
    covariance: npt.NDArray[np.float64]
    """Of the encoder's means, shape (k, k)."""

    def numbers(self) -> dict[str, Any]:
        """All but the matrix, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "covariance"}


def measure(
    model: Autoencoder, settings: Settings, dataset: Dataset, last_record: dict[str, Any]
) -> Measures:
    """Measure a trained model on the data's held-out split, or on its training examples if none.

    Parameters
    ----------
    model : Autoencoder
    settings : Settings
        As resolved for the run.
    dataset : Dataset
    last_record : dict
        The last line of the run's ``metrics.jsonl``, for its times.
    """
    split, examples = dataset.held_out() or ("train", dataset.train)
    batches = ArrayBatches(
        examples.values,
        settings.batch_size,
        seed=settings.seed,  # the order of the epochs' held-out terms, so that both agree
        device=model.population_mean.device,
        dtype=model.population_mean.dtype,
    )
    terms = held_out_terms(model, batches)
    loss, reconstruction = terms.pop("loss"), terms.pop("reconstruction")
    size = min(settings.batch_size, len(examples))
    floor = model.objective.penalty_floor(size, settings.latent_dim)
    moments = terms.get("moments")
    codes = inference.encode(model, examples.values)
    covariance = latent.covariance(codes.mean)
    return Measures(
        split=split,
        objective=None if loss is None else -loss,
        reconstruction=reconstruction,
        penalty=terms,
        excess=None if floor is None or moments is None else moments - floor,
        median_sigma=latent.median_scale(codes.log_scale),
        correlation=latent.mean_absolute_off_diagonal(latent.correlation(covariance)),
        seconds=last_record["seconds"],
        milliseconds_a_step=1000 * last_record["seconds"] / last_record["step"],
        covariance=covariance,
    )
