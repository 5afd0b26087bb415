"""What functions of hebae.evaluation accept and refuse, and where they compute."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hebae import HebaeError, evaluation
from hebae.building import build
from hebae.config import ModelSettings
from hebae.evaluation import latent

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((2, 12, 3))
SCALES, LABELS = np.full((12, 3), -1.0), np.arange(12) % 2
ROWS = rng.random((12, 5))


def model(method="vae", likelihood="bernoulli"):
    widths = {"encoder_widths": (8,), "decoder_widths": (8,)}
    settings = ModelSettings(method=method, latent_dim=3, likelihood=likelihood, **widths)
    return build(settings, (5,)).eval()


MODEL = model()
FEW = {"temperatures": 2, "chains": 2}

OF_DATA = {
    "elbo": lambda x, **o: evaluation.elbo(MODEL, x, **o).value,
    "iwae": lambda x, **o: evaluation.iwae(MODEL, x, samples=2, **o).value,
    "fit_width": lambda x, **o: evaluation.fit_width(MODEL, x, steps=2, **o)[0],
    "ais": lambda x, **o: evaluation.ais(MODEL, x, **FEW, **o).value,
    "mutual_information": lambda x, **o: evaluation.mutual_information(MODEL, x, **o).value,
    "reconstruction_error": lambda x, **o: (
        evaluation.reconstruction_error(MODEL, x, **o).squared_error.value
    ),
}
"""Functions of a model and examples (n, 5) in [0, 1]."""

OF_CODES = {
    "frechet_distance": lambda x: evaluation.frechet_distance(x, Y),
    "frechet_extrapolated": lambda x: evaluation.frechet_extrapolated(x, Y).value,
    "kernel_distance": lambda x: evaluation.kernel_distance(x, Y, block_size=4).value,
    "FeatureMoments": lambda x: evaluation.FeatureMoments().update(x).covariance[0, 0],
    "precision_recall": lambda x: evaluation.precision_recall(x, Y)[1],
    "density_coverage": lambda x: evaluation.density_coverage(x, Y)[1],
    "copying_ratio": lambda x: evaluation.copying_ratio(x, X + 1, Y).ratio.value,
    "kolmogorov_smirnov": lambda x: evaluation.kolmogorov_smirnov(x).value,
    "mardia": lambda x: evaluation.mardia(x).kurtosis.value,
    "energy": lambda x: evaluation.energy_distance_to_normal(x).value,
    "sliced": lambda x: evaluation.sliced_wasserstein_to_normal(x, directions=3).value,
    "active_units": lambda x: evaluation.active_units(x, 1.0).sum(),
    "kl_by_dimension": lambda x: evaluation.kl_by_dimension(x, SCALES, np.eye(3))[0],
    "collapsed_share": lambda x: evaluation.collapsed_share(x, SCALES, np.eye(3)),
    "aggregate_covariance": lambda x: latent.aggregate_covariance(x, SCALES, np.eye(3))[0, 0],
    "covariance": lambda x: latent.covariance(x)[0, 0],
    "posterior_information": lambda x: evaluation.posterior_information(x, SCALES).value,
    "knn_accuracy": lambda x: evaluation.knn_accuracy(x, LABELS, Y, LABELS, neighbours=3).value,
    "logistic_accuracy": lambda x: evaluation.logistic_accuracy(x, LABELS, Y, LABELS).value,
    "robustness": lambda x: evaluation.robustness(MODEL, x).relative.value,
    "smoothness": lambda x: evaluation.smoothness(MODEL, x, Y).value,
}
"""Functions of codes or features (n, 3)."""

ALL = [(f, ROWS) for f in OF_DATA.values()] + [(f, X) for f in OF_CODES.values()]
NAMES = [*OF_DATA, *OF_CODES]


class Frame:
    """Like a data frame: an object of its own with ``__array__``."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize(("function", "values"), ALL, ids=NAMES)
def test_lists_tensors_and_data_frames_give_what_arrays_give(function, values):
    expected = function(values)
    leaf = torch.from_numpy(values).requires_grad_()
    for given in (values.tolist(), leaf, leaf * 1, Frame(values), np.asfortranarray(values)):
        # The networks are float32: another memory layout may sum in another order.
        assert function(given) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("function", "values"), ALL, ids=NAMES)
def test_what_is_no_array_of_finite_numbers_is_refused(function, values):
    hole = values.copy()
    hole[3, 1] = np.nan
    for bad, fact in (
        (hole, "nan|NaN"),
        (np.where(values == values.max(), np.inf, values), "inf"),
        (values[0], r"\(\d,\)"),
        ([*values.tolist()[:-1], [1.0]], "list"),
        (values.astype(str), "<U"),
        (Frame(values.astype(object)), "Frame .* object"),
        (torch.from_numpy(values).to_sparse(), "Tensor"),
        (torch.from_numpy(values) + 1j, "complex"),
        (np.ma.masked_equal(values, values.max()), "MaskedArray"),
        (None, "NoneType"),
        ("values", "str"),
    ):
        with pytest.raises(HebaeError, match=fact):
            function(bad)


