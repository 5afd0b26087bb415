"""HEBAE, VAE, WAE and AE for people: scikit-learn estimators over the training loop.

The parameters are the settings of a run (``hebae.config``), with their names and defaults, and go
through the same checks; ``random_state`` is the seed.
"""

from hebae.estimator.base import Estimator
from hebae.estimator.loading import load
from hebae.estimator.methods import AE, ESTIMATORS, HEBAE, VAE, WAE

__all__ = ["AE", "ESTIMATORS", "HEBAE", "VAE", "WAE", "Estimator", "load"]
