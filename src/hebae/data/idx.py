"""The idx format of MNIST and its kin: a short header, then raw bytes, often under gzip."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod

import numpy as np

from hebae.errors import HebaeError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def parse(raw: bytes, source: str, *, dimensions: int) -> np.ndarray:
    """Read an array of unsigned bytes from the content of an idx file, gzip or plain.

    Parameters
    ----------
    raw : bytes
        The content.
    source : str
        The file, as messages name it.
    dimensions : int
        Number of dimensions to expect: 3 for images, 1 for labels.

    Returns
    -------
    ndarray of uint8, read-only

    Raises
    ------
    HebaeError
        If the gzip stream is cut short or damaged, the magic number is another, or there are more
        or fewer bytes than the header says.
    """
    if raw.startswith(_GZIP_MAGIC):
        try:
            raw = gzip.decompress(raw)
        except EOFError:
            raise HebaeError(
                f"{source} is a truncated gzip file, so its download was probably interrupted: "
                "fetch it again."
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise HebaeError(
                f"{source} is a damaged gzip file ({error}): fetch it again."
            ) from None

    expected = _magic(dimensions)
    if raw[:4] != expected:
        raise HebaeError(
            f"{source} has the wrong magic number 0x{raw[:4].hex()}: an idx file of unsigned bytes "
            f"in {dimensions} dimension(s) starts with 0x{expected.hex()}."
        )
    header = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", raw[4:header]) if len(raw) >= header else ()
    if not shape or len(raw) - header != prod(shape):
        raise HebaeError(
            f"{source} holds {max(0, len(raw) - header):,} bytes after its header, but the header "
            f"counts {' x '.join(map(str, shape)) or 'nothing'}: fetch or write it again."
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def serialise(array: np.ndarray) -> bytes:
    """Return the content of an uncompressed idx file that holds an array of uint8."""
    return (
        _magic(array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes(order="C")
    )


def _magic(dimensions: int) -> bytes:
    return bytes([0, 0, _UNSIGNED_BYTE, dimensions])
