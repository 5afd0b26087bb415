"""Cost of the objective: covariance, Cholesky factor, log-determinant, shaped noise."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from contenders import SETTINGS, make_examples
from contenders.ours import by_hebae
from results import Aim, Effort, Result
from turns import paired, take_turns, timed

from hebae.building import build, build_objective
from hebae.model import Autoencoder
from hebae.priors import StandardNormal

TEXT = """\
The objective of HEBAE alone, forward and backward: moments of the batch of means, Cholesky factor,
log-determinant, penalty, and the noise shaped by the factor. It is timed without the networks, on
random means, and compared with a whole training step. The objective of the VAE, which also draws
noise, is shown for comparison. The convolutional step is that of Appendix B.2 (64 x 64, k = 64,
batch size 100): forward, backward and Adam."""

CALLS = 100
CONVOLUTIONAL = SETTINGS.replace(
    network="convolutional", latent_dim=64, batch_size=100, likelihood="gaussian"
)


def measure(effort: Effort) -> Result:
    """Time the objective alone and whole steps."""
    examples = make_examples(effort.steps)
    readings = take_turns(
        {
            "HEBAE objective, k = 20, m = 128": objective_alone(128, 20),
            "VAE objective, k = 20, m = 128": objective_alone(128, 20, "vae"),
            "step, B.1": timed(by_hebae("hebae"), examples, effort.steps),
            "HEBAE objective, k = 64, m = 100": objective_alone(100, 64),
        },
        effort.share(0.5),
        "the moments",
    )
    aims = [
        Aim(
            "HEBAE objective / MLP step",
            "x",
            paired(readings, "HEBAE objective, k = 20, m = 128", "step, B.1"),
            at_most=0.05,
        )
    ]
    absent = "left out with --smoke"
    convolutional: list[float] = []
    if not effort.smoke:
        of_network = take_turns(
            {
                "objective": objective_alone(100, 64),
                "step, B.2": convolutional_step(),
            },
            3,
            "the moments, convolutional",
        )
        convolutional = paired(of_network, "objective", "step, B.2")
        readings["step, B.2 (3 steps)"] = of_network["step, B.2"]
    aims.append(
        Aim(
            "HEBAE objective / convolutional step",
            "x",
            convolutional,
            at_most=0.01,
            note="" if convolutional else absent,
        )
    )
    return Result(
        title="Cost of the moments",
        text=TEXT,
        aims=aims,
        readings=readings,
        readings_title="per call",
    )


def objective_alone(
    batch_size: int, latent_dim: int, method: str = "hebae", calls: int = CALLS
) -> Callable[[], float]:
    """Return a function that times an objective, forward and backward."""
    objective = build_objective(SETTINGS.replace(method=method, latent_dim=latent_dim))
    mean, log_scale, epsilon = torch.randn(3, batch_size, latent_dim)
    mean.requires_grad_()
    log_scale.requires_grad_()

    def once() -> None:
        z, terms = objective(mean, log_scale, {"posterior": epsilon}, StandardNormal(latent_dim))
        (z.sum() + sum(terms.values())).backward()

    def measure() -> float:
        for _ in range(3):
            once()
        begin = time.perf_counter()
        for _ in range(calls):
            once()
        return (time.perf_counter() - begin) / calls

    return measure


def convolutional_step() -> Callable[[], float]:
    """Return a function that times steps of Appendix B.2, without the first."""
    model: Autoencoder = build(CONVOLUTIONAL, (3, 64, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    x = torch.rand(CONVOLUTIONAL.batch_size, 3, 64, 64)

    def once() -> float:
        begin = time.perf_counter()
        loss = model(x, {"posterior": torch.randn(len(x), model.latent_dim)}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - begin

    once()
    return once
