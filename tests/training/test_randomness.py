"""Trainings in threads: each as if it were alone, and the caller's random state as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from training_runs import StopAt, same

from hebae.building import build
from hebae.training import session
from hebae.training.batches import ArrayBatches
from hebae.training.loader import LoaderBatches
from hebae.training.loop import train
from hebae.training.machine import make_fabric

Fit = Callable[[int], dict[str, Tensor]]


class Noisy(nn.Module):
    """Draws random numbers in evaluation mode as well."""

    def forward(self, x):
        return x + 0.01 * torch.randn_like(x)


def networks():
    """Networks of a user's own, which draw random numbers; made from fixed weights."""
    hidden = (nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.3), Noisy())
    encoder = nn.Sequential(*hidden, nn.Linear(16, 6))
    decoder = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.3), nn.Linear(16, 12))
    generator = torch.Generator().manual_seed(5)
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        parameter.data.normal_(0, 0.2, generator=generator)
    return encoder, decoder


@pytest.fixture(params=["arrays", "dropout", "loader"])
def fit(request, dataset, settings):
    """Train from a seed; the weights."""
    settings = settings.replace(likelihood="bernoulli", epochs=2)
    own_networks = networks()
    loader = torch.utils.data.DataLoader(
        torch.from_numpy(dataset.train.values), batch_size=32, shuffle=True, drop_last=True
    )

    def run(seed):
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


def test_trainings_in_threads_end_as_alone_and_leave_the_callers_random_state(fit):
    alone = {seed: fit(seed) for seed in (0, 1)}
    assert not same(alone[0], alone[1])
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, [0, 1] * 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(same(weights, alone[number % 2]) for number, weights in enumerate(together))


def test_dropout_resumes_exactly(dataset, settings, tmp_path):
    """The state of the networks' generator is in the checkpoint."""

    def run(name, *callbacks, **options):
        prepared = session.prepare(settings.replace(log_every=1), dataset)
        encoder, decoder = networks()
        model = build(prepared.settings, (12,), encoder=encoder, decoder=decoder)
        vars(prepared)["model"] = model
        session.run(prepared, tmp_path / name, callbacks=lambda settings: callbacks, **options)
        return model.state_dict()

    whole = run("whole")
    run("stopped", StopAt(13))
    assert same(run("stopped", resuming=True), whole)
