"""Running means of the terms of the loss, and detection of values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hebae.errors import HebaeError
from hebae.gaussian import batch_moments, cholesky
from hebae.model import Autoencoder, Step
from hebae.training.batches import Batches

ADVICE = (
    "Try a smaller learning_rate, gradient_clip 10, a larger batch_size, or for HEBAE moments "
    "'shrunk', rate_weight 1 or, with the convolutional network, batch_norm 'frozen'."
)
PRIOR_ADVICE = (
    "Try a smaller learning_rate, a larger batch_size, a smaller prior (fewer prior_transforms or "
    "prior_components), or another --prior."
)
NARROW_ADVICE = "Use a smaller latent_dim, or an encoder whose layers are as wide as latent_dim."
SINGULAR = 1e-12
"""Smallest eigenvalue of a covariance, as a share of the largest, up to which it is singular."""


LOOKED_AT = 1000
"""Training examples, spread evenly, in which a cause of divergence is looked for."""
LARGE = 20.0
"""Of the encoder's input: standardised numbers are rarely beyond 10."""


class DivergenceError(HebaeError):
    """The loss, the weights or the codes are not finite; the last good checkpoint is kept."""


class Monitor:
    """Collects the terms of steps. Only `means` waits for the device, so steps do not.

    Parameters
    ----------
    names : sequence of str
        Names of the terms, "reconstruction" first.
    members : int
        Models in a stack; 1 for a model alone.
    prior_term : str, optional
        Name of the term with log p(z), if the prior is learned.
    """

    def __init__(
        self,
        names: Sequence[str],
        members: int,
        prior_term: str | None = None,
    ) -> None:
        self.names = ["loss", *names]
        self.prior_term = prior_term
        self.sums = torch.zeros(members, len(self.names), dtype=torch.float64)
        self.count = 0  # of the examples of the epoch that are in the sums
        self.diverged: dict[int, DivergenceError] = {}
        self._new: list[tuple[int, Step]] = []

    def add(self, number: int, step: Step) -> None:
        """Add step `number`."""
        self.count += step.mean.shape[-2]
        self._new.append((number, step))

    def means(self) -> list[dict[str, float]]:
        """Mean of each term over the examples of the epoch, of each member; waits for the device.

        Members with a term that is not finite are put into `diverged`, with the first step where it
        was not, its terms, the smallest eigenvalue of its codes' covariance, and advice.
        """
        rows = [torch.stack([s.loss.detach(), *s.terms.values()], dim=-1) for _, s in self._new]
        seen: list[tuple[int, Tensor, Tensor]] = []
        if rows:
            values = torch.stack(rows).cpu().double().view(len(rows), *self.sums.shape)
            for (number, step), row in zip(self._new, values, strict=True):
                self.sums.add_(row, alpha=step.mean.shape[-2])
                seen.append((number, row, step.mean.view(len(row), *step.mean.shape[-2:])))
        self._new.clear()
        for member in (~self.sums.isfinite().all(-1)).nonzero().flatten().tolist():
            if member not in self.diverged and seen:
                self.diverged[member] = self._error(member, seen)
        return [
            dict(zip(self.names, row, strict=True)) for row in (self.sums / self.count).tolist()
        ]

    def begin_epoch(self) -> None:
        """Set the sums to zero."""
        self.sums.zero_()
        self.count = 0
        self._new.clear()

    def state_of(self, member: int) -> dict[str, Any]:
        """For a checkpoint of a member, after `means`."""
        return {"sums": self.sums[member].clone(), "count": self.count}

    def load(self, states: Sequence[dict[str, Any]]) -> None:
        """Load the states of the members' checkpoints."""
        self.sums.copy_(torch.stack([state["sums"] for state in states]))
        self.count = int(states[0]["count"])

    def _error(self, member: int, seen: Sequence[tuple[int, Tensor, Tensor]]) -> DivergenceError:
        broken = (step for step in seen if not bool(step[1][member].isfinite().all()))
        number, values, mean = next(broken, seen[-1])
        row = values[member].tolist()
        terms = ", ".join(f"{n} {v:.4g}" for n, v in zip(self.names, row, strict=True))
        broken_terms = {n for n, v in zip(self.names, row, strict=True) if not math.isfinite(v)}
        advice = ADVICE
        if broken_terms == {"loss", self.prior_term}:
            codes = "the learned prior's log density of the codes was not finite"
            advice = PRIOR_ADVICE
        elif bool(mean[member].isfinite().all()):
            Sigma = batch_moments(mean[member].double().cpu())[1]
            eigenvalues = torch.linalg.eigvalsh(Sigma)
            codes = f"the smallest eigenvalue of Sigma was {eigenvalues[0]:.3g}"
            if eigenvalues[0] <= SINGULAR * eigenvalues[-1]:
                advice = f"{NARROW_ADVICE} If it is wide enough: {ADVICE[0].lower()}{ADVICE[1:]}"
        else:
            codes = "the encoder's outputs were not finite, because the weights were not"
        return DivergenceError(
            f"training stopped at step {number}: the loss is not a finite number ({terms}); "
            f"{codes}. {advice}"
        )


@torch.no_grad()
def remark_on(model: Autoencoder, batches: Batches) -> str:
    """Name what may make a training diverge, of the first examples: large numbers, equal rows."""
    x, _ = next(iter(batches.in_order(LOOKED_AT, LOOKED_AT)))
    given = model.likelihood.encoder_input(x, model.likelihood.describe(x)).flatten(1)
    sizes = given.abs().amax(0)
    if float(sizes.max()) > LARGE:
        place = int(sizes.argmax())
        return (
            f"Numbers up to {float(sizes.max()):.3g} are given to the encoder, at position {place} "
            "of an example; most should be below 10: look for values that are out of scale there."
        )
    different = len(torch.unique(given, dim=0))
    if different < len(given) / 2:
        return f"Of {len(given):,} training examples, only {different:,} differ: look for copies."
    return ""


def find_divergence(state: Mapping[str, Tensor], step: int) -> DivergenceError | None:
    """Return an error if a model's state is not finite although the loss was; else None.

    The state holds the weights and, at the end of a training, the moments of the training set's
    codes: their mean is not finite if a code is not.
    """
    for name, tensor in state.items():
        if not bool(tensor.float().isfinite().all()):  # results are float32
            return DivergenceError(
                f"training ended at step {step} with a model that is not usable: {name} is not "
                f"finite, although the loss was. {ADVICE}"
            )
    return None


def find_singular_noise(model: Autoencoder, step: int) -> DivergenceError | None:
    """Return an error if z ~ q(z | x) cannot be drawn, because the population's Sigma is singular.

    Batches may miss it: rounding gives some singular covariances a Cholesky factor.
    """
    covariance = model.population_covariance.cpu().double()  # as in drawing z
    if not model.objective.stochastic or not bool(covariance.isfinite().all()):
        return None
    if bool(cholesky(model.objective.noise_covariance(covariance)).isfinite().all()):
        return None
    return DivergenceError(
        f"training ended at step {step} with a model that is not usable: the covariance of the "
        f"codes of the training examples is singular, so no noise can be drawn. {NARROW_ADVICE} If "
        "it is wide enough: train for more epochs."
    )
