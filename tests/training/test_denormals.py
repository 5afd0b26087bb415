"""Adam's means do not sink below the smallest normal number, and no weight notices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from training_runs import same

from hebae.config import Settings
from hebae.model import build
from hebae.training import step
from hebae.training.batches import ArrayBatches
from hebae.training.denormals import EVERY, clear_denormal_means
from hebae.training.loop import make_fabric, train

TINY = torch.finfo(torch.float32).tiny


def subnormals(mean: Tensor) -> int:
    return int(((mean != 0) & (mean.abs() < torch.finfo(mean.dtype).tiny)).sum())


def adam_of(weight: Tensor) -> torch.optim.Adam:
    adam = torch.optim.Adam([weight], fused=True)
    clear_denormal_means(adam)
    return adam


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_mean_that_sinks_is_zero_after_a_clearing_and_stuck_without(dtype):
    """0.9 times the smallest numbers is rounded to themselves: they never reach zero."""
    steps = 30 * EVERY if dtype == torch.float32 else 160 * EVERY
    means = []
    for make in (adam_of, lambda weight: torch.optim.Adam([weight], fused=True)):
        weight = torch.nn.Parameter(torch.ones(64, dtype=dtype))
        adam = make(weight)
        weight.grad = torch.ones_like(weight)
        adam.step()
        weight.grad = torch.zeros_like(weight)
        for _ in range(steps - 1):
            adam.step()
        means.append(adam.state[weight]["exp_avg"])
    assert (means[0] == 0).all()
    assert subnormals(means[1]) == 64


def test_what_is_a_normal_number_or_none_at_all_stays():
    weight = torch.nn.Parameter(torch.ones(5))
    adam = adam_of(weight)
    values = torch.tensor([TINY, -TINY, 1e-3, torch.nan, 0.0])
    for _ in range(EVERY - 1):
        weight.grad = torch.zeros_like(weight)
        adam.step()
    # One step multiplies by 0.9, so that what is to stay has to be larger before it.
    adam.state[weight]["exp_avg"].copy_(values / 0.9 * (1 + 1e-6))
    adam.step()
    mean = adam.state[weight]["exp_avg"]
    torch.testing.assert_close(mean, values, equal_nan=True, rtol=1e-5, atol=0)
    assert (mean[:3] != 0).all()


SETTINGS = Settings(
    likelihood="bernoulli", latent_dim=3, encoder_widths=(64, 64), decoder_widths=(64, 64),
    batch_size=32, epochs=40, learning_rate=3e-3, device="cpu",
)  # fmt: skip


def test_training_ends_with_the_same_weights_to_the_last_bit(monkeypatch):
    """And without the clearing some means do sink on such examples: the test has a subject."""
    random = np.random.default_rng(5)
    examples = random.random((640, 24), dtype=np.float32)
    examples[:, 8:] *= random.random((640, 16)) < 0.003  # as MNIST's border is
    ends = []
    for clear in (clear_denormal_means, lambda adam: None):
        adams = []

        def noted(adam, clear=clear, adams=adams):
            adams.append(adam)
            clear(adam)

        monkeypatch.setattr(step, "clear_denormal_means", noted)
        model = build(SETTINGS, (24,), seed=3)
        batches = ArrayBatches(examples, SETTINGS.batch_size)
        train(model, SETTINGS, batches, fabric=make_fabric(SETTINGS))
        sunk = sum(subnormals(state["exp_avg"]) for state in adams[0].state.values())
        ends.append((model.state_dict(), sunk))
    (cleared, few), (plain, many) = ends
    assert many > 100
    assert few < many / 10
    assert same(cleared, plain)
