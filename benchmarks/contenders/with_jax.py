"""HEBAE's step in JAX, compiled as a whole; optional."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from contenders import SETTINGS, WARM_UP, Contender, Mark

__all__ = ["AVAILABLE", "by_jax", "loss"]

AVAILABLE = all(importlib.util.find_spec(name) is not None for name in ("jax", "optax"))

ENCODER = (784, 784, 800, 2 * SETTINGS.latent_dim)
DECODER = (SETTINGS.latent_dim, 800, 800, 784)


def loss(parameters: Any, pixels: Any, epsilon: Any) -> Any:
    """Loss of HEBAE for a uint8 batch (m, 784) with noise (m, k); moments in float32."""
    import jax.numpy as jnp
    import optax

    x = pixels.astype(jnp.float32) / 255
    mean, log_scale = jnp.split(_apply(parameters["encoder"], x), 2, axis=1)
    beta = mean.mean(axis=0)
    centred = mean - beta
    R = jnp.linalg.cholesky(centred.T @ centred / len(x))
    squares = jnp.square(R).sum() + jnp.square(beta).sum()
    penalty = 0.5 * (squares - len(beta)) - jnp.log(jnp.diagonal(R)).sum()
    z = mean + jnp.exp(log_scale) * (epsilon @ R.T)
    output = _apply(parameters["decoder"], z)
    return optax.sigmoid_binary_cross_entropy(output, x).sum(axis=1).mean() + penalty


def _apply(layers: Sequence[tuple[Any, Any]], x: Any) -> Any:
    import jax

    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def by_jax() -> Contender:
    """Train HEBAE of Appendix B.1 with optax's Adam, on all cores."""
    import jax
    import jax.numpy as jnp
    import optax

    adam = optax.adam(SETTINGS.learning_rate)

    def step(parameters: Any, state: Any, pixels: Any, key: Any) -> Any:
        epsilon = jax.random.normal(key, (len(pixels), SETTINGS.latent_dim))
        gradient = jax.grad(loss)(parameters, pixels, epsilon)
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(parameters, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))

    def initial(widths: tuple[int, ...], rng: np.random.Generator) -> list[Any]:
        shapes = itertools.pairwise(widths)
        uniform = ((a, rng.uniform(-1, 1, (a, b)).astype("float32")) for a, b in shapes)
        return [(jnp.asarray(w / a**0.5), jnp.zeros(w.shape[1])) for a, w in uniform]

    def stretch(examples: np.ndarray, mark: Mark) -> None:
        rng = np.random.default_rng(0)
        resident = examples.reshape(len(examples), -1)
        parameters = {"encoder": initial(ENCODER, rng), "decoder": initial(DECODER, rng)}
        state = adam.init(parameters)
        key = jax.random.key(0)

        def run(parameters: Any, state: Any, key: Any, values: np.ndarray) -> Any:
            order = rng.permutation(len(values))
            for batch in np.split(order, len(order) // SETTINGS.batch_size):
                key, own = jax.random.split(key)
                parameters, state = compiled(parameters, state, values[batch], own)
            return jax.block_until_ready((parameters, state, key))

        warm_up = resident[: WARM_UP * SETTINGS.batch_size]
        parameters, state, key = run(parameters, state, key, warm_up)
        mark()
        run(parameters, state, key, resident)
        mark()

    return stretch
