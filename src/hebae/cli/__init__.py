"""The command line: parse, call one function, print.

torch and whatever needs it are imported by the commands, within their functions: ``hebae --help``
stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import CycloptsError
from pydantic import ValidationError
from rich.markup import escape

from hebae.cli import (  # noqa: F401  they register their commands
    evaluate,
    generate,
    inspect,
    reproduce,
    sweep,
    train,
)
from hebae.cli.app import app, told
from hebae.config import explain
from hebae.errors import HebaeError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; exit with a command's status, 2 for an error, 130 for Ctrl-C."""
    try:
        status = app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(_explain_parsing(error))
    except HebaeError as error:
        _fail(str(error))
    except MemoryError:
        _fail("there is not enough memory for that; ask for fewer or smaller examples.")
    except KeyboardInterrupt:
        told.print("Interrupted.")
        sys.exit(130)
    sys.exit(status or 0)


def _fail(message: str) -> NoReturn:
    told.print(f"[bold red]Error:[/] {escape(message)}", highlight=False)
    sys.exit(2)


def _explain_parsing(error: CycloptsError) -> str:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return str(explain(cause, "the flags"))
    advice = " hebae --help and hebae COMMAND --help list what there is."
    return " ".join(str(error).split()) + advice
