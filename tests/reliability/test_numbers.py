"""Numbers at their limits: a finite model or one clear error, never weights that are NaN."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from hebae.errors import UndefinedMetric
from hebae.estimator import ESTIMATORS
from hebae.methods import METHODS

Data = Callable[[np.random.Generator], np.ndarray]


def rows(n: int = 60, d: int = 6, scale: float = 1, offset: float = 0, dtype: Any = "f4") -> Data:
    return lambda rng: (offset + scale * rng.standard_normal((n, d))).astype(dtype)


def unit(n: int = 60, d: int = 6) -> Data:
    return lambda rng: rng.random((n, d), dtype=np.float32)


def constant(value: float, n: int = 60, d: int = 6) -> Data:
    return lambda rng: np.full((n, d), value, np.float32)


def counts(rate: float) -> Data:
    return lambda rng: rng.poisson(rate, (60, 6)).astype(np.int64)


def repeated(rng: np.random.Generator) -> np.ndarray:
    return np.repeat(rng.random((2, 6), dtype=np.float32), 30, axis=0)


def one_constant_column(rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((60, 6)).astype(np.float32)
    x[:, 2] = 7
    return x


def one_outlier(rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((60, 6)).astype(np.float32)
    x[3, 3] = 1e17
    return x


def mostly_missing(rng: np.random.Generator) -> np.ndarray:
    x = rng.random((60, 6), dtype=np.float32)
    x[rng.random(x.shape) < 0.9] = np.nan
    x[0] = 0.5
    return x


CASES: dict[str, tuple[str, Data, dict[str, Any]]] = {}


def case(name: str, method: str, data: Data, **settings: Any) -> None:
    assert name not in CASES
    CASES[name] = (method, data, settings)


for _method in METHODS:
    case(f"{_method}, as it comes", _method, unit())
for _method in ("hebae", "vae", "wae"):
    for _n in (1, 2, 3):
        case(f"{_method}, {_n} examples", _method, unit(n=_n), latent_dim=1)
    case(f"{_method}, 1 feature", _method, rows(d=1), latent_dim=1)
    case(f"{_method}, k = 1", _method, unit(), latent_dim=1)
    case(f"{_method}, k = 512", _method, unit(n=600), latent_dim=512, batch_size=600)
    case(f"{_method}, constant", _method, constant(0.5))
    case(f"{_method}, constant 0", _method, constant(0))
    case(f"{_method}, constant 1e6", _method, constant(1e6))
    case(f"{_method}, two rows repeated", _method, repeated)
    case(f"{_method}, a constant column", _method, one_constant_column)
    case(f"{_method}, an outlier", _method, one_outlier)
    case(f"{_method}, nine tenths missing", _method, mostly_missing)
    for _weight in (0.0, 1e-30, 1e6, 1e30):
        case(f"{_method}, weight {_weight:g}", _method, unit(), penalty_weight=_weight)
    for _scale in (1e-30, 1e-10, 1e6, 1e17, 1e30):
        case(f"{_method}, scale {_scale:g}", _method, rows(scale=_scale))
    case(f"{_method}, far from zero", _method, rows(offset=1e7))
    for _rate in (1e-30, 1.0, 1e10, 1e38):
        case(f"{_method}, learning rate {_rate:g}", _method, unit(), learning_rate=_rate)
    for _precision in ("bf16-mixed", "16-mixed", "64-true"):
        case(f"{_method}, {_precision}", _method, unit(), precision=_precision)
        case(f"{_method}, {_precision}, 1e6", _method, rows(scale=1e6), precision=_precision)
    case(f"{_method}, steep and heavy", _method, rows(scale=1e3), learning_rate=10.0)
case("hebae, k = 512, batch of 128", "hebae", unit(n=600), latent_dim=512, batch_size=128)
case("hebae, shrunk, k = 512", "hebae", unit(), latent_dim=512, moments="shrunk", batch_size=8)
case("hebae, running", "hebae", unit(), moments="running", batch_size=8)
case("hebae, shrunk, constant", "hebae", constant(1), moments="shrunk", batch_size=2)
case("vae, batches of 1", "vae", unit(n=5), batch_size=1)
case("vae, free bits 1e6", "vae", unit(), free_bits=1e6)
case("vae, clipped to 1e-30", "vae", unit(), gradient_clip=1e-30)
case("vae, Gaussian of 1e-30", "vae", rows(), likelihood_scale=1e-30)
case("vae, Gaussian of 1e30", "vae", rows(), likelihood_scale=1e30)
case("vae, learned scale, constant", "vae", constant(2), likelihood_scale="learned")
case("vae, mixture prior of 512", "vae", unit(), prior="mixture", prior_components=512)
case("vae, VampPrior, two rows", "vae", repeated, prior="vamp", prior_components=3)
for _likelihood in ("poisson", "negative_binomial", "zero_inflated_negative_binomial"):
    case(f"{_likelihood}, counts of 0", "vae", counts(0), likelihood=_likelihood)
    case(f"{_likelihood}, counts of 1e6", "vae", counts(1e6), likelihood=_likelihood)
case("bernoulli of other numbers", "vae", rows(), likelihood="bernoulli")
case("unsigned 64-bit numbers", "vae", rows(scale=1e12, dtype="i8"))
case("half-precision data", "vae", rows(dtype="f2"))

SHORT = list(CASES)[:: len(CASES) // 12]


def holds(name: str) -> str:
    """Fit, encode, decode and sample; return "finite", or the error that was raised."""
    method, data, settings = CASES[name]
    x = data(np.random.default_rng(0))
    values = {"latent_dim": 2, "epochs": 2, "batch_size": 20, "random_state": 0} | settings
    widths = {"encoder_widths": (8,), "decoder_widths": (8,), "device": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = ESTIMATORS[method](**widths | values).fit(x)
        except ValueError as error:  # a HebaeError, or scikit-learn's, whose words are its own
            assert 20 < len(str(error)) < 1000
            return str(error)
        for tensor in model.module_.state_dict().values():
            assert bool(tensor.isfinite().all())
        outputs = [model.transform(x), model.reconstruct(x), model.sample(5, sampler="normal")]
        with suppress(UndefinedMetric):  # of codes that are equal, or too few
            outputs.append(model.sample(5, random_state=0))
        assert all(np.isfinite(output).all() for output in outputs)
    return "finite"


def test_there_are_enough_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", SHORT)
def test_a_model_is_finite_or_refused(name):
    holds(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CASES if name not in SHORT])
def test_every_model_is_finite_or_refused(name, count):
    count("cases of numbers", **{"finite" if holds(name) == "finite" else "refused": 1})


def test_the_usual_is_not_refused():
    """Or a package that refuses everything would pass."""
    assert holds("vae, as it comes") == holds("hebae, an outlier") == "finite"
