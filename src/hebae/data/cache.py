"""The cache directory: folders that are made once, downloads, a progress bar for the wait."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hebae.errors import HebaeError
from hebae.files import require_folder, why

_TIMEOUT_SECONDS = 20
_LEAST_RATE, _RATE_SECONDS = 2000, 30
"""Bytes per second, over so many seconds, below which a server is left for the next one. A modem of
56 kbit/s has three times as many; MNIST would take 100 minutes."""
_MOST_BYTES = 2**28
"""Bytes after which a server is left: the largest file, the weights of Inception, has 91 MiB."""


def cache_dir() -> Path:
    """Return HEBAE_CACHE_DIR if set, otherwise the platform's cache directory for hebae."""
    import platformdirs

    chosen = os.environ.get("HEBAE_CACHE_DIR")
    try:
        return Path(chosen or platformdirs.user_cache_dir("hebae")).expanduser()
    except RuntimeError:
        reason = f"HEBAE_CACHE_DIR is {chosen}, but that" if chosen else "The current"
        raise HebaeError(
            f"{reason} user's home directory is unknown: set HEBAE_CACHE_DIR to the full path of a "
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

    require_folder(cache_dir(), "the cache folder HEBAE_CACHE_DIR")
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


def download(
    name: str, sha256: Mapping[str, str], mirrors: Sequence[str], folders: Sequence[str]
) -> Path:
    """Download the files of a data set into the folder `name` of the cache, all or none.

    The checksums are `sha256` by file name. HEBAE_MIRROR is tried first, with the files in one of
    `folders`, then the `mirrors`: addresses to which the name of a file is added.

    Raises
    ------
    HebaeError
        If no address has a file with its checksum.
    """
    copy = os.environ.get("HEBAE_MIRROR")
    copies = [f"{copy.rstrip('/')}/{folder}" for folder in folders] if copy else []
    addresses = [address.rstrip("/") + "/" for address in (*copies, *mirrors)]

    def build(folder: Path) -> None:
        for file, checksum in sha256.items():
            with progress(f"{name}: {file}", total=None):
                _fetch(file, checksum, addresses, folder)

    return cached_folder(name, build)


class _MirrorError(Exception):
    """Why a file cannot be had from an address."""


def _fetch(file: str, checksum: str, addresses: Sequence[str], folder: Path) -> None:
    import pooch

    def write(url: str, path: str, _: object) -> None:
        with Path(path).open("wb") as copy:
            for part in _received(url):
                copy.write(part)

    pooch.get_logger().setLevel("WARNING")
    failures = []
    for address in addresses:
        try:
            pooch.retrieve(
                address + file, f"sha256:{checksum}", file, path=folder, downloader=write
            )
        except _MirrorError as error:
            failures.append(f"{address}: {error}")
        except ValueError:  # what pooch raises for a checksum
            failures.append(f"{address}: a file with another SHA-256")
        else:
            return
    raise HebaeError(
        f"{file} (SHA-256 {checksum}) could not be downloaded ({', '.join(failures)}): put it into "
        "a directory that --data-dir or HEBAE_DATA_DIR names, or set HEBAE_MIRROR to a server that "
        "has it."
    )


def _received(url: str) -> Iterator[bytes]:
    """Give the content at an address as it arrives; whatever goes wrong is a `_MirrorError`."""
    import requests
    from requests.exceptions import ProxyError, SSLError
    from urllib3 import exceptions as transfer

    # Some servers would otherwise add a second gzip.
    headers = {"Accept-Encoding": "identity"}
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS, headers=headers) as response:
            if not response.ok:
                raise _MirrorError(str(response.status_code))
            count = recent = 0
            begin = time.monotonic()
            while part := response.raw.read1(2**16):  # waits for one byte, not for all
                count += len(part)
                if count > _MOST_BYTES:
                    raise _MirrorError(f"more than {_MOST_BYTES:,} bytes")
                recent += len(part)
                seconds = time.monotonic() - begin
                if seconds > _RATE_SECONDS:
                    if recent < _LEAST_RATE * seconds:
                        raise _MirrorError(f"less than {_LEAST_RATE:,} bytes per second")
                    recent, begin = 0, time.monotonic()
                yield part
    except (ProxyError, SSLError) as error:
        raise _MirrorError(type(error).__name__) from error
    except (
        requests.ConnectionError,
        requests.Timeout,
        transfer.ProtocolError,
        transfer.TimeoutError,
    ) as error:
        raise _MirrorError("no answer") from error
    except (OSError, ValueError, transfer.HTTPError) as error:  # as of a wrong REQUESTS_CA_BUNDLE
        raise _MirrorError(why(error).rstrip(".")) from error
