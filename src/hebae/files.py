"""Files appear whole or not at all."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

from hebae.errors import HebaeError

__all__ = ["NOT_A_PICKLE", "clear", "make_folder", "require_only", "write_atomically"]


NOT_A_PICKLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What ``torch.load`` raises for a file that is none of its own, whatever is in it."""


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
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise HebaeError(
            f"cannot write {path}: {reason}; free some space or name another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path, name: str = "the folder") -> None:
    """Make a folder and those above it, unless it is there; a HebaeError if that cannot be.

    `name` is what the sentence calls it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HebaeError(
            f"cannot make {name} {path}: {error.strerror}; choose a folder you may write to."
        ) from None


def require_only(folder: Path, names: Collection[str]) -> None:
    """Raise a HebaeError unless `folder` holds nothing but files and folders of these names."""
    foreign = sorted(f.name for f in folder.iterdir() if f.name not in names and not _ours(f))
    if foreign:
        raise HebaeError(
            f"{folder} holds {foreign[0]}, which hebae did not put there, and is not overwritten; "
            "move it away or name another --output."
        )


def clear(folder: Path, names: Collection[str]) -> None:
    """Remove files and folders of these names, and of interrupted writes, from `folder`."""
    for path in [f for f in folder.iterdir() if f.name in names or _ours(f)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _ours(path: Path) -> bool:
    """Whether a write was interrupted here (see `write_atomically`)."""
    return path.name.startswith(".") and path.suffix == ".tmp"
