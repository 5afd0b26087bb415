"""The loop: reproducible, resumable at any step, and quiet between looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_runs import StopAt, history, same, weights

from hebae.building import build
from hebae.config import Settings
from hebae.data import Dataset, load
from hebae.errors import HebaeError
from hebae.gaussian import penalty_floor
from hebae.networks import convolutional_encoder, freeze_batch_norm
from hebae.priors import Flow
from hebae.run_folder import RunFolder
from hebae.storage import load_model
from hebae.training import session
from hebae.training.batches import ArrayBatches
from hebae.training.loop import learning_rate_factor, train
from hebae.training.machine import make_fabric
from hebae.training.monitor import DivergenceError
from hebae.training.population import held_out_estimates, population_moments


@pytest.mark.parametrize("method", ["hebae", "vae", "wae", "ae", "rae-sn", "sigreg"])
def test_two_runs_of_one_seed_are_bit_identical_and_another_seed_is_not(
    train_run: Callable[..., session.Member], tmp_path: Path, method: str
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
        (12, {"prior": "flow", "rate_weight": 1.0}),
        (1, {"prior": "mixture", "prior_components": 5, "method": "vae"}),
        (19, {"prior": "vamp", "prior_components": 5, "rate_weight": 1.0, "scale": "scalar"}),
        (9, {"prior": "mixture", "prior_components": 5, "method": "infovae"}),
        (21, {"method": "vae", "warm_up_epochs": 3, "free_bits": 0.1}),
        (14, {"method": "swae"}),
        (14, {"method": "rae-sn"}),
        (15, {"method": "rae-gp"}),
        (16, {"method": "visreg"}),
    ],
)
def test_a_run_stopped_at_any_step_and_resumed_ends_as_one_never_stopped(
    dataset: Dataset, settings: Settings, tmp_path: Path, stop: int, changes: dict[str, object]
) -> None:
    settings = settings.replace(log_every=1, **changes)
    session.run(session.prepare(settings, dataset), tmp_path / "whole")
    path = tmp_path / "stopped"
    outcome = session.run(
        session.prepare(settings, dataset), path, callbacks=lambda settings: [StopAt(stop)]
    )
    assert outcome.interrupted
    assert outcome.steps == stop
    assert not RunFolder(path).is_finished
    resumed = session.run(session.prepare(settings, dataset), path, resuming=True)
    assert not resumed.interrupted
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    assert history(tmp_path / "whole") == history(tmp_path / "stopped")


def test_a_finished_run_given_more_epochs_ends_as_one_given_them_at_once(
    train_run: Callable[..., session.Member], dataset: Dataset, settings: Settings, tmp_path: Path
) -> None:
    train_run("long", epochs=6)
    train_run("short", epochs=4)
    longer = settings.replace(epochs=6)
    other = load(np.random.default_rng(1).random((300, 12), dtype=np.float32))
    with pytest.raises(HebaeError, match="data that have changed"):
        session.run(session.prepare(longer, other), tmp_path / "short", resuming=True)
    session.run(session.prepare(longer, dataset), tmp_path / "short", resuming=True)
    assert same(weights(tmp_path / "long"), weights(tmp_path / "short"))


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
    train_run: Callable[..., session.Member],
) -> None:
    terms = {"hebae": {"moments"}, "vae": {"kl"}, "wae": {"mmd"}, "ae": set()}
    for method, names in terms.items():
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


def test_warm_up_trains_with_a_rising_weight_and_reports_the_full_one(
    train_run: Callable[..., session.Outcome], tmp_path: Path
) -> None:
    """The first of four epochs has a quarter of the weight: exactly that of a run with weight 1."""
    vae = {"method": "vae", "validation_size": 100}
    warm = train_run("warm", penalty_weight=4.0, warm_up_epochs=4, **vae).history
    plain = train_run("plain", penalty_weight=1.0, epochs=1, **vae).history
    assert [record["weight_factor"] for record in warm] == [0.25, 0.5, 0.75, 1.0]
    assert "weight_factor" not in plain[0]
    for part in ("train", "held_out"):
        for term in ("reconstruction", "kl"):
            assert warm[0][part][term] == plain[0][part][term]
        for record in warm:
            loss = record[part]["reconstruction"] + 4 * record[part]["kl"]
            assert record[part]["objective"] == pytest.approx(-loss, rel=1e-6)


def test_patience_begins_when_the_warm_up_ends(train_run: Callable[..., session.Outcome]) -> None:
    """With a step size of almost nothing the objective never gets better."""
    changes = {"method": "vae", "learning_rate": 1e-30, "epochs": 12, "early_stopping": 2}
    assert len(train_run("plain", **changes).history) == 3
    assert len(train_run("warm", warm_up_epochs=5, **changes).history) == 7


def test_early_stopping_keeps_the_best_epochs_weights(
    train_run: Callable[..., session.Member], tmp_path: Path
) -> None:
    changes = {"early_stopping": 2, "method": "vae", "learning_rate": 0.05}
    stopped = train_run("stopped", epochs=60, **changes)
    objectives = [r["held_out"]["objective"] for r in stopped.history]
    best = int(np.argmax(objectives))
    assert stopped.stopped_early
    assert len(objectives) == best + 3
    train_run("best", epochs=best + 1, **changes)
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
    for epoch, factor in expected.items():
        assert learning_rate_factor(schedule, epoch - 1) == pytest.approx(factor)


def test_the_scheduled_rate_is_the_one_used(train_run: Callable[..., session.Member]) -> None:
    records = train_run("run", schedule="exponential", learning_rate=0.01).history
    expected = [0.01 * 0.995**epoch for epoch in range(4)]
    assert [r["learning_rate"] for r in records] == pytest.approx(expected)


def test_moments_and_optimal_scale_of_the_training_set_are_stored(
    train_run: Callable[..., session.Member], dataset: Dataset, tmp_path: Path
) -> None:
    x = torch.from_numpy(dataset.train.values)
    train_run("hebae")
    model, _ = load_model(tmp_path / "hebae")
    with torch.no_grad():
        mean, log_scale = model.encode(x)
    assert log_scale is not None
    mu, sigma = mean.double().numpy(), log_scale.double().exp().numpy()
    Sigma = np.cov(mu.T, bias=True)
    noise = np.mean([np.outer(s, s) * Sigma for s in sigma], axis=0)
    np.testing.assert_allclose(model.population_mean, mu.mean(0), atol=1e-5)
    np.testing.assert_allclose(model.population_covariance, Sigma, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.aggregate_covariance, Sigma + noise, rtol=1e-4, atol=1e-6)

    train_run("ae", method="ae", likelihood="gaussian")
    model, _ = load_model(tmp_path / "ae")
    with torch.no_grad():
        error = (model.reconstruct(x) - x).square().mean()
    assert float(model.likelihood.log_scale.exp()) == pytest.approx(float(error.sqrt()), rel=1e-4)


def test_held_out_terms_do_not_depend_on_the_order_of_the_file(
    train_run: Callable[..., session.Member], dataset: Dataset, tmp_path: Path
) -> None:
    """Sorted examples, as of one class after another, must not look like unmatched codes."""
    train_run("run", epochs=30)
    model, _ = load_model(tmp_path / "run")
    values = dataset.train.values
    in_order = values[np.argsort(values[:, 0])]
    shuffled, by_size = (
        held_out_estimates(model, ArrayBatches(v, 32))[0]["moments"][0] for v in (values, in_order)
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


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train_near_the_same(
    train_run: Callable[..., session.Member], precision: str
) -> None:
    plain = train_run("plain", epochs=3).history[-1]["train"]["objective"]
    other = train_run("other", epochs=3, precision=precision).history[-1]["train"]["objective"]
    assert other == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize("clip", [None, 1e30])
@pytest.mark.parametrize("cause", ["large steps", "identical examples"])
def test_divergence_names_step_terms_and_advice_and_leaves_the_last_good_checkpoint(
    dataset: Dataset, settings: Settings, tmp_path: Path, clip: float | None, cause: str
) -> None:
    """Also with gradients that are clipped by a norm that is not finite.

    The codes of identical examples do not vary: their Sigma has no Cholesky factor.
    """
    settings = settings.replace(gradient_clip=clip, likelihood="gaussian")
    parts = ["reconstruction", "learning_rate"]
    if cause == "large steps":
        settings = settings.replace(method="vae", learning_rate=1e4, epochs=50)
    else:
        flat = np.full((200, 12), 0.5, dtype=np.float32)
        few = settings.latent_dim + 1  # of which the first batch has not enough
        flat[:few] = np.random.default_rng(0).random((few, 12))
        dataset, settings = load(flat), settings.replace(batch_size=few)
        parts += ["step 1:", "moments", "smallest eigenvalue"]
    with pytest.raises(DivergenceError, match=r"step \d+") as raised:
        session.run(session.prepare(settings, dataset), tmp_path / "run")
    assert all(part in str(raised.value) for part in parts)
    folder = RunFolder(tmp_path / "run")
    assert all(bool(t.isfinite().all()) for t in folder.read_checkpoint()["model"].values())
    assert not folder.is_finished


def test_a_log_density_of_the_prior_that_is_not_finite_is_named(
    dataset: Dataset, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With step, term, advice and the last good checkpoint."""
    log_prob, steps = Flow.log_prob, iter(range(1, 100))

    def broken(prior: Flow, z: torch.Tensor) -> torch.Tensor:
        finite = not torch.is_grad_enabled() or next(steps) != 21
        return log_prob(prior, z) / (1.0 if finite else 0.0)

    monkeypatch.setattr(Flow, "log_prob", broken)
    settings = settings.replace(prior="flow", rate_weight=1.0, prior_widths=(8,))
    with pytest.raises(DivergenceError) as raised:
        session.run(session.prepare(settings, dataset), tmp_path / "run")
    parts = ["step 21:", "rate", "prior's log density", "prior_transforms", "learning_rate"]
    parts.append("reconstruction")
    assert all(part in str(raised.value) for part in parts), raised.value
    folder = RunFolder(tmp_path / "run")
    assert all(bool(t.isfinite().all()) for t in folder.read_checkpoint()["model"].values())
    assert not folder.is_finished


