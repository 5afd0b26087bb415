"""Run the how-to pages, and make their pictures.

    python tools/how_to.py [PAGE...]

follows the pages of ``docs/how-to`` (all, or those named) in an empty folder each, and copies the
pictures that a page shows to ``docs/how-to/pictures``. The tests use fewer epochs.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"\]\((pictures/(\w+)-([\w-]+\.png))\)")


def follow(
    page: Path, command: Callable[[Sequence[str]], None], epochs: int | None = None
) -> dict[str, Any]:
    """Run the blocks of a page in the working directory; return Python's variables.

    Parameters
    ----------
    page : Path
    command : callable
        Takes the words of a command line after "hebae", and raises an error if it fails.
    epochs : int, optional
        In place of what the page says.
    """
    text = page.read_text(encoding="utf-8")
    if epochs is not None:
        text = re.sub(r"(--epochs |epochs=)\d+", rf"\g<1>{epochs}", text)
    variables: dict[str, Any] = {}
    for language, block in _BLOCK.findall(text):
        if language == "python":
            exec(compile(block, page.name, "exec"), variables)
            continue
        for line in block.splitlines():
            program, *words = shlex.split(line, comments=True)
            if program == "hebae":
                command(words)
            elif program != "pip":
                raise ValueError(f"{page.name} calls {program}: {line}")
    return variables


def main() -> None:
    """Follow pages as they are written, and copy their pictures."""
    import matplotlib as mpl

    mpl.use("Agg")

    def command(words: Sequence[str]) -> None:
        subprocess.run([sys.executable, "-m", "hebae", *words], check=True)

    shows = {path.stem: _PICTURE.search(path.read_text("utf-8")) for path in PAGES.glob("*.md")}
    names = sys.argv[1:] or sorted(name for name, picture in shows.items() if picture)
    for page in (PAGES / f"{name}.md" for name in names):
        with TemporaryDirectory() as folder:
            os.chdir(folder)
            follow(page, command)
            for target, prefix, name in _PICTURE.findall(page.read_text(encoding="utf-8")):
                (PAGES / "pictures").mkdir(exist_ok=True)
                copyfile(next(Path(folder).rglob(name)), PAGES / target)
                print(target, "of", prefix)
            os.chdir(PAGES)


if __name__ == "__main__":
    main()
