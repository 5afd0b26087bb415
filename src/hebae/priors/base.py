"""The contract of a prior p(z), and N(0, I), the paper's prior."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hebae.deprecation import warn
from hebae.errors import HebaeError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

BLOCK_ENTRIES = 2**20
"""Deviations that `normal_log_density` holds at once: 8 MiB in float64."""
CODES_AT_ONCE = 1000
"""Codes whose density is computed together."""


class Split(NamedTuple):
    """Codes to fit a sampler to."""

    every: Doubles
    """Shape (n, k)."""
    train: Doubles
    """Nine tenths of them."""
    held_out: Doubles
    """The rest: to stop the fit, and to compare samplers on."""
    seed: int


class Fit(NamedTuple):
    """A sampler fitted to codes."""

    sampler: Prior
    """The one to use."""
    unrefined: Prior
    """The sampler before it has seen the held-out codes, to compare it with others on them."""
    curve: Mapping[int, float] = {}
    """Mean log density of the held-out codes by number of components, of a mixture."""


class Prior(nn.Module, ABC):
    """A density p(z) over codes that can be evaluated and sampled from.

    A model owns one (``model.prior``), which is learned with it if it has parameters. A prior
    fitted to the codes of a trained model is called a sampler.

    A learned prior is a file in ``priors/`` and a line in ``priors/__init__.py``. Nothing in
    `log_prob` may branch on the data, so that a step can be captured in a CUDA graph.

    Attributes
    ----------
    name : str
    latent_dim : int
        k.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, str]] = {}
    """Further parameters of the constructor, and the settings that they are taken from."""
    display_name: ClassVar[str]
    """In tables and figures."""
    summary: ClassVar[str]
    """What it is, as a clause, for those that can be fitted to codes."""
    automatic: ClassVar[bool] = False
    """Whether "auto" considers it."""
    exact: ClassVar[bool] = True
    """Whether `log_prob` is the density itself, and not a lower bound."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the samplers that its fit needs."""
    latent_dim: int

    @classmethod
    def fit_split(cls, split: Split, known: Mapping[str, Prior]) -> Fit:
        """Fit to codes, given the fitted samplers that it `needs`, by name."""
        raise NotImplementedError(f"{cls.__name__} cannot be fitted to codes")

    def to_tensors(self) -> dict[str, Tensor]:
        """Return what is stored of a sampler, by name."""
        return dict(self.state_dict())

    @classmethod
    def from_tensors(cls, latent_dim: int, tensors: Mapping[str, Tensor]) -> Self:
        """Make a sampler again from what `to_tensors` returned."""
        sampler = cls(latent_dim)
        sampler.load_state_dict(dict(tensors))
        return sampler.requires_grad_(False)

    @property
    def is_learned(self) -> bool:
        """Whether it has parameters, which are trained with the model."""
        return any(True for _ in self.parameters())

    @property
    def examples_for_start(self) -> int:
        """Training examples that `start` needs; 0 if there is nothing to start."""
        return 0

    def start(self, examples: Iterable[tuple[Tensor, Tensor]], seed: int) -> None:
        """Set the parameters before the first step of training.

        Parameters
        ----------
        examples : iterable of pairs of Tensor, shapes (m, *shape) and (m, k)
            Training examples in batches: what the encoder is given, and a draw z ~ q(z | x) of
            the untrained encoder.
        seed : int

        Raises
        ------
        HebaeError
            If there are too few examples.
        """
        raise NotImplementedError(f"{self.name} has no start.")

    @property
    def noise_dim(self) -> int:
        """Standard normal numbers that `transform` needs per draw."""
        return self.latent_dim

    @abstractmethod
    def log_prob(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, " batch"]:
        """``log p(z)`` of codes, in nats."""

    @abstractmethod
    def transform(self, epsilon: Float[Tensor, "batch noise"]) -> Float[Tensor, "batch latent"]:
        """Turn standard normal numbers (n, noise_dim) into draws from the prior (n, k)."""

    def sample(self, count: int, seed: int) -> Floats:
        """Draw codes, float32 (count, k); the same seed gives the same codes.

        Raises
        ------
        HebaeError
            If `count` is below 1.
        """
        if count < 1:
            raise HebaeError(f"count is {count}; it must be at least 1.")
        shape = (count, self.noise_dim)
        epsilon = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        with torch.inference_mode():
            z = self.transform(self.as_own(torch.from_numpy(epsilon)))
        codes: Floats = z.float().cpu().numpy()
        return codes

    def draw(self, count: int, seed: int) -> Floats:
        """Draw codes; deprecated since 0.2, use `sample`."""
        warn("draw of a prior", "use sample")
        return self.sample(count, seed)

    def log_density(self, z: npt.ArrayLike) -> Doubles:
        """``log p(z)`` of codes z in an array (n, k), in nats: float64 (n,).

        Raises
        ------
        HebaeError
            If the codes have another dimension, or are not finite.
        """
        codes = check_codes(z)
        if codes.shape[1] != self.latent_dim:
            raise HebaeError(
                f"the codes have {codes.shape[1]} dimensions, but the sampler {self.name!r} has "
                f"{self.latent_dim}; give codes of the model it was fitted to."
            )
        with torch.inference_mode():
            density = torch.empty(len(codes), dtype=torch.float64)
            for start in range(0, len(codes), CODES_AT_ONCE):
                block = slice(start, start + CODES_AT_ONCE)
                density[block] = self.log_prob(self.as_own(torch.from_numpy(codes[block])))
        return density.numpy()

    def as_own(self, z: Tensor) -> Tensor:
        """Convert to the precision and device of the parameters or buffers, if there are any."""
        return z.to([*self.parameters(), *self.buffers(), z][0])


