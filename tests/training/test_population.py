"""The population's moments, by one pass as exact as two; models that are not finite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hebae.config import Settings
from hebae.data import load
from hebae.model import build
from hebae.storage import RunFolder
from hebae.training import session
from hebae.training.batches import ArrayBatches
from hebae.training.loop import make_fabric, train
from hebae.training.monitor import DivergenceError
from hebae.training.population import population_moments


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
