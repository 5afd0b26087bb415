"""Arrays and tensors in memory as data: which are used directly, converted or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from hebae.data.examples import Dataset, Examples, blocks, fingerprint
from hebae.errors import HebaeError

_CHANNELS = (1, 3)
_LARGEST = 1e18  # its square is still finite in float32


def from_array(data: Any) -> Dataset:
    """Make a data set of an array or tensor in memory; see `as_values` for the allowed ones."""
    name = "tensor" if _is_tensor(data) else "array"
    train = Examples(as_values(data, f"The {name}"))
    return Dataset(name, train, None, None, fingerprint({"train": train}))


def as_values(data: Any, source: str) -> np.ndarray:
    """Convert an array or tensor to the form of `Examples.values`, without a copy if possible.

    Parameters
    ----------
    data : array-like or torch.Tensor, shape (n, d), (n, h, w) or (n, c, h, w)
        An ndarray, a list, or an object with ``__array__``, such as a pandas data frame. Its type
        is uint8 (0..255, standing for [0, 1]), floating (becomes float32) or bool (becomes 0 or 1
        in float32). Tensors are detached, copied to the CPU and dequantised.
    source : str
        Name of the data in messages.

    Returns
    -------
    ndarray of uint8 or float32, shape (n, d) or (n, c, h, w)
        A grey image (h, w) gets one channel.

    Raises
    ------
    HebaeError
        If type or shape are not allowed, there is no example, channels come last, or a value is
        NaN, infinite or beyond 1e18 in absolute value.
    """
    array = _as_array(data, source)
    if array.dtype.kind not in "biuf":
        raise HebaeError(
            f"{source} has type {array.dtype}, but only real numbers can be read: give rows of one "
            "length, as uint8 (0..255) or float32."
        )
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise HebaeError(
            f"{source} has shape {array.shape}: allowed are (n, d), (n, h, w) and (n, c, h, w), "
            "with no dimension of size 0."
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in _CHANNELS and array.shape[1] not in _CHANNELS:
        raise HebaeError(
            f"{source} has shape {array.shape}, with the channels last: "
            "transpose it to (n, c, h, w), with .transpose(0, 3, 1, 2) in NumPy."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iu":
        raise HebaeError(
            f"{source} has the integer type {array.dtype}: convert it to uint8 if its values are "
            "0..255, otherwise to float32."
        )
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        array = array.astype(np.float32, copy=False)
    _refuse_extreme(array, source)
    return array


def _is_tensor(data: Any) -> bool:
    # Tested by name, so that files can be read without importing torch.
    return any(kind.__module__.split(".")[0] == "torch" for kind in type(data).__mro__)


def _as_array(data: Any, source: str) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data
    kind = type(data).__name__
    if _is_tensor(data) and hasattr(data, "detach"):
        try:
            tensor = data.detach()
            tensor = tensor.dequantize() if tensor.is_quantized else tensor
            tensor = tensor.cpu().resolve_conj().resolve_neg()
            array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        except (NotImplementedError, RuntimeError, TypeError) as error:
            raise HebaeError(
                f"{source} holds no dense values (layout {data.layout}, device {data.device}): use "
                ".to_dense(), or give a tensor on a device that stores values."
            ) from error
        return array
    if not isinstance(data, list) and not hasattr(data, "__array__"):
        raise HebaeError(
            f"Data of type {kind} cannot be read: give a name, a path, a NumPy array, a torch "
            "tensor, a data frame, a list of lists, Examples or a Dataset."
        )
    try:
        return np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise HebaeError(
            f"The data of type {kind} cannot be converted to an array: give rows of numbers, all "
            "of one length."
        ) from error


def _refuse_extreme(array: np.ndarray, source: str) -> None:
    count, first, start = 0, None, 0
    for block in blocks(array):
        wrong = ~(np.abs(block) <= _LARGEST)  # also true for NaN
        if wrong.any():
            count += int(wrong.sum())
            if first is None:
                row, *rest = (int(position) for position in np.argwhere(wrong)[0])
                first = (start + row, *rest)
        start += len(block)
    if count:
        raise HebaeError(
            f"{source} holds {count:,} value(s) that are NaN, infinite or beyond {_LARGEST:.0e} in "
            f"absolute value, the first at index {first}: remove, replace or scale them."
        )
