"""A normalising flow as prior: z is a learned, invertible map of standard normal numbers.

Durkan, Bekasov, Murray, Papamakarios (2019), "Neural spline flows"; Papamakarios, Pavlakou, Murray
(2017), "Masked autoregressive flow for density estimation"; Dinh, Sohl-Dickstein, Bengio (2017),
"Density estimation using Real NVP". The flows themselves are zuko's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hebae.errors import MissingPackage
from hebae.priors.base import Prior

FAMILIES = {"nsf": "NSF", "maf": "MAF", "realnvp": "RealNVP"}


class Flow(Prior):
    """``p(z) = N(f(z); 0, I) |det df/dz|`` for an invertible network f.

    A spline flow ("nsf") is the identity outside [-5, 5] in each of its steps: the tails of p(z)
    are those of N(0, I), and codes should have variances near 1. HEBAE's whitening term and, for a
    VAE, the flow's own density keep them there.

    Parameters
    ----------
    latent_dim : int
        k.
    family : {"nsf", "maf", "realnvp"}
        Autoregressive rational-quadratic splines, autoregressive affine maps, or affine couplings.
        The first two evaluate the density in one pass and draw in k passes per step.
    transforms : int
        Steps of the flow.
    widths : sequence of int
        Widths of the hidden layers of each step's network.
    """

    name = "flow"
    options: ClassVar = {
        "family": "prior_flow",
        "transforms": "prior_transforms",
        "widths": "prior_widths",
    }

    def __init__(
        self,
        latent_dim: int,
        family: Literal["nsf", "maf", "realnvp"] = "nsf",
        transforms: int = 3,
        widths: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        try:
            from zuko import flows
        except ImportError:
            raise MissingPackage(
                "the prior 'flow' needs the package zuko; install it with: "
                "pip install 'hebae[flow]'"
            ) from None
        self.latent_dim = latent_dim
        make = getattr(flows, FAMILIES[family])
        _exclude_from_compilation()
        # The flow's own distribution would check its arguments at each call, which waits for a GPU.
        self.steps = make(latent_dim, transforms=transforms, hidden_features=widths).transform

    def log_prob(self, z: Tensor) -> Tensor:
        """``log N(f(z); 0, I) + log |det df/dz|``."""
        epsilon, log_jacobian = self.steps().call_and_ladj(z)
        squares = epsilon.square().sum(dim=-1)
        log_p: Tensor = log_jacobian - 0.5 * (squares + self.latent_dim * math.log(2 * math.pi))
        return log_p

    def transform(self, epsilon: Tensor) -> Tensor:
        """``f^-1(epsilon)``."""
        z: Tensor = self.steps().inv(epsilon)
        return z


@functools.cache
def _exclude_from_compilation() -> None:
    """Exclude zuko, which cannot be traced. A decorator would load the compiler at import."""
    Flow.log_prob = torch.compiler.disable(Flow.log_prob)  # type: ignore[method-assign, no-untyped-call]
