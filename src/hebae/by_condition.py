"""Draw codes by condition, each from a sampler fitted to the training codes of its categories.

Nothing makes the codes of a model independent of its conditions. A code drawn from the codes of all
examples may be of another category than the one that it is decoded with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.data.columns import listed
from hebae.errors import HebaeError
from hebae.folders import locked
from hebae.model import Autoencoder
from hebae.priors import NAMES, Prior, Samplers, fit_samplers
from hebae.priors.base import Floats
from hebae.samplers import Key, codes_of, read_samplers, write_samplers

FEWEST = 20
"""Training codes that a sampler of their own needs, or twice as many as a code has dimensions."""


class ByCondition:
    """Draws codes of several conditions.

    Parameters
    ----------
    rest : Prior
        For conditions that have no sampler.
    samplers : mapping from categories to Prior
    categories : ndarray of int, shape (count, columns)
        Categories of the codes to draw.
    """

    def __init__(
        self, rest: Prior, samplers: Mapping[Key, Prior], categories: npt.NDArray[np.int64]
    ) -> None:
        self.rest, self.samplers, self.categories = rest, samplers, categories

    def sample(self, count: int, seed: int) -> Floats:
        """Draw the codes, of which there are as many as categories."""
        z = np.array(self.rest.sample(count, seed))
        for key, sampler in self.samplers.items():
            rows = np.flatnonzero((self.categories == key).all(1))
            if len(rows):
                own = int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])
                z[rows] = sampler.sample(len(rows), own)
        return z


def categories_of(model: Autoencoder, conditions: Floats) -> npt.NDArray[np.int64]:
    """Return the columns of conditions (n, p) that hold categories."""
    assert model.seen is not None
    assert model.seen.conditions is not None
    columns = model.seen.conditions.columns
    chosen = [number for number, column in enumerate(columns) if column.categories]
    return conditions[:, chosen].astype(np.int64)


def fit_by_condition(
    codes: Floats,
    given: npt.NDArray[np.int64],
    asked: npt.NDArray[np.int64],
    names: Sequence[str],
    known: Mapping[Key, Samplers],
    seed: int = 0,
) -> dict[Key, Samplers]:
    """Fit samplers to the training codes of each of the categories that are asked for.

    Those with too few codes (`FEWEST`) are left out.

    Parameters
    ----------
    codes : ndarray, shape (n, k)
    given, asked : ndarray of int, shapes (n, columns) and (count, columns)
        Categories of the codes, and of what is to be drawn.
    names : sequence of str
    known : mapping from categories to Samplers
        Samplers that were fitted before.
    seed : int
    """
    found = dict(known)
    for key in _keys(asked):
        if key in found and set(names) <= set(found[key].by_name):
            continue
        chosen = (given == key).all(1)
        if chosen.sum() >= max(FEWEST, 2 * codes.shape[1]):
            found[key] = fit_samplers(codes[chosen], seed, names, found.get(key))
    return found


def are_fitted(
    asked: npt.NDArray[np.int64], names: Sequence[str], known: Mapping[Key, Samplers]
) -> bool:
    """Whether samplers of these names are there for all categories that are asked for."""
    return all(key in known and set(names) <= {*known[key].by_name} for key in _keys(asked))


def by_name(known: Mapping[Key, Samplers], name: str) -> dict[Key, Prior]:
    """Return the sampler of a name, or the best one for "auto", of each of the categories."""
    return {k: found[name] for k, found in known.items() if name in ("auto", *found.by_name)}


def too_few(
    model: Autoencoder, asked: npt.NDArray[np.int64], found: Mapping[Key, Samplers]
) -> str | None:
    """Say which of the categories asked for have no sampler of their own; None if all have one."""
    assert model.seen is not None
    assert model.seen.conditions is not None
    columns = [column for column in model.seen.conditions.columns if column.categories]
    without = [
        " ".join(f"{c.name}={c.categories[code]}" for c, code in zip(columns, key, strict=True))
        for key in _keys(asked)
        if key not in found
    ]
    if not without:
        return None
    return (
        f"too few training examples of {listed(without)} to fit a sampler to; their codes are "
        "drawn from the sampler of all examples."
    )


def _keys(categories: npt.NDArray[np.int64]) -> list[Key]:
    if not categories.shape[1]:
        return []
    return [tuple(row) for row in np.unique(categories, axis=0).tolist()]


def conditional_sampler(
    run_folder: Path,
    model: Any,
    load_training_values: Callable[[], Any],
    samplers: Samplers,
    name: str,
    conditions: Floats | None,
    seed: int = 0,
    notify: Callable[[str], object] = lambda note: None,
) -> Prior | ByCondition:
    """Return what draws codes for conditions (count, p), fitted and stored like other samplers.

    Without categories among the conditions, or if `name` is "normal" or "prior", it is
    ``samplers[name]``. Parameters are as of `fitted_samplers`, and `samplers` its result.
    """
    module = inference.module_of(model)
    rest = samplers[name]
    if conditions is None or name in ("normal", "prior"):
        return rest
    asked = categories_of(module, conditions)
    stored = read_samplers(run_folder, module)
    fits = NAMES if name == "auto" else (name,)
    known = stored.by_condition
    if not are_fitted(asked, fits, known):
        codes, given = stored.codes, stored.conditions
        if codes is None or given is None:
            values = load_training_values()
            codes, given = codes_of(module, values, seed), values.conditions
        known = fit_by_condition(codes, categories_of(module, given), asked, fits, known, seed)
        try:
            with locked(run_folder):
                write_samplers(run_folder, module, replace(stored, by_condition=known))
        except HebaeError as error:
            notify(f"the fitted samplers are used but not stored: {error}")
    note = too_few(module, asked, known)
    if note is not None:
        notify(note)
    return ByCondition(rest, by_name(known, name), asked)
