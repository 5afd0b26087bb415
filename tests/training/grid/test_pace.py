"""The trial: a few steps alone and together, and what is chosen by them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hebae.config import Settings
from hebae.data import Dataset
from hebae.training import session
from hebae.training.grid import pace
from hebae.training.many import Job


@pytest.fixture
def jobs(dataset: Dataset, settings: Settings, tmp_path: Path) -> list[Job]:
    return [
        Job(str(seed), session.prepare(settings.replace(seed=seed), dataset), tmp_path / str(seed))
        for seed in range(3)
    ]


def test_a_trial_takes_steps_of_both_and_leaves_the_random_state_alone(settings: Settings) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    plain = settings.replace(likelihood="bernoulli", compile="off")
    alone, together = pace.seconds_a_member(plain, (12,), 3)
    assert 0 < alone < 60
    assert 0 < together < 60
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(("alone", "together"), [(2.0, 1.0), (1.0, 2.0)])
def test_the_faster_way_is_chosen(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, alone: float, together: float
) -> None:
    asked = []

    def measured(settings: Settings, shape: tuple[int, ...], count: int) -> tuple[float, float]:
        asked.append((settings.seed, shape, count))
        return alone, together

    monkeypatch.setattr(pace, "seconds_a_member", measured)
    assert pace.pays(jobs) == (together < alone)
    assert pace.pays(jobs[::-1]) == (together < alone)
    assert asked == [(0, (12,), 3)] * 2  # jobs that differ in their seeds share a trial


def test_precision_is_decided_once_for_trainings_that_are_compared(
    dataset: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = []

    def decide(settings: Settings, shape: tuple[int, ...]) -> tuple[Settings, list[str]]:
        if settings.precision == "auto":
            decided.append(settings.method)
            settings = settings.replace(precision="bf16-mixed")
        return settings, []

    monkeypatch.setattr(session, "decide", decide)
    methods = ("hebae", "vae", "wae")
    alike = {m: settings.replace(method=m, precision="auto") for m in methods}
    prepared = dict(session.prepare_alike(alike, dataset))
    assert decided == ["hebae"]
    assert {p.settings.precision for p in prepared.values()} == {"bf16-mixed"}
    assert [p.settings.method for p in prepared.values()] == list(methods)
