"""Hostile files: seeded mutations of valid ones of every kind that hebae reads.

As a program, `python hostile.py FOLDER SEED FIRST COUNT`, it reads so many mutated files and prints
one line of JSON; a process of its own, since what it looks for could end it.
"""

from __future__ import annotations

import ast
import faulthandler
import gzip
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from valid_files import Kind, kinds_of_data, kinds_of_runs

from hebae.errors import HebaeError

SECONDS = 20
"""In which every file must be read or refused."""
MEMORY = 2**29
"""Bytes by which reading a file of some kilobytes may raise the largest use of memory."""
MARK = "exploited"
"""Name of the file that code in a mutated file would create."""


class Bomb:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARK}",)


# ---- mutations ----------------------------------------------------------------------------------

OUTSIDE = ["../../evil.png", "/tmp/evil.png", "a\nb.png", "x/../y.png"]
EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
WORDS = [
    *(b"", b"NaN", b"-1", b"1e999", b"-0", b"null", b"true", b"[]", b"{}", b'"', b"\0", b"\n\n"),
    *(b"9" * 5000, b"[" * 5000, b"{" * 5000, b'[{"a":' * 20000, b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"2001-99-99", b"!!int x", b"!!python/object/apply:os.system [touch exploited]"),
    *(b"&a [*a, *a]", b"../" * 30 + b"etc/passwd", b"a" * 10**5, b"1:59:59" + b":59" * 3000),
    *("\u202e\U0001f600".encode(), b"0x" + b"f" * 6000, b"<<: *a", b"Infinity", b"(True, 36)"),
]


