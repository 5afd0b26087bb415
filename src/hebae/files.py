"""Files appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hebae.errors import HebaeError

__all__ = ["write_atomically"]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then rename; leave nothing on failure.

    Raises
    ------
    HebaeError
        If the folder is missing or cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise HebaeError(
            f"cannot write {path}: {reason}; free some space or name another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
