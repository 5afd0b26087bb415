"""A matrix from a MATLAB 5 file, by the layout that MathWorks documents ("MAT-File Format").

SciPy's reader is not used: a damaged file can crash it, and the process with it.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from hebae.files import require_memory

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_NUMBERS |= {12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 0x800
_HEAD = 512
"""Bytes that hold everything before the numbers of a matrix, unless its name is very long."""


def read_matrix(path: Path, name: str) -> np.ndarray:
    """Return the matrix of real numbers that is called `name`, in the type it is stored in.

    Raises
    ------
    ValueError, struct.error, zlib.error
        If the file is damaged, is of another kind, or holds no such matrix.
    HebaeError
        If the matrix would not fit into memory.
    """
    with path.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(128)[126:])
        if order is None:
            raise ValueError("not a MATLAB 5 file")
        while tag := file.read(8):
            kind, size = struct.unpack(f"{order}II", tag)
            content = file.read(size)
            if kind == _MATRIX:
                content = tag + content
            elif kind != _COMPRESSED:
                continue
            head = _head(_begin(content, kind, _HEAD), order, name)
            if head is None:
                continue
            shape, number, start = head
            length = math.prod(shape) * number.itemsize
            require_memory(2 * length, str(path))
            data = _begin(content, kind, start + length)[start:]
            return np.frombuffer(data, number, math.prod(shape)).reshape(shape, order="F")
    raise ValueError(f"it holds no matrix {name}")


def _begin(content: bytes, kind: int, length: int) -> bytes:
    """Return the first bytes of an element, as it is without compression."""
    return (
        zlib.decompressobj().decompress(content, length)
        if kind == _COMPRESSED
        else content[:length]
    )


def _head(data: bytes, order: str, name: str) -> tuple[tuple[int, ...], np.dtype, int] | None:
    """Return shape and type of a matrix, and where its numbers begin; None if it is another one."""
    (kind,) = struct.unpack_from(f"{order}I", data)
    if kind != _MATRIX:
        raise ValueError(f"an element is of type {kind}, not a matrix")
    at, parts = 8, []
    for _ in range(3):  # flags, dimensions, name
        _, begin, size = _element(data, at, order)
        parts.append(data[begin : begin + size])
        at = begin + size + -(begin + size) % 8
    flags, dimensions, its_name = parts
    if its_name != name.encode():
        return None
    (flag,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    kind, begin, size = _element(data, at, order)
    if flag & 0xFF not in _NUMERIC_CLASSES or flag & _COMPLEX or kind not in _NUMBERS:
        raise ValueError(f"{name} is not a matrix of real numbers")
    number = np.dtype(order + _NUMBERS[kind])
    if min(shape, default=-1) < 0 or math.prod(shape) * number.itemsize != size:
        raise ValueError(f"its shape {shape} does not fit its {size:,} bytes")
    return shape, number, begin


def _element(data: bytes, at: int, order: str) -> tuple[int, int, int]:
    """Return type, begin and size of the content of an element."""
    kind, size = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:  # up to four bytes stand where the size stands otherwise
        return kind & 0xFFFF, at + 4, kind >> 16
    return kind, at + 8, size