def mutate(content: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Change one thing in a file, or up to four."""
    for _ in range(1 if rng.random() < 0.6 else int(rng.integers(2, 5))):
        content = _change(bytearray(content), others, rng)
    return content


def _change(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytes:
    size = max(1, len(content))
    # Half of the changes are near the beginning, where most formats say what follows.
    place = int(rng.integers(0, min(size, 200) if rng.random() < 0.5 else size))
    length = int(rng.integers(1, 2 + size // 4))
    match int(rng.integers(0, 11)):
        case 0 | 1 if content:
            content[place] ^= 1 << int(rng.integers(0, 8))
        case 2:
            content[place : place + length] = rng.bytes(min(length, 64))
        case 3 | 4:
            width = int(rng.choice([1, 2, 4, 8]))
            value = EXTREMES[int(rng.integers(0, len(EXTREMES)))] % 2 ** (8 * width)
            order = "little" if rng.random() < 0.5 else "big"
            content[place : place + width] = value.to_bytes(width, order)
        case 5:
            del content[place:]
        case 6:
            del content[place : place + length]
        case 7:
            content[place:place] = content[:length]
        case 8:
            content[place:place] = WORDS[int(rng.integers(0, len(WORDS)))]
        case 9:  # in place of a number or word, where the file is text
            tokens = list(re.finditer(rb"[\w.+-]+", bytes(content[:20_000])))
            if tokens:
                begin, end = tokens[int(rng.integers(0, len(tokens)))].span()
                content[begin:end] = WORDS[int(rng.integers(0, len(WORDS)))]
        case 10:
            other = others[int(rng.integers(0, len(others)))]
            content[place:] = other[min(place, len(other)) :]
    return bytes(content)


def mutated_members(content: bytes, rng: np.random.Generator) -> bytes:
    """Change what is in a zip file, so that its checksums are right and its content is not."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    chosen, stream = int(rng.integers(0, len(members))), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as new:
        for number, (info, part) in enumerate(members):
            name = info.filename
            if number == chosen:
                part = mutate(part, [part], rng)
                if rng.random() < 0.1:
                    name = str(
                        rng.choice(["../../evil.png", "/tmp/evil.png", "a\nb.png", "x/../y"])
                    )
            new.writestr(name, part, info.compress_type)
    return stream.getvalue()


def mutated_state(content: bytes, rng: np.random.Generator) -> bytes:
    """Put values of other kinds into a checkpoint, now and then code."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    values: list[Any] = [None, -1, 2**62, 1e308, "x", [], {}, [None], torch.zeros(0), (1, 2)]
    values += [torch.zeros(1).expand(2**40), torch.full((3,), float("nan")), Bomb(), float("nan")]
    part: Any = state
    while True:
        keys = list(part) if isinstance(part, dict) else range(len(part))
        key = keys[int(rng.integers(0, len(keys)))]
        inner = part[key]
        deeper = isinstance(inner, dict | list) and len(inner) > 0
        if not deeper or rng.random() < 0.3:
            part[key] = values[int(rng.integers(0, len(values)))]
            break
        part = inner
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def hostile(kind: Kind, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Return a mutated file of a kind."""
    content = kind.files[kind.target]
    if content[:4] == b"PK\3\4" and rng.random() < 0.6:
        is_state = kind.target == "resume.pt" and rng.random() < 0.7
        return (mutated_state if is_state else mutated_members)(content, rng)
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.6:
        return gzip.compress(mutate(gzip.decompress(content), others, rng), 1)
    return mutate(content, others, rng)


# ---- the harness --------------------------------------------------------------------------------


class TookTooLong(BaseException):
    """Not an Exception, so that no reader takes it for a damaged file."""


def attempt(kind: Kind, content: bytes, folder: Path) -> str:
    """Read a file in a new folder: "read", "refused", or what must not happen."""
    sandbox = folder / "sandbox"
    shutil.rmtree(sandbox, ignore_errors=True)
    sandbox.mkdir(parents=True)
    for name, other in kind.files.items():
        (sandbox / name).write_bytes(content if name == kind.target else other)

    def stop(*_: object) -> None:
        raise TookTooLong

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(sandbox)
        outcome = "read"
    except HebaeError as error:
        text = str(error)
        outcome = "refused" if 10 < len(text) < 3000 and "Traceback" not in text else f"says {text}"
    except TookTooLong:
        outcome = "hangs"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > MEMORY:
        outcome = f"takes {grown / 1e6:,.0f} MB"
    if list(folder.rglob(MARK)) or Path(MARK).exists():
        outcome = "runs code"
    foreign = {path.name for path in folder.iterdir()} - {"sandbox", "cache", "run"}
    if foreign or Path("/tmp/evil.png").exists():
        outcome = "writes outside of its folder"
    return outcome


def run(
    folder: Path, seed: int, first: int, count: int, log: Callable[[str], object]
) -> dict[str, Any]:
    """Read mutated files number `first` to `first + count - 1`, of all kinds in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HEBAE_CACHE_DIR"] = str(folder / "cache")
    os.chdir(folder)
    shutil.rmtree(folder / "run", ignore_errors=True)
    kinds = kinds_of_data() | kinds_of_runs(folder / "run")
    names = list(kinds)
    everything = [kind.files[kind.target] for kind in kinds.values()]
    for name, kind in kinds.items():
        outcome = attempt(kind, kind.files[kind.target], folder)
        assert outcome == "read", f"{name} unchanged: {outcome}"
    counts: dict[str, dict[str, int]] = {name: {"read": 0, "refused": 0} for name in names}
    failures = []
    started = time.monotonic()
    for number in range(first, first + count):
        name = names[number % len(names)]
        rng = np.random.default_rng([seed, number])
        log(f"{number} {name}")
        outcome = attempt(kinds[name], hostile(kinds[name], rng, everything), folder)
        if outcome in counts[name]:
            counts[name][outcome] += 1
        else:
            failures.append([number, name, outcome])
        if number % 200 == 0:
            shutil.rmtree(folder / "cache", ignore_errors=True)
    seconds = round(time.monotonic() - started, 1)
    return {"counts": counts, "failures": failures, "seconds": seconds}


if __name__ == "__main__":
    faulthandler.enable()
    place = Path(sys.argv[1]).absolute()
    numbers = [ast.literal_eval(word) for word in sys.argv[2:5]]
    place.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.log").open("w") as progress:

        def note(text: str) -> None:
            progress.seek(0)
            progress.write(text + "\n")
            progress.truncate()
            progress.flush()

        print(json.dumps(run(place, *numbers, note)))
