"""A trained model over whole arrays, in blocks: encode, decode, reconstruct, sample, interpolate.

NumPy in, NumPy out; the model stays on its device. The result of an example does not depend on
the others. Examples may be an array (NaN where a number is missing), a sparse array or `Examples`,
which carry the conditions that a conditional model needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.data.examples import Examples, as_dense
from hebae.deprecation import old_names
from hebae.errors import HebaeError
from hebae.likelihoods import Context
from hebae.model import Autoencoder, to_floats

LARGEST_BLOCK = 1000
"""Largest number of examples that go through the networks at a time."""

LARGEST_BLOCK_NUMBERS = 2**21
"""Largest total of numbers in these examples: 170 images of 3 x 64 x 64. The networks hold tens of
times as many; larger blocks are no faster."""

Floats = npt.NDArray[np.float32]
Conditions = npt.NDArray[np.float32] | None
"""As `Examples.conditions`: (n, columns) for n examples, None without."""


class DrawsCodes(Protocol):
    """A prior or sampler."""

    def sample(self, count: int, seed: int) -> Floats:
        """Draw codes (count, k)."""


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

    def both(x: Tensor, context: Context) -> Tensor:
        return torch.cat([part for part in model.encode(x, context) if part is not None], dim=1)

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


def decode(
    model: Autoencoder, z: npt.NDArray[np.floating], conditions: Conditions = None
) -> Floats:
    """E[x | z] of codes (n, k): shape (n, *shape), in the units of the data."""
    return _over_codes(model, z, conditions, model.decode)


def reconstruct(model: Autoencoder, values: Any, conditions: Conditions = None) -> Floats:
    """E[x | z = mu(x)] of examples (n, *shape).

    With `conditions` (n, columns), the decoder is given these instead of the examples' own: the
    result is what an example would be under them. The encoder, if it is given conditions, still
    has those of the examples, where they are known.
    """
    own = values.conditions if isinstance(values, Examples) else None

    def of_rows(rows: slice) -> Tensor:
        x = batch_of(model, values, rows)
        seen, asked = (
            model.describe(x, conditions_as_tensor(model, found, rows))
            for found in (
                conditions if own is None else own,
                own if conditions is None else conditions,
            )
        )
        return model.decode(model.encode(x, seen)[0], asked)

    return _by_blocks(model, count_of(values), of_rows)


def impute(model: Autoencoder, values: Any) -> Floats:
    """Examples with E[x | z = mu(x)] where a number is missing: shape (n, *shape).

    A missing category is the most probable one. Grey levels are in [0, 1].
    """

    def fill(x: Tensor, context: Context) -> Tensor:
        return torch.where(x.isnan(), model.reconstruct(x, context), x)

    return _over_blocks(model, values, fill)


def log_likelihood(model: Autoencoder, values: Any) -> Floats:
    """``log p(x | z = mu(x))`` of each example, in nats: shape (n,)."""

    def score(x: Tensor, context: Context) -> Tensor:
        return model.log_likelihood(x, model.encode(x, context)[0], context)

    return _over_blocks(model, values, score)


def draw_conditions(model: Autoencoder, count: int, seed: int) -> Conditions:
    """Draw conditions (count, columns) as frequent as in training; None without conditions."""
    learned = None if model.seen is None else model.seen.conditions
    return None if learned is None else learned.draw(count, seed)


def sample(
    model: Autoencoder,
    count: int,
    seed: int,
    sampler: DrawsCodes | None = None,
    conditions: Conditions = None,
) -> Floats:
    """E[x | z] of `count` draws z from a sampler or the model's prior: shape (count, *shape).

    Conditions that are not given are drawn too, as frequent as in training.
    """
    return _over_draws(model, count, seed, sampler, conditions, model.decode)


def sample_examples(
    model: Autoencoder,
    count: int,
    seed: int,
    sampler: DrawsCodes | None = None,
    conditions: Conditions = None,
) -> Floats:
    """Draw x ~ p(x | z) for `count` draws z, not its mean as `sample` does: (count, *shape)."""
    # Other numbers than those of z, which may be drawn by the same seed.
    generator = torch.Generator().manual_seed(seed + 2**32)

    def draw(z: Tensor, context: Context) -> Tensor:
        return model.likelihood.sample(model.output(z, context), generator)

    return _over_draws(model, count, seed, sampler, conditions, draw)


def interpolate(
    model: Autoencoder,
    first: Any,
    second: Any,
    steps: int,
) -> Floats:
    """Decode straight lines between the codes of pairs of examples: shape (n, steps, *shape).

    Of the `steps` points on a line, at least 2, the first and the last are the pair's codes. All
    are decoded with the conditions of the first example, if it has conditions.
    """
    begin, end = encode(model, first).mean, encode(model, second).mean
    t = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    z = (1 - t) * begin[:, None] + t * end[:, None]
    conditions = getattr(first, "conditions", None)
    if conditions is not None:
        conditions = np.repeat(conditions, steps, axis=0)
    return decode(model, z.reshape(-1, model.latent_dim), conditions).reshape(
        len(begin), steps, *model.input_shape
    )


def _over_blocks(
    model: Autoencoder, values: Any, function: Callable[[Tensor, Context], Tensor]
) -> Floats:
    def of_rows(rows: slice) -> Tensor:
        x = batch_of(model, values, rows)
        return function(x, model.describe(x, condition_of(model, values, rows)))

    return _by_blocks(model, count_of(values), of_rows)


def _over_codes(
    model: Autoencoder,
    z: npt.NDArray[np.floating],
    conditions: Conditions,
    function: Callable[[Tensor, Context], Tensor],
) -> Floats:
    def of_rows(rows: slice) -> Tensor:
        codes = batch_of(model, z, rows)
        condition = conditions_as_tensor(model, conditions, rows)
        return function(codes, Context(condition=model.code_condition(condition)))

    return _by_blocks(model, len(z), of_rows)


def _over_draws(
    model: Autoencoder,
    count: int,
    seed: int,
    sampler: DrawsCodes | None,
    conditions: Conditions,
    function: Callable[[Tensor, Context], Tensor],
) -> Floats:
    z = (sampler or model.prior).sample(count, seed)
    if conditions is None:
        conditions = draw_conditions(model, count, seed)
    return _over_codes(model, z, conditions, function)


def _by_blocks(model: Autoencoder, count: int, of_rows: Callable[[slice], Tensor]) -> Floats:
    # Written block by block: results can be as large as memory allows.
    results: Floats | None = None
    size = max(1, min(LARGEST_BLOCK, LARGEST_BLOCK_NUMBERS // math.prod(model.input_shape)))
    with evaluating(model):
        for start in range(0, max(1, count), size):
            block = of_rows(slice(start, start + size)).float().cpu().numpy()
            if results is None:
                results = np.empty((count, *block.shape[1:]), np.float32)
            results[start : start + len(block)] = block
    assert results is not None  # without examples, there is one empty block
    return results


def count_of(values: Any) -> int:
    """Return the number of examples."""
    return int(values.shape[0]) if hasattr(values, "tocsr") else len(values)


def batch_of(model: Autoencoder, values: Any, rows: Any = slice(None)) -> Tensor:
    """Examples as a tensor on the model's device, in its precision; NaN where one is missing."""
    like = model.population_mean
    taken = values.rows(rows) if isinstance(values, Examples) else as_dense(values[rows])
    if model.likelihood.filling is None and taken.dtype != np.uint8 and np.isnan(taken).any():
        raise HebaeError(
            "numbers are missing (NaN), but the model was trained on complete images and has no "
            "means to replace them by. Replace the missing numbers."
        )
    tensor = torch.as_tensor(np.array(taken), device=like.device)
    return to_floats(tensor, like.dtype, pixels=model.seen is None or bool(model.seen.pixels))


def condition_of(model: Autoencoder, values: Any, rows: Any = slice(None)) -> Tensor | None:
    """Conditions of examples as a tensor on the model's device; None if there are none."""
    conditions = values.conditions if isinstance(values, Examples) else None
    return conditions_as_tensor(model, conditions, rows)


def conditions_as_tensor(
    model: Autoencoder, conditions: Conditions, rows: Any = slice(None)
) -> Tensor | None:
    """Conditions (n, columns) as a tensor on the model's device, in its precision."""
    if conditions is None or model.conditions is None:
        return None
    like = model.population_mean
    return torch.as_tensor(np.array(conditions[rows]), device=like.device, dtype=like.dtype)


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


__getattr__ = old_names(__name__, {"Prior": (lambda: DrawsCodes, "use DrawsCodes")})
