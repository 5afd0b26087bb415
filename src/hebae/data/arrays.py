"""Arrays and tensors as data: what is taken as it is, what is converted, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from hebae.data.examples import Dataset, Examples, blocks, fingerprint
from hebae.errors import HebaeError

_CHANNELS = (1, 3)
_LARGEST = 1e18  # its square is still finite in float32


def from_array(data: Any) -> Dataset:
    """Make a data set of an array or tensor in memory; see `as_values` for what is taken."""
    name = "tensor" if _is_tensor(data) else "array"
    train = Examples(as_values(data, f"The {name}"))
    return Dataset(name, train, None, None, fingerprint({"train": train}))


def as_values(data: Any, source: str) -> np.ndarray:
    """Bring an array or tensor into the form of `Examples.values`, copying only to convert.

    Parameters
    ----------
    data : array-like or torch.Tensor, shape (n, d), (n, h, w) or (n, c, h, w)
        An ndarray, a list, or what has ``__array__``, such as a pandas data frame; of type uint8
        (0..255, standing for [0, 1]), a floating type (becomes float32) or bool (becomes float32, 0
        or 1).
    source : str
        What messages call it.

    Returns
    -------
    ndarray of uint8 or float32, shape (n, d) or (n, c, h, w)
        A grey image (h, w) gets one channel.

    Raises
    ------
    HebaeError
        If the type or shape is another, if it is empty, if channels come last, or if a value is
        NaN, infinite or beyond 1e18 in size.
    """
    array = _as_array(data, source)
    if array.dtype.kind not in "biuf":
        raise HebaeError(
            f"{source} has type {array.dtype}: only real numbers can be read, in rows of one "
            "length, as uint8 if they are 0..255 or else as float32."
        )
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise HebaeError(
            f"{source} has shape {array.shape}: allowed are (n, d), (n, h, w) and (n, c, h, w), "
            "with at least one example and nothing empty."
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
            f"{source} holds whole numbers of type {array.dtype}: convert it to uint8 if they are "
            "0..255, or else to float32."
        )
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        array = array.astype(np.float32, copy=False)
    _refuse_extreme(array, source)
    return array


def as_labels(data: np.ndarray, count: int, source: str) -> np.ndarray:
    """Bring labels into int64, one for each of `count` examples."""
    if data.shape != (count,) or data.dtype.kind not in "iub":
        raise HebaeError(
            f"{source} has type {data.dtype} and shape {data.shape}: labels are whole numbers of "
            f"shape ({count},), one for each example."
        )
    return data.astype(np.int64)


def _is_tensor(data: Any) -> bool:
    # Asked this way, torch need not be imported to read files.
    return hasattr(data, "detach") and type(data).__module__.split(".")[0] == "torch"


def _as_array(data: Any, source: str) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data
    if not _is_tensor(data):
        return _converted(data)
    tensor = data.detach().cpu()
    array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    assert isinstance(array, np.ndarray), source
    return array


def _converted(data: Any) -> np.ndarray:
    kind = type(data).__name__
    if not isinstance(data, list) and not hasattr(data, "__array__"):
        raise HebaeError(
            f"Data of type {kind} cannot be read: give a name, a path, a NumPy array, a torch "
            "tensor, a data frame, a list of lists, Examples or a Dataset."
        )
    try:
        return np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise HebaeError(
            f"The data of type {kind} make no array: give rows of one length that hold numbers."
        ) from error


def _refuse_extreme(array: np.ndarray, source: str) -> None:
    count, first, start = 0, None, 0
    for block in blocks(array):
        wrong = ~(np.abs(block) <= _LARGEST)  # true of NaN, too
        if found := int(wrong.sum()):
            count += found
            if first is None:
                row, *rest = (int(position) for position in np.argwhere(wrong)[0])
                first = (start + row, *rest)
        start += len(block)
    if count:
        raise HebaeError(
            f"{source} holds {count:,} value(s) that are NaN, infinite or beyond {_LARGEST:.0e} in "
            f"size, the first at index {first}: remove or replace them, or scale the data."
        )
