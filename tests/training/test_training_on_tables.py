"""Tables with missing numbers, counts and categories: stacked, stopped and resumed as others."""

import numpy as np
import pytest
import torch
from training_runs import weights

from hebae.data import Examples, load
from hebae.data.schema import Column
from hebae.evaluation.bounds import elbo
from hebae.likelihoods.base import Context
from hebae.storage import load_model
from hebae.training import session
from hebae.training.many import Job, train_all


def table(kind):
    rng = np.random.default_rng(3)
    hidden = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    X = np.exp(hidden) * 5
    columns = None
    if kind == "negative_binomial":
        X = rng.poisson(X)
    if kind == "columns":
        X[:, 2:4] = rng.poisson(X[:, 2:4])
        X[:, 4:] = (X[:, 4:] > 5) * 2 + rng.integers(0, 2, (300, 2)) * (X[:, 4:] < 5)
        kinds = ("number", "number", "count", "count", "category", "category")
        columns = tuple(Column(kind, kind, ("a", "b", "c")) for kind in kinds)
    X = np.where(rng.random(X.shape) < 0.1, np.nan, X).astype(np.float32)
    return load(Examples(X, columns=columns, pixels=False), validation_size=40)


KINDS = ("negative_binomial", "zero_inflated_negative_binomial", "gaussian_columns", "columns")


@pytest.mark.parametrize("kind", KINDS)
def test_members_of_a_stack_end_as_alone(kind, settings, tmp_path):
    dataset = table("negative_binomial" if kind.startswith("zero") else kind)
    settings = settings.replace(likelihood=kind, precision="64-true")
    alone, together = (
        [
            Job(f"{place}{seed}", session.prepare(settings.replace(seed=seed), dataset), path)
            for seed in (0, 1)
            if (path := tmp_path / f"{place}{seed}")
        ]
        for place in ("alone", "stack")
    )
    for job in alone:
        session.run(job.prepared, job.path)
    assert [result.state for result in train_all(together, command="test")] == ["finished"] * 2
    for one, other in zip(alone, together, strict=True):
        ours, theirs = weights(one.path), weights(other.path)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(theirs[name], ours[name], rtol=1e-6, atol=1e-8)
        bounds = [elbo(load_model(job.path)[0], dataset.validation).value for job in (one, other)]
        assert bounds[0] == pytest.approx(bounds[1], rel=1e-6)


def test_a_run_on_counts_is_resumed_with_what_it_learned(settings, tmp_path):
    """From a file; the library size and dispersions come from the checkpoint."""
    np.save(tmp_path / "counts.npy", np.random.default_rng(0).poisson(2, (120, 5)))
    settings = settings.replace(data=str(tmp_path / "counts.npy"))
    whole = session.prepare(settings)
    assert whole.settings.likelihood == "negative_binomial"
    session.run(whole, tmp_path / "whole")
    session.run(session.prepare(settings.replace(epochs=2)), tmp_path / "parts")
    longer = session.resume(tmp_path / "parts", {"epochs": 4})
    session.run(longer, tmp_path / "parts", resuming=True)
    ours, theirs = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert ours.keys() == theirs.keys()
    assert {"likelihood.typical", "likelihood.filling"} <= ours.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_optimal_scales_are_those_of_the_observed_numbers(settings, tmp_path):
    dataset = table("gaussian_columns")
    session.run(session.prepare(settings.replace(method="ae"), dataset), tmp_path / "run")
    model, _ = load_model(tmp_path / "run")
    x = torch.from_numpy(dataset.train.values)
    with torch.no_grad():
        error = (x - model.reconstruct(x)).square().nanmean(0).sqrt()
    torch.testing.assert_close(model.likelihood.log_scale.exp(), error, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_follow_on_a_measurement_without_them(kind, settings):
    dataset = table("negative_binomial" if kind.startswith("zero") else kind)
    likelihood = session.prepare(settings.replace(likelihood=kind), dataset).model.likelihood
    x, mask = (
        torch.tensor(np.nan_to_num(dataset.train.values[:5])),
        torch.ones(5, 6, dtype=torch.bool),
    )
    output = torch.zeros(5, *likelihood.output_shape)
    with torch.inference_mode():
        likelihood.negative_log_likelihood(output, x, Context(mask))
    output.requires_grad_()
    likelihood.negative_log_likelihood(output, x, Context(mask)).sum().backward()
    assert output.grad.isfinite().all()
