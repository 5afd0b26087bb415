"""Methods that look at the decoder or at projections of the codes, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import SMALL, Command, small
from torch import nn

import hebae
from hebae import RAEGP, RAEL2, RAESN, HebaeError, SIGReg, VICReg, VISReg
from hebae.data import load

RAES = [RAEL2, RAEGP, RAESN]
SIZES = {"latent_dim": 3, "batch_size": 50, "random_state": 0, "device": "cpu"}
WIDTHS = {"encoder_widths": (32,), "decoder_widths": (32,)}


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load("mnist-mini").train.values[:300]


@pytest.mark.parametrize("cls", [*RAES, SIGReg, VISReg, VICReg])
def test_a_short_training_on_digits_lowers_the_loss(cls: type, digits: np.ndarray) -> None:
    model = cls(**SIZES, **WIDTHS, epochs=5, learning_rate=3e-3).fit(digits)
    objectives = [record["train"]["objective"] for record in model.history_]
    assert objectives[-1] > objectives[0] + 30
    reconstructions = [record["train"]["reconstruction"] for record in model.history_]
    assert reconstructions[-1] < reconstructions[0]
    assert model.sample(5, sampler="fitted-normal", random_state=0).shape == (5, 1, 28, 28)


@pytest.mark.parametrize("cls", [SIGReg, VISReg])
def test_the_penalty_brings_codes_nearer_to_the_standard_normal(
    cls: type, digits: np.ndarray
) -> None:
    found = []
    for weight in (0.0, 100.0):
        model = cls(**SIZES, **WIDTHS, epochs=8, learning_rate=3e-3, penalty_weight=weight)
        codes = model.fit(digits).transform(digits)
        deviations = np.cov(codes, rowvar=False) - np.eye(3)
        found.append(np.linalg.norm(deviations) + np.linalg.norm(codes.mean(0)))
    assert found[1] < 0.5 * found[0]


def test_heavier_penalties_make_a_smoother_decoder(digits: np.ndarray) -> None:
    """Each method by what it penalises; codes are drawn alike."""
    norms = {}
    for cls, weights in ((RAEL2, (0.0, 1.0)), (RAEGP, (0.0, 1.0))):
        for weight in weights:
            model = cls(**SIZES, **WIDTHS, epochs=8, learning_rate=3e-3, decoder_weight=weight)
            model.fit(digits)
            noise = {"tangent": torch.ones(300, 3)}
            z = torch.from_numpy(model.transform(digits))
            _, terms = model.module_.objective.decode(model.module_.decoder, z, noise)
            norms[cls, weight] = terms["decoder"].item()
    assert norms[RAEL2, 1.0] < 0.5 * norms[RAEL2, 0.0]
    assert norms[RAEGP, 1.0] < 0.5 * norms[RAEGP, 0.0]


def test_a_spectrally_normalised_decoder_does_not_amplify_after_training(
    digits: np.ndarray,
) -> None:
    model = RAESN(**SIZES, **WIDTHS, epochs=5, learning_rate=3e-3).fit(digits)
    decoder, generator = model.module_.decoder, torch.Generator().manual_seed(0)
    a, b = (10 * torch.randn(300, 3, generator=generator) for _ in range(2))
    moved = (decoder(a) - decoder(b)).flatten(1).norm(dim=1) / (a - b).norm(dim=1)
    assert moved.max() < 1.02  # power iteration is behind the weights by a step


# ---- networks of one's own -----------------------------------------------------------------------


class Own(nn.Module):
    """Not a Sequential; with batch normalisation, and a weight that is no layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 20), nn.Linear(20, 784)
        self.norm = nn.BatchNorm1d(20)
        self.shift = nn.Parameter(torch.zeros(784))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        hidden = torch.nn.functional.silu(self.norm(self.first(z)))
        return (self.second(hidden) + self.shift).view(-1, 1, 28, 28)


