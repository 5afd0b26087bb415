"""A trained model over whole arrays, in blocks: encode, decode, reconstruct, sample, interpolate.

NumPy in, NumPy out; the model stays on its device. The result of an example does not depend on
the others. Examples may be an array (NaN where a number is missing), a sparse array or `Examples`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.data.examples import Examples, Seen, Summary, as_dense, blocks, summarise
from hebae.errors import HebaeError
from hebae.likelihoods import LIKELIHOODS, Categorical, Columns, Likelihood
from hebae.likelihoods.base import TOLERANCE
from hebae.model import Autoencoder, at_least_float32, to_floats
from hebae.priors import Prior

LARGEST_BLOCK = 1000
"""Largest number of examples that go through the networks at a time."""

LARGEST_BLOCK_NUMBERS = 2**21
"""Largest total of numbers in these examples: 170 images of 3 x 64 x 64. The networks hold tens of
times as many; larger blocks are no faster."""

Floats = npt.NDArray[np.float32]


class Codes(NamedTuple):
    """Output of the encoder for n examples."""

    mean: Floats
    """Shape (n, k)."""
    log_scale: Floats | None
    """Shape (n, k) or (n, 1); None for a deterministic method."""


def module_of(model: Any) -> Autoencoder:
    """Return the module itself, or the one in a fitted estimator.

    Raises
    ------
    HebaeError
        If it is neither.
    """
    module = getattr(model, "module_", model)
    if not isinstance(module, Autoencoder):
        raise HebaeError(
            f"the model is of type {type(model).__name__}; give a fitted estimator, such as "
            "HEBAE, or what hebae.load returns."
        )
    return module


def encode(model: Autoencoder, values: Any) -> Codes:
    """Means and log-scales of examples (n, *shape), uint8 or float."""

    def both(x: Tensor) -> Tensor:
        return torch.cat([part for part in model.encode(x) if part is not None], dim=1)

    # Not one small tensor per block: kept between large ones, they fragment memory without limit.
    joined, k = _over_blocks(model, values, both), model.latent_dim
    mean, log_scale = (np.ascontiguousarray(part) for part in (joined[:, :k], joined[:, k:]))
    return Codes(mean, log_scale if log_scale.shape[1] else None)


def draw(model: Autoencoder, codes: Codes, seed: int) -> Floats:
    """One z ~ q(z | x) of each example, shape (n, k); mu itself for a deterministic method."""
    if codes.log_scale is None:
        return codes.mean
    like = model.population_mean
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws on every device
    epsilon = torch.randn(codes.mean.shape, generator=generator)
    with evaluating(model):
        parts = (torch.from_numpy(codes.mean), torch.from_numpy(codes.log_scale), epsilon)
        blocks = zip(*(torch.split(part, LARGEST_BLOCK) for part in parts), strict=True)
        return _joined([model.draw(*(part.to(like) for part in block)) for block in blocks])


def decode(model: Autoencoder, z: npt.NDArray[np.floating]) -> Floats:
    """E[x | z] of codes (n, k): shape (n, *shape), in the units of the data."""
    return _over_blocks(model, z, model.decode)


def reconstruct(model: Autoencoder, values: Any) -> Floats:
    """E[x | z = mu(x)] of examples (n, *shape)."""
    return _over_blocks(model, values, model.reconstruct)


def impute(model: Autoencoder, values: Any) -> Floats:
    """Examples with E[x | z = mu(x)] where a number is missing: shape (n, *shape).

    A missing category is the most probable one. Grey levels are in [0, 1].
    """
    return _over_blocks(model, values, lambda x: torch.where(x.isnan(), model.reconstruct(x), x))


def log_likelihood(model: Autoencoder, values: Any) -> Floats:
    """``log p(x | z = mu(x))`` of each example, in nats: shape (n,)."""
    return _over_blocks(model, values, lambda x: model.log_likelihood(x, model.encode(x)[0]))


def sample(model: Autoencoder, count: int, seed: int, sampler: Prior | None = None) -> Floats:
    """E[x | z] of `count` draws z from a sampler or the model's prior: shape (count, *shape)."""
    return decode(model, (sampler or model.prior).sample(count, seed))


