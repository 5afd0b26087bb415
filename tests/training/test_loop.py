"""The loop: reproducible, resumable at any step, and quiet between looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hebae.config import Settings
from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.model import build
from hebae.storage import RunFolder
from hebae.training import session
from hebae.training.batches import ArrayBatches
from hebae.training.callbacks import Callback
from hebae.training.loop import make_fabric, train
from hebae.training.monitor import DivergenceError

METHODS = ("hebae", "vae", "wae", "ae")


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def history(folder: Path) -> list[dict[str, object]]:
    """Records without their times, which no two runs share."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


class StopAt(Callback):
    """Press Ctrl-C once, when a step has been logged."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_log(self, step: int, epoch: int, means: Mapping[str, float]) -> None:
        import signal

        if step >= self.step:
            signal.raise_signal(signal.SIGINT)
            self.step = 10**9


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_of_one_seed_are_bit_identical_and_another_seed_is_not(
    train_run: Callable[..., session.Outcome], tmp_path: Path, method: str
) -> None:
    train_run("a", method=method)
    train_run("b", method=method)
    train_run("c", method=method, seed=1)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert history(tmp_path / "a") == history(tmp_path / "b")
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize(
    ("stop", "changes"),
    [
        (1, {}),
        (13, {"method": "vae"}),
        (17, {"method": "wae", "checkpoint_every": 3}),
        (18, {"moments": "running", "schedule": "exponential"}),  # the last step of an epoch
        (22, {"early_stopping": 2, "rate_weight": 0.5}),
        (30, {"reset_optimizer": True, "gradient_clip": 1.0, "precision": "64-true"}),
        (20, {"method": "wae-gan"}),
    ],
)
def test_a_run_stopped_at_any_step_and_resumed_ends_as_one_never_stopped(
    dataset: Dataset, settings: Settings, tmp_path: Path, stop: int, changes: dict[str, object]
) -> None:
    settings = settings.replace(log_every=1, **changes)
    session.run(session.prepare(settings, dataset), tmp_path / "whole")
    outcome = session.run(
        session.prepare(settings, dataset),
        tmp_path / "stopped",
        callbacks=lambda settings: [StopAt(stop)],
    )
    assert outcome.interrupted
    assert outcome.steps == stop
    assert not RunFolder(tmp_path / "stopped").is_finished
    resumed = session.run(session.prepare(settings, dataset), tmp_path / "stopped", resuming=True)
    assert not resumed.interrupted
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert history(tmp_path / "whole") == history(tmp_path / "stopped")


def test_a_finished_run_given_more_epochs_ends_as_one_given_them_at_once(
    train_run: Callable[..., session.Outcome],
    dataset: Dataset,
    settings: Settings,
    tmp_path: Path,
) -> None:
    train_run("long", epochs=6)
    train_run("short", epochs=4)
    more = session.prepare(settings.replace(epochs=6), dataset)
    session.run(more, tmp_path / "short", resuming=True)
    assert same(weights(tmp_path / "long"), weights(tmp_path / "short"))


def test_a_checkpoint_is_not_resumed_on_other_data(
    train_run: Callable[..., session.Outcome], settings: Settings, tmp_path: Path
) -> None:
    train_run("run")
    other = np.random.default_rng(1).random((300, 12), dtype=np.float32)
    from hebae.data import load

    prepared = session.prepare(settings.replace(epochs=6), load(other))
    with pytest.raises(HebaeError, match="data that have changed"):
        session.run(prepared, tmp_path / "run", resuming=True)


def test_steps_between_looks_never_wait_for_the_device(
    dataset: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No .item(), .tolist(), float() or bool() of a tensor within a step."""
    looks = []
    for name in ("item", "tolist", "__float__", "__bool__", "__int__"):
        original = getattr(Tensor, name)

        def counted(self: Tensor, *args: object, original=original, name=name) -> object:  # type: ignore[no-untyped-def]
            looks.append(name)
            return original(self, *args)

        monkeypatch.setattr(Tensor, name, counted)

    def count(steps: int) -> int:
        values = np.resize(dataset.train.values, (32 * steps, *dataset.shape))
        changed = settings.replace(log_every=10**6, epochs=1, likelihood="bernoulli")
        model = build(changed, dataset.shape)
        looks.clear()
        train(model, changed, ArrayBatches(values, 32), fabric=make_fabric(changed))
        return len(looks)

    assert count(20) == count(40) > 0


