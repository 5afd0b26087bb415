"""Batched layers: the same numbers and gradients as a layer for each member."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hebae.networks.convolutional import convolutional_encoder
from hebae.networks.mlp import mlp_decoder, mlp_encoder
from hebae.training.grid.layers import is_stackable, stacked_forward, stacked_linear


@pytest.mark.parametrize("contraction", [5, 300])
def test_gradients_are_those_of_each_layer_alone(contraction: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    x, weight, bias = draw(3, 8, contraction), draw(3, 4, contraction), draw(3, 4)
    together = stacked_linear(x, weight, bias)
    alone = torch.stack([F.linear(x[i], weight[i], bias[i]) for i in range(3)])
    assert torch.equal(together, alone)
    out = torch.randn(together.shape, generator=generator)
    ours = torch.autograd.grad(together, (x, weight, bias), out)
    theirs = torch.autograd.grad(alone, (x, weight, bias), out)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        assert one.is_contiguous()


def test_gradients_agree_with_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    arguments = [
        torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 3, 4), (2, 5, 4), (2, 5))
    ]
    assert torch.autograd.gradcheck(stacked_linear, arguments)


def test_autocast_computes_in_half_precision_and_gives_full_gradients() -> None:
    x, weight, bias = (torch.randn(*s).requires_grad_() for s in ((2, 3, 4), (2, 5, 4), (2, 5)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = stacked_linear(x, weight, bias)
    assert out.dtype == torch.bfloat16
    gradients = torch.autograd.grad(out.float().sum(), (x, weight, bias))
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


@pytest.mark.parametrize(
    "network", [mlp_encoder((1, 4, 4), 6, (7, 5)), mlp_decoder(3, (2, 3), (5,))]
)
def test_a_network_of_many_members_is_each_network_alone(network: nn.Sequential) -> None:
    generator = torch.Generator().manual_seed(2)
    parameters = {
        name: torch.randn(3, *p.shape, generator=generator)
        for name, p in network.named_parameters()
    }
    shape = (1, 4, 4) if isinstance(network[0], nn.Flatten) else (3,)
    x = torch.randn(3, 8, *shape, generator=generator)
    together = stacked_forward(network, parameters, x)
    for member in range(3):
        own = {name: p[member] for name, p in parameters.items()}
        assert torch.equal(together[member], torch.func.functional_call(network, own, x[member]))


def test_networks_with_other_layers_are_not_stacked() -> None:
    assert is_stackable(mlp_encoder((4,), 2, (3,)))
    assert not is_stackable(convolutional_encoder((1, 16, 16), 2, (2, 2)))
    assert not is_stackable(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    assert not is_stackable(nn.Linear(2, 2))
