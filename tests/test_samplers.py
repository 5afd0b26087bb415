"""Samplers stored with a model: bit for bit, and never those of other weights."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hebae import HebaeError
from hebae.building import build
from hebae.config import ModelSettings
from hebae.model import Autoencoder
from hebae.priors.choice import SAMPLERS
from hebae.samplers import (
    NAMES,
    Stored,
    codes_of,
    fit_samplers,
    read_samplers,
    samplers_of,
    write_samplers,
)
from hebae.storage import load_model

VALUES = np.random.default_rng(0).random((400, 6), dtype=np.float32)


@pytest.fixture
def model() -> Autoencoder:
    settings = ModelSettings(
        latent_dim=2, encoder_widths=(8,), decoder_widths=(8,), likelihood="gaussian"
    )
    return build(settings, (6,))


class Loader:
    """Training values, and how often they were asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> np.ndarray:
        self.calls += 1
        return VALUES


def test_what_is_read_is_what_was_written(model: Autoencoder, tmp_path: Path) -> None:
    codes = codes_of(model, VALUES)
    samplers = fit_samplers(codes, seed=2)
    write_samplers(tmp_path, model, Stored(samplers, codes))
    assert [path.name for path in tmp_path.iterdir()] == ["samplers.safetensors"]
    found = read_samplers(tmp_path, model)
    assert found.samplers is not None
    assert np.array_equal(found.codes, codes)
    assert found.samplers.held_out == samplers.held_out
    assert found.samplers.curve == samplers.curve
    assert found.samplers.seed == 2
    for name in NAMES:
        assert np.array_equal(found.samplers[name].sample(9, 1), samplers[name].sample(9, 1))
        assert np.array_equal(
            found.samplers[name].log_density(codes), samplers[name].log_density(codes)
        )


ALL = [name for name in SAMPLERS if name != "flow" or importlib.util.find_spec("zuko")]


def test_every_sampler_is_read_as_it_was_written(model: Autoencoder, tmp_path: Path) -> None:
    codes = codes_of(model, VALUES)
    samplers = fit_samplers(codes, names=ALL)
    write_samplers(tmp_path, model, Stored(samplers))
    found = read_samplers(tmp_path, model).samplers
    assert found is not None
    assert list(found.by_name) == list(samplers.by_name)
    assert set(found.by_name) == set(ALL)
    assert found.distances == samplers.distances
    for name in ALL:
        assert np.array_equal(found[name].sample(9, 1), samplers[name].sample(9, 1))
        assert np.array_equal(found[name].log_density(codes), samplers[name].log_density(codes))


def test_without_zuko_a_flow_is_refused_and_stored_ones_do_not_hinder_the_others(
    model: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zuko")
    codes = codes_of(model, VALUES)
    write_samplers(tmp_path, model, Stored(fit_samplers(codes, names=("normal", "flow")), codes))
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(HebaeError, match=r"pip install 'hebae\[flow\]'"):
        fit_samplers(codes, names=("flow",))
    with pytest.raises(HebaeError, match=r"pip install 'hebae\[flow\]'"):
        samplers_of(tmp_path, model, Loader(), names=("flow",))
    found = read_samplers(tmp_path, model).samplers
    assert found is not None
    assert list(found.by_name) == ["normal"]


def test_samplers_of_version_0_1_0_are_read(tmp_path: Path) -> None:
    folder = Path(__file__).parent / "fixtures/v0.1.0/hebae"
    trained, _ = load_model(folder)
    found = read_samplers(folder, trained).samplers
    assert found is not None
    assert found.distances == {}
    assert found.best in found.by_name
    assert np.isfinite(found["auto"].sample(5, 0)).all()


def test_each_sampler_is_fitted_once(model: Autoencoder, tmp_path: Path) -> None:
    load = Loader()
    normal = samplers_of(tmp_path, model, load, names=("normal",))["normal"]
    assert normal.latent_dim == 2
    assert load.calls == 0  # N(0, I) needs no data
    assert not list(tmp_path.iterdir())
    first = samplers_of(tmp_path, model, load, names=("fitted-normal",))
    assert load.calls == 1
    samplers_of(tmp_path, model, load)
    assert load.calls == 2
    again = samplers_of(tmp_path, model, load)
    assert load.calls == 2
    assert set(again) == set(NAMES)
    with_own = samplers_of(tmp_path, model, load, names=("prior", "mixture"))
    assert load.calls == 2
    assert with_own["prior"] is model.prior
    assert np.array_equal(again["fitted-normal"].mean, first["fitted-normal"].mean)


def test_samplers_of_other_weights_are_fitted_again(model: Autoencoder, tmp_path: Path) -> None:
    load = Loader()
    before = samplers_of(tmp_path, model, load)["fitted-normal"]
    with torch.no_grad():
        next(iter(model.encoder.parameters())).mul_(2)
    assert read_samplers(tmp_path, model) == Stored()
    after = samplers_of(tmp_path, model, load)["fitted-normal"]
    assert load.calls == 2
    assert not np.array_equal(before.mean, after.mean)
    np.testing.assert_allclose(after.mean, codes_of(model, VALUES).mean(0), atol=1e-6)


def test_a_damaged_file_is_refused_by_name(model: Autoencoder, tmp_path: Path) -> None:
    samplers_of(tmp_path, model, Loader())
    path = tmp_path / "samplers.safetensors"
    whole = path.read_bytes()
    for damaged in (
        whole[:-9],
        b"\0" * 64 + whole[64:],
        b"",
        whole.replace(b"held_out", b"held_0ut"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(HebaeError, match=r"samplers\.safetensors cannot be read.*again"):
            samplers_of(tmp_path, model, Loader())
    path.unlink()
    assert set(samplers_of(tmp_path, model, Loader())) == set(NAMES)


def test_a_folder_that_is_not_there_and_unknown_names_are_refused(
    model: Autoencoder, tmp_path: Path
) -> None:
    with pytest.raises(HebaeError, match="cannot write"):
        samplers_of(tmp_path / "nowhere", model, Loader())
    load = Loader()
    with pytest.raises(HebaeError, match="no sampler 'auto'"):
        samplers_of(tmp_path, model, load, names=("auto",))
    assert load.calls == 0
