"""The samplers of one model, compared by the log density of held-out codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy.typing as npt

from hebae.errors import HebaeError
from hebae.priors.base import Prior, StandardNormal, check_codes
from hebae.priors.fitting import fit_mixture, hold_out_tenth
from hebae.priors.mixture import FittedNormal, Mixture

NAMES = ("normal", "fitted-normal", "mixture")


@dataclass(frozen=True)
class Samplers:
    """Samplers fitted to the training codes of one model.

    Attributes
    ----------
    by_name : dict of str to Prior
    held_out : dict of str to float
        Mean log density, in nats, of a tenth of the training codes, under samplers fitted to the
        other nine tenths. The samplers in `by_name` are fitted to all of them.
    seed : int
        Of the fit.
    curve : dict of int to float
        The same for mixtures, by number of components.
    """

    by_name: dict[str, Prior]
    held_out: dict[str, float]
    seed: int = 0
    curve: dict[int, float] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """Name of the sampler under which the held-out codes are most probable.

        A mixture of one component is skipped if there is the fitted normal, which it equals.
        """
        return self._ranking[0]

    @property
    def _ranking(self) -> list[str]:
        mixture = self.by_name.get("mixture")
        single = isinstance(mixture, Mixture) and mixture.components == 1
        again = single and "fitted-normal" in self.held_out
        names = [name for name in self.held_out if not (name == "mixture" and again)]
        return sorted(names, key=self.held_out.__getitem__, reverse=True)

    def __getitem__(self, name: str) -> Prior:
        """Return a sampler by name; "auto" is the best."""
        return self.by_name[self.best if name == "auto" else name]

    def __str__(self) -> str:
        """Return a sentence that names the best, and by how much."""
        best, *others = self._ranking
        sampler = self.by_name[best]
        size = f" ({sampler.components} components)" if type(sampler) is Mixture else ""
        numbers = [f"{name} {self.held_out[name]:.1f}" for name in others]
        return f"sampler auto chose {best}{size}: held-out log density of the codes " + ", ".join(
            [f"{self.held_out[best]:.1f} nats", *numbers]
        )


def fit_samplers(
    codes: npt.ArrayLike, seed: int = 0, names: Sequence[str] = NAMES, known: Samplers | None = None
) -> Samplers:
    """Fit samplers to codes, and evaluate them on a held-out tenth of the codes.

    Parameters
    ----------
    codes : array, shape (n, k)
        z ~ q(z|x) of the training examples, one draw each: see `codes_of`.
    seed : int
        Of the tenth that is held out, and of the mixture's start.
    names : sequence of str
        Of `NAMES`.
    known : Samplers, optional
        Fitted to the same codes before: kept, with their seed.

    Raises
    ------
    HebaeError
        If a name is unknown, or there are too few codes, or they are all equal or not finite.
    """
    z = check_codes(codes)
    known = known or Samplers({}, {}, seed)
    by_name, held_out, curve = dict(known.by_name), dict(known.held_out), dict(known.curve)
    fitted_to, tenth = hold_out_tenth(z, known.seed)
    for name in names:
        check_name(name)
        if name in by_name:
            continue
        if name == "normal":
            by_name[name] = StandardNormal(z.shape[1])
            held_out[name] = float(by_name[name].log_density(tenth).mean())
        elif name == "fitted-normal":
            by_name[name] = FittedNormal.fit(z)
            held_out[name] = float(FittedNormal.fit(fitted_to).log_density(tenth).mean())
        else:
            fit = fit_mixture(z, known.seed)
            by_name[name], held_out[name], curve = fit.mixture, fit.held_out, fit.curve
    return Samplers(by_name, held_out, known.seed, curve)


def check_name(name: str, *, auto: bool = False) -> None:
    """Raise a HebaeError unless there is a sampler of that name."""
    allowed = (*NAMES, "auto") if auto else NAMES
    if name not in allowed:
        raise HebaeError(f"there is no sampler {name!r}; use one of {', '.join(allowed)}.")
