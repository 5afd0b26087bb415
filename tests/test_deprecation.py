"""What version 0.1.0 had is still there: names, parameters, commands, with warnings where renamed.

``fixtures/v0.1.0/names.txt`` was written by that version.
"""

import importlib
import inspect
import warnings
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import hebae
from hebae import deprecation, evaluation, gaussian, networks
from hebae.errors import HebaeError
from hebae.evaluation.latent import variance_range
from hebae.likelihoods import Bernoulli
from hebae.model import Autoencoder
from hebae.objectives import AE, HEBAE, VAE, WAE, Moments
from hebae.priors import StandardNormal

FILE = Path(__file__).parent / "fixtures" / "v0.1.0" / "names.txt"
NEW_NAMES = {"epsilon": "noise"}
"""Of parameters that are accepted by position, and by their old name."""
LINES = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
PYTHON = [line for line in LINES if line.startswith("hebae") and ": " not in line]
OTHERS = [line.split(": ") for line in LINES if ": " in line]


def parameters(function):
    """Names, those that may be given by position in order, and whether any name may be given."""
    listed = inspect.signature(function).parameters.values()
    names = {p.name for p in listed}
    ordered = [p.name for p in listed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names, ordered, any(p.kind == p.VAR_KEYWORD for p in listed)


def lacks(line):
    """Say what of a line of the table is no longer there; empty if nothing."""
    place, _, old = line.rstrip(")").partition("(")
    module, _, path = place.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        fields = getattr(found, "model_fields", getattr(found, "__dataclass_fields__", {}))
        if name in fields:
            return ""
        if any(name in inspect.get_annotations(one) for one in getattr(found, "__mro__", ())):
            return ""
        if not hasattr(found, name):
            return f"{place} is gone"
        owner, found = found, getattr(found, name)
    if "(" not in line:
        return ""
    names, ordered, takes_any = parameters(found)
    if place.endswith("Objective.__call__"):  # by a decorator, see the test of these calls
        names, ordered = names | {"epsilon"}, [*ordered[:3], "epsilon", "running"]
    if inspect.isclass(owner) and ordered[:1] == ["self"]:
        ordered = ordered[1:]
    positions, _, keywords = old.replace("=", "").partition("*")
    gone = [name for name in (positions + keywords).split() if name not in names | {"self"}]
    if gone and not takes_any:
        return f"{place} has no parameters {gone}"
    pairs = zip(positions.split(), ordered, strict=False)
    moved = [old for old, new in pairs if new not in (old, NEW_NAMES.get(old))]
    return f"{place} has other positions for {moved}" if moved and not gone else ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_public_name_and_parameter_of_0_1_0_is_accepted():
    assert len(PYTHON) > 300
    assert [fault for line in PYTHON if (fault := lacks(line))] == []


def test_every_command_flag_and_value_of_0_1_0_is_accepted():
    from hebae.cli import app
    from hebae.config import Settings
    from hebae.data.loading import data_set_name
    from hebae.experiments.metrics import METRICS
    from hebae.paper import NAMES

    presets = Path(importlib.import_module("hebae.config").__file__).parent / "presets"
    for kind, text in OTHERS:
        old = set(text.split())
        if kind.startswith("hebae "):
            command = app
            for word in kind.split()[1:]:
                command = command[word]
            new = {
                name for option in command.assemble_argument_collection() for name in option.names
            }
        elif kind.startswith("setting "):
            annotation = Settings.model_fields[kind.split()[1]].annotation
            new = {
                value for part in (annotation, *get_args(annotation)) for value in get_args(part)
            }
        elif kind == "data sets":
            with warnings.catch_warnings(record=True):
                new = {name for name in old if data_set_name(name)}
        else:
            new = {
                "metrics": set(METRICS),
                "studies": set(NAMES),
                "presets": {file.stem for file in presets.glob("*.yaml")},
            }[kind]
        assert old <= new, (kind, old - new)


def test_modules_that_moved_are_imported_from_where_they_were():
    package = Path(deprecation.__file__).parent
    for old, new in deprecation._MOVED_MODULES.items():
        path = package / old.replace(".", "/")
        assert not path.with_suffix(".py").exists(), f"{path}.py is hidden by an old name"
        assert not path.is_dir(), f"{path} is hidden by an old name"
        moved = importlib.import_module(f"hebae.{old}")
        assert not hasattr(moved, "nothing_of_the_kind"), new
    with pytest.warns(DeprecationWarning, match=r"from hebae\.evaluation\.annealing"):
        from hebae.evaluation.bidirectional import bidirectional
    with pytest.warns(DeprecationWarning):
        from hebae.networks.mlp import mlp_encoder
    with pytest.warns(DeprecationWarning):
        import hebae.samplers.mixture as mixture

        assert mixture.Mixture is hebae.priors.Mixture
    assert bidirectional is evaluation.bidirectional  # a function, as in the package
    assert mlp_encoder is networks.mlp_encoder
    with pytest.raises(ImportError):
        from hebae.training.trial import decide  # noqa: F401


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 3)), RNG.normal(1, 1, size=(50, 3))
MODEL = Autoencoder(
    torch.nn.Linear(6, 4), torch.nn.Linear(2, 6), VAE(), Bernoulli(), (6,), 2
).eval()
IMAGES = RNG.random((4, 6), np.float32)
FEW = {"temperatures": 4, "chains": 1, "leapfrog_steps": 1}
ais = partial(evaluation.ais, MODEL, IMAGES, **FEW)
bidirectional = partial(evaluation.bidirectional, MODEL, 4, **FEW)
kernel = partial(evaluation.kernel_distance, X, Y, block_size=10)
extrapolated = partial(evaluation.frechet_extrapolated, X, Y)
dependence = partial(evaluation.index_dependence, RNG.normal(size=(12, 2, 2)))
LABELS = (X[:, 0] > 0).astype(int), (Y[:, 0] > 0).astype(int)
logistic = partial(evaluation.logistic_accuracy, X, LABELS[0], Y, LABELS[1])
tic_e, tic_approx = (
    partial(function, X[:, 0], X[:, 1]) for function in (evaluation.tic_e, evaluation.tic_approx)
)


