"""One step: by hand, compiled, or replayed from a recording, it is the same step."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hebae.config import Settings
from hebae.data import Dataset, load
from hebae.model import Autoencoder, Step, build
from hebae.storage import RunFolder
from hebae.training import session
from hebae.training.batches import ArrayBatches
from hebae.training.capture import WARM_UP, CapturedStep
from hebae.training.loop import make_fabric, train
from hebae.training.monitor import DivergenceError
from hebae.training.precision import lay_out_filters, tensor_cores
from hebae.training.step import (
    TakeStep,
    load_optimizer,
    make_optimizer,
    make_step,
    reset_moments,
    set_learning_rate,
)


def stepper(settings: Settings) -> tuple[Autoencoder, torch.optim.Optimizer, TakeStep]:
    fabric = make_fabric(settings)
    model = build(settings.replace(likelihood="bernoulli"), (12,), seed=1)
    module, optimizer = fabric.setup(model, make_optimizer(model, settings, fabric.device))
    return model, optimizer, make_step(model, module, optimizer, settings, fabric)


def inputs(sizes: list[int]) -> list[tuple[Tensor, dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(4)
    return [
        (
            torch.rand(m, 12, generator=generator),
            {"posterior": torch.randn(m, 3, generator=generator)},
        )
        for m in sizes
    ]


class Tape:
    """Stands for a CUDA graph: fixed inputs, and results that each replay overwrites."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def record(self, take: Callable[[], Step]) -> tuple[Callable[[], None], Step]:
        self.recordings += 1
        names = ("reconstruction", "moments")
        result = Step(
            torch.empty(()),
            {n: torch.empty(()) for n in names},
            torch.empty(32, 3),
            torch.empty(32, 3),
        )

        def replay() -> None:
            self.replays += 1
            step = take()
            result.loss.copy_(step.loss.detach())
            result.mean.copy_(step.mean)
            for name in names:
                result.terms[name].copy_(step.terms[name])

        return replay, result


def test_a_captured_step_is_the_step_by_hand_for_full_and_for_smaller_batches(
    settings: Settings,
) -> None:
    batches = inputs([32] * (WARM_UP + 2) + [20] + [32] * 3)
    by_hand, _, take = stepper(settings)
    expected = [take(*batch) for batch in batches]
    captured, _, take = stepper(settings)
    tape = Tape()
    step = CapturedStep(take, 32, tape.record)
    found = [step(*batch) for batch in batches]
    assert (tape.recordings, tape.replays) == (1, 5)
    for mine, its in zip(found, expected, strict=True):
        # Looked at only now: a later replay has not overwritten what an earlier one gave.
        assert torch.equal(mine.loss, its.loss.detach())
        assert torch.equal(mine.mean, its.mean)
        assert all(torch.equal(mine.terms[n], its.terms[n]) for n in its.terms)
    for mine, its in zip(captured.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_a_compiled_step_is_one_program_and_the_step_by_hand() -> None:
    """Traced as for the compiler; what a C++ compiler makes of it is its own affair.

    In a process of its own: the tests' checks of shapes cannot be traced.
    """
    done = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


COMPARED = """
from functools import partial
import torch
from hebae.model import build
from hebae.config import Settings
from hebae.training.loop import make_fabric
from hebae.training.step import make_optimizer, make_step

traced = []

def backend(graph, examples):
    traced.append(len(examples))
    return graph.forward

torch.compile = partial(torch.compile, backend=backend)
batches = [(torch.rand(m, 12), dict.fromkeys(("posterior", "prior"), torch.randn(m, 3)))
           for m in (32, 32, 20, 32)]

def losses(method, compile):
    settings = Settings(method=method, compile=compile, device="cpu", likelihood="bernoulli",
                        latent_dim=3, encoder_widths=(16,), decoder_widths=(16,), batch_size=32)
    fabric = make_fabric(settings)
    model = build(settings, (12,))
    module, optimizer = fabric.setup(model, make_optimizer(model, settings, fabric.device))
    take = make_step(model, module, optimizer, settings, fabric)
    return torch.stack([take(*batch).loss.detach() for batch in batches])

for count, method in enumerate(("hebae", "wae")):
    expected = losses(method, "off")
    assert len(traced) == count
    torch.testing.assert_close(losses(method, "on"), expected)
    assert len(traced) == count + 1, "one program, without a break; none for the smaller batch"
"""


def test_moments_set_to_zero_are_those_of_a_new_optimizer(settings: Settings) -> None:
    first, second = inputs([32, 32])
    model, optimizer, take = stepper(settings)
    take(*first)
    fresh, _, take_afresh = stepper(settings)
    fresh.load_state_dict(model.state_dict())
    reset_moments(optimizer)
    take(*second)
    take_afresh(*second)
    assert all(map(torch.equal, model.parameters(), fresh.parameters()))


def test_a_rate_that_a_graph_reads_is_changed_where_it_lies() -> None:
    rate = torch.tensor(1e-3)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=rate)
    set_learning_rate(optimizer, 5e-4)
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(5e-4)