@pytest.mark.parametrize("order", ["random", "sorted"])
def test_codes_far_from_zero_have_an_exact_covariance(order: str) -> None:
    """Means of 1e6 spreads: raw second moments in float64 keep 4 digits of the covariance."""
    values = np.random.default_rng(0).normal(1e6, 1.0, (3500, 4))
    if order == "sorted":  # batches of unlike means
        values = values[np.argsort(values[:, 0])]
    settings = Settings(
        method="ae", latent_dim=4, likelihood="gaussian", precision="64-true", device="cpu"
    )
    model = build(settings, (4,), encoder=nn.Identity(), decoder=nn.Identity()).double()
    batches = ArrayBatches(values, 100, dtype=torch.float64)
    beta, Sigma, _ = population_moments(model, batches)
    exact = np.cov(values.T, bias=True)
    np.testing.assert_allclose(Sigma, exact, atol=1e-9)
    np.testing.assert_allclose(beta, values.mean(0), rtol=1e-13)


@pytest.mark.parametrize("learning_rate", [10.0, 1e30])
@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_model_that_is_not_finite_is_an_error(
    settings: Settings, tmp_path: Path, learning_rate: float, checkpoints: bool
) -> None:
    """One step: its loss is finite. After it, first scales overflow, then weights and codes."""
    dataset = load(np.random.default_rng(0).random((270, 12), dtype=np.float32))
    n = len(dataset.train)
    wild = settings.replace(
        learning_rate=learning_rate, epochs=1, batch_size=n, encoder_widths=(256,),
        likelihood="bernoulli",
    )  # fmt: skip
    with pytest.raises(DivergenceError, match="not finite"):
        if checkpoints:
            session.run(session.prepare(wild, dataset), tmp_path / "run")
        else:
            batches = ArrayBatches(dataset.train.values, n)
            train(build(wild, (12,)), wild, batches, fabric=make_fabric(wild))
    assert not RunFolder(tmp_path / "run").is_finished


