"""The runs of an experiment: the axes of a sweep, and what is refused before any training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebae.config import Settings, resolve
from hebae.errors import HebaeError
from hebae.experiments.plan import (
    MOST_RUNS,
    Axis,
    as_text,
    common_settings,
    parse_axes,
    plan_grid,
    plan_methods,
    prepare,
)
from hebae.methods import METHODS

# ---- axes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("seed=0..4", "seed", (0, 1, 2, 3, 4)),
        ("seed=7..7", "seed", (7,)),
        ("seed=0..2,9", "seed", (0, 1, 2, 9)),
        ("penalty_weight=0.001, 1,1e3", "penalty_weight", (0.001, 1.0, 1000.0)),
        ("penalty_weight=0..2", "penalty_weight", (0.0, 1.0, 2.0)),
        ("penalty_weight=0,0.01..100:3", "penalty_weight", (0.0, 0.01, 1.0, 100.0)),
        ("latent-dim=2..64:6", "latent_dim", (2, 4, 8, 16, 32, 64)),
        ("--method=vae,wae", "method", ("vae", "wae")),
        ("encoder_widths=16,784x800", "encoder_widths", ((16,), (784, 800))),
        ("learning_rate=none,1e-3", "learning_rate", (None, 0.001)),
        ("drop_last=true,false", "drop_last", (True, False)),
        ("likelihood_scale=0.5,learned", "likelihood_scale", (0.5, "learned")),
    ],
)
def test_axes_are_read(text: str, name: str, values: tuple[Any, ...]) -> None:
    (axis,) = parse_axes([text])
    assert axis == Axis(name, values)
    assert [type(value) for value in axis.values] == [type(value) for value in values]


@given(low=st.floats(1e-6, 1e3), ratio=st.floats(1.5, 1e6), count=st.integers(2, 12))
def test_a_spaced_axis_has_even_ratios(low: float, ratio: float, count: int) -> None:
    low, high = float(f"{low:.4g}"), float(f"{low * ratio:.4g}")
    (axis,) = parse_axes([f"penalty_weight={low!r}..{high!r}:{count}"])
    assert len(axis.values) == count
    assert (axis.values[0], axis.values[-1]) == (low, high)
    steps = np.diff(np.log(axis.values))
    np.testing.assert_allclose(steps, math.log(high / low) / (count - 1), atol=2e-3)


@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_is_written(value: float) -> None:
    (axis,) = parse_axes([f"penalty_weight={as_text(value)}"])
    assert axis.values == (value,)


@pytest.mark.parametrize(
    ("texts", "facts"),
    [
        (["seed"], "NAME=VALUES"),
        (["seed="], "no value"),
        (["seed=1,,2"], "empty value"),
        (["latent_dims=2"], "'latent_dims'.*'latent_dim'"),
        (["data=mnist"], "data cannot be an axis"),
        (["devices=1,2"], "devices cannot be an axis"),
        (["penalty_weight=0.1,1e-1"], "the value 0.1 twice"),
        (["latent_dim=2..3:6"], "twice"),
        (["seed=0..1", "seed=2..3"], "seed is given twice"),
        (["seed=4..0"], r"0\.\.4"),
        (["penalty_weight=0.001,...,1000"], r"0\.001\.\.1000:7"),
        (["penalty_weight=0.1..1"], "not a range"),
        (["penalty_weight=0..1:5"], "above 0"),
        (["penalty_weight=1..10:1"], "2 or more"),
        (["penalty_weight=-1"], "penalty_weight.*-1.*at least 0"),
        (["penalty_weight=nan"], "finite"),
        (["latent_dim=2.5"], "whole number"),
        (["method=gan"], "'gan'.*'hebae', 'vae', 'wae', 'ae'"),
        (["encoder_widths=16xx"], "whole number"),
        (["seed=0..9999999999999"], "at most 10,000"),
        (["penalty_weight=1..2:99999999999"], "at most 10,000"),
        ([f"seed=0..{MOST_RUNS - 1}", "latent_dim=2,3"], "20,000.*10,000"),
    ],
)
def test_bad_axes_are_refused(texts: list[str], facts: str) -> None:
    with pytest.raises(HebaeError, match=facts):
        parse_axes(texts)


# ---- plan ---------------------------------------------------------------------------------------


def test_a_method_takes_its_own_values_of_the_preset_unless_an_axis_has_them() -> None:
    runs = plan_grid(parse_axes(["method=vae,wae"]), "mnist-mini")
    weights = [(run.label, run.settings.penalty_weight) for run in runs]
    assert weights == [("method=vae", 1), ("method=wae", 10)]
    runs = plan_grid(parse_axes(["method=vae,wae", "penalty_weight=3,4"]), "mnist-mini")
    assert [run.settings.penalty_weight for run in runs] == [3, 4, 3, 4]
    runs = plan_grid(parse_axes(["method=vae,wae", "kernel=imq,rbf"]))  # the VAE has no kernel
    assert [run.settings.kernel for run in runs] == ["imq", "rbf"] * 2


@pytest.mark.parametrize("preset", ["mnist-mini", "mnist", "mnist-rate", "mnist-released"])
def test_presets_keep_the_default_weights_of_infovae_and_wae_gan(preset: str) -> None:
    """InfoVAE with the VAE's weight of 1 would be the VAE: its MMD would have the weight 0."""
    for method in ("infovae", "wae-gan"):
        weight = METHODS[method].options["penalty_weight"].default
        assert resolve(preset, None, {"method": method}).penalty_weight == weight > 1


