"""The paper's learning-rate schedules, as factors of the first rate."""

from __future__ import annotations

__all__ = ["learning_rate_factor"]

STEPS = ((70, 10.0), (50, 5.0), (30, 2.0))
"""Epochs after which the first rate is divided, and by what (CelebA, after the WAE's authors)."""


def learning_rate_factor(schedule: str, epoch: int) -> float:
    """Factor for an epoch, counted from 0.

    Parameters
    ----------
    schedule : "constant", "exponential" or "steps"
        1; 0.995 to the power of the epoch (MNIST); or 1/2 after 30 epochs, 1/5 after 50, 1/10 after
        70 (CelebA).
    epoch : int
        Epochs that are over.
    """
    if schedule == "exponential":
        return 0.995**epoch
    if schedule == "steps":
        return next((1 / divisor for after, divisor in STEPS if epoch >= after), 1.0)
    return 1.0
