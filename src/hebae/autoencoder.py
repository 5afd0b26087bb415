"""The name of `hebae.model` in version 0.1.0, which works until version 0.3."""

import sys

from hebae import model
from hebae.deprecation import warn

warn("hebae.autoencoder", "it is now hebae.model")
sys.modules[__name__] = model
