"""``hebae show`` and ``hebae data``: what there is."""

from __future__ import annotations

from pathlib import Path

from hebae.cli.app import app, data_app, out, say, tell


@app.command
def show(run: Path, /) -> int:
    """Show settings, history and figures of a run.

    Parameters
    ----------
    run
        Run folder, finished or not.
    """
    from hebae.experiments import overview

    for part in overview.describe(run):
        out.print(part)
    for picture in overview.draw(run):
        say(f"{picture.title}: {picture.path}")
    return 0


@data_app.command(name="list")
def list_data(*, data_dir: Path | None = None) -> int:
    """List the data sets that have a name, and where they are on this machine.

    Parameters
    ----------
    data_dir
        Folder that holds data files [env: HEBAE_DATA_DIR].
    """
    from rich.table import Table

    from hebae.data import catalogue

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "examples", "shape", "licence", "where"):
        table.add_column(heading)
    for source in catalogue(data_dir):
        counts = "\n".join(f"{count:,} {split}" for split, count in source.counts.items())
        shape = " x ".join(map(str, source.shape))
        place = "" if source.location is None else f": {source.location}"
        where = f"{source.availability}{place}"
        table.add_row(f"[bold]{source.name}[/]", counts, shape, source.licence, where)
    out.print(table)
    out.print("A path will do as well: .npy, .npz, a folder, .tar or .zip of images, idx files.")
    return 0


@data_app.command(name="prepare")
def prepare_data(data: str, /, *, data_dir: Path | None = None) -> int:
    """Download, check, decode and cache a data set, so that training starts at once.

    Parameters
    ----------
    data
        Name or path.
    data_dir
        Folder that holds data files [env: HEBAE_DATA_DIR].
    """
    from hebae.data import prepare

    dataset = prepare(data, data_dir=data_dir)
    tell(dataset.notes)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in splits.items() if part)
    out.print(
        f"{dataset.name}: {sizes}; examples of shape {dataset.shape}, range {dataset.train.range}",
        highlight=False,
    )
    return 0
