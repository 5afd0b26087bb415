"""Encoder and decoder as ONNX files or as PyTorch's exported programs, which run without hebae."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hebae import inference
from hebae._version import __version__
from hebae.errors import HebaeError, MissingPackage
from hebae.files import make_folder, write_atomically
from hebae.likelihoods import Context
from hebae.model import Autoencoder

Format = Literal["onnx", "torch"]

TOLERANCE = 1e-5
"""Largest difference between a file and the model, relative to the largest size of a number in its
column (at least 1)."""
CHECKED = 64
"""Examples, and codes, on which a file is compared with the model."""
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
SIDECAR = "export.json"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class _Encoder(nn.Module):
    """From examples, and conditions if the encoder is given them, to means and log-scales."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        parts = self.model.encode(x, self.model.describe(x, condition))
        return tuple(part for part in parts if part is not None)


class _Decoder(nn.Module):
    """From codes to E[x | z], given conditions and sizes of the examples where there are any."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, z: Tensor, condition: Tensor | None = None, size: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        context = Context(size_factor=size, condition=self.model.code_condition(condition))
        return (self.model.decode(z, context),)


def export_model(model: Autoencoder, folder: Path, *, format: Format, facts: Any = None) -> Path:
    """Write encoder and decoder into a folder, with ``export.json``, which describes them.

    The files take any number of examples. They are compared with the model on examples and codes
    drawn from it; nothing is written if a number differs by more than 1e-5, relative to the largest
    size in its column.

    Parameters
    ----------
    model : Autoencoder
    folder : Path
        Is created; only the files of an earlier export are replaced.
    format : {"onnx", "torch"}
        ONNX, or PyTorch's ``.pt2``, which `torch.export.load` reads.
    facts : mapping, optional
        Further entries of ``export.json``.

    Returns
    -------
    Path
        Path of ``export.json``.

    Raises
    ------
    MissingPackage
        If a package of the extra hebae[onnx] is missing.
    HebaeError
        If a network cannot be exported, or a file gives other numbers than the model.
    """
    if format not in SUFFIXES:
        raise HebaeError(f"format is {format!r}; it must be one of {', '.join(SUFFIXES)}.")
    if format == "onnx":
        for package in _PACKAGES:
            try:
                importlib.import_module(package)
            except ImportError:
                raise MissingPackage(
                    f"ONNX files need {package}: install it with pip install 'hebae[onnx]'."
                ) from None
    copied = copy.deepcopy(model).cpu().eval()
    with torch.no_grad(), TemporaryDirectory() as temporary:
        return _export(copied, folder, Path(temporary), format, dict(facts or {}))


def _export(
    model: Autoencoder, folder: Path, temporary: Path, format: Format, facts: dict[str, Any]
) -> Path:
    parts = {"encoder": _encoder_part(model), "decoder": _decoder_part(model)}
    described: dict[str, Any] = {}
    versions = {"torch": torch.__version__}
    for name, (module, inputs, outputs) in parts.items():
        path = temporary / f"{name}{SUFFIXES[format]}"
        run = _write_onnx if format == "onnx" else _write_torch
        try:
            call = _quietly(lambda: run(module, inputs, outputs, path))  # noqa: B023
        except HebaeError:
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise HebaeError(
                f"the {name} cannot be exported as {format} ({type(error).__name__}: {reason}); "
                "try the other --format."
            ) from error
        difference = _largest_difference(module, inputs, outputs, call, name)
        described[name] = {
            "file": path.name,
            "inputs": {n: _shape_of(tensor) for n, tensor in inputs.items()},
            "outputs": {n: _shape_of(t) for n, t in zip(outputs, module(**inputs), strict=True)},
            "largest_difference": difference,
        }
    if format == "onnx":
        versions |= {name: importlib.import_module(name).__version__ for name in _PACKAGES}
    content = {
        "format": format,
        "hebae_version": __version__,
        **facts,
        **_description(model),
        **described,
        "checked_on": f"{CHECKED} drawn examples and codes, in batches of 1, 2 and {CHECKED - 3}",
        "tolerance": TOLERANCE,
        "versions": versions,
    }
    text = json.dumps(content, indent=2) + "\n"
    make_folder(folder, "--output")
    for name in (f"{part}{suffix}" for part in parts for suffix in SUFFIXES.values()):
        (folder / name).unlink(missing_ok=True)  # of an export in another format
    for name in described:
        data = (temporary / described[name]["file"]).read_bytes()
        write_atomically(folder / described[name]["file"], lambda p, data=data: p.write_bytes(data))
    write_atomically(folder / SIDECAR, lambda p: p.write_text(text, encoding="utf-8"))
    return folder / SIDECAR


Part = tuple[nn.Module, dict[str, Tensor], list[str]]
"""A module, example inputs by name, and the names of its outputs."""


def _encoder_part(model: Autoencoder) -> Part:
    conditions = inference.draw_conditions(model, CHECKED, 0)
    drawn = inference.sample_examples(model, CHECKED, 0, conditions=conditions)
    means = inference.sample(model, CHECKED, 1, conditions=conditions)
    values = np.where(
        np.arange(CHECKED).reshape(-1, *[1] * len(model.input_shape)) % 2, drawn, means
    )
    if model.likelihood.whole:  # means are no examples
        values = drawn
    if model.likelihood.filling is not None:
        values = np.where(np.random.default_rng(0).random(values.shape) < 0.1, np.nan, values)
        values[:4] = drawn[:4]
    like = model.population_mean
    inputs = {"x": torch.as_tensor(values, dtype=like.dtype)}
    if model.condition_encoder != "none":
        assert conditions is not None
        inputs["condition"] = torch.as_tensor(conditions, dtype=like.dtype)
    outputs = ["mean", "log_scale"]
    parts = model.objective.log_scale_dim(model.latent_dim)
    return _Encoder(model), inputs, outputs if parts else outputs[:1]


def _decoder_part(model: Autoencoder) -> Part:
    like = model.population_mean
    z = model.prior.sample(CHECKED, 0)
    inputs = {"z": torch.as_tensor(z, dtype=like.dtype)}
    conditions = inference.draw_conditions(model, CHECKED, 0)
    if model.conditions is not None:
        inputs["condition"] = torch.as_tensor(conditions, dtype=like.dtype)
    drawn = inference.sample_examples(model, CHECKED, 0, conditions=conditions)
    size = model.likelihood.describe(torch.as_tensor(drawn, dtype=like.dtype)).size_factor
    if size is not None:
        inputs["size"] = size
    return _Decoder(model), inputs, ["x"]


def _batch_is_free(inputs: dict[str, Tensor]) -> dict[str, dict[int, Any]]:
    batch = torch.export.Dim("batch")
    return {name: {0: batch} for name in inputs}


def _first(inputs: dict[str, Tensor], rows: slice) -> tuple[Tensor, ...]:
    return tuple(tensor[rows] for tensor in inputs.values())


Call = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def _write_onnx(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path
) -> Call:
    import onnxruntime

    program = torch.onnx.export(
        module,
        kwargs=dict(zip(inputs, _first(inputs, slice(3)), strict=True)),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=_batch_is_free(inputs),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(path, external_data=False)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def call(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        given = {n: t.numpy() for n, t in zip(inputs, tensors, strict=True)}
        return [torch.from_numpy(array) for array in session.run(outputs, given)]

    return call


def _write_torch(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path
) -> Call:
    example = dict(zip(inputs, _first(inputs, slice(3)), strict=True))
    program = torch.export.export(
        module, (), kwargs=example, dynamic_shapes=_batch_is_free(inputs), strict=False
    )
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()
    return lambda tensors: loaded(**dict(zip(inputs, tensors, strict=True)))


def _quietly(function: Callable[[], Call]) -> Call:
    """Call a function without the progress and warnings of the exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            return function()
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _largest_difference(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], call: Call, part: str
) -> float:
    """Compare a file with the model; raise a HebaeError if they differ."""
    largest = 0.0
    whole: Sequence[Tensor] = module(**inputs)
    for rows in (slice(0, 1), slice(1, 3), slice(3, CHECKED)):
        for name, found, expected in zip(outputs, call(_first(inputs, rows)), whole, strict=True):
            wanted = expected[rows]
            size = expected.abs().amax(0).clamp(min=1)
            same = found.shape == wanted.shape
            error = float(((found - wanted).abs() / size).max()) if same else np.inf
            if not error <= TOLERANCE:  # also NaN
                raise HebaeError(
                    f"the exported {part} gives {name} that differ from the model's by "
                    f"{error:.2g} (at most {TOLERANCE:g} is allowed), so nothing was written; try "
                    "the other --format."
                )
            largest = max(largest, error)
    return largest


