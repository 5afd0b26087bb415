"""Batch normalisation in training: by the batch, or by statistics that stay 0 and 1."""

import pytest
import torch
from torch import nn

from hebae.config import Settings
from hebae.data import load
from hebae.networks.convolutional import convolutional_encoder, freeze_batch_norm
from hebae.storage import load_model
from hebae.training import session


@pytest.mark.parametrize("batch_norm", ["frozen", "batch"])
def test_frozen_statistics_stay_0_and_1_while_scale_and_shift_learn(tmp_path, batch_norm):
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


def test_frozen_an_example_does_not_depend_on_its_company():
    torch.manual_seed(0)
    encoder = convolutional_encoder((3, 8, 8), 4, (2, 4)).train()
    x = torch.randn(6, 3, 8, 8)
    together = encoder(x)[:2]
    assert not torch.allclose(together, encoder(x[:2]), atol=1e-3)
    freeze_batch_norm(encoder)
    assert torch.allclose(encoder(x)[:2], encoder(x[:2]), atol=1e-6)
    encoder.train()
    assert not torch.allclose(encoder(x)[:2], encoder(x[:2]), atol=1e-3)
