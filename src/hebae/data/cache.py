"""Folders of the cache directory that are made once, and a progress bar for the wait."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hebae.errors import HebaeError


def cache_dir() -> Path:
    """Return HEBAE_CACHE_DIR if set, otherwise the platform's cache directory for hebae."""
    import platformdirs

    chosen = os.environ.get("HEBAE_CACHE_DIR")
    try:
        return Path(chosen or platformdirs.user_cache_dir("hebae")).expanduser()
    except RuntimeError:
        reason = f"HEBAE_CACHE_DIR is {chosen}, whose" if chosen else "The user's"
        raise HebaeError(
            f"{reason} home directory is unknown: set HEBAE_CACHE_DIR to the full path of a "
            "directory for downloads and prepared data."
        ) from None


def cached_folder(name: str, build: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, made by `build` if it does not exist yet.

    `build` fills a temporary folder, which is then renamed: a folder with the final name is
    complete. A lock lets one process build while the others wait for it. A temporary folder found
    while holding the lock was therefore left by a process that died, and is removed.
    """
    folder = cache_dir() / name
    if folder.is_dir():
        return folder
    from filelock import FileLock

    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                try:
                    build(partial)
                    partial.rename(folder)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise HebaeError(
            f"The cache folder {folder} could not be written ({error.strerror or error}): "
            "free some space or set HEBAE_CACHE_DIR to another directory."
        ) from error
    return folder


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Show a bar of `total` steps (None: unknown) while the block runs; yield what advances it.

    Nothing is shown unless standard error is a terminal.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    hidden = not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as bar:
        task = bar.add_task(escape(description), total=total)
        yield lambda steps: bar.advance(task, steps)
