"""Folders that are made once, whole or not at all, in the cache directory."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hebae.errors import HebaeError


def cache_dir() -> Path:
    """Return HEBAE_CACHE_DIR if set, else the platform's cache directory for hebae."""
    if chosen := os.environ.get("HEBAE_CACHE_DIR"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("hebae"))


def cached_folder(name: str, build: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, made by `build` if it is not there yet.

    `build` fills a temporary folder, which then gets its name in one step: what has the name is
    complete. A lock lets one process build at a time, while others wait for the outcome; hence a
    temporary folder met while holding the lock was left by a process that died, and is removed.

    Raises
    ------
    HebaeError
        If the cache cannot be written; and whatever `build` raises.
    """
    folder = cache_dir() / name
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                _remove(partial)
                partial.mkdir()
                try:
                    build(partial)
                    partial.rename(folder)
                finally:
                    _remove(partial)
    except OSError as error:
        raise HebaeError(
            f"The cache folder {folder} could not be written ({error.strerror or error}): "
            "free some space or set HEBAE_CACHE_DIR to another directory."
        ) from error
    return folder


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock among processes, which the system releases if this process dies."""
    with path.open("ab") as handle:
        if sys.platform == "win32":
            import msvcrt
            import time

            while True:
                try:
                    msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError:
                    time.sleep(0.1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
