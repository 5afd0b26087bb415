"""Pages of results, made wholly from the JSON files beside them.

``NAME.md`` for each ``NAME.json`` in a folder, and ``README.md`` with all claims; and the numbers
that other files hold between markers (`excerpts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hebae.errors import HebaeError
from hebae.experiments.reproduction.deviations import DEVIATIONS
from hebae.experiments.reproduction.excerpts import fill_in, said
from hebae.experiments.reproduction.stored_tables import from_json
from hebae.files import write_atomically

__all__ = ["index", "page", "rewrite", "write"]

WHOSE = {
    "paper": "What the paper says, what we found",
    "aim": "What we aimed at, what we found",
    "ours": "What the paper does not say",
}


def rewrite(folder: Path, others: Sequence[Path] = ()) -> dict[Path, str]:
    """Return what each page of a folder, and each other file, should hold; nothing is written.

    Raises
    ------
    HebaeError
        If a file cannot be read, or names a number that is not there.
    """
    stored = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    texts = {folder / f"{name}.md": page(values) for name, values in stored.items()}
    texts[folder / "README.md"] = index(stored)
    return texts | {path: fill_in(_text(path), stored, path) for path in others}


def write(texts: Mapping[Path, str]) -> None:
    """Write what `rewrite` returned."""
    for path, text in texts.items():
        write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))


def index(stored: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a page with every claim and its verdict, to be read in a minute."""
    rows = [
        f"| [{values['study']}]({name}.md) | {values['budget']} | {_cell(claim['says'])} | "
        f"{claim['whose']} | **{claim['verdict']}** |"
        for name, values in stored.items()
        for claim in values["claims"]
    ]
    head = ["| study | budget | claim | whose | verdict |", "| :-- | :-- | :-- | :-- | :-- |"]
    said = (
        "Made by `hebae reproduce`. Whose: the paper's claim; an aim set beforehand; ours, where "
        "the paper says nothing. The numbers are on the pages of the studies. The budget `smoke` "
        "shows that all works, and tells nothing of the claims."
    )
    return "\n\n".join(["# The paper, reproduced", said, "\n".join([*head, *rows])]) + "\n"


def page(values: Mapping[str, Any]) -> str:
    """Return the Markdown page of a study from its JSON."""
    origin = values["provenance"]
    cost = (
        f"Here: budget `{values['budget']}`, {origin['runs']} runs of {origin['epochs']} epochs, "
        f"seeds {origin['seeds']}; data: {origin['data']}."
    )
    parts = [f"# {values['title']}", f"{values['paper']}\n\n{cost}"]
    for whose, heading in WHOSE.items():
        claims = [claim for claim in values["claims"] if claim["whose"] == whose]
        if claims:
            parts += [f"## {heading}", _claims(claims)]
    for figure in values["figures"]:
        name, title = figure["name"], figure["title"]
        shown = f"![{title}]({name}.png)" if not figure["shows_faces"] else "_It shows faces, and "
        if figure["shows_faces"]:
            shown += f"is made on demand: `hebae reproduce {values['study']}`._"
        else:
            shown += f"\n\n[PDF]({name}.pdf)"
        parts += [f"## {title}", shown, figure["caption"]]
    if values["tables"]:
        parts += ["## Numbers", *(from_json(t).to_markdown().strip() for t in values["tables"])]
    if values["notes"]:
        parts += ["## To be known", _list(values["notes"])]
    if values["deviations"]:
        named = [DEVIATIONS[key] for key in values["deviations"]]
        rows = [f"| {d.where} | {_cell(d.what)} | {d.here} |" for d in named]
        parts += [
            "## Deviations",
            "\n".join(["| where | what | here |", "| :-- | :-- | :-- |", *rows]),
        ]
    lines = [f"{name}: {value}" for name, value in origin.items()]
    files = f"All numbers: [JSON]({values['study']}.json), [CSV]({values['study']}.csv)."
    return "\n\n".join([*parts, "## Provenance", files, _list(lines)]) + "\n"


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        f"| {_cell(c['says'])} | {_cell(said(c['found'], c['numbers']))} | **{c['verdict']}** |"
        for c in claims
    ]
    return "\n".join(["| claim | found | verdict |", "| :-- | :-- | :-- |", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_text(path)))
    except ValueError as error:
        raise HebaeError(f"{path} is altered or truncated: {error}; restore it.") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise HebaeError(f"cannot read {path}: {error.strerror}.") from None
