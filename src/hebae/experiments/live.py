"""What a page carries of a trained run: its decoder, and codes to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from hebae import inference
from hebae.experiments.trained_run import TrainedRun
from hebae.report.live import MOST_BYTES, Explorer, Layer, columns_to_show
from hebae.report.methods import display_name
from hebae.spectral import SpectralNorm

MOST_EXAMPLES = 2000
"""Examples whose codes are encoded for a page."""


def explorer_of(run: TrainedRun, name: str | None = None) -> Explorer | str:
    """Return the decoder of a run for a page, or the reason why there is none."""
    name = name or display_name(run.settings.method)
    layers = dense_layers(run.model.decoder)
    steps = run.model.likelihood.mean_steps()
    if layers is None:
        return "a page can only run fully connected decoders."
    if steps is None:
        return f"a page cannot decode the likelihood {run.settings.likelihood}."
    codes = inference.draw(run.model, run.some_codes(MOST_EXAMPLES), run.seed)
    conditions = _conditions(run)
    columns, note = ([], "") if run.has_images else _columns(run, codes)
    low, high = _image_range(run)
    explorer = Explorer(
        name=name,
        codes=codes,
        layers=layers,
        mean=[_as_arrays(step) for step in steps],
        shape=run.examples.shape,
        value_range=(low, high),
        columns=columns,
        columns_note=note,
        conditions=conditions,
        labels=run.some_labels(MOST_EXAMPLES),
        caption="Means of p(x|z). This page decodes them with weights in half precision.",
    )
    if explorer.size > MOST_BYTES:
        return (
            f"the decoder has {explorer.size / 1e6:.1f} MB in half precision, but a page can hold "
            f"at most {MOST_BYTES / 1e6:g} MB."
        )
    return explorer


def dense_layers(decoder: nn.Module) -> list[Layer] | None:
    """Return the layers of a fully connected decoder; None if it has others."""
    weights: dict[str, Tensor] = {}
    if isinstance(decoder, SpectralNorm):
        weights, decoder = decoder.normalised_weights(), decoder.network
    if not isinstance(decoder, nn.Sequential):
        return None
    layers: list[Layer] = []
    for name, layer in decoder.named_children():
        if isinstance(layer, nn.Linear):
            weight = weights.get(f"{name}.weight", layer.weight).detach().cpu().numpy()
            bias = None if layer.bias is None else layer.bias.detach().cpu().numpy()
            layers.append(Layer(weight, bias, relu=False))
        elif isinstance(layer, nn.ReLU) and layers:
            layers[-1] = Layer(layers[-1].weight, layers[-1].bias, relu=True)
        elif not isinstance(layer, nn.Unflatten | nn.Flatten):
            return None
    return layers


def _as_arrays(step: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().cpu().numpy().ravel() if isinstance(value, Tensor) else value
        for name, value in step.items()
    }


def _image_range(run: TrainedRun) -> tuple[float, float]:
    """Return the values that are drawn black and white, as `hebae.report.pixels.to_unit` does."""
    low, high = run.dataset.train.range
    if 0 <= low <= high <= 1:
        return 0.0, 1.0
    return (-1.0, 1.0) if -1 <= low <= high <= 1 else (low, high)


def _conditions(run: TrainedRun) -> list[dict[str, Any]]:
    """Describe the conditions of a conditional model; the first values are the most frequent."""
    learned = None if run.model.seen is None else run.model.seen.conditions
    if learned is None or run.model.conditions is None:
        return []
    row = learned.rows[int(np.argmax(learned.counts))]
    return [
        {
            "name": column.name,
            "categories": list(column.categories) or None,
            "mean": mean,
            "unit": unit,
            "value": int(value) if column.categories else value,
        }
        for column, mean, unit, value in zip(
            learned.columns, learned.mean, learned.unit, row, strict=True
        )
    ]


def _columns(run: TrainedRun, codes: inference.Floats) -> tuple[Sequence[Any], str]:
    """Describe the columns of a table that the page shows."""
    count = int(np.prod(run.examples.shape))
    conditions = inference.draw_conditions(run.model, len(codes), run.seed)
    decoded = inference.decode(run.model, codes, conditions).reshape(len(codes), count)
    names = run.dataset.train.feature_names or [f"column {i + 1}" for i in range(count)]
    columns = run.columns or (None,) * count
    named = [
        {"name": str(name), "categories": list(column.categories) or None}
        if column is not None and column.kind == "category"
        else {"name": str(name)}
        for name, column in zip(names, columns, strict=True)
    ]
    return columns_to_show(named, decoded.astype(np.float64))
