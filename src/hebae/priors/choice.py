"""The samplers of one model, compared by a two-sample distance between draws and held-out codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError
from hebae.priors.base import Fit, Prior, Split, check_codes
from hebae.priors.fitting import hold_out_tenth
from hebae.priors.mixture import Mixture
from hebae.priors.two_sample import two_sample_distances

SAMPLERS = {  # name: file and class. To add one, write its file and a line here, simple ones first.
    "normal": "base.StandardNormal",
    "fitted-normal": "mixture.FittedNormal",
    "mixture": "mixture.Mixture",
    "two-stage": "two_stage.TwoStage",
    "flow-matching": "flow_matching.FlowMatching",
    "flow": "fitted_flow.FittedFlow",
}
NOISE = 2.0
"""Standard errors by which a sampler must be better than a simpler one."""


def sampler_class(name: str) -> type[Prior]:
    """Return the class of a sampler."""
    module, class_name = SAMPLERS[name].split(".")
    found: type[Prior] = getattr(import_module(f"hebae.priors.{module}"), class_name)
    return found


NAMES = tuple(name for name in SAMPLERS if sampler_class(name).automatic)
"""Samplers that "auto" chooses from."""


@dataclass(frozen=True)
class Samplers:
    """Samplers fitted to the training codes of one model.

    Attributes
    ----------
    by_name : dict of str to Prior
    held_out : dict of str to float
        Mean log density, in nats, of a tenth of the training codes, under samplers fitted to the
        other nine tenths. For information: of two families with the same value, one can give far
        worse samples. The samplers in `by_name` are fitted to all codes where that is quick.
    seed : int
        Seed of the fit.
    curve : dict of int to float
        Mean log density of the held-out tenth for mixtures, by number of components.
    distances : dict of str to tuple of float
        Two-sample distances between the held-out tenth and draws, one per block of the codes, by
        name (see `two_sample_distances`). Lower is better; 0 on average for codes of the same
        distribution. Empty for samplers that hebae 0.1.0 stored.
    """

    by_name: dict[str, Prior]
    held_out: dict[str, float]
    seed: int = 0
    curve: dict[int, float] = field(default_factory=dict)
    distances: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """Name of the simplest sampler that no other one beats beyond the noise.

        It has the lowest distance to the held-out codes, or one that is higher by less than two
        standard errors of the difference. Without distances, the highest held-out density counts.
        """
        names = self._names
        if not names:
            return next(iter(self.by_name))
        if not self._compared:
            return max(names, key=self.held_out.__getitem__)
        return self.choose(names)

    def choose(self, names: Sequence[str]) -> str:
        """Return the first of these names, simple ones first, that no other one beats."""
        lowest = min(names, key=self._mean)
        return next(name for name in names if not self._differs(name, lowest))

    @property
    def _names(self) -> list[str]:
        """Those that can be chosen, simple ones first: of `NAMES`, or all if there are no others.

        A mixture of one component is skipped if there is the fitted normal, which it equals.
        """
        mixture = self.by_name.get("mixture")
        single = isinstance(mixture, Mixture) and mixture.components == 1
        again = single and "fitted-normal" in self.by_name
        known = [name for name in SAMPLERS if name in self.held_out]
        names = [name for name in known if name in NAMES] or known
        return [name for name in names if not (name == "mixture" and again)]

    @property
    def _compared(self) -> bool:
        return set(self._names) <= set(self.distances)

    def _mean(self, name: str) -> float:
        return float(np.mean(self.distances[name]))

    def _differs(self, name: str, other: str) -> bool:
        """Whether the distance of one sampler is higher beyond the noise."""
        gain = np.subtract(self.distances[name], self.distances[other])
        return bool(gain.mean() > NOISE * gain.std(ddof=1) / math.sqrt(len(gain)))

    def __getitem__(self, name: str) -> Prior:
        """Return a sampler by name; "auto" is the best."""
        return self.by_name[self.best if name == "auto" else name]

    def __str__(self) -> str:
        """Return a sentence that names the best, by how much, and what cannot be told from it."""
        best = self.best
        sampler = self.by_name[best]
        size = f" ({sampler.components} components)" if type(sampler) is Mixture else ""
        text = f"sampler auto chose {best}{size}: "
        if not self._compared:
            names = sorted(self._names, key=self.held_out.__getitem__, reverse=True)
            numbers = [f"{name} {self.held_out[name]:.1f}" for name in names]
            return f"{text}held-out log density of the codes in nats, higher is better: " + (
                ", ".join(numbers)
            )
        names = sorted(self._names, key=self._mean)
        numbers = [f"{name} {self._mean(name):.3f}" for name in names]
        text += "distance of draws to held-out codes (0 is best) " + ", ".join(numbers)
        same = [name for name in names if name != best and not self._told_apart(name, best)]
        if same:
            text += f"; not significantly different: {' and '.join(same)}; the simplest is used"
        densities = ", ".join(f"{name} {self.held_out[name]:.1f}" for name in names)
        return f"{text}. Log density of held-out codes, not used for the choice: {densities} nats"

    def _told_apart(self, name: str, other: str) -> bool:
        return self._differs(name, other) or self._differs(other, name)


def fit_samplers(
    codes: npt.ArrayLike, seed: int = 0, names: Sequence[str] = NAMES, known: Samplers | None = None
) -> Samplers:
    """Fit samplers to codes, and compare their draws with a held-out tenth of the codes.

    Parameters
    ----------
    codes : array, shape (n, k)
        z ~ q(z|x) of the training examples, one draw each: see `codes_of`.
    seed : int
        Seed of the tenth that is held out, and of the fits.
    names : sequence of str
        Names in `SAMPLERS`. Samplers that their fits need are fitted as well.
    known : Samplers, optional
        Fitted to the same codes before: kept, with their seed.

    Raises
    ------
    HebaeError
        If a name is unknown, or there are too few codes, or they are all equal or not finite, or a
        package is missing.
    """
    z = check_codes(codes)
    for name in names:
        check_name(name)
    known = known or Samplers({}, {}, seed)
    by_name, held_out = dict(known.by_name), dict(known.held_out)
    curve, distances = dict(known.curve), dict(known.distances)
    split = Split(z, *hold_out_tenth(z, known.seed), known.seed)
    for name in _with_needs(names):
        fit = Fit(by_name[name], by_name[name]) if name in by_name else None
        if fit is None:
            fit = sampler_class(name).fit_split(split, by_name)
            by_name[name] = fit.sampler
            held_out[name] = float(fit.unrefined.log_density(split.held_out).mean())
            curve |= fit.curve
        if name not in distances:
            distances[name] = two_sample_distances(fit.unrefined, split)
    return Samplers(by_name, held_out, known.seed, curve, distances)


def _with_needs(names: Sequence[str]) -> list[str]:
    """Return names in the order of the fits, each once."""
    needed = [other for name in names for other in (*sampler_class(name).needs, name)]
    return list(dict.fromkeys(needed))


def check_name(name: str, *, others: Sequence[str] = ()) -> None:
    """Raise a HebaeError unless there is a sampler of that name, or `others` has it."""
    allowed = (*SAMPLERS, *others)
    if name not in allowed:
        raise HebaeError(f"there is no sampler {name!r}; use one of {', '.join(allowed)}.")
