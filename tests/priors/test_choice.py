"""Which sampler the codes ask for, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hebae import HebaeError, inference
from hebae.building import build
from hebae.config import ModelSettings
from hebae.priors import NAMES, Samplers, StandardNormal, fit_samplers
from hebae.priors.two_sample import same_sample_share
from hebae.samplers import codes_of


def standard(n: int = 2000, k: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, k)).astype(np.float32)


def two_clusters() -> np.ndarray:
    z = 0.2 * standard()
    z[::2] += 3
    return z


@pytest.mark.parametrize(
    ("codes", "best"),
    [
        (two_clusters(), "mixture"),
        (3 * standard() - 2, "fitted-normal"),
    ],
)
def test_auto_is_what_the_codes_were_drawn_from(codes: np.ndarray, best: str) -> None:
    samplers = fit_samplers(codes)
    assert samplers.best == best
    assert samplers["auto"] is samplers[best]
    assert set(samplers.by_name) == set(samplers.held_out) == set(NAMES)
    text = str(samplers)
    assert text.startswith(f"sampler auto chose {best}")
    for name, value in samplers.held_out.items():
        assert f"{value:.1f}" in text
        assert name in text or name == "mixture"


def ring(n: int, seed: int = 0) -> np.ndarray:
    """Two curved dimensions, with the mean and covariance of a standard normal, and one more."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    circle = np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([circle + 0.1 * rng.normal(size=(n, 2)), rng.normal(size=(n, 1))], 1)


def test_on_a_ring_both_normals_are_worse_than_the_mixture() -> None:
    samplers = fit_samplers(ring(3000))
    assert samplers.best == "mixture"
    distances = {name: np.mean(blocks) for name, blocks in samplers.distances.items()}
    assert distances["mixture"] < 0.03
    assert min(distances["normal"], distances["fitted-normal"]) > 0.12


def test_few_standard_normal_codes_need_no_fit() -> None:
    """Eighteen codes in ten dimensions do not tell samplers apart: the simplest is taken."""
    samplers = fit_samplers(standard(20, 10))
    assert samplers.best == "normal"
    assert "not significantly different: " in str(samplers)


def test_samplers_that_cannot_be_told_apart_are_named_and_the_simplest_is_chosen() -> None:
    samplers = fit_samplers(standard(4000))
    assert samplers.best == "normal"
    assert "not significantly different: fitted-normal; the simplest is used" in str(samplers)


def test_codes_of_one_distribution_have_a_distance_of_zero_and_of_two_of_one_half() -> None:
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(2, 2000, 5))
    chance = 1999 / 3999
    # Neighbours are shared, so that the shares are nearly independent: Schilling (1986).
    assert abs(same_sample_share(y, x).mean() - chance) < 4 * 0.5 / np.sqrt(5 * 4000)
    assert same_sample_share(y, x + 100).mean() == 1
    moved = same_sample_share(3 * y - 7, 3 * x - 7)  # whitened first
    assert abs(moved.mean() - same_sample_share(y, x).mean()) < 1e-3


def test_held_out_density_does_not_decide() -> None:
    """As in the issue: the density of one sampler is higher, and its draws lie elsewhere."""
    normal = StandardNormal(1)
    distances = {"normal": (0.01, 0.02, 0.01), "mixture": (0.2, 0.21, 0.2)}
    samplers = Samplers(
        {"normal": normal, "mixture": normal},
        {"normal": -19.5, "mixture": -19.2},
        distances=distances,
    )
    assert samplers.best == "normal"
    old = Samplers(samplers.by_name, samplers.held_out)  # as hebae 0.1.0 stored them
    assert old.best == "mixture"
    assert "log density" in str(old)


def test_held_out_density_is_the_entropy_of_the_source() -> None:
    samplers = fit_samplers(standard(20_000))
    error = np.sqrt(3 / 2) / np.sqrt(2000)  # a log density of k dimensions has variance k / 2
    for value in samplers.held_out.values():
        assert abs(value + 3 * norm.entropy()) < 4 * error


def test_what_is_known_is_kept_and_the_rest_fitted_alike() -> None:
    z = two_clusters()
    whole = fit_samplers(z, seed=1)
    first = fit_samplers(z, seed=1, names=("fitted-normal",))
    both = fit_samplers(z, seed=7, known=first)
    assert both["fitted-normal"] is first["fitted-normal"]
    assert both.held_out == whole.held_out
    assert np.array_equal(both["mixture"].sample(5, 0), whole["mixture"].sample(5, 0))


@pytest.mark.parametrize("method", ["hebae", "vae", "wae", "ae"])
def test_codes_are_draws_and_those_of_deterministic_encoders_their_means(method: str) -> None:
    settings = ModelSettings(
        method=method, latent_dim=2, encoder_widths=(4,), decoder_widths=(4,), likelihood="gaussian"
    )
    model = build(settings, (5,))
    x = np.random.default_rng(0).random((30, 5), dtype=np.float32)
    codes = codes_of(model, x, seed=3)
    assert codes.dtype == np.float32
    assert np.array_equal(codes, codes_of(model, x, seed=3))
    mean = inference.encode(model, x).mean
    assert np.array_equal(codes, mean) == (method in ("wae", "ae"))


def test_unknown_names_and_bad_codes_are_refused() -> None:
    with pytest.raises(HebaeError, match=r"'gan'.*normal, fitted-normal, mixture.*flow"):
        fit_samplers(standard(), names=("gan",))
    with pytest.raises(HebaeError, match="at least 20"):
        fit_samplers(standard(10))
    with pytest.raises(HebaeError, match="not finite"):
        fit_samplers(standard() * np.inf)


def test_a_single_mixture_of_one_component_is_still_the_best_there_is() -> None:
    codes = np.random.default_rng(0).normal(size=(500, 2))
    alone = fit_samplers(codes, names=("mixture",))
    assert alone.by_name["mixture"].components == 1
    assert alone.best == "mixture"
    assert str(alone).startswith("sampler auto chose mixture (1 components)")
    both = fit_samplers(codes, names=("fitted-normal",), known=alone)
    assert both.best == "fitted-normal"