@pytest.mark.parametrize("function", OF_DATA.values(), ids=OF_DATA)
def test_examples_must_fit_the_model(function):
    for bad, fact in (
        (ROWS + 1.5, r"ranges from .* \[0, 1\]"),
        (ROWS - 0.1, r"ranges from -.* \[0, 1\]"),
        (ROWS[:, :4], r"\(12, 4\).*\(n, 5\)"),
        (ROWS[:1], "at least 2"),
    ):
        with pytest.raises(HebaeError, match=fact):
            function(bad)


def test_an_unbounded_likelihood_takes_any_finite_number():
    gaussian = model(likelihood="gaussian")
    assert math.isfinite(evaluation.elbo(gaussian, 9 * ROWS - 5).value)
    with pytest.raises(HebaeError, match="finite"):
        evaluation.elbo(gaussian, np.where(ROWS.max() == ROWS, np.inf, ROWS))


@pytest.mark.parametrize("bad", [nn.Linear(2, 2), None, "model"])
def test_what_is_no_model_is_refused(bad):
    for call in (
        lambda: evaluation.elbo(bad, ROWS),
        lambda: evaluation.bidirectional(bad),
        lambda: evaluation.robustness(bad, X),
        lambda: evaluation.bits_per_dimension(bad, ROWS, 0.0),
        lambda: latent.noise_covariance(bad),
    ):
        with pytest.raises(HebaeError, match=f"type {type(bad).__name__}"):
            call()


E3, L3 = np.eye(3), np.tril(np.ones((3, 3)))
OPTIONS = [
    ("elbo", (MODEL, ROWS), {"draws": 0}),
    ("iwae", (MODEL, ROWS), {"block": 0}),
    ("iwae", (MODEL, ROWS), {"samples": 2.5}),
    ("iwae", (MODEL, ROWS), {"proposal": "prior"}),
    ("iwae", (MODEL, ROWS), {"proposal": "gaussian-width"}),
    ("iwae", (MODEL, ROWS), {"width": 0.1}),
    *(
        ("iwae", (MODEL, ROWS), {"proposal": "gaussian-width", "width": width})
        for width in (0.0, -1.0, math.inf, [1.0, 1.0], "wide")
    ),
    *(("fit_width", (MODEL, ROWS), {name: 0}) for name in ("samples", "steps", "batch_size")),
    ("ais", (MODEL, ROWS), {"temperatures": 1}),
    *(("ais", (MODEL, ROWS), {name: 0}) for name in ("chains", "leapfrog_steps", "block")),
    *(("bidirectional", (MODEL,), {name: 1}) for name in ("count", "temperatures")),
    ("bidirectional", (MODEL,), {"chains": 0}),
    *(("posterior_information", (X, SCALES), {name: 0}) for name in ("draws", "block")),
    *(
        ("posterior_information", (X, SCALES), {"noise_factor": L})
        for L in (np.eye(2), L3.T, 0 * E3, np.nan * E3)
    ),
    ("posterior_information", (X,), {"log_scale": None, "noise_factor": E3}),
    *(("posterior_information", (X,), {"log_scale": s}) for s in (SCALES - 800, SCALES + 800)),
    ("posterior_information", (X,), {"log_scale": SCALES[:4]}),
    ("kl_by_dimension", (X, SCALES), {"noise_covariance": np.eye(2)}),
    ("collapsed_share", (X, SCALES, E3), {"epsilon": 0}),
    ("active_units", (X,), {"threshold": -1}),
    ("frechet_distance", (X,), {"y_features": X[:, :2]}),
    ("frechet_extrapolated", (X, Y), {"points": 2}),
    ("kernel_distance", (X, Y), {"block_size": 1000}),
    *(("precision_recall", (X, Y), {"k": k}) for k in (0, 12)),
    ("copying_ratio", (X, Y), {"held_out": X[:, :2]}),
    *(("kolmogorov_smirnov", (X,), {"level": level}) for level in (0, 1, math.nan)),
    ("energy_distance_to_normal", (X,), {"limit": 1}),
    ("sliced_wasserstein_to_normal", (X,), {"directions": 0}),
    ("sliced_wasserstein_to_normal", (X,), {"replicates": 1}),
    *(("knn_accuracy", (X, LABELS, Y, LABELS), {"neighbours": n}) for n in (0, 13)),
    ("logistic_accuracy", (X, LABELS, Y, LABELS), {"limit": 1}),
    ("logistic_accuracy", (X, LABELS, Y, LABELS), {"max_iterations": 0}),
    ("logistic_accuracy", (X, LABELS, Y), {"test_labels": LABELS[1:]}),
    *(
        (name, (X, LABELS, Y), {"test_labels": wrong})
        for name in ("knn_accuracy", "logistic_accuracy")
        for wrong in (
            *(LABELS[:, None], LABELS + 0.5, LABELS * math.nan, LABELS + 1j, [[1, 2], [3]]),
            LABELS + 1e200,
        )
    ),
    ("frechet_distance", (X,), {"y_features": 1e200 * X}),
    ("kl_by_dimension", (X, SCALES), {"noise_covariance": 1e200 * E3}),
    *(("robustness", (MODEL, X), {"scale": scale}) for scale in (0, -1, math.nan)),
    ("robustness", (MODEL,), {"codes": X[:, :2]}),
    ("smoothness", (MODEL, X, Y), {"steps": 2}),
    ("smoothness", (MODEL, X), {"second": Y[:5]}),
    ("smoothness", (MODEL, X, Y), {"features": lambda images: images[:, 0]}),
    *(("mic_e", (X[:, 0], Y[:, 0]), {"alpha": alpha}) for alpha in (0, 1.5, math.nan, math.inf)),
    *(("tic_approx", (X[:, 0], Y[:, 0]), {"c": c}) for c in (0.5, math.inf)),
    *(("mic_e", (X[:, 0],), {"y": y}) for y in (X[:4, 0], X, X[:, 0] * np.nan, "abc")),
    ("characteristic_matrix", (X[:3, 0], Y[:3, 0]), {}),
    ("characteristic_matrix", (X[:, 0], Y[:, 0]), {"estimator": "mic"}),
    *(("mic_and_tic", (), {"pairs": pairs}) for pairs in (None, "abc", {1, 2})),
    *(("index_dependence", (), {"z": z}) for z in (X, np.zeros((10, 0, 2)), X[None] * np.nan)),
]


