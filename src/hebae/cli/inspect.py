"""``hebae show`` and ``data``: look at runs and data sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from rich.table import Table

from hebae.cli.app import app, data_app, out, say, tell, wrapped
from hebae.methods import METHODS

WIDEST = 200
"""Letters of a line of terms: more than those of any method."""
EPOCHS_SHOWN = 12


@app.command
def show(run: Path, /) -> int:
    """Show settings, history and figures of a run.

    Parameters
    ----------
    run
        Run folder, finished or not.
    """
    from hebae.experiments.report import report_run
    from hebae.run_folder import RunFolder

    folder = RunFolder(run)
    settings = folder.settings()
    say(f"{run}")
    options = {name for method in METHODS.values() for name in method.options}
    unused = options - METHODS[settings.method].options.keys()
    for name, value in settings:
        if value not in (None, (), "") and name not in unused:
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            say(f" {name:17} {text}")
    history = folder.history()
    if history:
        units = METHODS[settings.method].units
        terms = history[-1]["train"]
        others = [f"{name}: {units[name] or 'no unit'}" for name in terms if name in units]
        say("; ".join(["Terms of the loss, in nats per example", *others]))
        count = min(EPOCHS_SHOWN, len(history))
        shown = [history[round((i + 1) * len(history) / count) - 1] for i in range(count)]
        for key, split in {"train": "train", "held_out": history[-1].get("held_out_split")}.items():
            if key not in history[-1]:
                continue
            table = Table(title=f"{split} examples", title_justify="left")
            for heading in ("epoch", *terms):
                table.add_column(heading, justify="right")
            for record in shown:
                values = [record.get(key, {}).get(name) for name in terms]
                numbers = ["-" if value is None else f"{value:.2f}" for value in values]
                table.add_row(str(record["epoch"]), *numbers)
            # On a narrow terminal the lines wrap as a whole, not within headings and numbers.
            table.width = out.measure(table, options=out.options.update(width=WIDEST)).maximum
            out.print(table, crop=False)
    if reason := folder.divergence_reason():
        say(f"Diverged: {reason}")
    elif not folder.is_finished:
        say(f"Not finished: {len(history)} of {settings.epochs} epochs. Resume with:")
        say(f"hebae train --resume --output {run}")
    if not os.access(run, os.W_OK):
        tell(f"no figures and no report.html are written, because {run} cannot be written to.")
        return 0
    drawn = report_run(run)
    for path, section in drawn.items():
        say(f"{section.heading}: {path}")
    if drawn:
        say(f"Open {folder.report} in a browser.")
    return 0


@data_app.command(name="list")
def list_data(*, data_dir: Path | None = None) -> int:
    """List the named data sets, and where they are on this machine.

    Parameters
    ----------
    data_dir
        Folder with data files [env: HEBAE_DATA_DIR].
    """
    from hebae.data import catalogue
    from hebae.data.loading import FORMATS

    table = Table(box=None, pad_edge=False)
    table.add_column("name", style="bold")
    for heading in ("examples", "shape", "licence", "where"):
        table.add_column(heading, overflow="fold")
    places = []
    for source in catalogue(data_dir):
        counts = "\n".join(f"{count:,} {split}" for split, count in source.counts.items())
        shape = " x ".join(map(str, source.shape))
        table.add_row(source.name, counts, shape, source.licence, source.availability)
        if source.location is not None:
            places.append(f"{source.name}: {source.location}")
    out.print(table)
    for place in places:
        say(place)
    say(wrapped(f"A path works as well: {'; '.join(kind.content for kind in FORMATS)}."))
    return 0


@data_app.command(name="prepare")
def prepare_data(
    data: str,
    /,
    *,
    data_dir: Path | None = None,
    image_size: tuple[int, ...] | None = None,
    image_mode: Literal["RGB", "L"] | None = None,
    image_background: str | None = None,
    skip_unreadable: bool = False,
) -> int:
    """Download, check, decode and cache a data set before training, with the flags of training.

    Parameters
    ----------
    data
        Name or path.
    data_dir
        Folder with data files [env: HEBAE_DATA_DIR].
    image_size
        Side in pixels of the square that images are cropped and resized to, or width and height.
    image_mode
        Convert images to RGB, or to grey levels (L).
    image_background
        Colour that transparent images are placed on [default: white].
    skip_unreadable
        Leave out image files that cannot be decoded, and list them.
    """
    from hebae.data import prepare

    dataset = prepare(
        data,
        data_dir=data_dir,
        image_size=image_size,
        image_mode=image_mode,
        image_background=image_background,
        skip_unreadable=skip_unreadable,
    )
    tell(*dataset.notes)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in splits.items() if part)
    say(f"{dataset.name}: {sizes}; examples of shape {dataset.shape}, range {dataset.train.range}")
    return 0