@pytest.mark.parametrize(
    ("function", "name", "default", "other"),
    [
        (kernel, "degree", 3, 2),
        (kernel, "gamma", 1 / 3, 1.0),
        (kernel, "coef0", 1, 0.0),
        (kernel, "blocks", 5, 7),
        (extrapolated, "smallest", 5, 20),
        (extrapolated, "fix_x", False, True),
        (tic_e, "normalised", False, True),
        (tic_approx, "normalised", False, True),
        (dependence, "permutations", 1, 2),
        (dependence, "workers", 1, None),
        (logistic, "inverse_penalty", 1.0, 1e-6),
        (ais, "schedule", "sigmoid", "linear"),
        (bidirectional, "schedule", "sigmoid", "linear"),
    ],
)
def test_a_parameter_of_0_1_0_warns_and_has_its_effect(function, name, default, other):
    def value(**options):
        result = function(**options)
        return vars(result) if hasattr(result, "__dict__") else result

    expected = value()
    with pytest.warns(DeprecationWarning, match=f"{name} of {function.func.__name__}"):
        assert str(value(**{name: default})) == str(expected)
    with pytest.warns(DeprecationWarning):
        changed = value(**{name: other})
    assert (str(changed) != str(expected)) is (name != "workers")


def test_parameters_of_0_1_0_mean_what_they_meant():
    matrix = evaluation.characteristic_matrix(X[:, 0], X[:, 1])
    with pytest.warns(DeprecationWarning):
        assert tic_e(normalised=True) == pytest.approx(np.nanmean(matrix))
    # With a linear kernel the unbiased MMD^2 of all blocks is that of the means, on average.
    with pytest.warns(DeprecationWarning):
        linear = kernel(degree=1, gamma=1.0, coef0=0.0, blocks=500).value
    within = [(z.sum(0) @ z.sum(0) - (z * z).sum()) / (len(z) * (len(z) - 1)) for z in (X, Y)]
    assert linear == pytest.approx(sum(within) - 2 * X.mean(0) @ Y.mean(0), rel=0.05)
    with pytest.warns(DeprecationWarning), pytest.raises(HebaeError, match="blocks is 1"):
        kernel(blocks=1)
    # With all of x in each subset, a line through subsets of y alone: x decides nothing more.
    with pytest.warns(DeprecationWarning):
        assert extrapolated(fix_x=True).value > extrapolated(fix_x=False).value
    with pytest.warns(DeprecationWarning), pytest.raises(HebaeError, match="smallest is 3"):
        extrapolated(smallest=3)


@pytest.mark.parametrize("function", [ais, bidirectional])
def test_progress_is_the_share_of_the_work(function):
    shares = []
    with pytest.warns(DeprecationWarning, match="progress"):
        function(progress=shares.append)
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == pytest.approx(1)


def test_calls_of_0_1_0_in_the_training_step():
    x = torch.rand(9, 6)
    epsilon = torch.randn(9, 2)
    with pytest.warns(DeprecationWarning, match="epsilon"):
        old = MODEL(x, epsilon)
    assert torch.equal(old.z, MODEL(x, {"posterior": epsilon}).z)
    with pytest.warns(DeprecationWarning):
        assert torch.equal(MODEL(x, epsilon=epsilon).loss, old.loss)
    mean, log_scale = torch.randn(2, 9, 2)
    running = Moments(torch.ones(2), 3 * torch.eye(2))
    prior = StandardNormal(2)
    for method, draws in (
        (HEBAE(moments="running", moments_decay=0.5), "posterior"),
        (VAE(), "posterior"),
        (WAE(), "prior"),
        (AE(), "posterior"),
    ):
        with pytest.warns(DeprecationWarning):
            z, terms = method(mean, log_scale, epsilon, running)
        expected = method(mean, log_scale, {draws: epsilon}, prior, running=running)
        assert torch.equal(z, expected[0])
        assert terms == expected[1]
    with pytest.warns(DeprecationWarning):
        mmd = WAE().penalty(mean, mean, None, prior=epsilon)
    assert mmd == WAE()(mean, None, {"prior": epsilon}, prior)[1]


def test_other_things_of_0_1_0():
    assert variance_range(np.diag([3.0, 2.0])).least == 2
    covariance, log_scale = torch.eye(2), torch.randn(5, 2)
    expected = gaussian.aggregate_covariance(covariance, covariance, log_scale)
    with pytest.warns(DeprecationWarning, match="no effect"):
        C = gaussian.aggregate_covariance(covariance, covariance, log_scale, True)
    assert torch.equal(C, expected)
