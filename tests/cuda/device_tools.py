"""What the tests on a device share: small settings, and how far results lie apart."""

import torch

from hebae.config import Settings


def small_settings(**changes):
    """Settings of a small MLP with k = 4, batch size 16, one epoch."""
    return Settings(
        **{
            "latent_dim": 4,
            "encoder_widths": (32,),
            "decoder_widths": (32,),
            "batch_size": 16,
            "epochs": 1,
            "learning_rate": 1e-3,
            "likelihood": "bernoulli",
        }
        | changes
    )


def weights(model):
    """All parameters as one vector in float64 on the CPU."""
    return torch.cat([p.detach().double().cpu().flatten() for p in model.parameters()])


def relative_error(actual, expected):
    """``||actual - expected|| / ||expected||``."""
    actual, expected = (torch.as_tensor(x).detach().double().cpu() for x in (actual, expected))
    return float((actual - expected).norm() / expected.norm())