def test_a_checkpoints_moments_are_laid_out_as_the_weights_and_its_rate_is_not_taken(
    settings: Settings,
) -> None:
    def make(rate: float) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 5)
        return model, torch.optim.Adam(model.parameters(), lr=rate, fused=True)

    plain, optimizer = make(1e-2)
    plain(torch.ones(1, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    laid_out, other = make(1e-2)
    lay_out_filters(laid_out, torch.channels_last)
    laid_out.load_state_dict(plain.state_dict())
    other.param_groups[0]["lr"] = 1e-3
    load_optimizer(other, copy.deepcopy(optimizer.state_dict()))
    assert other.param_groups[0]["lr"] == 1e-3
    moments = other.state[laid_out.weight]["exp_avg"]
    assert moments.stride() == laid_out.weight.stride() != plain.weight.stride()
    optimizer.param_groups[0]["lr"] = 1e-3
    for model, adam in ((plain, optimizer), (laid_out, other)):
        adam.zero_grad()
        model(torch.ones(1, 3, 8, 8)).square().sum().backward()
        adam.step()
    torch.testing.assert_close(laid_out.weight, plain.weight)


def test_a_convolutional_run_stopped_and_resumed_ends_as_one_never_stopped(tmp_path: Path) -> None:
    images = load(np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8))
    settings = Settings(
        network="convolutional",
        encoder_widths=(4, 8),
        decoder_widths=(8, 4),
        latent_dim=3,
        batch_size=12,
        epochs=2,
        device="cpu",
    )
    longer = settings.replace(epochs=4)
    prepared = session.prepare(longer, images)
    session.run(prepared, tmp_path / "whole")
    assert all(p.is_contiguous() for p in prepared.model.parameters())
    session.run(session.prepare(settings, images), tmp_path / "stopped")
    session.run(session.prepare(longer, images), tmp_path / "stopped", resuming=True)
    whole, stopped = (RunFolder(tmp_path / n).read_checkpoint() for n in ("whole", "stopped"))
    assert all(torch.equal(t, stopped["model"][n]) for n, t in whole["model"].items())


def test_gradients_that_are_not_finite_end_a_clipped_run_as_any_other(
    dataset: Dataset, settings: Settings
) -> None:
    wild = settings.replace(
        method="vae", learning_rate=1e4, epochs=50, likelihood="gaussian", gradient_clip=1e30
    )
    model = build(wild, dataset.shape)
    with pytest.raises(DivergenceError, match=r"step \d+"):
        train(model, wild, ArrayBatches(dataset.train.values, 32), fabric=make_fabric(wild))


def test_moments_and_likelihood_stay_exact_under_autocast(settings: Settings) -> None:
    model = build(settings.replace(likelihood="bernoulli"), (12,))
    x, noise = inputs([32])[0]
    seen: list[torch.dtype] = []
    original = torch.linalg.cholesky_ex

    def watched(matrix: Tensor) -> object:
        seen.append(matrix.dtype)
        assert not torch.is_autocast_enabled("cpu")
        return original(matrix)

    with (
        pytest.MonkeyPatch.context() as patch,
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        patch.setattr(torch.linalg, "cholesky_ex", watched)
        step = model(x, noise)
        assert model.encoder(x).dtype == torch.bfloat16
    assert seen == [torch.float64]
    assert step.loss.dtype == torch.float32
    # Given the same codes, the penalty is that of exact arithmetic.
    mean, log_scale = step.mean, torch.zeros_like(step.mean)
    assert torch.equal(
        step.terms["moments"], model.objective(mean, log_scale, noise, model.prior)[1]["moments"]
    )


def test_products_are_rounded_on_a_gpu_alone_and_for_the_training_alone() -> None:
    before = torch.get_float32_matmul_precision()
    with tensor_cores(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == before
    with tensor_cores(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
