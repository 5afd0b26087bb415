"""The methods, one file each. To add one, write its file and add a line to `METHODS`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hebae.objectives.base import Moments, Noise, Objective

METHODS = {  # name of the method (its file has the same name): name of the class
    "hebae": "HEBAE",
    "vae": "VAE",
    "wae": "WAE",
    "ae": "AE",
    "wae-gan": "WAEGAN",
    "infovae": "InfoVAE",
    "dip-vae-i": "DIPVAEI",
    "dip-vae-ii": "DIPVAEII",
    "beta-tcvae": "BetaTCVAE",
    "swae": "SWAE",
    "cwae": "CWAE",
    "rae-l2": "RAEL2",
    "rae-gp": "RAEGP",
    "rae-sn": "RAESN",
    "sigreg": "SIGReg",
    "visreg": "VISReg",
    "vicreg": "VICReg",
}

OBJECTIVES: dict[str, type[Objective]] = {
    name: getattr(import_module(f"hebae.objectives.{name.replace('-', '_')}"), class_name)
    for name, class_name in METHODS.items()
}

__all__ = ["METHODS", "OBJECTIVES", "Moments", "Noise", "Objective", *METHODS.values()]

globals().update({method.__name__: method for method in OBJECTIVES.values()})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
