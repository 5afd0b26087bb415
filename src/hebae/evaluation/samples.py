"""What the distances between two samples take: finite features (n, d) of one width, in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError

__all__ = ["Array", "Features", "check_features", "check_pair"]

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating] | npt.NDArray[np.integer]


def check_features(features: Features, name: str, least: int = 2) -> Array:
    """Features (n, d) in float64, if they are finite numbers of at least `least` examples.

    Raises
    ------
    HebaeError
        If not; the sentence calls them `name`.
    """
    array = np.asarray(features)
    if array.ndim != 2 or array.shape[1] == 0:
        raise HebaeError(
            f"{name} has shape {array.shape}; features are an array (n, d), one row an example."
        )
    if array.dtype.kind not in "biuf":
        raise HebaeError(f"{name} holds {array.dtype}; features are real numbers.")
    if len(array) < least:
        raise HebaeError(f"{name} has {len(array)} example(s), but at least {least} are needed.")
    values: Array = array.astype(np.float64, copy=False)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise HebaeError(
            f"{name} has NaN or infinite values in {(~finite).sum()} of its {len(values)} examples."
        )
    return values


def check_pair(
    x: Features, y: Features, names: tuple[str, str] = ("x", "y")
) -> tuple[Array, Array]:
    """Both in float64, if both are features and of one width; `HebaeError` if not."""
    x, y = check_features(x, names[0]), check_features(y, names[1])
    if x.shape[1] != y.shape[1]:
        raise HebaeError(
            f"{names[0]} has {x.shape[1]} features and {names[1]} has {y.shape[1]}; "
            "only features of one network, or codes of one model, can be compared."
        )
    return x, y
