"""What `hebae show` tells of a run: settings, history, figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from hebae.config import DataSettings, ModelSettings, TrainingSettings
from hebae.data import load
from hebae.experiments.gallery import Picture, Subject, draw_gallery
from hebae.experiments.measures import measure
from hebae.storage import RunFolder, load_model

__all__ = ["describe", "draw"]

EPOCHS_SHOWN = 12


def describe(path: Path) -> Iterator[RenderableType]:
    """Yield tables of a run's settings and history, for a console."""
    folder = RunFolder(path)
    settings = folder.settings()
    table = Table(title=str(path), title_justify="left", show_header=False, box=None)
    for group in (DataSettings, ModelSettings, TrainingSettings):
        for name in group.model_fields:
            value = getattr(settings, name)
            if value is not None:
                text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
                table.add_row(name, text)
    yield table
    history = folder.history()
    if history:
        yield _history_table(history)
    if not folder.is_finished:
        yield (
            f"Not finished: {len(history)} of {settings.epochs} epochs. Go on with: "
            f"hebae train --resume --output {path}"
        )


def draw(path: Path) -> list[Picture]:
    """Draw the figures of a finished run into its folder; none if it is not finished."""
    folder = RunFolder(path)
    if not folder.is_finished:
        return []
    settings = folder.settings()
    model, _ = load_model(path)
    dataset = load(
        settings.data, data_dir=settings.data_dir, validation_size=settings.validation_size
    )
    history = folder.history()
    numbers = measure(model, settings, dataset, history[-1])
    subject = Subject(model, numbers.covariance)
    return draw_gallery(
        {settings.method: subject}, {settings.method: [history]}, dataset, folder.figures
    )


def _history_table(history: list[dict[str, Any]]) -> Table:
    held_out = "held_out" in history[-1]
    split = history[-1].get("held_out_split", "")
    names = list(history[-1]["train"])
    table = Table(title="nats per example", title_justify="left")
    table.add_column("epoch", justify="right")
    for name in names:
        table.add_column(f"{name}\ntrain", justify="right")
        if held_out:
            table.add_column(f"{name}\n{split}", justify="right")
    for record in _spread(history):
        cells = [str(record["epoch"])]
        for name in names:
            cells.append(_number(record["train"], name))
            if held_out:
                cells.append(_number(record["held_out"], name))
        table.add_row(*cells)
    return table


def _number(terms: Mapping[str, float | None], name: str) -> str:
    value = terms.get(name)
    return "–" if value is None else f"{value:.2f}"


def _spread(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `EPOCHS_SHOWN` records, the first and the last among them."""
    count = min(EPOCHS_SHOWN, len(history))
    if count == 1:
        return history[-1:]
    last = len(history) - 1
    return [history[round(i * last / (count - 1))] for i in range(count)]
