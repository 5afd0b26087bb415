"""Estimators from folders."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from torch import nn

from hebae.config import Settings
from hebae.estimator.base import Estimator, copied
from hebae.estimator.methods import ESTIMATORS
from hebae.samplers import read_samplers
from hebae.storage import RunFolder, load_model

__all__ = ["load"]


def load(
    folder: str | Path, *, encoder: nn.Module | None = None, decoder: nn.Module | None = None
) -> Estimator:
    """Read a model that `Estimator.save` or ``hebae train`` wrote.

    Parameters
    ----------
    folder : str or Path
    encoder, decoder : nn.Module, optional
        For a model with networks of your own: modules of the same architecture.

    Raises
    ------
    HebaeError
        If the folder holds no model, or one that is truncated, altered or of another architecture.
    """
    model, config = load_model(Path(folder), encoder=copied(encoder), decoder=copied(decoder))
    settings = Settings.checked(
        {name: config[name] for name in Settings.model_fields if name in config},
        f"{folder}/config.json",
    )
    estimator_class = ESTIMATORS[settings.method]
    names = {field.name for field in fields(estimator_class)} & set(Settings.model_fields)
    estimator = estimator_class(
        **{name: getattr(settings, name) for name in names},
        encoder=encoder,
        decoder=decoder,
        random_state=settings.seed,
    )
    estimator.settings_, estimator.notes_ = settings, []
    estimator.history_ = RunFolder(Path(folder)).history()
    stored = read_samplers(Path(folder), model)
    estimator._adopt(model, stored.codes, stored.samplers)
    estimator._origin = Path(folder).absolute(), config
    return estimator