def sample_examples(
    model: Autoencoder, count: int, seed: int, sampler: Prior | None = None
) -> Floats:
    """Draw x ~ p(x | z) for `count` draws z, not its mean as `sample` does: (count, *shape)."""
    # Other numbers than those of z, which may be drawn by the same seed.
    generator = torch.Generator().manual_seed(seed + 2**32)

    def draw(z: Tensor) -> Tensor:
        return model.likelihood.sample(at_least_float32(model.decoder(z)), generator)

    return _over_blocks(model, (sampler or model.prior).sample(count, seed), draw)


def interpolate(
    model: Autoencoder,
    first: Any,
    second: Any,
    steps: int,
) -> Floats:
    """Decode straight lines between the codes of pairs of examples: shape (n, steps, *shape).

    Of the `steps` points on a line, at least 2, the first and the last are the pair's codes.
    """
    begin, end = encode(model, first).mean, encode(model, second).mean
    t = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    z = (1 - t) * begin[:, None] + t * end[:, None]
    return decode(model, z.reshape(-1, model.latent_dim)).reshape(
        len(begin), steps, *model.input_shape
    )


def _over_blocks(model: Autoencoder, values: Any, function: Callable[[Tensor], Tensor]) -> Floats:
    # Written block by block: results can be as large as memory allows.
    results: Floats | None = None
    start = 0
    with evaluating(model):
        for x in _blocks(model, values):
            block = function(x).float().cpu().numpy()
            if results is None:
                results = np.empty((count_of(values), *block.shape[1:]), np.float32)
            results[start : start + len(block)] = block
            start += len(block)
    assert results is not None  # without examples, there is one empty block
    return results


