"""The command line: parse, call one function, print.

The commands import torch, and whatever needs it, within their functions, so that ``hebae --help``
is quick.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import ConsumeMultipleError, CycloptsError
from pydantic import ValidationError
from rich.text import Text

from hebae.cli import (  # noqa: F401  register commands
    completion,
    encode,
    experiments,
    explore,
    generate,
    inspect,
    reproduce,
    train,
    tune,
)
from hebae.cli.app import app, err, silence, wrapped
from hebae.config import explain
from hebae.errors import HebaeError, PeerError
from hebae.files import expand
from hebae.report import tables  # noqa: F401  registers how to write what an encoding lacks
from hebae.training.interrupt import Ended, ended_by_signals
from hebae.training.processes import is_supervised


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; exit with a command's status, 2 for an error, 130 for Ctrl-C.

    After SIGTERM the status is 143, after SIGHUP 129.

    In a training with several processes, only the first prints; another one prints its own error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="hebae.replacement")  # of report.tables
    if arguments is not None:  # provenance and messages repeat the command, and so do processes
        sys.argv[1:] = arguments
    status = 2
    try:
        with ended_by_signals():
            words = [_expand_home(word) for word in sys.argv[1:]]
            found = app(words, exit_on_error=False, print_error=False)
        sys.exit(found or 0)
    except KeyboardInterrupt as interrupt:
        err.print(str(interrupt) or "Interrupted.")
        sys.exit(128 + interrupt.number if isinstance(interrupt, Ended) else 130)
    except ConsumeMultipleError as error:
        message = f"{error.keyword} has no value; give one or more."
        if error.argument is not None and (choices := error.argument.get_choices()):
            message = f"{error.keyword} has no value; it takes one or more of {' '.join(choices)}."
    except CycloptsError as error:
        if isinstance(error.__cause__, ValidationError):
            message = str(explain(error.__cause__, "the flags"))
        else:
            message = f"{' '.join(str(error).split())} See hebae --help and hebae COMMAND --help."
    except BrokenPipeError:
        silence(sys.stdout)
        sys.exit(0)
    except (HebaeError, MemoryError, OSError) as error:
        if isinstance(error, HebaeError):
            message, status = str(error), error.status
        elif isinstance(error, MemoryError):
            message = "there is not enough memory; use fewer or smaller examples."
        else:
            what = "read or write" if error.filename is None else f"use {error.filename}"
            message = f"cannot {what}: {error.strerror or error}."
        if is_supervised():  # by a process that prints what is printed here
            err.quiet = isinstance(error, PeerError)
        elif getattr(error, "of_one_process", False):
            err.quiet = False
    text = Text(wrapped(f"Error: {message}"))
    text.stylize("bold red", 0, len("Error:"))
    err.print(text, soft_wrap=True)
    sys.exit(status)


def _expand_home(word: str) -> str:
    """Replace ~ in a path, also in ``--output=~/x``, where the shell leaves it.

    An empty word, as of a variable that is not set, would be the current folder.
    """
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if not value and (equals or not word):
        raise HebaeError(f"an argument is empty{f': {word}' if word else ''}; give a value.")
    return f"{flag}{equals}{expand(value)}" if value.startswith("~") else word
