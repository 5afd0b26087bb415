"""A run to explore: some of its examples with their codes, and what its decoder makes of a code."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.by_condition import conditional_sampler
from hebae.data.examples import Dataset, Examples
from hebae.data.schema import Column
from hebae.data.writing import joined
from hebae.errors import HebaeError
from hebae.inference import Conditions, Floats
from hebae.methods import SAMPLER_NAMES
from hebae.model import Autoencoder
from hebae.principal import PrincipalAxes, principal_axes, principal_axes_of
from hebae.report.methods import display_name
from hebae.samplers import fitted_samplers, read_samplers

Rows = npt.NDArray[np.intp]


def attribute(codes: Floats, having: Rows, lacking: Rows) -> Floats:
    """Return the mean code of the examples that have an attribute, minus that of others: (k,)."""
    for rows, which in ((having, "to"), (lacking, "from")):
        if not len(rows):
            raise HebaeError(f"the group {which!r} has no example that is shown; choose another.")
    return np.asarray(codes[having].mean(0) - codes[lacking].mean(0), np.float32)


def between(first: Floats, second: Floats, steps: int) -> Floats:
    """Return points on the straight line between two codes (k,), both included: (steps, k)."""
    return np.linspace(first, second, steps, dtype=np.float32)


def umap_of(codes: Floats, seed: int = 0) -> Floats:
    """Return a UMAP embedding (n, 2) of codes (n, k), by the package umap-learn."""
    if not has_umap():
        raise HebaeError("UMAP needs umap-learn: install it with pip install umap-learn.")
    if len(codes) < FEWEST_OF_UMAP:
        raise HebaeError(
            f"UMAP needs at least {FEWEST_OF_UMAP} codes, but there are {len(codes)}; use PCA."
        )
    from umap import UMAP

    return np.asarray(UMAP(random_state=seed, n_jobs=1).fit_transform(codes), np.float32)


FEWEST_OF_UMAP = 16
"""Its default number of neighbours is 15."""
_UMAP = Lock()
"""The threads of its library numba end the process if two callers use them at the same time."""


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


class Shown(NamedTuple):
    """The examples that are shown, with their splits and names."""

    examples: Examples
    splits: npt.NDArray[Any]
    """Name of the split of each example."""
    names: list[str]
    """One name per example, each different."""
    total: int
    """Number of examples that these were drawn from."""
    notes: tuple[str, ...] = ()
    """How the examples were changed when they were read."""

    @property
    def received(self) -> str:
        """What an upload was, and how it was read, as text."""
        count = len(self.names)
        text = "1 uploaded example: the original and its reconstruction."
        if self.total > 1:
            first = f"the first {count} are used; " if self.total > count else ""
            text = (
                f"{self.total:,} uploaded examples: {first}the originals and their reconstructions."
            )
        return " ".join([text, *self.notes])


def choose(parts: Mapping[str, Examples], count: int, seed: int | None = 0) -> Shown:
    """Return `count` random examples of all splits, or all, in order; the same for every run.

    Without a seed, they are the first.
    """
    total = sum(map(len, parts.values()))
    chosen = np.arange(min(count, total))
    if seed is not None:
        chosen = np.sort(np.random.default_rng(seed).permutation(total)[:count])
    taken, splits, start = [], [], 0
    for split, part in parts.items():
        rows = chosen[(chosen >= start) & (chosen < start + len(part))] - start
        start += len(part)
        if len(rows):
            taken.append(_in_memory(part, rows))
            splits += [split] * len(rows)
    examples = joined(taken)
    assert examples.ids is not None
    names = examples.ids.tolist()
    numbered = len(parts) > 1 and any(part.ids is None for part in parts.values())
    if numbered or len(set(names)) < len(names):
        names = [f"{split} {name}" for split, name in zip(splits, names, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({row + 1})" for row, name in enumerate(names)]
    return Shown(examples, np.array(splits), names, total)


def _in_memory(part: Examples, rows: Rows) -> Examples:
    """Read some examples; those without an id get their number, from 0."""
    part = part[rows]
    if part.ids is None:
        part = replace(part, ids=rows.astype(str))
    if part.is_sparse:
        return part
    values = part.rows(slice(None))
    pixels = part.pixels if values.dtype == np.uint8 else False if part.pixels is False else None
    return replace(part, values=np.array(values), missing=None, pixels=pixels)


class Scale(NamedTuple):
    """Mean and standard deviation of each feature over examples, shape (d,)."""

    mean: Floats
    deviation: Floats


def scale_of(examples: Examples) -> Scale:
    """Return the scale of rows of numbers; missing ones are left out."""
    count, total, squares = np.zeros((3, *examples.shape))
    for part in examples.parts():
        exact = part.astype(np.float64)
        count += (exact == exact).sum(0)
        total += np.nansum(exact, 0)
        squares += np.nansum(exact**2, 0)
    mean = total / np.maximum(count, 1)
    variance = np.maximum(squares / np.maximum(count, 1) - mean**2, 0)
    return Scale(mean.astype(np.float32), np.sqrt(variance).astype(np.float32))


@dataclass
class ExploredRun:
    """A trained model, and the examples that it is shown with.

    Parameters
    ----------
    path : Path
    model : Autoencoder
    config : mapping
        The content of its ``config.json``.
    shown : Shown, optional
        Without data, there are no examples.
    load_training : callable
        Returns the data of training; called only to fit a sampler.
    label : str
    """

    path: Path
    model: Autoencoder
    config: Mapping[str, Any]
    shown: Shown | None
    load_training: Callable[[], Dataset]
    label: str = ""

    def __post_init__(self) -> None:
        self._umap: Floats | None = None
        # Codes that a model saved from Python has in place of its data.
        self._stored = None if self.shown else read_samplers(self.path, self.model)

    @property
    def examples(self) -> Examples | None:
        """The examples that are shown."""
        return None if self.shown is None else self.shown.examples

    @cached_property
    def codes(self) -> Floats | None:
        """Posterior means of the examples, or stored codes of training examples: (n, k)."""
        if self.examples is not None:
            return self.encode(self.examples)
        return None if self._stored is None else self._stored.codes

    @cached_property
    def axes(self) -> PrincipalAxes:
        """Principal axes of the codes; without any, those of the training codes of the model."""
        if self.codes is None or len(self.codes) < 2:
            moments = self.model.population_mean, self.model.population_covariance
            return principal_axes(*(moment.cpu().numpy() for moment in moments))
        return principal_axes_of(self.codes)

    @cached_property
    def scale(self) -> Scale | None:
        """Mean and deviation of the features of the examples; None without examples."""
        return None if self.examples is None else scale_of(self.examples)

    @property
    def names(self) -> list[str]:
        """Names of the examples."""
        if self.shown is not None:
            return self.shown.names
        return [] if self.codes is None else list(map(str, range(len(self.codes))))

    @property
    def count(self) -> str:
        """Number of examples, and of how many they were drawn, as text."""
        text = f"{len(self.names):,}"
        if self.shown is not None and self.shown.total > len(self.names):
            return f"{text} of {self.shown.total:,} examples, drawn at random"
        return f"{text} example{'s' if len(self.names) > 1 else ''}"

    @property
    def projections(self) -> dict[str, str]:
        """Names of the projections that `map` can make."""
        enough = has_umap() and len(self.names) >= FEWEST_OF_UMAP
        return {"pca": "PCA"} | ({"umap": "UMAP"} if enough else {})

    @property
    def condition_columns(self) -> tuple[Column, ...]:
        """What the decoder is given in addition to the code."""
        learned = None if self.model.seen is None else self.model.seen.conditions
        return () if learned is None else learned.columns

    @property
    def most_frequent_conditions(self) -> Conditions:
        """The conditions (1, p) that most examples have, of those shown, otherwise of training."""
        learned = None if self.model.seen is None else self.model.seen.conditions
        if learned is None:
            return None
        rows, counts = np.array(learned.rows, np.float32), np.array(learned.counts)
        if self.examples is not None and self.examples.conditions is not None:
            rows, counts = np.unique(self.examples.conditions, axis=0, return_counts=True)
        return np.asarray(rows[[counts.argmax()]], np.float32)

    def conditions_of(self, row: int) -> Conditions:
        """Return the conditions (1, p) of an example; the most frequent ones if it has none."""
        if self.condition_columns and self.examples is not None:
            conditions = self.examples.conditions
            if conditions is not None:
                return conditions[row : row + 1]
        if self._stored is not None and self._stored.conditions is not None:
            return self._stored.conditions[row : row + 1]
        return self.most_frequent_conditions

    def map(self, projection: str = "pca") -> Floats:
        """Return places (n, 2) of the codes: along the leading axes, or by UMAP, kept once made."""
        if self.codes is None:
            return np.empty((0, 2), np.float32)
        if projection == "umap":
            with _UMAP:  # of several visitors, the first computes it
                if self._umap is None:
                    self._umap = umap_of(self.codes)
            return self._umap
        return self.place(self.codes)

    def has_map(self, projection: str) -> bool:
        """Whether `map` returns at once."""
        return projection != "umap" or self._umap is not None

    def place(self, z: Floats) -> Floats:
        """Return places (n, 2) of codes (n, k) along the two leading axes."""
        along = self.axes.coordinates(z)[:, :2] * self.axes.deviations[:2]
        return np.pad(along, ((0, 0), (0, 2 - along.shape[1])))  # of codes of one dimension

    def encode(self, examples: Examples) -> Floats:
        """Return posterior means (n, k)."""
        return inference.encode(self.model, examples).mean

    def decode(self, z: Floats, conditions: Conditions = None) -> Floats:
        """E[x | z] of codes (n, k), shape (n, *shape); all with the conditions (1, p)."""
        if conditions is not None:
            conditions = np.repeat(conditions, len(z), axis=0)
        return inference.decode(self.model, z, conditions)

    def originals(self, rows: Sequence[int], examples: Examples | None = None) -> Floats | None:
        """Return examples (n, *shape) in the units of the decoder; None without data."""
        examples = self.examples if examples is None else examples
        if examples is None:
            return None
        return inference.batch_of(self.model, examples, np.array(rows)).cpu().numpy()

    def draw(self, sampler: str, count: int, seed: int, conditions: Conditions = None) -> Floats:
        """E[x | z] of draws of a sampler, which is fitted and stored if the run does not have it.

        Raises
        ------
        HebaeError
            If it is to be fitted, and the training data are not there.
        """

        def load() -> Examples:
            return self.load_training().train

        def ignore(note: str) -> None:  # the page shows samples, whether they are stored or not
            pass

        if conditions is not None:
            conditions = np.repeat(conditions, count, axis=0)
        names = (sampler,)
        fitted = fitted_samplers(self.path, self.model, load, names=names, notify=ignore)
        chosen = conditional_sampler(
            self.path, self.model, load, fitted, sampler, conditions, notify=ignore
        )
        return inference.sample(self.model, count, seed, chosen, conditions)

    @cached_property
    def samplers(self) -> dict[str, bool]:
        """Samplers by name, and whether they can be drawn from without a fit."""
        stored = read_samplers(self.path, self.model).samplers
        there = {"normal", "prior", *(stored.by_name if stored else ())}
        return {name: name in there for name in SAMPLER_NAMES}


def require_same_data(runs: Sequence[ExploredRun]) -> None:
    """Refuse runs whose examples differ: a point is one example in every map."""
    first, *others = runs
    for run in others:
        fingerprints = [one.config.get("data_fingerprint") for one in (first, run)]
        if fingerprints[0] != fingerprints[1] or first.names != run.names:
            raise HebaeError(
                f"{first.path} and {run.path} were trained on different data; explore them one at "
                "a time, or name runs that were trained on the same data."
            )


def name_runs(runs: Sequence[ExploredRun]) -> None:
    """Label runs by method where that is unique, otherwise by folder, or its path."""
    methods = [display_name(str(run.config["method"])) for run in runs]
    for labels in (methods, [r.path.resolve().name for r in runs], [str(r.path) for r in runs]):
        if len(set(labels)) == len(labels):
            break
    for run, label in zip(runs, labels, strict=True):
        run.label = label
