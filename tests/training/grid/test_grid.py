"""A grid: each member ends bit for bit as the same run alone, whatever befalls the others."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hebae.config import Settings
from hebae.data import Dataset
from hebae.storage import RunFolder, load_model
from hebae.training import many, session
from hebae.training.callbacks import Callback
from hebae.training.grid import grouping, loop
from hebae.training.grid.group import train_group
from hebae.training.grid.grouping import bytes_a_member
from hebae.training.many import Job, Watcher, train_all
from hebae.training.monitor import DivergenceError

Make = Callable[..., list[Job]]


@pytest.fixture
def jobs(dataset: Dataset, settings: Settings, tmp_path: Path) -> Make:
    """One job for each of the changes, on top of what they share."""

    def make(folder: str, *each: dict[str, object], **shared: object) -> list[Job]:
        return [
            Job(
                f"{folder}-{number}",
                session.prepare(settings.replace(**shared | changes), dataset),
                tmp_path / folder / str(number),
            )
            for number, changes in enumerate(each)
        ]

    return make


def in_turn(jobs: Sequence[Job]) -> None:
    for job in jobs:
        session.run(job.prepared, job.path, command="test")


def together(jobs: Sequence[Job], watcher: Watcher | None = None) -> list[str]:
    return [result.state for result in train_group(jobs, "test", watcher or Watcher())]


def history(path: Path) -> list[dict[str, object]]:
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def assert_alike(first: Path, second: Path) -> None:
    """Weights and what was seen of the training bit for bit; what passes over the data sum, nearly.

    Those sums, in float64, are long, and a batched product takes them in another order.
    """
    ours, theirs = (load_file(path / "model.safetensors") for path in (first, second))
    assert ours.keys() == theirs.keys()
    for name in ours:
        close = 1e-6 if name.startswith(("population", "aggregate", "likelihood.log")) else 0
        torch.testing.assert_close(ours[name], theirs[name], rtol=close, atol=close, msg=name)
    for one, other in zip(history(first), history(second), strict=True):
        assert one.pop("held_out") == pytest.approx(other.pop("held_out"), rel=1e-5, abs=1e-6)
        assert one == other


EACH = (
    {"seed": 1, "penalty_weight": 0.01},
    {"seed": 1, "penalty_weight": 10.0, "learning_rate": 1e-2},
    {"seed": 2, "penalty_weight": 1.0},
)


@pytest.mark.parametrize(
    "shared",
    [
        {},
        {"method": "vae", "likelihood": "gaussian"},
        {"method": "wae", "gradient_clip": 1.0},
        {"method": "ae", "likelihood": "continuous_bernoulli", "schedule": "exponential"},
        {"rate_weight": 0.5, "likelihood": "gaussian", "likelihood_scale": "learned"},
        {"moments": "running", "reset_optimizer": True},
        {"moments": "shrunk", "noise": "diagonal", "scale": "scalar", "drop_last": True},
        {"precision": "64-true", "encoder_widths": (16, 9), "decoder_widths": (7,)},
    ],
)
def test_a_member_ends_as_the_same_run_alone(jobs: Make, shared: dict[str, object]) -> None:
    """Bit for bit: the sums of a product are taken in the same order, and Adam's roundings too."""
    alone, members = jobs("alone", *EACH, **shared), jobs("grid", *EACH, **shared)
    in_turn(alone)
    assert together(members) == ["finished"] * 3
    for one, other in zip(alone, members, strict=True):
        assert_alike(one.path, other.path)


def test_in_half_precision_a_member_ends_nearly_as_alone(jobs: Make) -> None:
    """Products in bfloat16 round otherwise in a batch, by some thousandths."""
    shared = {"precision": "bf16-mixed", "epochs": 2}
    alone, members = jobs("alone", *EACH, **shared), jobs("grid", *EACH, **shared)
    in_turn(alone)
    assert together(members) == ["finished"] * 3
    for one, other in zip(alone, members, strict=True):
        first, second = (load_file(job.path / "model.safetensors") for job in (one, other))
        for name, weights in first.items():
            assert weights.dtype == torch.float32
            if name.endswith("weight"):
                assert (weights - second[name]).norm() < 0.02 * weights.norm()


def test_images_and_wide_layers_end_as_alone(tmp_path: Path) -> None:
    """With layers so wide that a product's sum is shared among threads."""
    from hebae.data import load

    dataset = load("mnist-mini", validation_size=8900)
    shared = {"epochs": 2, "likelihood": "bernoulli", "encoder_widths": (300,), "device": "cpu"}
    runs = [
        [
            Job(name, session.prepare(Settings(**shared, seed=seed), dataset), tmp_path / name)
            for seed in (0, 1)
            for name in [f"{kind}{seed}"]
        ]
        for kind in ("alone", "grid")
    ]
    in_turn(runs[0])
    together(runs[1])
    for one, other in zip(*runs, strict=True):
        assert_alike(one.path, other.path)


def test_a_member_is_an_ordinary_run(jobs: Make) -> None:
    """It can be loaded, and gone on with alone, as if it had been alone."""
    members = jobs("grid", *EACH)
    together(members)
    folder = RunFolder(members[0].path)
    assert folder.is_finished
    assert [entry["seeds"] for entry in json.loads(folder.provenance.read_text())] == ["1"]
    load_model(folder.path)
    (longer,) = jobs("alone", {**EACH[0], "epochs": 6})
    in_turn([longer])
    (more,) = jobs("grid", {**EACH[0], "epochs": 6})
    session.run(more.prepared, folder.path, resuming=True)
    assert_alike(longer.path, folder.path)


