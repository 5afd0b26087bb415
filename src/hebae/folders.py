"""Folders that one process uses at a time, and what killed processes left in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hebae.errors import FolderError, HebaeError
from hebae.files import read_text, write_text

LOCK_FILES = (".lock", ".holder")
"""Files of `locked`: what is locked, and which process holds it."""
FIGURES = "figures"
"""The folder of figures in a folder that is locked."""
_LEFTOVER = re.compile(r"\.(.+\.\d+\.tmp|tmp[A-Za-z0-9]{6})")
"""Names of what `write_atomically`, and safetensors in older versions, leave if killed."""


@contextmanager
def locked(folder: Path, *, seconds: float = 1) -> Iterator[None]:
    """Keep other processes out of a folder while the block lasts; remove what killed ones left.

    The system releases the lock when the process ends, however it ends. Readers need no lock.
    Another process is waited for so many seconds: some hold a folder only to write one file.

    Raises
    ------
    HebaeError
        If another process, or this one, holds the folder already (named by host and process id), or
        the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    if not folder.is_dir():  # or the lock would create it
        raise FolderError(f"cannot write into {folder}: there is no such folder.")
    lock, holder = FileLock(folder / ".lock"), folder / ".holder"
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        try:
            found = json.loads(read_text(holder))
            process = f"process {found['pid']} on {found['host']}"
        except (ValueError, KeyError, TypeError):  # it has just begun, or just ended
            process = "another process"
        raise FolderError(
            f"{folder} is in use by {process}. Wait until it ends, or name another folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise FolderError(
            f"cannot lock {folder}: {getattr(error, 'strerror', None) or error}. Choose a folder "
            "you may write to."
        ) from None
    try:
        with suppress(HebaeError):  # on a read-only disk the next write says so
            clear(folder, ())
        write_text(holder, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def require_only(folder: Path, names: Collection[str]) -> None:
    """Raise a HebaeError unless `folder` holds nothing but files and folders of these names."""
    known = {*names, *LOCK_FILES}
    foreign = sorted(f.name for f in folder.iterdir() if f.name not in known and not is_leftover(f))
    if foreign:
        raise HebaeError(
            f"{folder} is not overwritten, since hebae did not create {foreign[0]} in it; move it "
            "away, or choose another --output."
        )


def clear(folder: Path, names: Collection[str]) -> None:
    """Remove files and folders of these names from `folder`, and files of interrupted writes."""
    for path in [f for f in folder.iterdir() if f.name in names or is_leftover(f)]:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise FolderError(
                f"cannot remove {path}: {error.strerror or error}; choose another folder."
            ) from None
    if FIGURES not in names and (folder / FIGURES).is_dir():
        clear(folder / FIGURES, ())


def is_leftover(path: Path) -> bool:
    """Whether a file was left by a write that was interrupted (see `write_atomically`)."""
    return bool(_LEFTOVER.fullmatch(path.name)) and path.is_file() and not path.is_symlink()
