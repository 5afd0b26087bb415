"""The examples a run was trained on, found again from its ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError

__all__ = ["training_values"]

WITHOUT = "the sampler 'normal' needs no data"


def training_values(
    folder: Path,
    config: Mapping[str, Any],
    data: str | None = None,
    data_dir: Path | None = None,
) -> npt.NDArray[np.generic]:
    """Load the training examples (n, *shape) of the run in `folder`.

    Parameters
    ----------
    folder : Path
    config : mapping
        Its ``config.json``, as `hebae.storage.load_model` returns it.
    data, data_dir : optional
        Where the data are now, if they have moved.

    Raises
    ------
    HebaeError
        If the data are not found, or their content is not what the run was trained on.
    """
    from hebae.data import load

    if "data_fingerprint" not in config:
        raise HebaeError(
            f"{folder} was saved from Python without its training codes, so no sampler can be "
            f"fitted; {WITHOUT}."
        )
    stored_dir = config.get("data_dir")
    try:
        dataset = load(
            data or config["data"],
            data_dir=data_dir or stored_dir,
            validation_size=config.get("validation_size"),
        )
    except HebaeError as error:
        raise HebaeError(
            f"a sampler is fitted to the training data, which could not be loaded: {error} Say "
            f"where they are by --data or --data-dir, or take --sampler normal: {WITHOUT}."
        ) from None
    if dataset.fingerprint != config["data_fingerprint"]:
        raise HebaeError(
            f"{dataset.name} has not the content that the run in {folder} was trained on "
            f"({config.get('data_name')}, SHA-256 {config['data_fingerprint'][:16]}); name its own "
            f"data by --data or --data-dir, or take --sampler normal: {WITHOUT}."
        )
    return dataset.train.values
