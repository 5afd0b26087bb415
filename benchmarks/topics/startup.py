"""Time to import `hebae` and to print its help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from results import Aim, Effort, Result
from turns import clocked, take_turns

TEXT = """\
Whole processes, timed from outside. "Minus" subtracts the time of a Python process that does
nothing, or that imports only what is needed in any case. The first run of each command, which fills
the disk cache, is left out."""

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import hebae": ["-c", "import hebae"],
    "hebae --help": ["-m", "hebae", "--help"],
    "hebae train --help": ["-m", "hebae", "train", "--help"],
    "import torch, sklearn.base": ["-c", "import torch, sklearn.base"],
    "from hebae import HEBAE": ["-c", "from hebae import HEBAE"],
}


def measure(effort: Effort) -> Result:
    """Time the commands in turn."""
    for arguments in COMMANDS.values():
        _run(arguments)()
    readings = take_turns(
        {name: clocked(_run(arguments)) for name, arguments in COMMANDS.items()},
        effort.share(0.4),
        "start-up",
    )

    def beyond(name: str, reference: str) -> list[float]:
        return [a - b for a, b in zip(readings[name], readings[reference], strict=True)]

    return Result(
        title="Start-up",
        text=TEXT,
        aims=[
            Aim(
                "`import hebae`, minus Python's own start",
                "s",
                beyond("import hebae", "python -c pass"),
                0.2,
            ),
            Aim("`hebae --help`", "s", readings["hebae --help"], 0.6),
            Aim(
                "`from hebae import HEBAE`, minus torch and sklearn.base",
                "s",
                beyond("from hebae import HEBAE", "import torch, sklearn.base"),
            ),
        ],
        readings=readings,
        readings_title="per process",
    )


def _run(arguments: list[str]) -> Callable[[], object]:
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