class StopAt(Watcher):
    """Press Ctrl-C once so many steps were taken."""

    def __init__(self, step: int) -> None:
        self.left = step

    def on_steps(self, count: int) -> None:
        self.left -= count
        if self.left <= 0:
            self.left = 10**9
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("stop", [3, 40, 27 * 3])
@pytest.mark.parametrize("shared", [{}, {"moments": "running", "likelihood": "gaussian"}])
def test_a_group_stopped_at_any_step_and_resumed_ends_as_one_never_stopped(
    jobs: Make, stop: int, shared: dict[str, object]
) -> None:
    whole, stopped = (jobs(name, *EACH, log_every=1, **shared) for name in ("whole", "stopped"))
    together(whole)
    assert together(stopped, StopAt(stop)) == ["interrupted"] * 3
    assert not any(RunFolder(job.path).is_finished for job in stopped)
    results = train_all(jobs("stopped", *EACH, log_every=1, **shared), command="test")
    assert [result.state for result in results] == ["finished"] * 3
    for one, other in zip(whole, stopped, strict=True):
        assert_alike(one.path, other.path)


def test_a_member_stopped_in_a_group_can_be_resumed_alone(jobs: Make) -> None:
    alone, stopped = (jobs(name, *EACH, log_every=1) for name in ("alone", "stopped"))
    in_turn(alone)
    together(stopped, StopAt(40))
    again = jobs("stopped", *EACH, log_every=1)[1]
    session.run(again.prepared, again.path, resuming=True)
    assert_alike(alone[1].path, again.path)


def test_members_with_and_without_a_checkpoint_of_their_beginning_go_together(
    jobs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed in its first epoch has one; a run that never began has none."""
    monkeypatch.setattr(many, "pays", lambda jobs: True)
    alone, members = jobs("alone", *EACH), jobs("grid", *EACH)
    in_turn(alone)

    class Killed(Callback):
        def on_start(self, step: int, total: int | None) -> None:
            raise MemoryError

    with pytest.raises(MemoryError):
        session.run(members[1].prepared, members[1].path, callbacks=lambda settings: [Killed()])
    assert RunFolder(members[1].path).checkpoint.is_file()
    results = train_all(jobs("grid", *EACH), command="test")
    assert [result.state for result in results] == ["finished"] * 3
    for one, other in zip(alone, members, strict=True):
        assert_alike(one.path, other.path)


def test_after_an_interrupt_no_other_part_of_a_group_is_begun(
    jobs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "pays", lambda jobs: True)
    monkeypatch.setattr(grouping, "available_memory", lambda job: 2.5 * bytes_a_member(job))
    each = [{"seed": seed} for seed in range(4)]
    results = train_all(jobs("grid", *each, log_every=1), command="test", watcher=StopAt(3))
    assert [result.state for result in results] == ["interrupted"] * 4
    assert [job.folder.is_run for job in jobs("grid", *each)] == [True, True, False, False]


def test_what_a_member_was_before_it_broke_is_recorded(
    jobs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a run alone, though its checkpoints come less often."""
    (job,), calls = jobs("grid", {"seed": 1}), []

    def broken(parameters: object, step: int) -> None:
        calls.append(step)
        raise DivergenceError(f"broke at step {step}")

    monkeypatch.setattr(loop, "require_finite", broken)
    assert together([job]) == ["diverged"]
    assert calls == [4 * 9]
    assert [record["epoch"] for record in history(job.path)] == [1, 2, 3, 4]
    assert job.folder.divergence.read_text().strip() == "broke at step 36"


def test_a_member_that_breaks_does_not_touch_the_others(jobs: Make) -> None:
    each = (EACH[0], {"seed": 1, "learning_rate": 1e30}, EACH[2])
    alone, members = jobs("alone", EACH[0], EACH[2]), jobs("grid", *each)
    in_turn(alone)
    results = train_group(members, "test", Watcher())
    assert [result.state for result in results] == ["finished", "diverged", "finished"]
    assert "not a finite number" in results[1].message or "not finite" in results[1].message
    broken = RunFolder(members[1].path)
    assert broken.divergence.read_text().strip() == results[1].message
    assert not broken.is_finished
    assert_alike(alone[0].path, members[0].path)
    assert_alike(alone[1].path, members[2].path)
    again = train_all(jobs("grid", *each), command="test")
    assert [result.state for result in again] == ["finished", "diverged", "finished"]


def test_the_steps_told_are_those_of_all_members(jobs: Make) -> None:
    told: list[int] = []

    class Told(Watcher):
        def on_steps(self, count: int) -> None:
            told.append(count)

    together(jobs("grid", *EACH), Told())
    assert sum(told) == 3 * 4 * 9  # 270 examples by 32, four epochs


@pytest.mark.parametrize("faster", [True, False])
def test_jobs_that_can_are_trained_together_if_it_is_faster(
    jobs: Make, monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    groups: list[int] = []

    def train(jobs: Sequence[Job], command: str, watcher: Watcher) -> object:
        groups.append(len(jobs))
        return train_group(jobs, command, watcher)

    monkeypatch.setattr(many, "train_group", train)
    monkeypatch.setattr(many, "pays", lambda jobs: faster)
    each = (*EACH, {"latent_dim": 2, "seed": 0}, {"latent_dim": 2, "seed": 1}, {"method": "ae"})
    results = train_all(jobs("all", *each), command="test")
    assert {result.state for result in results} == {"finished"}
    assert groups == ([3, 2] if faster else [])


def test_the_random_state_of_the_caller_is_left_alone(jobs: Make) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    together(jobs("grid", *EACH))
    assert torch.equal(torch.rand(2), expected)
