"""Runs are claimed by files, so that machines that share a folder do no work twice.

A claim is ``NAME.lock`` beside the run's folder. Only one process can create it (``O_EXCL``), and
it touches it every minute; a lock that nobody touched for a quarter of an hour, or whose process
is known to be gone, is abandoned and taken over. Ages are told by the clock of the shared folder.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from hebae.errors import HebaeError

__all__ = ["claim", "holder"]

BEAT = 60.0
"""Seconds between signs of life."""
STALE = 15 * 60.0
"""Seconds without one, after which a claim is abandoned."""


@contextmanager
def claim(root: Path, names: Sequence[str]) -> Iterator[list[str]]:
    """Claim as many of the runs as are free, until the block ends.

    Parameters
    ----------
    root : Path
        Folder of the runs.
    names : sequence of str
        Of the runs that are wanted.

    Yields
    ------
    list of str
        Those that are now this process's own.

    Raises
    ------
    HebaeError
        If the folder cannot be written.
    """
    owner = _owner()
    held = [name for name in names if _take(_lock(root, name), owner)]
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(root, held, over), daemon=True)
    heart.start()
    try:
        yield held
    finally:
        over.set()
        heart.join()
        for name in held:
            with suppress(OSError):
                if _lock(root, name).read_bytes() == owner:  # and not another's, that took it over
                    _lock(root, name).unlink()


def holder(root: Path, name: str) -> str:
    """Return who holds a run's claim, for a person to read; "" if nobody does."""
    try:
        owner = json.loads(_lock(root, name).read_bytes())
        return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _lock(root: Path, name: str) -> Path:
    return root / f"{name}.lock"


def _owner() -> bytes:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    owner = {"host": platform.node(), "boot": _boot(), "pid": os.getpid(), "since": since}
    return json.dumps(owner | {"token": uuid4().hex}).encode()


def _boot() -> str:
    """Tell apart machines of one name, where the system can; "" elsewhere."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _take(lock: Path, owner: bytes) -> bool:
    for _ in range(2):
        try:
            with lock.open("xb") as file:
                file.write(owner)
            return True
        except FileExistsError:
            try:
                seen = _abandoned(lock)
            except FileNotFoundError:
                continue  # it has just been given up
            if seen is None:
                return False
            _remove(lock, seen)
        except OSError as error:
            raise HebaeError(
                f"cannot claim runs in {lock.parent}: {error.strerror}; name an --output that you "
                "may write to."
            ) from None
    return False


def _abandoned(lock: Path) -> bytes | None:
    """Return the content of a lock that nobody stands behind any more, or None."""
    seen, touched = lock.read_bytes(), lock.stat().st_mtime
    try:
        owner = json.loads(seen)
        here = (owner["host"], owner["boot"]) == (platform.node(), _boot())
        if here and not _is_alive(owner["pid"]):
            return seen
    except (ValueError, KeyError, TypeError):
        pass  # perhaps it is just being written
    with tempfile.NamedTemporaryFile(dir=lock.parent, prefix=".clock-") as now:
        return seen if Path(now.name).stat().st_mtime - touched > STALE else None


def _remove(lock: Path, seen: bytes) -> None:
    """Remove an abandoned lock, unless another process has just made it its own."""
    aside = lock.with_name(f".{lock.name}.{uuid4().hex}")
    with suppress(FileNotFoundError):
        lock.rename(aside)
        if aside.read_bytes() != seen:
            with suppress(FileExistsError):
                os.link(aside, lock)
        aside.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's
    return True


def _beat(root: Path, held: Sequence[str], over: threading.Event) -> None:
    while not over.wait(BEAT):
        for name in held:
            with suppress(OSError):
                os.utime(_lock(root, name))