@pytest.mark.parametrize(
    ("name", "arguments", "options"), OPTIONS, ids=lambda value: str(value)[:30]
)
def test_options_out_of_range_are_refused_by_name(name, arguments, options):
    with pytest.raises(HebaeError) as refusal:
        getattr(evaluation, name)(*arguments, **options)
    message = str(refusal.value)
    assert message.endswith(".")
    for option, value in [*options.items()][-1:]:
        assert option.split("_")[0] in message
        if isinstance(value, int | float):
            assert str(value) in message


@pytest.mark.parametrize(
    ("call", "fact"),
    [
        (lambda: latent.kl_to_standard_normal(np.zeros(3), np.eye(2)), r"\(2, 2\).* \(3, 3\)"),
        (lambda: latent.kl_to_standard_normal(np.zeros(2), np.diag([1, np.nan])), "NaN"),
        (lambda: latent.correlation(X), r"covariance has shape \(12, 3\)"),
        (lambda: latent.mean_absolute_off_diagonal([1.0]), r"matrix has shape \(1,\)"),
        (lambda: latent.median_scale(X * np.nan), "log_scale has .*NaN"),
        (lambda: latent.variance_range("x"), "covariance is of type str"),
        (lambda: latent.aggregate_covariance(X, SCALES[:5], np.eye(3)), r"\(12, 3\) or \(12, 1\)"),
        (lambda: evaluation.FeatureMoments().mean, "count is 0"),
        (lambda: evaluation.FeatureMoments().update(X[:1]).covariance, "count is 1"),
        (lambda: evaluation.FeatureMoments().update(X).update(X[:, :2]), "3 features.* 2"),
        (lambda: evaluation.frechet_distance(X, X[:3]), "4 examples.* 12 and 3"),
        (lambda: evaluation.frechet_extrapolated(X[:4], Y), "4 and 12.* at least 5"),
        (lambda: evaluation.FeatureMoments().update(X[:0]), r"\(0, 3\).* empty"),
    ],
)
def test_moments_of_no_distribution_are_refused(call, fact):
    with pytest.raises(HebaeError, match=fact):
        call()


@pytest.mark.parametrize("function", OF_DATA.values(), ids=OF_DATA)
def test_a_device_can_be_chosen_and_a_missing_one_is_refused(function):
    assert function(ROWS, device="cpu") == function(ROWS) == function(ROWS, device=None)
    for device in ("nowhere", "cuda:99"):
        with pytest.raises(HebaeError, match=f"device is '{device}'"):
            function(ROWS, device=device)
    assert MODEL.population_mean.device.type == "cpu"


class Transfers(TorchFunctionMode):
    """Counts what would bring numbers from a GPU to the CPU, and wait for it."""

    to_cpu = ("cpu", "numpy", "item", "tolist", "nonzero", "__bool__", "__float__", "__int__")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += getattr(function, "__name__", "") in self.to_cpu
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "measure",
    [
        lambda n: evaluation.elbo(MODEL, ROWS, draws=n, block=1),
        lambda n: evaluation.iwae(MODEL, ROWS, samples=n, block=1),
        lambda n: evaluation.ais(MODEL, ROWS, temperatures=n, chains=2),
    ],
    ids=["elbo", "iwae", "ais"],
)
def test_work_stays_on_the_models_device(measure):
    """Nothing comes back to the CPU per sample or per temperature, only once per call."""
    counts = []
    for n in (40, 50):
        with Transfers() as transfers:
            measure(n)
        counts.append(transfers.count)
    assert 0 < counts[0] == counts[1] < 40