@pytest.mark.parametrize("cls", RAES)
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_decoders_of_ones_own(
    cls: type, precision: str, digits: np.ndarray, tmp_path: Path
) -> None:
    decoder = Own()
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    options = SIZES | {"decoder": decoder, "encoder_widths": (32,), "precision": precision}
    model = cls(**options, epochs=3).fit(digits)
    assert all(torch.equal(before[n], value) for n, value in decoder.state_dict().items())
    assert model.history_[-1]["train"]["objective"] > model.history_[0]["train"]["objective"]
    again = cls(**options, epochs=3).fit(digits)
    assert np.array_equal(again.reconstruct(digits[:9]), model.reconstruct(digits[:9]))
    model.save(tmp_path)
    loaded = hebae.load(tmp_path, decoder=Own())
    assert np.array_equal(loaded.reconstruct(digits[:9]), model.reconstruct(digits[:9]))


class WithoutSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 784)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return WithoutSecondDerivative.apply(self.layer(z)).view(-1, 1, 28, 28)


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(784))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (self.value + z[:, :1]).view(-1, 1, 28, 28)


def zeroed() -> nn.Module:
    own = Own()
    nn.init.zeros_(own.second.weight)
    return own


@pytest.mark.parametrize(
    ("cls", "decoder", "message"),
    [
        (RAESN, Constant(), "linear or convolutional layers, but this Constant has none"),
        (RAESN, zeroed(), "second.weight is all zeros"),
        (RAEGP, Custom(), "RAE-GP differentiates the decoder twice"),
    ],
)
def test_decoders_that_a_method_cannot_use_are_refused_before_training(
    cls: type, decoder: nn.Module, message: str, digits: np.ndarray
) -> None:
    with pytest.raises(HebaeError, match=message):
        cls(**SIZES, decoder=decoder, encoder_widths=(32,)).fit(digits)


# ---- command line --------------------------------------------------------------------------------


def test_compare_sweep_and_evaluate_take_them(hebae: Command, vectors: Path) -> None:
    data = ("--data", vectors.name, *SMALL)
    names = ("rae-l2", "rae-gp", "rae-sn", "sigreg", "visreg", "vicreg")
    done = hebae("compare", *data, "--methods", *names, "--output", "all")
    assert done.status == 0
    for shown in ("RAE-L2", "RAE-GP", "RAE-SN", "SIGReg", "VISReg", "VICReg-AE"):
        assert shown in done.out
    runs = [f"all/runs/{name}-seed0" for name in ("rae-sn", "rae-gp", "sigreg")]
    quick = ("--ais-temperatures", 20, "--ais-chains", 2, "--ais-examples", 10)
    assert hebae("evaluate", *runs, "--metrics", "objective,moments,ais", *quick).status == 0
    for run in runs:
        stored = (vectors.parent / run / "evaluation.json").read_text()
        assert "moments" in stored and "ais" in stored
    grid = ("decoder_weight=0.01,1", "seed=0..1")
    assert hebae("sweep", *data, "--method", "rae-gp", "--grid", *grid, "--output", "s").status == 0
    table = (vectors.parent / "s" / "sweep.csv").read_text().splitlines()
    assert len(table) == 5
    settings = json.loads((vectors.parent / runs[2] / "config.json").read_text())
    assert settings["directions"] == 64


def test_bad_settings_are_refused_by_name(hebae: Command, vectors: Path) -> None:
    for flags, facts in (
        (("--method", "sigreg", "--directions", 0), ("--directions", "at least 1")),
        (("--method", "rae-l2", "--decoder-weight", -1), ("--decoder-weight", "at least 0")),
        (("--method", "rae-sn", "--decoder-weight", 1), ("rae-l2, rae-gp", "no effect")),
        (("--method", "vicreg"), ("VICReg-AE", "batch_size is 1", "--batch-size 2")),
    ):
        sizes = small(batch_size=1) if "vicreg" in flags else SMALL
        refused = hebae("train", "--data", vectors.name, *sizes, *flags, "--output", "r")
        assert refused.status == 2
        assert all(fact in refused.err for fact in facts), refused.err