def test_the_loss_falls_and_every_record_has_its_terms(
    train_run: Callable[..., session.Outcome],
) -> None:
    for method, names in {
        "hebae": {"moments"},
        "vae": {"kl"},
        "wae": {"mmd"},
        "ae": set(),
    }.items():
        records = train_run(method, method=method, epochs=8).history
        assert [r["epoch"] for r in records] == list(range(1, 9))
        assert {*records[0]["train"]} == {"objective", "reconstruction", *names}
        assert {*records[0]["held_out"]} == {*records[0]["train"]}
        assert records[0]["held_out_split"] == "validation"
        assert records[-1]["train"]["objective"] > records[0]["train"]["objective"]


def test_train_terms_are_means_over_examples_not_over_batches(
    dataset: Dataset, settings: Settings
) -> None:
    """With a step size of almost nothing, the epoch's mean is the mean over all examples."""
    frozen = settings.replace(
        method="ae", learning_rate=1e-30, epochs=1, batch_size=64, likelihood="bernoulli"
    )
    model = build(frozen, dataset.shape)
    assert len(dataset.train) % 64 != 0
    outcome = train(
        model, frozen, ArrayBatches(dataset.train.values, 64), fabric=make_fabric(frozen)
    )
    x = torch.from_numpy(dataset.train.values)
    with torch.no_grad():
        expected = -model.log_likelihood(x, model.encode(x)[0]).mean()
    assert outcome.history[0]["train"]["reconstruction"] == pytest.approx(float(expected), rel=1e-5)


def test_early_stopping_keeps_the_best_epochs_weights(
    train_run: Callable[..., session.Outcome], tmp_path: Path
) -> None:
    changes = {"early_stopping": 2, "method": "vae", "learning_rate": 0.05}
    stopped = train_run("stopped", epochs=60, **changes)
    objectives = [r["held_out"]["objective"] for r in stopped.history]
    best = int(np.argmax(objectives))
    assert stopped.stopped_early
    assert len(objectives) == best + 3
    train_run("best", epochs=best + 1, **changes)
    # The weights, not the populations: those of the best epoch are taken at the end of each run.
    assert same(weights(tmp_path / "stopped"), weights(tmp_path / "best"))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {1: 1.0, 40: 1.0}),
        ("exponential", {1: 1.0, 2: 0.995, 11: 0.995**10}),
        ("steps", {30: 1.0, 31: 1 / 2, 50: 1 / 2, 51: 1 / 5, 70: 1 / 5, 71: 1 / 10, 99: 1 / 10}),
    ],
)
def test_schedules_are_the_papers(schedule: str, expected: dict[int, float]) -> None:
    from hebae.training.loop import learning_rate_factor

    for epoch, factor in expected.items():
        assert learning_rate_factor(schedule, epoch - 1) == pytest.approx(factor)


def test_the_scheduled_rate_is_the_one_used(train_run: Callable[..., session.Outcome]) -> None:
    records = train_run("run", schedule="exponential", learning_rate=0.01).history
    assert [r["learning_rate"] for r in records] == pytest.approx(
        [0.01 * 0.995**epoch for epoch in range(4)]
    )


def test_identical_examples_stop_the_run_at_once_with_step_terms_eigenvalue_and_advice(
    settings: Settings, tmp_path: Path
) -> None:
    """Codes that do not vary have a singular Sigma: the Cholesky factor does not exist."""
    from hebae.data import load

    constant = load(np.full((200, 12), 0.5, dtype=np.float32))
    prepared = session.prepare(settings, constant)
    with pytest.raises(DivergenceError) as raised:
        session.run(prepared, tmp_path / "run")
    message = str(raised.value)
    for part in ("step 1:", "reconstruction", "moments", "smallest eigenvalue", "learning_rate"):
        assert part in message
    checkpoint = RunFolder(tmp_path / "run").read_checkpoint()
    assert all(bool(t.isfinite().all()) for t in checkpoint["model"].values())


