"""Check that new examples are like those that a model was trained on, and refuse others."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from hebae.data.examples import Examples, as_dense, blocks
from hebae.data.schema import Seen, Summary, summarise
from hebae.errors import HebaeError
from hebae.likelihoods import LIKELIHOODS, Categorical, Columns, Likelihood
from hebae.likelihoods.base import TOLERANCE
from hebae.model import Autoencoder


def require_alike(model: Autoencoder, values: Any, name: str, *, strict: bool = False) -> None:
    """Refuse examples of another kind than those that the model was trained on.

    Numbers outside of the likelihood's support are refused if `strict`, or if the likelihood takes
    whole numbers. Otherwise there is a warning: they are encoded as they are, and log p(x | z)
    replaces them by the nearest end of the support.

    Parameters
    ----------
    model : Autoencoder
    values : Examples, or array (n, *shape), possibly sparse
    name : str
        Name of the examples, for messages.
    strict : bool
    """
    likelihood = model.likelihood
    require_kind(model.seen, likelihood, values, name)
    array = values.values if isinstance(values, Examples) else values
    grey = model.seen is None or model.seen.kind == "grey levels"
    if array.dtype == np.uint8 and grey and not likelihood.whole:
        return
    names = {kind: name for name, kind in LIKELIHOODS.items()}
    label = names.get(type(likelihood), type(likelihood).__name__)
    found = _summary(values)
    low, high = likelihood.support
    inside = low - TOLERANCE <= found.low and found.high <= high + TOLERANCE
    if likelihood.whole and not (inside and found.whole):
        raise HebaeError(f"{name} {not_whole(values, likelihood.support, label)}")
    if not inside:
        message = (
            f"{name} ranges from {found.low:.9g} to {found.high:.9g}, outside of [{low:g}, "
            f"{high:g}], the range of the model's likelihood {label}"
        )
        if strict:
            raise HebaeError(f"{message}. Scale it as the training examples were scaled.")
        warnings.warn(
            f"{message}. Numbers outside are encoded as they are, and log p(x | z) replaces them "
            "by the nearest end of the range.",
            stacklevel=4,
        )


def require_kind(
    seen: Seen | None, likelihood: Likelihood, values: Examples | Any, name: str
) -> None:
    """Refuse examples whose numbers are not what those of training were, or unknown categories."""
    if seen is None:  # of an older version
        return
    array = values.values if isinstance(values, Examples) else values
    pixels = values.pixels if isinstance(values, Examples) else None
    is_uint8 = array.dtype == np.uint8
    if is_uint8 and seen.kind == "numbers" and pixels is not False and not likelihood.whole:
        raise HebaeError(
            f"{name} is of type uint8, which may be grey levels or numbers, but the model was "
            "trained on floats. Give floats in the units of the training examples."
        )
    if is_uint8 and pixels is not None and seen.pixels is not None and pixels != seen.pixels:
        kinds = {True: "grey levels", False: "numbers as they are"}
        raise HebaeError(
            f"{name} holds {kinds[pixels]} (uint8), but the model was trained on "
            f"{kinds[seen.pixels]}. Give the same kind."
        )
    if not is_uint8 and seen.kind == "grey levels":
        found = _summary(values)
        if found.low < -TOLERANCE or found.high > 1 + TOLERANCE:
            raise HebaeError(
                f"{name} is of type {array.dtype} and ranges from {found.low:.9g} to "
                f"{found.high:.9g}, but the model was trained on uint8 grey levels, which are "
                "scaled to [0, 1]. Give uint8, or floats in [0, 1]."
            )
    if seen.columns is not None and isinstance(likelihood, Categorical | Columns):
        row = 0
        for part in values.parts() if isinstance(values, Examples) else blocks(as_dense(array)):
            for position, column in enumerate(seen.columns):
                codes, count = part[:, position], len(column.categories)
                wrong = (codes != np.rint(codes)) | (codes < 0) | (codes >= count)
                wrong &= (codes == codes) & (column.kind == "category")
                if wrong.any():
                    at = int(wrong.argmax())
                    raise HebaeError(
                        f"{name} holds {codes[at]:g} in row {row + at + 1}, column {position + 1} "
                        f"({column.name}), whose categories have the codes 0 to {count - 1}. Give "
                        "one of these, or NaN for a missing value."
                    )
            row += len(part)


def _summary(values: Any) -> Summary:
    if isinstance(values, Examples):
        return values.summary
    return summarise(blocks(values.data if hasattr(values, "tocsr") else values))


def not_whole(values: Any, support: tuple[float, float], label: str) -> str:
    """Say where a number is that a likelihood of whole numbers does not take."""
    parts = values.parts() if isinstance(values, Examples) else blocks(as_dense(values))
    start = 0
    for part in parts:
        wrong = (part != np.rint(part)) | (part < support[0]) | (part > support[1])
        wrong &= part == part  # not where it is missing
        if wrong.any():
            row, *rest = (int(i) for i in np.argwhere(wrong)[0])
            names = values.feature_names if isinstance(values, Examples) else None
            place = f"pixel {tuple(rest)}"
            if len(rest) == 1:
                name = "" if names is None else f" ({names[rest[0]]})"
                place = f"column {rest[0] + 1}{name}"
            high = "" if math.isinf(support[1]) else f" to {support[1]:g}"
            return (
                f"holds {part[(row, *rest)]:.9g} in row {start + row + 1}, {place}, but likelihood "
                f"{label} takes whole numbers from {support[0]:g}{high}. Give the original "
                "numbers, not normalised ones or logarithms, or use another likelihood."
            )
        start += len(part)
    raise AssertionError("all numbers are whole")