def _shape_of(tensor: Tensor) -> dict[str, Any]:
    return {"shape": ["batch", *tensor.shape[1:]], "type": str(tensor.dtype).split(".")[-1]}


def _description(model: Autoencoder) -> dict[str, Any]:
    """Return what one must know to prepare inputs and read outputs."""
    seen, likelihood = model.seen, model.likelihood
    grey = seen is not None and seen.kind == "grey levels"
    named = () if seen is None or seen.columns is None else seen.columns
    content: dict[str, Any] = {
        "latent_dim": model.latent_dim,
        "likelihood": type(likelihood).__name__,
        "input_shape": list(model.input_shape),
        "x": (
            "grey levels divided by 255"
            if grey
            else "numbers in the units of the training data; standardisation is in the file"
        ),
        "missing": "NaN" if likelihood.filling is not None else None,
        "feature_names": seen and seen.feature_names,
        "columns": [_column(column) for column in named] or None,
        "conditions": [
            _column(column)
            for column in (
                () if seen is None or seen.conditions is None else seen.conditions.columns
            )
        ]
        or None,
    }
    return {name: value for name, value in content.items() if value is not None}


def _column(column: Any) -> dict[str, Any]:
    kinds = {"categories": list(column.categories)} if column.categories else {}
    return {"name": column.name, "kind": column.kind, **kinds}
