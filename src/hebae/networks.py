"""Encoders and decoders, built by name, with initial weights from a seed.

"mlp" is fully connected, of any widths (Appendix B.1: 784-784-800-(k x p), k-800-800-784).

"convolutional" is for images (Appendix B.2, after Tolstikhin et al. 2018): 5 x 5 filters, stride 2,
batch normalisation and ReLU. The encoder halves the image once per width; the decoder starts at
twice the size (8 x 8 for 64 x 64) and ends in a layer of stride 1, which the paper's table calls
"ConvT_1" and which has as many outputs as the image has channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hebae.deprecation import keep_moved_modules, old_names
from hebae.shared_batch import SharedBatch


def mlp_encoder(input_shape: Sequence[int], output_dim: int, widths: Sequence[int]) -> nn.Module:
    """Map examples (m, *input_shape) to (m, output_dim) through ReLU layers of the given widths."""
    layers = _dense_layers(math.prod(input_shape), widths, output_dim)
    return nn.Sequential(nn.Flatten(), *layers)


def mlp_decoder(latent_dim: int, output_shape: Sequence[int], widths: Sequence[int]) -> nn.Module:
    """Map codes (m, latent_dim) to (m, *output_shape) through ReLU layers of the given widths."""
    layers = _dense_layers(latent_dim, widths, math.prod(output_shape))
    return nn.Sequential(*layers, nn.Unflatten(1, tuple(output_shape)))


def _dense_layers(input_dim: int, widths: Sequence[int], output_dim: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(input_dim, width), nn.ReLU()]
        input_dim = width
    return [*layers, nn.Linear(input_dim, output_dim)]


def convolutional_encoder(
    input_shape: Sequence[int], output_dim: int, widths: Sequence[int]
) -> nn.Module:
    """Map images (m, c, h, w) to (m, output_dim).

    Parameters
    ----------
    input_shape : (c, h, w)
        h and w divisible by ``2 ** len(widths)``: 16 for the four widths of the paper.
    output_dim : int
    widths : sequence of int
        Filters per layer, from the image inwards.
    """
    channels, height, width = _check_shape(input_shape, 2 ** len(widths))
    layers: list[nn.Module] = []
    for filters in widths:
        # Batch normalisation subtracts the mean, so that a bias would have no effect.
        convolution = nn.Conv2d(channels, filters, 5, stride=2, padding=2, bias=False)
        layers += [convolution, nn.BatchNorm2d(filters), nn.ReLU()]
        channels, height, width = filters, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, output_dim))


def convolutional_decoder(
    latent_dim: int, output_shape: Sequence[int], widths: Sequence[int]
) -> nn.Module:
    """Map codes (m, latent_dim) to images (m, c, h, w).

    Parameters
    ----------
    latent_dim : int
    output_shape : (c, h, w)
        h and w divisible by ``2 ** len(widths)``, so that encoder and decoder take the same images.
    widths : sequence of int
        Filters per layer, from the code outwards; the first is the dense layer's channels.
    """
    channels, height, width = _check_shape(output_shape, 2 ** len(widths))
    scale = 2 ** (len(widths) - 1)
    height, width = height // scale, width // scale
    first, *rest = widths
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, first * height * width, bias=False),
        nn.Unflatten(1, (first, height, width)),
        nn.BatchNorm2d(first),
        nn.ReLU(),
    ]
    for filters in rest:
        doubling = nn.ConvTranspose2d(
            first, filters, 5, stride=2, padding=2, output_padding=1, bias=False
        )
        layers += [doubling, nn.BatchNorm2d(filters), nn.ReLU()]
        first = filters
    return nn.Sequential(*layers, nn.ConvTranspose2d(first, channels, 5, stride=1, padding=2))


def freeze_batch_norm(module: nn.Module) -> None:
    """Set batch normalisation to evaluation mode, until ``module.train()`` is called again.

    Its running statistics stay as they are: from the start 0 and 1, which normalise nothing, so
    that only its scale and shift are learned.
    """
    for layer in module.modules():
        if is_batch_norm(layer):
            layer.eval()


def share_batch_norm(module: nn.Module, shared: SharedBatch | None) -> None:
    """Let batch normalisation use statistics of the batch of all processes, or of its own (None).

    As ``torch.nn.SyncBatchNorm`` does, which is for GPUs alone.
    """
    for layer in module.modules():
        if is_batch_norm(layer):
            layer.__dict__.pop("forward", None)
            if shared is not None:
                layer.forward = partial(_normalise, layer, shared)


@contextmanager
def differentiable_batch_norm(module: nn.Module) -> Iterator[None]:
    """Give batch normalisation correct derivatives of every order while the block lasts.

    Those of torch, in training mode, are wrong from the third order on (pytorch issue 186256):
    mean and variance count as constants there.
    """
    layers = [m for m in module.modules() if is_batch_norm(m) and "forward" not in m.__dict__]
    for layer in layers:
        layer.forward = partial(_normalise, layer, None)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _normalise(layer: Any, shared: SharedBatch | None, x: Tensor) -> Tensor:
    if not layer.training or layer.running_mean is None or layer.momentum is None:
        return type(layer).forward(layer, x)  # type: ignore[no-any-return]
    given, x = x.dtype, x.to(layer.running_mean.dtype)
    others = [0, *range(2, x.dim())]
    shape = (1, -1, *[1] * (x.dim() - 2))
    total: Callable[[Tensor], Tensor] = nn.Identity() if shared is None else shared.total
    count = (len(x) if shared is None else shared.size) * math.prod(x.shape[2:])
    mean = total(x.sum(others)) / count
    centred = x - mean.view(shape)
    variance = total(centred.square().sum(others)) / count
    with torch.no_grad():
        layer.num_batches_tracked += 1
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance * (count / (count - 1)), layer.momentum)
    normal: Tensor = centred * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        normal = normal * layer.weight.view(shape) + layer.bias.view(shape)
    return normal.to(given)


def is_batch_norm(layer: nn.Module) -> bool:
    """Whether a layer is batch normalisation, of any dimension."""
    return isinstance(layer, nn.modules.batchnorm._BatchNorm)


def _check_shape(shape: Sequence[int], divisor: int) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[1] % divisor or shape[2] % divisor or not math.prod(shape):
        raise ValueError(
            f"the convolutional network with {divisor.bit_length() - 1} widths takes images "
            f"(channels, height, width) with sides divisible by {divisor}, but was given examples "
            f"of shape {tuple(shape)}; crop or pad the images, or use network 'mlp'."
        )
    channels, height, width = shape
    return channels, height, width


class ConditionEncoder(nn.Module):
    """Conditions as a network is given them: categories one-hot, numbers standardised.

    Parameters
    ----------
    sizes : sequence of int
        Number of categories of each column; 0 for a column of numbers.
    mean, unit : sequence of float
        Mean to subtract from each column of numbers, and deviation to divide it by.
    """

    mean: Tensor
    unit: Tensor
    codes: Tensor

    def __init__(self, sizes: Sequence[int], mean: Sequence[float], unit: Sequence[float]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        # They follow from what is known of the training examples: no part of the state.
        for name, numbers in (("mean", mean), ("unit", unit), ("codes", range(max(self.sizes)))):
            tensor = torch.tensor([*numbers], dtype=torch.float32)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, conditions: Tensor) -> Tensor:
        """Map conditions (..., columns) to (..., numbers)."""
        mean, unit, codes = self.mean, self.unit, self.codes
        parts = []
        for j, size in enumerate(self.sizes):
            column = conditions[..., j : j + 1]
            number = (column - mean[j]) / unit[j]
            parts.append((column == codes[:size]).to(conditions) if size else number)
        return torch.cat(parts, dim=-1)


def with_condition(x: Tensor, condition: Tensor | None) -> Tensor:
    """Append conditions (..., numbers) to codes (..., k), or as constant channels to images."""
    if condition is None:
        return x
    if x.dim() > condition.dim():
        sides = x.shape[-2:]
        condition = condition[..., None, None].expand(*condition.shape, *sides)
        return torch.cat([x, condition.to(x)], dim=-3)
    return torch.cat([x, condition.to(x)], dim=-1)


class Architecture(NamedTuple):
    """A pair of builders, and the widths that Appendix B of the paper gives them."""

    encoder: Callable[[Sequence[int], int, Sequence[int]], nn.Module]
    """(input_shape, output_dim, widths) -> module: (m, *input_shape) -> (m, output_dim)."""
    decoder: Callable[[int, Sequence[int], Sequence[int]], nn.Module]
    """(latent_dim, output_shape, widths) -> module: (m, latent_dim) -> (m, *output_shape)."""
    encoder_widths: tuple[int, ...]
    decoder_widths: tuple[int, ...]


NETWORKS = {
    "mlp": Architecture(mlp_encoder, mlp_decoder, (784, 800), (800, 800)),
    "convolutional": Architecture(
        convolutional_encoder, convolutional_decoder, (128, 256, 512, 1024), (1024, 512, 256, 128)
    ),
}


def initialised(
    make: Callable[[], nn.Module], seed: int, standard_deviation: float | None = None
) -> nn.Module:
    """Build a network with random weights that depend on the seed alone.

    Without a standard deviation, weights are drawn as PyTorch's layers draw them, but from a
    generator of their own: no global random state is read or changed, so that networks can be
    built in several threads.

    Parameters
    ----------
    make : callable
        Builds the network.
    seed : int
    standard_deviation : float, optional
        Draw the weights from N(0, standard_deviation^2) and set the biases to 0.
    """
    with torch.device("meta"):  # neither draws nor allocates
        network = make()
    # `to_empty` does the same, but imports sympy: 35 MB and half a second.
    network._apply(lambda t: torch.empty(t.shape, dtype=t.dtype))  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight, bias = layer.weight, layer.bias
            if standard_deviation is None:
                nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
                bound = 1 / math.sqrt(weight[0].numel())  # PyTorch's fan-in
                if bias is not None:
                    nn.init.uniform_(bias, -bound, bound, generator=generator)
            else:
                nn.init.normal_(weight, std=standard_deviation, generator=generator)
                if bias is not None:
                    nn.init.zeros_(bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return network


def _initialise_normal(module: nn.Module, standard_deviation: float = 0.02) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=standard_deviation)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


__getattr__ = old_names(
    __name__,
    {
        "initialise_normal": (
            lambda: _initialise_normal,
            "use initialised(make, seed, standard_deviation), which needs no global random state",
        )
    },
)

keep_moved_modules(__name__)
