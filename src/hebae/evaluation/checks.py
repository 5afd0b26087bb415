"""What public functions accept: arrays of numbers, examples for a model, options, a device.

Every array argument may be a NumPy array, a list, a tensor (on any device, with or without
gradient) or a data frame. Anything else is refused by a `HebaeError` that names the argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.data.conditions import recoded
from hebae.data.examples import Examples
from hebae.errors import HebaeError
from hebae.evaluation.blocks import GreyLevels, spans
from hebae.inference import module_of
from hebae.model import Autoencoder
from hebae.new_examples import require_alike

Array = npt.NDArray[np.float64]
ArrayLike = npt.ArrayLike | Tensor | Examples
"""An array, list, tensor or data frame of numbers, or examples of `hebae.data`."""
Device = str | torch.device | None
"""Where to compute; None: where the model is."""
LARGEST = 1e18
"""Greatest absolute value of a code or feature: its square is finite in float32."""


def as_array(values: Any, name: str) -> npt.NDArray[Any]:
    """Return real numbers as a NumPy array of their own type, without a copy where possible."""
    array: npt.NDArray[Any] = np.empty(0, object)
    try:
        if isinstance(values, Tensor):
            tensor = (values.dequantize() if values.is_quantized else values).detach().cpu()
            # NumPy has no bfloat16.
            array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        elif not np.ma.is_masked(values):
            array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError):
        pass
    if array.dtype.kind not in "biuf":
        raise HebaeError(
            f"{name} is of type {type(values).__name__} and holds values of type {array.dtype}; "
            "give an array, a dense tensor, a data frame or lists of equal length that hold real "
            "numbers."
        )
    return array


def shape(name: str, given: tuple[int, ...], *allowed: tuple[int | str, ...]) -> None:
    """Raise a `HebaeError` unless a shape is one of those allowed; letters stand for any number."""
    for form in allowed:
        pairs = zip(form, given, strict=False)
        if len(form) == len(given) and all(a == g or (isinstance(a, str) and g) for a, g in pairs):
            return
    forms = " or ".join(str(form).replace("'", "") for form in allowed)
    empty = ", and not empty" if 0 in given else ""
    raise HebaeError(f"{name} has shape {given}; it must be {forms}{empty}.")


def finite(values: Any, name: str, *shapes: tuple[int | str, ...]) -> Array:
    """Return finite numbers in float64, of one of the shapes (see `shape`)."""
    array: Array = as_array(values, name).astype(np.float64, copy=False)
    shape(name, array.shape, *shapes)
    _require_finite(int((~(np.abs(array) <= LARGEST)).sum()), name)
    return array


def _require_finite(wrong: int, name: str) -> None:
    if wrong:
        raise HebaeError(
            f"{name} has {wrong} value(s) that are NaN, infinite or beyond {LARGEST:g}; all must "
            "be finite."
        )


def features(features: Any, name: str, least: int = 2) -> Array:
    """Return finite numbers (n, d) in float64, with n at least `least` and d at least 1."""
    array = finite(features, name, ("n", "d"))
    _require_count(len(array), name, least)
    return array


def _require_count(count: int, name: str, least: int) -> None:
    if count < least:
        raise HebaeError(f"{name} has {count} example(s), but at least {least} are needed.")


def pair(x: Any, y: Any, names: tuple[str, str] = ("x", "y")) -> tuple[Array, Array]:
    """Return two sets (n, d) and (m, d) as `features` does; d must be the same."""
    x, y = features(x, names[0]), features(y, names[1])
    _require_same_width(x, y, names)
    return x, y


def sets(x: Any, y: Any, names: tuple[str, str] = ("x", "y")) -> tuple[Any, Any]:
    """Check two sets as `pair` does; return them as they are, for `blocks.doubles`."""
    checked = []
    for values, name in ((x, names[0]), (y, names[1])):
        array: Any = values
        if not isinstance(values, GreyLevels):
            array = as_array(values, name)
            shape(name, array.shape, ("n", "d"))
            parts = (np.abs(array[rows]) <= LARGEST for rows in spans(*array.shape))
            _require_finite(sum(int((~part).sum()) for part in parts), name)
        _require_count(len(array), name, 2)
        checked.append(array)
    _require_same_width(checked[0], checked[1], names)
    return checked[0], checked[1]


def _require_same_width(x: Any, y: Any, names: tuple[str, str]) -> None:
    if x.shape[1] != y.shape[1]:
        raise HebaeError(
            f"{names[0]} has {x.shape[1]} features and {names[1]} has {y.shape[1]}; compare "
            "features of one network, or codes of one model."
        )


def examples(model: Any, data: Any) -> tuple[Autoencoder, Any]:
    """Return a model's module, and at least 2 examples (n, *shape) that its likelihood takes."""
    module = module_of(model)
    values = data
    if not isinstance(data, Examples):
        values = data.tocsr() if hasattr(data, "tocsr") else as_array(data, "data")
    given = (len(values), *values.shape) if isinstance(values, Examples) else values.shape
    if given[1:] != module.input_shape or given[0] < 2:
        shape = ", ".join(map(str, module.input_shape))
        raise HebaeError(
            f"data has shape {given}; this model takes (n, {shape}) with n at least 2, "
            "since one example has no standard error."
        )
    require_alike(module, values, "data", strict=True)
    learned = None if module.seen is None else module.seen.conditions
    if learned is not None and isinstance(values, Examples):
        values = recoded(values, learned.columns)
    return module, values


def labels(labels: Any, name: str, count: int) -> npt.NDArray[Any]:
    """Return `count` class labels, which are whole numbers or text."""
    try:
        array: npt.NDArray[Any] = np.asarray(labels)
    except ValueError:  # lists of unequal length
        array = np.empty(0, object)
    if array.dtype == object and array.size and all(isinstance(item, str) for item in array.flat):
        array = array.astype(str)  # of a data frame
    whole = array.dtype.kind in "biuU"
    if array.dtype.kind == "f" and (array % 1 == 0).all() and (np.abs(array) < 2**53).all():
        array, whole = array.astype(np.int64), True
    if array.shape != (count,) or not whole:
        raise HebaeError(
            f"{name} has shape {array.shape} and type {array.dtype}; it must hold one whole number "
            f"or text for each of the {count} examples."
        )
    return array


def counts(least: int = 1, **counts: Any) -> None:
    """Raise a `HebaeError` that names an argument that is not a whole number >= `least`."""
    for name, count in counts.items():
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        require(whole and count >= least, name, count, f"a whole number of at least {least}")


def require(valid: bool | np.bool_, name: str, value: object, allowed: str) -> None:
    """Raise a `HebaeError` that says what `value` is and what is allowed, unless `valid`."""
    if not valid:
        raise HebaeError(f"{name} is {value!r}; it must be {allowed}.")


@contextmanager
def on_device(module: Autoencoder, device: Device) -> Iterator[torch.device]:
    """Hold a model on `device` and give the device for float64 work.

    That is the model's own device, or the CPU for MPS, which has no float64.
    """
    before = module.population_mean.device
    try:
        if device is not None:
            module.to(device)
    except (AssertionError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise HebaeError(
            f"device is {device!r}, but the model cannot be moved there ({reason}); give 'cpu', or "
            "'cuda' where PyTorch finds a GPU."
        ) from None
    try:
        here = module.population_mean.device
        yield torch.device("cpu") if here.type == "mps" else here
    finally:
        module.to(before)
