"""MIC and TIC between the index of an example and its code (section 7 of docs/mathematics.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError
from hebae.evaluation.maximal_information import mic_and_tic

__all__ = ["IndexDependence", "index_dependence"]


@dataclass(frozen=True, kw_only=True)
class IndexDependence:
    """MIC_e and TIC_e between index and code, each a mean over the dimensions of the code."""

    mic: float
    tic: float
    null_mic: float
    """The same where every draw bears an index that has nothing to do with it."""
    null_tic: float
    examples: int
    draws: int
    """Of each example: the coefficients are taken at ``examples * draws`` points."""


def index_dependence(
    z: npt.NDArray[np.floating[Any]],
    *,
    seed: int = 0,
    permutations: int = 1,
    alpha: float = 0.6,
    c: float = 15,
    workers: int | None = None,
) -> IndexDependence:
    """MIC_e and TIC_e between an example's index and each dimension of its codes (Fig. 2c, d).

    The order of examples means nothing, and one draw of each cannot tell a code that follows its
    example from noise. So the examples are put in a random order, their place in it is the index,
    and each brings several draws; beside it stands the null, in which indices are permuted over
    all draws.

    Parameters
    ----------
    z : array, shape (n, L, k)
        L draws of the code of n examples; n L at least 4.
    seed : int
        Of the order and of the permutations.
    permutations : int
        For each dimension; the null is a mean over them.
    alpha, c : float
        See `maximal_information.characteristic_matrix`.
    workers : int, optional
        See `maximal_information.mic_and_tic`.

    Raises
    ------
    HebaeError
        If z is not of this shape or not finite, or a number is out of range.
    """
    z = np.asarray(z)
    if z.ndim != 3 or 0 in z.shape:
        raise HebaeError(f"z has shape {z.shape}; it must be (n, L, k): examples, draws, latents.")
    if permutations < 1:
        raise HebaeError(f"permutations is {permutations}; it must be at least 1.")
    n, draws, k = z.shape
    rng = np.random.default_rng(seed)
    index = np.repeat(rng.permutation(n), draws)
    latents = list(z.reshape(n * draws, k).T)
    nulls = [(rng.permutation(index), latent) for _ in range(permutations) for latent in latents]
    pairs = [(index, latent) for latent in latents] + nulls
    found = mic_and_tic(pairs, "e", alpha, c, workers=workers)
    (mic, tic), (null_mic, null_tic) = found[:k].mean(axis=0), found[k:].mean(axis=0)
    return IndexDependence(
        mic=float(mic),
        tic=float(tic),
        null_mic=float(null_mic),
        null_tic=float(null_tic),
        examples=n,
        draws=draws,
    )
