"""Which jobs go together, and how many memory holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hebae.config import Settings
from hebae.data import Dataset
from hebae.training import session
from hebae.training.grid import grouping
from hebae.training.grid.grouping import bytes_a_member, groups, why_alone
from hebae.training.many import Job

Make = Callable[..., Job]


@pytest.fixture
def job(dataset: Dataset, settings: Settings, tmp_path: Path) -> Make:
    def make(label: str, **changes: object) -> Job:
        prepared = session.prepare(settings.replace(**changes), dataset)
        return Job(label, prepared, tmp_path / label)

    return make


def labels(jobs: list[Job]) -> list[list[str]]:
    return [[job.label for job in group] for group in groups(jobs)]


@pytest.mark.parametrize("changes", [{"seed": 5}, {"penalty_weight": 7.0}, {"learning_rate": 0.1}])
def test_weight_seed_and_learning_rate_may_differ(job: Make, changes: dict[str, object]) -> None:
    assert labels([job("a"), job("b", **changes)]) == [["a", "b"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "vae"},
        {"latent_dim": 2},
        {"encoder_widths": (8,)},
        {"rate_weight": 1.0},  # other terms than without
        {"batch_size": 30},
        {"epochs": 5},
        {"likelihood": "gaussian"},
    ],
)
def test_other_settings_may_not(job: Make, changes: dict[str, object]) -> None:
    assert labels([job("a"), job("b", **changes), job("c")]) == [["a", "c"], ["b"]]


def test_rates_above_zero_go_together(job: Make) -> None:
    assert labels([job("a", rate_weight=1.0), job("b", rate_weight=2.0)]) == [["a", "b"]]


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"early_stopping": 2}, "early stopping"), ({"precision": "16-mixed"}, "16-mixed")],
)
def test_what_the_grid_does_not_do_is_trained_alone(
    job: Make, changes: dict[str, object], word: str
) -> None:
    a, b = job("a", **changes), job("b", seed=1, **changes)
    assert word in str(why_alone(a))
    assert labels([a, b]) == [["a"], ["b"]]
    assert why_alone(job("c")) is None


def test_a_convolutional_network_is_trained_alone(tmp_path: Path) -> None:
    import numpy as np

    from hebae.data import load

    images = np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), dtype=np.uint8)
    settings = Settings(
        network="convolutional",
        encoder_widths=(2, 2),
        decoder_widths=(2, 2),
        latent_dim=2,
        batch_size=16,
    )
    prepared = session.prepare(settings, load(images))
    assert "convolutional" in str(why_alone(Job("a", prepared, tmp_path)))


def test_a_group_that_memory_cannot_hold_is_divided_evenly(
    job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job(name, seed=number) for number, name in enumerate("abcdefg")]
    need = bytes_a_member(jobs[0])
    monkeypatch.setattr(grouping, "available_memory", lambda job: 3.5 * need)
    assert labels(jobs) == [["a", "b"], ["c", "d"], ["e", "f", "g"]]
    monkeypatch.setattr(grouping, "available_memory", lambda job: 0.1 * need)
    assert labels(jobs[:2]) == [["a"], ["b"]]


def test_a_member_needs_its_weights_four_times_and_what_its_batch_keeps(job: Make) -> None:
    small = bytes_a_member(job("a"))
    weights = sum(p.nbytes for p in job("a").prepared.model.parameters())
    assert small > 4 * weights
    # A batch twice as large keeps twice as much; the weights and held-out passes stay.
    steps = [bytes_a_member(job(str(m), batch_size=m)) for m in (30, 60, 120)]
    assert steps[2] - steps[1] == pytest.approx(2 * (steps[1] - steps[0]), rel=0.1)
    assert bytes_a_member(job("wide", precision="64-true")) == pytest.approx(2 * small, rel=0.01)


def test_jobs_at_unlike_steps_are_not_put_together(job: Make) -> None:
    first = job("a")
    session.run(first.prepared, first.path)
    (first.path / "model.safetensors").unlink()
    assert labels([job("a"), job("b", seed=1)]) == [["a"], ["b"]]
