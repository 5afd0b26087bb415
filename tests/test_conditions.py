"""Conditions: what the decoder is given beside the code."""

import numpy as np
import pandas as pd
import pytest

import hebae
from hebae.errors import HebaeError

SMALL = {"encoder_widths": (16,), "decoder_widths": (16,), "latent_dim": 2, "random_state": 0}


@pytest.fixture(scope="module")
def batches():
    """Rows of which those of batch "b" are shifted by (3, -3, 0, 0)."""
    rng = np.random.default_rng(0)
    batch = rng.choice(["a", "b"], 300)
    rows = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(300, 4))
    rows += np.where(batch == "b", 3, 0)[:, None] * np.array([1, -1, 0, 0])
    return pd.DataFrame(rows, columns=list("wxyz")).assign(batch=batch)


@pytest.fixture(scope="module")
def conditional(batches):
    return hebae.VAE(epochs=60, batch_size=32, **SMALL).fit(batches, condition="batch")


def test_a_counterfactual_shifts_by_the_effect_of_the_batch(batches, conditional):
    as_a, as_b = (conditional.reconstruct(batches, condition={"batch": c}) for c in "ab")
    np.testing.assert_allclose((as_b - as_a).mean(0), [3, -3, 0, 0], atol=0.5)


@pytest.mark.parametrize(
    "given", ["b", {"batch": "b"}, ["b"] * 50, pd.DataFrame({"batch": ["b"] * 50})]
)
def test_samples_are_of_the_condition_asked_for(given, batches, conditional):
    drawn = conditional.sample(50, condition=given, sampler="normal", random_state=0)
    same = conditional.sample(50, condition="b", sampler="normal", random_state=0)
    np.testing.assert_array_equal(drawn, same)
    other = conditional.sample(50, condition="a", sampler="normal", random_state=0)
    np.testing.assert_allclose((drawn - other).mean(0), [3, -3, 0, 0], atol=0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("c", "condition 'batch' is 'c', and the categories known from training are a, b"),
        ({"bath": "a"}, "conditioned on batch, and 'bath' is not one"),
        (["a", "b"], "2 values for 5 examples"),
        ([None] * 5, "no value in row 1"),
    ],
)
def test_other_conditions_are_refused(given, message, conditional):
    with pytest.raises(HebaeError, match=message):
        conditional.sample(5, condition=given)
