"""Files appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from hebae.errors import HebaeError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename; leave nothing on failure.

    Raises
    ------
    HebaeError
        If the folder is missing or cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise HebaeError(f"cannot write {path}: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