def _blocks(model: Autoencoder, values: Any) -> Iterator[Tensor]:
    size = max(1, min(LARGEST_BLOCK, LARGEST_BLOCK_NUMBERS // math.prod(model.input_shape)))
    for start in range(0, max(1, count_of(values)), size):
        yield batch_of(model, values, slice(start, start + size))


def require_alike(model: Autoencoder, values: Any, name: str, *, strict: bool = False) -> None:
    """Refuse examples of another kind than those that the model was trained on.

    Numbers outside of the likelihood's support are refused if `strict` or where it takes whole
    numbers. Otherwise there is a warning: they are encoded as they are, and in log p(x | z) count
    as the nearest end of the support.

    Parameters
    ----------
    model : Autoencoder
    values : Examples, or array (n, *shape), possibly sparse
    name : str
        Of the examples, for messages.
    strict : bool
    """
    likelihood = model.likelihood
    require_kind(model.seen, likelihood, values, name)
    array = values.values if isinstance(values, Examples) else values
    grey = model.seen is None or model.seen.kind == "grey levels"
    if array.dtype == np.uint8 and grey and not likelihood.whole:
        return
    names = {kind: name for name, kind in LIKELIHOODS.items()}
    label = names.get(type(likelihood), type(likelihood).__name__)
    found = _summary(values)
    low, high = likelihood.support
    inside = low - TOLERANCE <= found.low and found.high <= high + TOLERANCE
    if likelihood.whole and not (inside and found.whole):
        raise HebaeError(f"{name} {not_whole(values, likelihood.support, label)}")
    if not inside:
        message = (
            f"{name} ranges from {found.low:.9g} to {found.high:.9g}, outside of [{low:g}, "
            f"{high:g}], which the model's likelihood, {label}, takes"
        )
        if strict:
            raise HebaeError(f"{message}. Scale it as the training examples were scaled.")
        warnings.warn(
            f"{message}: numbers outside are encoded as they are, and count as the nearest end in "
            "log p(x | z).",
            stacklevel=4,
        )


def require_kind(
    seen: Seen | None, likelihood: Likelihood, values: Examples | Any, name: str
) -> None:
    """Refuse examples whose numbers are not what those of training were, or unknown categories."""
    if seen is None:  # of an older version
        return
    array = values.values if isinstance(values, Examples) else values
    pixels = values.pixels if isinstance(values, Examples) else None
    is_uint8 = array.dtype == np.uint8
    if is_uint8 and seen.kind == "numbers" and pixels is not False and not likelihood.whole:
        raise HebaeError(
            f"{name} is of type uint8, and the model is trained on floats: they may be grey "
            "levels or numbers. Give floats in the units of the training examples."
        )
    if is_uint8 and pixels is not None and seen.pixels is not None and pixels != seen.pixels:
        kinds = {True: "grey levels", False: "numbers as they are"}
        raise HebaeError(
            f"{name} holds {kinds[pixels]} (uint8), and the model is trained on "
            f"{kinds[seen.pixels]}. Give both in the same way."
        )
    if not is_uint8 and seen.kind == "grey levels":
        found = _summary(values)
        if found.low < -TOLERANCE or found.high > 1 + TOLERANCE:
            raise HebaeError(
                f"{name} is of type {array.dtype} and ranges from {found.low:.9g} to "
                f"{found.high:.9g}, and the model is trained on uint8 grey levels, which it takes "
                "as 0 to 1. Give uint8, or floats in [0, 1]."
            )
    if seen.columns is not None and isinstance(likelihood, Categorical | Columns):
        row = 0
        for part in values.parts() if isinstance(values, Examples) else blocks(as_dense(array)):
            for position, column in enumerate(seen.columns):
                codes, count = part[:, position], len(column.categories)
                wrong = (codes != np.rint(codes)) | (codes < 0) | (codes >= count)
                wrong &= (codes == codes) & (column.kind == "category")
                if wrong.any():
                    at = int(wrong.argmax())
                    raise HebaeError(
                        f"{name} holds {codes[at]:g} in row {row + at + 1}, column {position + 1} "
                        f"({column.name}), whose categories have the codes 0 to {count - 1}."
                    )
            row += len(part)


def _summary(values: Any) -> Summary:
    if isinstance(values, Examples):
        return values.summary
    return summarise(blocks(values.data if hasattr(values, "tocsr") else values))


def not_whole(values: Any, support: tuple[float, float], label: str) -> str:
    """Say where a number is that a likelihood of whole numbers does not take."""
    parts = values.parts() if isinstance(values, Examples) else blocks(as_dense(values))
    start = 0
    for part in parts:
        wrong = (part != np.rint(part)) | (part < support[0]) | (part > support[1])
        wrong &= part == part  # not where it is missing
        if wrong.any():
            row, *rest = (int(i) for i in np.argwhere(wrong)[0])
            names = values.feature_names if isinstance(values, Examples) else None
            place = f"pixel {tuple(rest)}"
            if len(rest) == 1:
                name = "" if names is None else f" ({names[rest[0]]})"
                place = f"column {rest[0] + 1}{name}"
            high = "" if math.isinf(support[1]) else f" to {support[1]:g}"
            return (
                f"holds {part[(row, *rest)]:.9g} in row {start + row + 1}, {place}, and "
                f"likelihood {label} takes whole numbers from {support[0]:g}{high}. Give the "
                "numbers themselves, not normalised or logarithms, or use another likelihood."
            )
        start += len(part)
    raise AssertionError("all numbers are whole")


def count_of(values: Any) -> int:
    """Return the number of examples."""
    return int(values.shape[0]) if hasattr(values, "tocsr") else len(values)


def batch_of(model: Autoencoder, values: Any, rows: Any = slice(None)) -> Tensor:
    """Examples as a tensor on the model's device, in its precision; NaN where one is missing."""
    like = model.population_mean
    taken = values.rows(rows) if isinstance(values, Examples) else as_dense(values[rows])
    if model.likelihood.filling is None and taken.dtype != np.uint8 and np.isnan(taken).any():
        raise HebaeError(
            "numbers are missing (NaN), and the model has no means to put in their place: it was "
            "trained on complete images. Replace the missing numbers."
        )
    tensor = torch.as_tensor(np.array(taken), device=like.device)
    return to_floats(tensor, like.dtype, pixels=model.seen is None or bool(model.seen.pixels))


def _joined(blocks: Iterable[Tensor]) -> Floats:
    return torch.cat([block.float().cpu() for block in blocks]).numpy()


@contextmanager
def evaluating(model: Autoencoder) -> Iterator[None]:
    """Set evaluation mode, without gradients, and restore the mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
