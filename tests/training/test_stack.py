"""A stack: each member ends near the same run alone, whatever happens to the others."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from training_runs import Told, history, weights

from hebae.building import build
from hebae.config import Settings
from hebae.run_folder import RunFolder
from hebae.training import many, session
from hebae.training.callbacks import Callback
from hebae.training.machine import estimate_memory
from hebae.training.many import Job, Watcher, groups, train_all, why_alone
from hebae.training.stack import Stack

Make = Callable[..., list[Job]]

FLOAT64 = 1e-8
"""Relative. A batched product sums in another order: 1e-16 per step, times what 40 steps of
training make of a difference (a factor of 1e4 was seen where Sigma is nearly singular)."""

FLOAT32 = 1e-5
"""Relative, after 100 steps in float32, where 1e-7 is the rounding of one product."""


@pytest.fixture
def jobs(job: Callable[..., Job]) -> Make:
    """One job for each of the changes, on top of what they share."""

    def make(folder: str, *each: dict[str, object], **shared: object) -> list[Job]:
        return [
            job(f"{folder}-{number}", f"{folder}/{number}", **shared | changes)
            for number, changes in enumerate(each)
        ]

    return make


def in_turn(jobs: Sequence[Job]) -> None:
    for job in jobs:
        session.run(job.prepared, job.path, command="test")


def together(jobs: Sequence[Job], watcher: Watcher | None = None) -> list[str]:
    assert [len(group) for group in groups(jobs)] == [len(jobs)]
    return [result.state for result in train_all(jobs, command="test", watcher=watcher)]


def assert_alike(first: Path, second: Path, limit: float = FLOAT64) -> None:
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert (ours[name] - theirs[name]).norm() <= limit * ours[name].norm(), name
    for one, other in zip(history(first), history(second), strict=True):
        for part in ("train", "held_out"):
            assert one.pop(part) == pytest.approx(other.pop(part), rel=100 * limit, abs=limit)
        assert one == other


def both(jobs: Make, *each: dict[str, object], **shared: object) -> list[tuple[Path, Path]]:
    """Folders of the same runs, trained alone and as one stack."""
    alone, members = (jobs(name, *each, **shared) for name in ("alone", "stack"))
    in_turn(alone)
    assert together(members) == ["finished"] * len(members)
    return [(one.path, other.path) for one, other in zip(alone, members, strict=True)]


EACH = (
    {"seed": 1, "penalty_weight": 0.1},
    {"seed": 1, "penalty_weight": 10.0, "learning_rate": 1e-2},
    {"seed": 2, "penalty_weight": 1.0},
)
EXACT = {"precision": "64-true"}


@pytest.mark.parametrize(
    "shared",
    [
        {},
        {"method": "vae", "likelihood": "gaussian"},
        {"method": "vae", "warm_up_epochs": 2, "free_bits": 0.1},
        {"method": "wae", "gradient_clip": 1.0},
        *({"method": method} for method in ("dip-vae-i", "dip-vae-ii", "beta-tcvae")),
        *({"method": method} for method in ("swae", "cwae", "sigreg", "vicreg")),
        {"method": "ae", "likelihood": "continuous_bernoulli", "schedule": "exponential"},
        {"rate_weight": 0.5, "likelihood": "gaussian", "likelihood_scale": "learned"},
        {"moments": "running", "reset_optimizer": True, "encoder_widths": (16, 9)},
        {"moments": "shrunk", "noise": "diagonal", "scale": "scalar", "drop_last": True},
    ],
)
def test_a_member_ends_as_the_same_run_alone(jobs: Make, shared: dict[str, object]) -> None:
    """In float64, where rounding cannot hide a mistake."""
    for alone, member in both(jobs, *EACH, **EXACT, **shared):
        assert_alike(alone, member)


@pytest.mark.parametrize("method", ["hebae", "vae", "wae"])
def test_in_float32_a_member_ends_within_a_hundred_thousandth(jobs: Make, method: str) -> None:
    shared = {"method": method, "epochs": 11, "learning_rate": 1e-3, "drop_last": True}
    for alone, member in both(jobs, *({"seed": seed} for seed in range(3)), **shared):
        found = weights(member)
        for name, tensor in weights(alone).items():
            if name.startswith(("encoder", "decoder")):
                assert (tensor - found[name]).norm() < FLOAT32 * tensor.norm(), name


def test_in_half_precision_a_member_ends_nearly_as_alone(jobs: Make) -> None:
    """Products in bfloat16 round differently in a batch, by some thousandths."""
    for alone, member in both(jobs, *EACH, precision="bf16-mixed", epochs=2):
        found = weights(member)
        for name, tensor in weights(alone).items():
            assert tensor.dtype == found[name].dtype == torch.float32
            if name.endswith("weight"):
                assert (tensor - found[name]).norm() < 0.02 * tensor.norm()


def test_a_member_is_an_ordinary_run(jobs: Make) -> None:
    """It can be loaded, and resumed alone, as if it had been alone."""
    members = jobs("stack", *EACH, **EXACT)
    together(members)
    folder = RunFolder(members[0].path)
    assert folder.is_finished
    assert [entry["seeds"] for entry in json.loads(folder.provenance.read_text())] == ["1"]
    (longer,) = jobs("alone", {**EACH[0], "epochs": 6}, **EXACT)
    in_turn([longer])
    (more,) = jobs("stack", {**EACH[0], "epochs": 6}, **EXACT)
    session.run(more.prepared, folder.path, resuming=True)
    assert_alike(longer.path, folder.path)


@pytest.mark.parametrize("stop", [3, 40, 27 * 3])
def test_a_stack_stopped_at_any_step_and_resumed_ends_as_one_never_stopped(
    jobs: Make, stop: int
) -> None:
    shared = {"moments": "running", "likelihood": "gaussian", "log_every": 1, **EXACT}
    whole, stopped = (jobs(name, *EACH, **shared) for name in ("whole", "stopped"))
    together(whole)
    presses = iter([signal.SIGINT])  # Ctrl-C once so many steps were taken

    def press(taken: int) -> None:
        for number in presses if taken >= stop else ():
            signal.raise_signal(number)

    assert together(stopped, Told(press)) == ["interrupted"] * 3
    assert not any(RunFolder(job.path).is_finished for job in stopped)
    again = jobs("stopped", *EACH, **shared)
    alone = again.pop(1)  # one is resumed alone
    session.run(alone.prepared, alone.path, resuming=True)
    assert together(again) == ["finished"] * 2
    for one, other in zip(whole, stopped, strict=True):
        assert_alike(one.path, other.path)


def test_members_with_and_without_a_checkpoint_of_their_beginning_go_together(jobs: Make) -> None:
    """A run that was killed in its first epoch has one; a run that never began has none."""

    class Killed(Callback):
        def on_start(self, step: int, total: int | None) -> None:
            raise MemoryError

    begun = jobs("stack", *EACH, **EXACT)[1]
    with pytest.raises(MemoryError):
        session.run(begun.prepared, begun.path, callbacks=lambda settings: [Killed()])
    assert RunFolder(begun.path).checkpoint.is_file()
    for alone, member in both(jobs, *EACH, **EXACT):
        assert_alike(alone, member)


def test_a_member_that_diverges_is_marked_and_does_not_touch_the_others(jobs: Make) -> None:
    each = (EACH[0], {"seed": 1, "learning_rate": 1e30}, EACH[2])
    alone, members = jobs("alone", EACH[0], EACH[2], **EXACT), jobs("stack", *each, **EXACT)
    in_turn(alone)
    results = train_all(members, command="test")
    assert [result.state for result in results] == ["finished", "diverged", "finished"]
    assert "not finite" in results[1].message or "not a finite number" in results[1].message
    broken = RunFolder(members[1].path)
    assert broken.divergence.read_text().strip() == results[1].message
    assert not broken.is_finished
    assert_alike(alone[0].path, members[0].path)
    assert_alike(alone[1].path, members[2].path)


@pytest.mark.parametrize(
    ("changes", "together"),
    [
        ({"seed": 5, "penalty_weight": 7.0, "learning_rate": 0.1}, True),
        ({"method": "vae"}, False),
        ({"latent_dim": 2}, False),
        ({"rate_weight": 1.0}, False),  # other terms than without
        ({"batch_size": 30}, False),
        ({"epochs": 5}, False),
    ],
)
def test_only_weights_seed_and_learning_rate_may_differ(
    jobs: Make, changes: dict[str, object], together: bool
) -> None:
    found = [len(group) for group in groups(jobs("runs", {}, changes, {"seed": 1}))]
    assert found == ([3] if together else [2, 1])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"early_stopping": 2}, "early stopping"),
        ({"precision": "16-mixed"}, "16-mixed"),
        ({"method": "wae-gan"}, "critic"),
        ({"method": "rae-sn"}, "decoder"),
        ({"encoder_widths": (3000, 3000)}, "weights"),  # measured: not faster on a CPU
    ],
)
def test_what_a_stack_does_not_do_or_not_faster_is_trained_alone(
    jobs: Make, changes: dict[str, object], word: str
) -> None:
    pair = jobs("runs", changes, changes | {"seed": 1})
    assert word in str(why_alone(pair[0]))
    assert [len(group) for group in groups(pair)] == [1, 1]


def test_a_group_that_memory_cannot_hold_is_divided_evenly(
    jobs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = jobs("runs", *({"seed": seed} for seed in range(7)))
    need = estimate_memory(each[0].prepared.settings, each[0].prepared.dataset.train)
    free = 7 * (need.weights + need.batch)  # half of it for a stack
    monkeypatch.setattr(many, "free_memory", lambda device: free)
    assert [len(group) for group in groups(each)] == [2, 2, 3]
    monkeypatch.setattr(many, "free_memory", lambda device: 0)
    assert [len(group) for group in groups(each[:2])] == [1, 1]


def test_a_model_with_other_layers_is_refused(settings: Settings) -> None:
    model = build(settings.replace(likelihood="bernoulli"), (12,))
    model.encoder.append(torch.nn.Dropout())
    with pytest.raises(ValueError, match="fully connected"):
        Stack([model, model])
