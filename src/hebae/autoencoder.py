"""The name of `hebae.model` in version 0.1.0, which works until version 0.3."""

import sys
import warnings

from hebae import model

warnings.warn(
    "hebae.autoencoder is now hebae.model; the old name goes away in version 0.3.",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = model
