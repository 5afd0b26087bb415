"""The figures of one run, for ``hebae show``."""

from __future__ import annotations

from pathlib import Path

from hebae.data import load
from hebae.experiments.gallery import Picture, Subject, draw_gallery
from hebae.experiments.measures import measure
from hebae.storage import RunFolder, load_model

__all__ = ["draw"]


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
