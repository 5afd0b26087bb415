"""Pages of results, made wholly from the JSON files beside them.

``NAME.md`` for each ``NAME.json`` in a folder, and ``README.md`` with all claims; and the numbers
that other files hold between markers (`excerpts`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
COUNTED = {
    "holds": "hold",
    "holds in part": "hold in part",
    "does not hold": "do not hold",
    "cannot be told": "cannot be told",
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
    """Return a page with every claim and its verdict, the paper's first, to be read in a minute."""
    parts = [
        "# The paper, reproduced",
        "Made by `hebae reproduce`. What was done, figures and all numbers are on the pages "
        "of the studies. The budget `smoke` shows that all works, and tells nothing of the claims.",
    ]
    for whose, heading in WHOSE.items():
        found = [
            (claim, f"[{values['study']}]({name}.md), {values['budget']}")
            for name, values in stored.items()
            for claim in values["claims"]
            if claim["whose"] == whose
        ]
        if found:
            counts = Counter(claim["verdict"] for claim, _ in found)
            told = "; ".join(f"{words}: {counts[v]}" for v, words in COUNTED.items() if counts[v])
            parts += [f"## {heading}", f"Of {len(found)}, {told}.", _claims(found, "study, budget")]
    return "\n\n".join(parts) + "\n"


def page(values: Mapping[str, Any]) -> str:
    """Return the Markdown page of a study from its JSON."""
    origin = values["provenance"]
    cost = (
        f"Here: budget `{values['budget']}`, {origin['runs']} runs of {origin['epochs']} epochs, "
        f"seeds {origin['seeds']}; data: {origin['data']}."
    )
    parts = [f"# {values['title']}", f"{values['paper']}\n\n{cost}"]
    for whose, heading in WHOSE.items():
        claims = [(claim, "") for claim in values["claims"] if claim["whose"] == whose]
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


def _claims(claims: Iterable[tuple[Mapping[str, Any], str]], last: str = "") -> str:
    """Tabulate claims, each with what stands in the last column, if that has a heading."""
    head, rule = ("| claim | found | verdict |", "| :-- | :-- | :-- |")
    lines = [f"{head} {last} |", f"{rule} :-- |"] if last else [head, rule]
    for c, place in claims:
        found = _cell(said(c["found"], c["numbers"]))
        line = f"| {_cell(c['says'])} | {found} | **{c['verdict']}** |"
        lines.append(f"{line} {place} |" if last else line)
    return "\n".join(lines)


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
