"""Which likelihood "auto" stands for, by what the numbers are, and whether examples suit one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hebae.building import build_likelihood
from hebae.config import Settings
from hebae.data.examples import Examples
from hebae.data.schema import Column, Seen, Summary
from hebae.errors import HebaeError
from hebae.likelihoods.base import TOLERANCE
from hebae.new_examples import not_whole, require_kind

MANY_ZEROS = 0.1
"""Share of zeros from which whole numbers in a dense table are taken as counts."""
FEW_NEGATIVE = 0.01
"""Share of negative numbers up to which they are taken for errors among counts."""
CODES_OF_MISSING = (9.0, -1.0, -9.0)
"""Numbers in use for a genotype that was not called."""


def choose_likelihood(train: Examples, others: Sequence[Examples], name: str) -> tuple[str, str]:
    """Return the likelihood for training examples, and the reason as a clause.

    Parameters
    ----------
    train : Examples
    others : sequence of Examples
        Held-out ones, which it must take too.
    name : str
        Name of the data, for messages.

    Raises
    ------
    HebaeError
        If the numbers 0, 1 and 2 come with one that may stand for a missing genotype.
    """
    summaries = [train.summary, *(part.summary for part in others)]
    low, high = min(s.low for s in summaries), max(s.high for s in summaries)
    whole = all(s.whole for s in summaries)
    if train.columns and any(column.kind != "number" for column in train.columns):
        return "columns", "the columns are of several kinds"
    if train.variants is not None:
        return "binomial", "the data are genotypes"
    if low >= -TOLERANCE * min(high, 1) and high <= 1 + TOLERANCE:
        if train.are_pixels:
            return "bernoulli", "uint8 values are grey levels from 0 (black) to 255 (white)"
        return "bernoulli", "the values are in [0, 1]"
    if len(train.shape) == 3:
        return "gaussian", "the values of the images are outside [0, 1]"
    if whole and low >= 0 and high <= 2:
        return "binomial", "the values are 0, 1 and 2, as in genotypes"
    if whole and (high == CODES_OF_MISSING[0] or low in CODES_OF_MISSING):
        _refuse_codes_of_missing(train, name)
    if whole and _are_counts(train, summaries[0]):
        if low >= 0:
            return "negative_binomial", "the values are counts"
        _refuse_few_negative(train, name)
    ending = "; for counts use negative_binomial" if whole and low >= 0 else ""
    return "gaussian_columns", f"the values are outside [0, 1]{ending}"


def _are_counts(train: Examples, summary: Summary) -> bool:
    if train.is_sparse:
        return True
    return train.seen.kind == "whole numbers" and summary.zeros >= MANY_ZEROS * summary.observed


def _refuse_few_negative(train: Examples, name: str) -> None:
    """Refuse counts among which a few numbers are negative: they are errors."""
    count, start, first = 0, 0, None
    for part in train.parts():
        rows, columns = np.nonzero(part < 0)
        count += len(rows)
        if first is None and len(rows):
            first = start + int(rows[0]), int(columns[0]), part[rows[0], columns[0]]
        start += len(part)
    if first is not None and count <= FEW_NEGATIVE * train.summary.observed:
        row, column, value = first
        label = f" ({train.feature_names[column]})" if train.feature_names else ""
        others = f", and {count - 1:,} more negative numbers" if count > 1 else ""
        raise HebaeError(
            f"{name} holds {value:g} in row {row + 1}, column {column + 1}{label}{others}, but its "
            "other numbers are counts: correct the negative ones, or choose a likelihood, such as "
            "--likelihood gaussian_columns."
        )


def _refuse_codes_of_missing(train: Examples, name: str) -> None:
    found: set[float] = set()
    for part in train.parts():
        found |= {float(value) for value in np.unique(part[part == part])}
        if len(found - {0.0, 1.0, 2.0}) > 1:
            return
    code = (found - {0.0, 1.0, 2.0}).pop()
    if found != {0.0, 1.0, 2.0, code}:
        return
    raise HebaeError(
        f"{name} holds the numbers 0, 1, 2 and {code:g}. If {code:g} stands for a missing "
        "genotype, replace it by NaN (as floats) or give a mask; otherwise choose a --likelihood, "
        "such as gaussian_columns."
    )


def seen_of(settings: Settings, train: Examples, name: str = "the data") -> Seen:
    """Return what training sees; codes of categories in an array are 0 to the largest in it."""
    seen = train.seen
    if settings.likelihood not in ("categorical", "columns"):
        return seen
    if train.columns is None and settings.likelihood == "columns":
        raise HebaeError(
            f"likelihood columns needs the kind of each column, but {name} is an array, which has "
            "no kinds; give a data frame or a table file, or use --likelihood gaussian_columns."
        )
    if train.columns is None:
        largest = np.fmax.reduce([np.fmax.reduce(part) for part in train.parts()])
        if len(train.shape) != 1 or train.summary.low < 0 or not train.summary.whole:
            raise HebaeError(
                "likelihood categorical takes codes 0, 1, ... of categories in a table, but "
                f"{name} holds other numbers, from {train.range[0]:.9g} to {train.range[1]:.9g}; "
                "use another --likelihood."
            )
        names = train.feature_names or [str(j + 1) for j in range(len(largest))]
        columns = tuple(
            Column(label, "category", tuple(map(str, range(int(high) + 1))))
            for label, high in zip(names, np.nan_to_num(largest), strict=True)
        )
        return replace(seen, kind="whole numbers", columns=columns)
    others = [c.name for c in train.columns if c.kind != "category"]
    if settings.likelihood == "categorical" and others:
        raise HebaeError(
            f"likelihood categorical is for categories, but column {others[0]} of {name} is of "
            "another kind; use --likelihood columns."
        )
    return seen


def check_likelihood(settings: Settings, parts: Mapping[str, Examples], name: str) -> None:
    """Refuse examples, by split, that the likelihood of the settings does not take."""
    train = parts["training"]
    seen = seen_of(settings, train, name)
    likelihood = build_likelihood(settings, train.shape, seen)
    low, high = likelihood.support

    def unsuitable(found: Summary) -> bool:
        inside = low - TOLERANCE <= found.low and found.high <= high + TOLERANCE
        return not inside or (likelihood.whole and not found.whole)

    if likelihood.tables_only and len(train.shape) != 1:
        raise HebaeError(
            f"likelihood {settings.likelihood} is for tables, and the examples of {name} have "
            f"shape {train.shape}; use --likelihood gaussian or bernoulli for images."
        )
    if train.summary.missing and len(train.shape) == 1:
        observed = np.zeros(train.shape, bool)
        for rows in train.parts():
            observed |= ~np.isnan(rows).all(0)
        if not observed.all():
            column = int(np.argmin(observed))
            named = f" ({train.feature_names[column]})" if train.feature_names else ""
            raise HebaeError(
                f"all values in column {column + 1}{named} of {name} are missing"
                f"{' in the training examples' if len(parts) > 1 else ''}; leave the column out."
            )
    for split, part in parts.items():
        if part.summary.low == math.inf:
            raise HebaeError(
                f"all values of the {split} examples of {name} are missing; give observed values."
            )
        require_kind(seen, likelihood, part, f"the {split} split of {name}")
        if not unsuitable(part.summary):
            continue
        if likelihood.whole and part.are_pixels:
            raise HebaeError(
                f"likelihood {settings.likelihood} takes whole numbers, but {name} holds grey "
                "levels (uint8 from 0 to 255, scaled to [0, 1]). If they are counts, give another "
                "integer type, such as int32, or use --no-pixels."
            )
        label, part = part.first_with(f"the {split} split of {name}", unsuitable)
        if likelihood.whole:
            raise HebaeError(f"{label} {not_whole(part, likelihood.support, settings.likelihood)}")
        raise HebaeError(
            f"likelihood {settings.likelihood} takes values in [{low:g}, {high:g}], but {label} "
            f"ranges from {part.summary.low:.9g} to {part.summary.high:.9g}; scale the data or use "
            f"--likelihood {'gaussian' if len(part.shape) == 3 else 'gaussian_columns'}."
        )
