"""Files and folders: written whole or not at all, read within limits, named as the user did."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, BinaryIO

from hebae.errors import FolderError, HebaeError

MOST_TEXT = 2**27
"""Bytes of the largest text file that is read whole."""
MOST_LEVELS = 100
"""Lists within lists in a JSON or YAML file."""
MOST_VALUES = 10**7
"""Letters and values of the largest content of a JSON or YAML file, written out without aliases."""


# Reading ----------------------------------------------------------------------------------------


def require_file(path: Path) -> os.stat_result:
    """Return the status of a file that can be read.

    Raises
    ------
    HebaeError
        If there is none, it is a pipe or device, whose reader might wait for ever, or it may not be
        read.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
            return status
    except (OSError, ValueError) as error:
        raise HebaeError(f"{path} cannot be read ({why(error, path)}).") from None
    if stat.S_ISDIR(status.st_mode):
        raise HebaeError(f"{path} is a folder; a file is needed.")
    raise HebaeError(f"{path} is a pipe, socket or device; a regular file is needed.")


def why(error: Exception, path: Path | None = None) -> str:
    """Return the reason of an error in a few words, with the owner of what may not be read."""
    reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0]
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    if isinstance(error, PermissionError) and path is not None:
        with suppress(OSError, KeyError, NotImplementedError, ImportError):
            reason = f"{reason}: it belongs to the user {path.owner()}"
    return shortened(reason or type(error).__name__, 200)


def shortened(text: str, most: int = 100) -> str:
    """Cut a text that is part of a message."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn whatever a parser raises into one sentence that ends with `remedy`.

    Damaged and hostile files make parsers raise errors of all kinds, so that no list is complete.
    The block should do nothing but parse.
    """
    require_file(path)
    try:
        yield
    except HebaeError:
        raise
    except MemoryError:
        raise HebaeError(f"{path} needs more memory than there is: {remedy}.") from None
    except Exception as error:
        raise HebaeError(f"{path} cannot be read ({why(error, path)}): {remedy}.") from error


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """Return the content of a regular file of at most so many bytes; see `require_file`."""
    size = require_file(path).st_size
    if size > most:
        raise HebaeError(f"{path} has {size:,} bytes, but at most {most:,} can be read.")
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise HebaeError(f"{path} cannot be read ({why(error, path)}).") from None


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """Return the text of a file in UTF-8; see `read_bytes`."""
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise HebaeError(f"{path} is not text in UTF-8 ({error.reason}); restore it.") from None


def read_json(path: Path, remedy: str, kind: type = dict) -> Any:
    """Return the content of a JSON file, an object by default.

    Raises
    ------
    HebaeError
        If it is not a JSON file or holds another kind of value; the message ends with `remedy`.
    """
    with reading(path, remedy):
        content = require_plain(json.loads(read_text(path)))
        if not isinstance(content, kind):
            raise ValueError(f"it holds a {type(content).__name__}, not a {kind.__name__}")
        return content


def require_plain(content: Any, most: int = MOST_VALUES) -> Any:
    """Return the content of a JSON or YAML file, if a program can print and compare it.

    Raises
    ------
    ValueError
        If it is nested too deeply, its aliases stand for too many values (a "billion laughs"), or a
        whole number has more than 64 bits.
    """
    size, waiting = 0, [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        size += 1 + (len(value) if isinstance(value, str | bytes) else 0)
        if size > most:
            raise ValueError("it is too large")
        if depth > MOST_LEVELS:
            raise ValueError("it is nested too deeply")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("it holds a whole number of more than 64 bits")
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for item in value.items() for part in item]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, depth + 1) for part in value]
    return content


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits; see `require_file`."""
    require_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HebaeError(f"{path} cannot be read ({why(error, path)}).") from None


most_unpacked: ContextVar[int | None] = ContextVar("most_unpacked", default=None)
"""Bytes that a file may take in memory, or None for no limit; set for uploaded files."""


def require_allowed(size: int, what: str) -> None:
    """Raise a HebaeError if `what` would take more bytes than `most_unpacked` allows."""
    most = most_unpacked.get()
    if most is not None and size > most:
        raise HebaeError(
            f"{what} would take {size / 2**20:,.0f} MiB in memory, but at most "
            f"{most / 2**20:,.0f} MiB are allowed; give fewer or smaller examples."
        )


def require_memory(size: int, what: str) -> None:
    """Raise a HebaeError if `what` would take more bytes than are free, or than is allowed."""
    import psutil

    require_allowed(size, what)
    free = psutil.virtual_memory().available
    if size > free:
        raise HebaeError(
            f"{what} would take {size / 1e9:,.1f} GB, but only {free / 1e9:,.1f} GB of memory are "
            "free. Use smaller data, or free some memory."
        )


class Decompressed(io.RawIOBase):
    """A stream that a decompressor reads from a file, of which at most `most` bytes are taken.

    A few bytes can stand for terabytes: what a file says of its size is not believed.
    """

    def __init__(self, stream: IO[bytes], path: Path, most: int) -> None:
        self.stream, self.path, self.most = stream, path, most

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self.stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        if whence == io.SEEK_SET:
            self._require(offset)
        return self.stream.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        content = self.stream.read(min(len(buffer), 2**20))  # and look, before more is taken
        self._require(self.stream.tell())
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the stream as well."""
        self.stream.close()
        super().close()

    def _require(self, position: int) -> None:
        require_allowed(position, str(self.path))
        if position > self.most:
            raise HebaeError(
                f"{self.path} takes more than {self.most / 1e9:,.1f} GB when it is decompressed: "
                "decompress it yourself, if that is what it should be."
            )


