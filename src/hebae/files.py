"""Files and folders: written whole or not at all, named as the user named them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hebae.errors import HebaeError

LOCK_FILES = (".lock", ".holder")
"""Files of `locked`: what is locked, and which process holds it."""


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
"""Errors that ``torch.load`` raises for a damaged file or one of another kind."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then rename; leave nothing on failure.

    Raises
    ------
    HebaeError
        If the folder is missing or read-only, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
        temporary.replace(path)
    except OSError as error:
        raise HebaeError(
            f"cannot write {path}: {error.strerror or error}. Free some space, or choose a folder "
            "that you may write to."
        ) from error
    finally:
        with suppress(OSError):  # on a read-only disk even this fails, and would hide the reason
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, see `write_atomically`; names of files may hold other bytes."""
    content = text.encode("utf-8", "replace")
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def expand(path: str | os.PathLike[str]) -> Path:
    """Return the path with ``~`` replaced by the home folder.

    Raises
    ------
    HebaeError
        If the home folder is not known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise HebaeError(
            f"{os.fspath(path)} begins with ~, and the home folder is not known; give the full "
            "path."
        ) from None
    except TypeError:
        raise HebaeError(f"{path!r} is not a path; give a str or a Path.") from None


def make_folder(path: Path, name: str = "the folder") -> None:
    """Create a folder and its parents, unless it exists; if that fails, a HebaeError names it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HebaeError(
            f"cannot create {name} {path}: {error.strerror}; choose a folder you may write to."
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder while the block lasts.

    The system releases the lock when the process ends, however it ends. Readers need no lock.

    Raises
    ------
    HebaeError
        If another process, or this one, holds the folder already (named by host and process id), or
        the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock, holder = FileLock(folder / ".lock"), folder / ".holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            found = json.loads(holder.read_text(encoding="utf-8"))
            process = f"process {found['pid']} on {found['host']}"
        except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or just ended
            process = "another process"
        raise HebaeError(
            f"{folder} is in use by {process}. Wait until it ends, or name another folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise HebaeError(
            f"cannot lock {folder}: {getattr(error, 'strerror', None) or error}. Choose a folder "
            "you may write to."
        ) from None
    try:
        write_text(holder, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def require_only(folder: Path, names: Collection[str]) -> None:
    """Raise a HebaeError unless `folder` holds nothing but files and folders of these names."""
    known = {*names, *LOCK_FILES}
    foreign = sorted(f.name for f in folder.iterdir() if f.name not in known and not _ours(f))
    if foreign:
        raise HebaeError(
            f"{folder} is not overwritten, since hebae did not create {foreign[0]} in it; move it "
            "away, or choose another --output."
        )


def clear(folder: Path, names: Collection[str]) -> None:
    """Remove files and folders of these names, and of interrupted writes, from `folder`."""
    for path in [f for f in folder.iterdir() if f.name in names or _ours(f)]:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise HebaeError(
                f"cannot remove {path}: {error.strerror or error}; choose another folder."
            ) from None


def _ours(path: Path) -> bool:
    """Whether the file was left by a write that was interrupted (see `write_atomically`)."""
    return path.name.startswith(".") and path.suffix == ".tmp"
