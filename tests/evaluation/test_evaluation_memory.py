"""Memory of an evaluation: in blocks, data once, and no libraries that are not needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hebae.config import Settings
from hebae.data import Examples, load
from hebae.evaluation import copying_ratio, density_coverage, frechet_distance, precision_recall
from hebae.evaluation.blocks import GreyLevels
from hebae.evaluation.normality import energy_distance_to_normal
from hebae.priors import Mixture
from hebae.priors.fitting import Parameters, em_step, log_density
from hebae.priors.two_sample import same_sample_share
from hebae.training.batches import ArrayBatches
from hebae.training.population import held_out_estimates, model_for

MB = 1e6


def peak_growth(call) -> float:
    """Bytes by which the resident memory of this process grows at most while `call` runs."""

    def status(name: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * float(next(line for line in lines if line.startswith(name)).split()[1])

    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS")
    except OSError as reason:
        pytest.skip(f"the peak of the resident memory cannot be measured here: {reason}")
    call()
    return status("VmHWM") - before


@pytest.mark.parametrize(
    "metric",
    [precision_recall, density_coverage, lambda x, y: copying_ratio(y, x[:2000], x[2000:])],
    ids=["precision-recall", "density-coverage", "copying"],
)
def test_distances_of_all_pairs_are_never_held_at_once(metric):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((4000, 8), np.float32) for _ in range(2))
    pairs = 8 * len(x) * len(y) / (2 if metric not in (precision_recall, density_coverage) else 1)
    # All at once would be 1; the rest of the margin is for what the allocator keeps.
    assert peak_growth(lambda: metric(x, y)) < 0.75 * pairs


def test_grey_levels_are_converted_in_blocks():
    x = np.random.default_rng(0).integers(0, 256, (60_000, 200), np.uint8)
    real, fake = GreyLevels(x), GreyLevels(x[::-1])
    in_float64 = 8 * x.size  # 96 MB
    assert peak_growth(lambda: frechet_distance(real, fake)) < 0.5 * in_float64


def test_the_density_of_many_codes_is_computed_in_blocks():
    k, components, codes = 8, 64, np.zeros((100_000, 8))
    covariances = torch.eye(k).repeat(components, 1, 1)
    mixture = Mixture(torch.ones(components) / components, torch.zeros(components, k), covariances)
    of_all = 8 * len(codes) * components  # log densities of each code under each component: 51 MB
    assert peak_growth(lambda: mixture.log_density(codes)) < 0.7 * of_all


def test_energy_distances_are_computed_in_parts_of_a_block():
    codes = np.random.default_rng(0).standard_normal((10_000, 4))
    block = 8 * 2**20  # which the results of a block of rows take
    assert peak_growth(lambda: energy_distance_to_normal(codes)) < 4 * block


def test_a_mixture_of_many_components_is_fitted_in_blocks():
    z = torch.randn(40_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = torch.ones(800).double() / 800, z[:800], torch.eye(3).double().repeat(800, 1, 1)
    grown = peak_growth(lambda: log_density(z, em_step(z, Parameters(*parts))))
    assert grown < 8 * 4096 * 800 * 1.5  # fixed blocks of 4096 codes would take six times as much


def test_nearest_neighbours_of_codes_and_draws_are_found_in_blocks():
    x, y = np.random.default_rng(0).standard_normal((2, 5000, 4))
    pairs = 4 * (2 * len(x)) ** 2  # distances in float32: 400 MB
    assert peak_growth(lambda: same_sample_share(x, y)) < 0.1 * pairs


def test_held_out_terms_do_not_keep_the_memory_of_their_batches():
    values = np.random.default_rng(0).integers(0, 256, (60_000, 784), np.uint8)
    settings = Settings(data="x.npy", method="vae", latent_dim=2, likelihood="bernoulli")
    settings = settings.replace(encoder_widths=(8,), decoder_widths=(8,))
    model, batches = model_for(settings, Examples(values)), ArrayBatches(values, 500)
    in_float32 = 4 * values.size  # 188 MB
    assert peak_growth(lambda: held_out_estimates(model, batches)) < 0.25 * in_float32


def test_an_array_file_is_split_without_two_copies_in_memory(tmp_path):
    path = tmp_path / "large.npy"
    rng = np.random.default_rng(0)
    np.save(path, rng.integers(0, 256, (100_000, 1, 28, 28), np.uint8))  # 78 MB
    data = []
    grown = peak_growth(lambda: data.append(load(str(path))))
    values = data[0].train.values.nbytes + data[0].validation.values.nbytes
    assert values == 100_000 * 28 * 28
    assert grown < values + 45 * MB


def test_evaluation_does_not_import_what_only_some_metrics_need():
    code = """
import sys
import torch
torch._check(True)  # it imports sympy in older versions
before = set(sys.modules)
import hebae.experiments.evaluate, hebae.experiments.metrics
from hebae.networks import mlp_encoder, initialised
initialised(lambda: torch.nn.Linear(2, 2), 0)
print(*({"sklearn", "pandas", "sympy", "torch._dynamo"} & set(sys.modules) - before))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