def decompressed(stream: IO[bytes], path: Path, most: int | None = None) -> BinaryIO:
    """Limit what comes out of a compressed file, by default to the free memory."""
    import psutil

    most = int(psutil.virtual_memory().available) if most is None else most
    return io.BufferedReader(Decompressed(stream, path, most), 2**18)


# Writing ----------------------------------------------------------------------------------------


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then rename; leave nothing on failure.

    Raises
    ------
    HebaeError
        If the folder is missing or read-only, or the disk is full.
    """
    temporary = path.with_name(_temporary_name(path.name))

    def write_and_rename() -> None:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut could leave the new name on an empty file
        temporary.replace(path)

    try:
        try:
            write_and_rename()
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise
            write_and_rename()  # another process took it for one that a killed process left
    except OSError as error:
        raise FolderError(f"cannot write {path}: {_disk_reason(error, path.parent)}") from error
    finally:
        with suppress(OSError):  # on a read-only disk even this fails, and would hide the reason
            temporary.unlink()


def _temporary_name(name: str) -> str:
    """Return a hidden name for what this process writes, of at most 255 bytes as systems allow."""
    end = f".{os.getpid()}.tmp"
    return f".{os.fsdecode(os.fsencode(name)[: 254 - len(end)])}{end}"


def _disk_reason(error: OSError, folder: Path) -> str:
    """Say why something cannot be written, and what to do."""
    number, reason = error.errno, error.strerror or str(error)
    if number is None:  # numpy tells how many bytes it has written, but not why
        with suppress(OSError):
            if shutil.disk_usage(folder).free < 2**20:
                number, reason = errno.ENOSPC, os.strerror(errno.ENOSPC)
    remedies = {
        errno.ENOSPC: "Free some space.",
        errno.EDQUOT: "Free some space.",
        errno.ENAMETOOLONG: "Give a shorter name.",
    }
    return f"{reason}. {remedies.get(number or 0, 'Choose a folder that you may write to.')}"


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, see `write_atomically`; names of files may hold other bytes."""
    content = text.encode("utf-8", "replace")
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def expand(path: str | os.PathLike[str], source: str = "") -> Path:
    """Return the path with ``~`` replaced by the home folder; `source` names it in messages.

    Raises
    ------
    HebaeError
        If the home folder is not known, or the system cannot look the path up.
    """
    name = source or (shortened(os.fspath(path)) if isinstance(path, str | os.PathLike) else "")
    try:
        expanded = Path(path).expanduser()
        expanded.exists()  # raises for a name that is too long, and below a forbidden folder
        return expanded
    except (OSError, ValueError) as error:
        raise HebaeError(
            f"{name} cannot be looked up ({why(error, Path(path))}): check the name."
        ) from None
    except RuntimeError:
        raise HebaeError(
            f"{name} begins with ~, but the home folder is not known; give the full path."
        ) from None
    except TypeError:
        raise HebaeError(f"{path!r} is not a path; give a str or a Path.") from None


def require_folder(path: Path, name: str = "the folder") -> None:
    """Raise a HebaeError if a path that is to be a folder, or one above it, is a file."""
    for part in (path, *path.parents):
        if part.exists() or part.is_symlink():
            if not part.is_dir():
                within = "" if part == path else f" is within {part}, which"
                raise HebaeError(f"{name} {path}{within} is a file; name a folder.")
            return


def make_folder(path: Path, name: str = "the folder") -> None:
    """Create a folder and its parents, unless it exists; if that fails, a HebaeError names it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise HebaeError(f"{name} {path} is a file; name a folder.") from None
    except OSError as error:
        raise FolderError(
            f"cannot create {name} {path}: {_disk_reason(error, path.parent)}"
        ) from None
