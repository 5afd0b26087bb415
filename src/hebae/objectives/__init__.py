"""The methods, one file each, and the list of their names."""

from hebae.objectives.ae import AE
from hebae.objectives.base import Moments, Noise, Objective
from hebae.objectives.hebae import HEBAE
from hebae.objectives.vae import VAE
from hebae.objectives.wae import WAE

__all__ = ["AE", "HEBAE", "OBJECTIVES", "VAE", "WAE", "Moments", "Noise", "Objective"]

OBJECTIVES: dict[str, type[Objective]] = {"hebae": HEBAE, "vae": VAE, "wae": WAE, "ae": AE}
