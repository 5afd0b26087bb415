"""Losses of methods against those of pythae and cw-torch on the same inputs."""

from __future__ import annotations

import pytest
import torch

from hebae.objectives import CWAE, BetaTCVAE
from hebae.priors import StandardNormal


@pytest.mark.parametrize("beta", [1.0, 6.0])
@pytest.mark.parametrize("m", [2, 40])
def test_the_loss_of_the_beta_tcvae_is_pythaes(batch, beta, m):
    """With minibatch weighted sampling; pythae's data set is of one example, so that log n is 0."""
    models = pytest.importorskip("pythae.models")
    k = 5
    mean, log_scale, epsilon = batch(m, k, dtype=torch.float32)
    x, probabilities = torch.rand(2, m, 7, generator=torch.Generator().manual_seed(0))
    config = models.BetaTCVAEConfig(
        input_dim=(7,), latent_dim=k, reconstruction_loss="bce", beta=beta, use_mss=False
    )
    objective = BetaTCVAE(penalty_weight=beta)
    z, terms = objective(mean, log_scale, {"posterior": epsilon}, StandardNormal(k))
    loss, reconstruction, _ = models.BetaTCVAE(config).loss_function(
        probabilities, x, mean, 2 * log_scale, z, dataset_size=1
    )
    penalty = sum(weight * terms[name] for name, weight in objective.weights.items())
    assert float(reconstruction + penalty) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("k", [3, 8, 20])
def test_the_cramer_wold_distance_is_that_of_cw_torch(batch, k):
    metric = pytest.importorskip("cw_torch.metric")
    mean, _, _ = batch(30, k)
    gamma = torch.tensor((4 / (3 * 30)) ** 0.4, dtype=torch.float64)
    _, terms = CWAE()(mean, None, {}, StandardNormal(k))
    expected = metric.cw_normality_no_scale(mean, gamma).log()
    assert float(terms["cramer_wold"]) == pytest.approx(float(expected), rel=1e-5)