@pytest.mark.parametrize(
    ("axes", "flags", "facts"),
    [
        (["kernel=imq,rbf"], {"method": "vae"}, "kernel.*wae"),
        (["method=vae,ae"], {"kernel": "rbf"}, "kernel.*wae"),
        (["seed=0,1"], {"devices": 2}, "one device"),
        (["encoder_widths=" + "x".join(["100"] * 60)], {}, "200 bytes"),
    ],
)
def test_bad_plans_are_refused(axes: list[str], flags: dict[str, Any], facts: str) -> None:
    with pytest.raises(HebaeError, match=facts):
        plan_grid(parse_axes(axes), flags=flags)


def test_runs_on_different_data_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("methods: {wae: {data: mnist}}\n")
    with pytest.raises(HebaeError, match=r"data.*mnist-mini.*mnist"):
        plan_grid(parse_axes(["method=vae,wae"]), "mnist-mini", config)
    by_method = {name: Settings(method=name, data=name) for name in ("vae", "wae")}
    with pytest.raises(HebaeError, match=r"data.*vae.*wae"):
        plan_methods(by_method, None)


def test_methods_of_a_seed_follow_each_other() -> None:
    by_method = {name: Settings(method=name) for name in ("vae", "wae")}
    runs = plan_methods(by_method, [3, 4])
    assert [run.label for run in runs] == ["vae-seed3", "wae-seed3", "vae-seed4", "wae-seed4"]
    assert [run.settings.seed for run in runs] == [3, 3, 4, 4]
    with pytest.raises(HebaeError, match="3 3"):
        plan_methods(by_method, [3, 3])


def test_a_run_that_cannot_be_trained_is_named(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((240, 12), dtype=np.float32)
    np.save(tmp_path / "vectors.npy", values)
    flags = {"data": str(tmp_path / "vectors.npy"), "batch_size": 32}
    runs = plan_grid(parse_axes(["latent_dim=2,64"]), flags=flags)
    with pytest.raises(HebaeError, match=r"latent_dim=64.*batch_size.*32"):
        prepare(runs, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"vectors.npy"}


def test_shared_and_own_settings_make_the_whole() -> None:
    runs = plan_grid(parse_axes(["method=vae,wae", "seed=0,1"]), "mnist-mini")
    common, own = common_settings(run.settings for run in runs)
    for run, rest in zip(runs, own, strict=True):
        assert common | rest == run.settings.model_dump(mode="json")
        assert set(rest) == {"method", "seed", "penalty_weight"}
