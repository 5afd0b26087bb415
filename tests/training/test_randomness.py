"""Trainings in threads: each as if it were alone, and the caller's random state as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from hebae.config import Settings
from hebae.data import Dataset
from hebae.model import build
from hebae.training.batches import ArrayBatches, LoaderBatches
from hebae.training.loop import make_fabric, train

Fit = Callable[[int], dict[str, Tensor]]


class Noisy(nn.Module):
    """Draws random numbers in evaluation mode as well."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.01 * torch.randn_like(x)


def networks() -> tuple[nn.Module, nn.Module]:
    """Networks of a user's own, which draw random numbers; made from fixed weights."""
    hidden = (nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.3), Noisy())
    encoder = nn.Sequential(*hidden, nn.Linear(16, 6))
    decoder = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.3), nn.Linear(16, 12))
    generator = torch.Generator().manual_seed(5)
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        parameter.data.normal_(0, 0.2, generator=generator)
    return encoder, decoder


@pytest.fixture(params=["arrays", "dropout", "loader"])
def fit(request: pytest.FixtureRequest, dataset: Dataset, settings: Settings) -> Fit:
    """Train from a seed; the weights."""
    settings = settings.replace(likelihood="bernoulli", epochs=2)
    own_networks = networks()
    loader = torch.utils.data.DataLoader(
        torch.from_numpy(dataset.train.values), batch_size=32, shuffle=True, drop_last=True
    )

    def run(seed: int) -> dict[str, Tensor]:
        own = settings.replace(seed=seed)
        encoder, decoder = (
            copy.deepcopy(own_networks) if request.param == "dropout" else (None, None)
        )
        model = build(own, (12,), seed=seed, encoder=encoder, decoder=decoder)
        batches: ArrayBatches | LoaderBatches = ArrayBatches(dataset.train.values, 32, seed=seed)
        if request.param == "loader":
            batches = LoaderBatches(loader, seed=seed)
        train(model, own, batches, fabric=make_fabric(own))
        return model.state_dict()

    return run


def test_trainings_in_threads_end_as_alone_and_leave_the_callers_random_state(fit: Fit) -> None:
    alone = {seed: fit(seed) for seed in (0, 1)}
    assert any(not torch.equal(tensor, alone[1][name]) for name, tensor in alone[0].items())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, [0, 1] * 6))
    assert torch.equal(torch.get_rng_state(), before)
    for number, weights in enumerate(together):
        for name, tensor in alone[number % 2].items():
            assert torch.equal(weights[name], tensor), (number, name)


def test_dropout_resumes_exactly(dataset: Dataset, settings: Settings) -> None:
    """Masks go on where they were: the state of the networks' generator is in the checkpoint."""
    from hebae.training.callbacks import Callback
    from hebae.training.state import Checkpointer

    settings = settings.replace(likelihood="bernoulli", log_every=1)

    class Memory(Checkpointer):
        """A checkpoint in memory."""

        def __init__(self, loaded: dict[str, object] | None = None) -> None:
            self.loaded = loaded
            self.saved: list[dict[str, object]] = []

        def save(self, **state: object) -> None:
            copied = {n: t.clone() for n, t in state["model"].items()}  # type: ignore[attr-defined]
            self.saved.append({**state, "model": copied})

        def load(self, model: nn.Module) -> dict[str, object] | None:
            if self.loaded is not None:
                model.load_state_dict(self.loaded["model"])  # type: ignore[arg-type]
            return self.loaded

    class StopAt(Callback):
        def on_log(self, step: int, epoch: int, means: object) -> None:
            import signal

            if step == 13:
                signal.raise_signal(signal.SIGINT)

    def run(checkpointer: Checkpointer, *callbacks: Callback) -> dict[str, Tensor]:
        encoder, decoder = networks()
        model = build(settings, (12,), encoder=encoder, decoder=decoder)
        batches = ArrayBatches(dataset.train.values, 32)
        train(
            model,
            settings,
            batches,
            fabric=make_fabric(settings),
            callbacks=callbacks,
            checkpointer=checkpointer,
        )
        return model.state_dict()

    whole = run(Memory())
    stopped = Memory()
    run(stopped, StopAt())
    resumed = run(Memory(stopped.saved[-1]))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
