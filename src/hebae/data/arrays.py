"""Arrays and tensors as data: what is taken as it is, what is converted, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from hebae.data.examples import Dataset, Examples, blocks, fingerprint
from hebae.errors import HebaeError

_CHANNELS = (1, 3)


def from_array(data: Any) -> Dataset:
    """Make a data set of an array or tensor in memory; see `as_values` for what is taken."""
    name = "tensor" if _is_tensor(data) else "array"
    train = Examples(as_values(data, f"The {name}"))
    return Dataset(name, train, None, None, fingerprint({"train": train}))


def as_values(data: Any, source: str) -> np.ndarray:
    """Bring an array or tensor into the form of `Examples.values`, copying only to convert.

    Parameters
    ----------
    data : ndarray or torch.Tensor, shape (n, d), (n, h, w) or (n, c, h, w)
        uint8 (0..255, standing for [0, 1]), a floating type (becomes float32) or bool (becomes
        float32, 0 or 1).
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
        not finite in float32.
    """
    array = _as_array(data, source)
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
    if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.floating):
        raise HebaeError(
            f"{source} has type {array.dtype}: convert it to uint8 if it holds 0..255, "
            "or to a floating type."
        )
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        array = array.astype(np.float32, copy=False)
    _refuse_non_finite(array, source)
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
        raise HebaeError(
            f"Data of type {type(data).__name__} cannot be read: give a name, a path, a NumPy "
            "array, a torch tensor, Examples or a Dataset."
        )
    tensor = data.detach().cpu()
    array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    assert isinstance(array, np.ndarray), source
    return array


def _refuse_non_finite(array: np.ndarray, source: str) -> None:
    count, first, start = 0, None, 0
    for block in blocks(array):
        wrong = ~np.isfinite(block)
        if found := int(wrong.sum()):
            count += found
            if first is None:
                row, *rest = (int(position) for position in np.argwhere(wrong)[0])
                first = (start + row, *rest)
        start += len(block)
    if count:
        raise HebaeError(
            f"{source} holds {count:,} value(s) that are NaN or infinite as float32, the first at "
            f"index {first}: remove or replace them."
        )