@pytest.mark.parametrize("batch_norm", ["frozen", "batch"])
def test_frozen_statistics_stay_0_and_1_while_scale_and_shift_learn(
    tmp_path: Path, batch_norm: str
) -> None:
    settings = Settings(
        network="convolutional", encoder_widths=(2, 4), decoder_widths=(4, 2), latent_dim=2,
        batch_size=500, epochs=2, learning_rate=0.01, device="cpu", batch_norm=batch_norm,
    )  # fmt: skip
    session.run(session.prepare(settings, load("synthetic-faces")), tmp_path / "run")
    model, _ = load_model(tmp_path / "run")
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(layers) == 2 + 2
    for layer in layers:
        assert (layer.bias != 0).any()
        frozen = batch_norm == "frozen"
        assert bool((layer.running_mean == 0).all()) == frozen
        assert bool((layer.running_var == 1).all()) == frozen
        assert layer.num_batches_tracked == (0 if frozen else 2 * 4)


def test_with_frozen_statistics_an_example_does_not_depend_on_the_rest_of_the_batch() -> None:
    torch.manual_seed(0)
    encoder = convolutional_encoder((3, 8, 8), 4, (2, 4)).train()
    x = torch.randn(6, 3, 8, 8)
    together = encoder(x)[:2]
    assert not torch.allclose(together, encoder(x[:2]), atol=1e-3)
    freeze_batch_norm(encoder)
    assert torch.allclose(encoder(x)[:2], encoder(x[:2]), atol=1e-6)
    encoder.train()
    assert not torch.allclose(encoder(x)[:2], encoder(x[:2]), atol=1e-3)
