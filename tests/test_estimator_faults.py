"""What an estimator does when a fit or a save fails, in threads, and with odd tensors."""

import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from small_estimators import small, uniform
from torch import nn

import hebae
from hebae import HEBAE, HebaeError


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (150, 1, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def fitted(images):
    return small().fit(images)


def fitted_attributes(model):
    return {name: value for name, value in vars(model).items() if name.endswith("_")}


class Interrupting(nn.Module):
    """An encoder that gets Ctrl-C while it is trained."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 6)

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            signal.raise_signal(signal.SIGINT)
        return self.linear(x.flatten(1))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"learning_rate": 1e9}, HebaeError),
        ({"encoder": Interrupting()}, KeyboardInterrupt),
        ({"batch_size": 1}, HebaeError),
    ],
    ids=["diverging", "interrupted", "refused"],
)
def test_a_refit_that_fails_leaves_the_model_as_it_was(images, tmp_path, changes, error):
    model = small().fit(images)
    before, codes = fitted_attributes(model), model.transform(images)
    model.set_params(likelihood="continuous_bernoulli", **changes)
    with pytest.raises(error):
        model.fit(images)
    after = fitted_attributes(model)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    model.save(tmp_path / "model")
    loaded = hebae.load(tmp_path / "model")
    assert loaded.settings_.likelihood == "bernoulli"
    assert np.array_equal(loaded.transform(images), codes)


def test_a_save_that_fails_leaves_the_saved_model_as_it_was(images, tmp_path, monkeypatch):
    model = small(likelihood="bernoulli").fit(images)
    model.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hebae.storage.write_atomically", full)
    with pytest.raises(HebaeError, match="No space left"):
        small(likelihood="continuous_bernoulli").fit(images).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("method", "learning_rate", "precision"),
    [(HEBAE, 1.0, "auto"), (HEBAE, 1e30, "auto"), (hebae.AE, 1e30, "64-true")],
)
def test_a_model_that_is_not_finite_is_not_returned(method, learning_rate, precision):
    """One step: its loss is finite, and the weights after it, or codes in float32, are not."""
    model = method(
        4, learning_rate=learning_rate, precision=precision, epochs=1, batch_size=200,
        random_state=0,
    )  # fmt: skip
    try:
        model.fit(uniform(200, 12))
    except HebaeError:
        return
    assert np.isfinite(model.transform(uniform(200, 12))).all()
    assert np.isfinite(model.module_.aggregate_covariance.numpy()).all()


def test_fits_in_threads_do_not_disturb_each_other(images):
    loader = torch.utils.data.DataLoader(torch.from_numpy(images), batch_size=50, shuffle=True)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  the state of the caller's own code
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    def codes(number):
        return small(epochs=4).fit(loader if number % 4 == 3 else images).transform(images)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(codes, range(16)))
    for number, result in enumerate(found):
        # Equal but for rounding: threads share the processor's kernels.
        np.testing.assert_allclose(result, found[3 if number % 4 == 3 else 0], rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_with_gradients_or_quantised_are_examples_and_codes(fitted, images):
    X = torch.from_numpy(images / 255.0).requires_grad_()
    assert np.array_equal(fitted.transform(X), fitted.transform(X.detach()))
    Z = torch.zeros(2, 3, requires_grad=True)
    for codes in (Z, torch.quantize_per_tensor(Z.detach(), 0.1, 0, torch.qint8)):
        same = fitted.inverse_transform(codes) == fitted.inverse_transform(np.zeros((2, 3)))
        assert same.all()
    line = fitted.interpolate(X[0], X[1], steps=3)
    np.testing.assert_array_equal(line, fitted.interpolate(images[0], images[1], steps=3))


def test_home_folders_are_expanded(fitted, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fitted.save("~/model")
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert not (tmp_path / "~").exists()
    assert hebae.load("~/model").settings_ == fitted.settings_