def test_population_moments_are_those_of_the_training_set(
    train_run: Callable[..., session.Outcome], dataset: Dataset, tmp_path: Path
) -> None:
    from hebae.storage import load_model

    train_run("run")
    model, _ = load_model(tmp_path / "run")
    with torch.no_grad():
        mean, log_scale = model.encode(torch.from_numpy(dataset.train.values))
    assert log_scale is not None
    mu, sigma = mean.double().numpy(), log_scale.double().exp().numpy()
    Sigma = np.cov(mu.T, bias=True)
    noise = np.mean([np.outer(s, s) * Sigma for s in sigma], axis=0)
    np.testing.assert_allclose(model.population_mean, mu.mean(0), atol=1e-5)
    np.testing.assert_allclose(model.population_covariance, Sigma, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.aggregate_covariance, Sigma + noise, rtol=1e-4, atol=1e-6)


def test_held_out_terms_do_not_depend_on_the_order_of_the_file(
    train_run: Callable[..., session.Outcome], dataset: Dataset, tmp_path: Path
) -> None:
    """Sorted examples, as of one class after another, must not look like unmatched codes."""
    from hebae.gaussian import penalty_floor
    from hebae.storage import load_model
    from hebae.training.population import held_out_estimates

    train_run("run", epochs=30)
    model, _ = load_model(tmp_path / "run")
    values = dataset.train.values
    in_order = values[np.argsort(values[:, 0])]
    shuffled, by_size = (
        held_out_estimates(model, ArrayBatches(v, 32))["moments"][0] for v in (values, in_order)
    )
    assert by_size == pytest.approx(shuffled, abs=0.1)
    assert by_size - penalty_floor(32, 3) < 0.3
    naive = []
    for x in torch.split(torch.from_numpy(in_order), 32)[:-1]:
        with torch.no_grad():
            mean, log_scale = model.encode(x)
            naive.append(
                model.objective(mean, log_scale, {"posterior": mean}, model.prior)[1]["moments"]
            )
    assert float(torch.stack(naive).mean()) > by_size + 0.2


def test_the_optimal_scale_of_the_training_set_is_stored(
    train_run: Callable[..., session.Outcome], dataset: Dataset, tmp_path: Path
) -> None:
    from hebae.storage import load_model

    train_run("run", method="ae", likelihood="gaussian")
    model, _ = load_model(tmp_path / "run")
    x = torch.from_numpy(dataset.train.values)
    with torch.no_grad():
        error = (model.reconstruct(x) - x).square().mean()
    assert float(model.likelihood.log_scale.exp()) == pytest.approx(float(error.sqrt()), rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train_near_the_same(
    train_run: Callable[..., session.Outcome], precision: str
) -> None:
    plain = train_run("plain", epochs=3).history[-1]["train"]["objective"]
    other = train_run("other", epochs=3, precision=precision).history[-1]["train"]["objective"]
    assert other == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("clip", [None, 1e30])
def test_divergence_leaves_the_last_good_checkpoint(
    dataset: Dataset, settings: Settings, tmp_path: Path, clip: float | None
) -> None:
    """Also with gradients that are clipped by a norm that is not finite."""
    wild = settings.replace(
        method="vae", learning_rate=1e4, epochs=50, likelihood="gaussian", gradient_clip=clip
    )
    with pytest.raises(DivergenceError, match=r"step \d+"):
        session.run(session.prepare(wild, dataset), tmp_path / "run")
    checkpoint = RunFolder(tmp_path / "run").read_checkpoint()
    assert all(bool(t.isfinite().all()) for t in checkpoint["model"].values())
    assert not RunFolder(tmp_path / "run").is_finished