class StandardNormal(Prior):
    """N(0, I): the paper's prior.

    Parameters
    ----------
    latent_dim : int
        k.
    """

    name = "normal"
    display_name = "N(0, I)"
    summary = "N(0, I), as in the paper"
    automatic = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @classmethod
    def fit_split(cls, split: Split, known: Mapping[str, Prior]) -> Fit:
        """There is nothing to fit."""
        sampler = cls(split.train.shape[1])
        return Fit(sampler, sampler)

    def log_prob(self, z: Tensor) -> Tensor:
        """``log N(z; 0, I)``."""
        return -0.5 * (z.square().sum(dim=-1) + self.latent_dim * math.log(2 * math.pi))

    def transform(self, epsilon: Tensor) -> Tensor:
        """Return epsilon itself."""
        return epsilon


def check_codes(codes: npt.ArrayLike) -> Doubles:
    """Return codes as float64 (n, k).

    Raises
    ------
    HebaeError
        If they have another shape, or are not finite.
    """
    z = np.asarray(codes, dtype=np.float64)
    if z.ndim != 2 or z.size == 0:
        raise HebaeError(f"the codes have shape {z.shape}; they must be (n, k), n and k above 0.")
    if not np.isfinite(z).all():
        raise HebaeError("the codes hold values that are not finite; the model has diverged.")
    return z


def normal_log_density(
    z: Float[Tensor, "n latent"],
    means: Float[Tensor, "c latent"],
    factors: Float[Tensor, "c latent latent"],
) -> Float[Tensor, "n c"]:
    """Log density of codes under each of c normals, in nats.

    Parameters
    ----------
    z : Tensor, shape (n, k)
    means : Tensor, shape (c, k)
    factors : Tensor, shape (c, k, k)
        Cholesky factors of the covariances.
    """
    k = z.shape[1]
    identity = torch.eye(k, dtype=factors.dtype, device=factors.device)
    whiten = torch.linalg.solve_triangular(factors, identity, upper=False)
    constant = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1) + 0.5 * k * math.log(2 * math.pi)
    blocks = []
    for block in torch.split(z, max(1, BLOCK_ENTRIES // means.numel())):
        white = (block - means[:, None]) @ whiten.mT
        blocks.append(-0.5 * white.square().sum(dim=2).T - constant)
    return torch.cat(blocks)
