"""Contenders do the same work, or a comparison of their times would mean nothing."""

import math

import pytest
import torch

from hebae.building import build


def batch(model, dtype=torch.float64):
    """Images, noise, and the noise by the names that the model has for it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(128, 1, 28, 28, generator=generator, dtype=dtype)
    epsilon = torch.randn(128, model.latent_dim, generator=generator, dtype=dtype)
    return x, epsilon, dict.fromkeys(model.noise_shapes(128), epsilon)


def test_the_bare_loop_computes_what_hebae_does():
    """Same weights, same batch, same noise: same loss and gradients."""
    from contenders import SETTINGS
    from contenders.bare import BareHEBAE

    model = build(SETTINGS, (1, 28, 28)).double()
    yardstick = BareHEBAE(SETTINGS.latent_dim).double()
    with torch.no_grad():
        for ours, its in zip(model.parameters(), yardstick.parameters(), strict=True):
            its.copy_(ours)
    x, epsilon, noise = batch(model)
    expected = model(x, noise).loss
    actual = yardstick(x.flatten(1), epsilon)
    expected.backward()
    actual.backward()
    torch.testing.assert_close(actual, expected)
    for ours, its in zip(model.parameters(), yardstick.parameters(), strict=True):
        torch.testing.assert_close(its.grad, ours.grad)


def test_jax_computes_what_hebae_does():
    """The same loss, as far as float32 goes."""
    pytest.importorskip("jax")
    pytest.importorskip("optax")
    from contenders import SETTINGS, make_examples
    from contenders.with_jax import loss

    def layers(network):
        dense = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
        return [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in dense]

    model = build(SETTINGS, (1, 28, 28))
    pixels = make_examples(1)
    x, epsilon = torch.from_numpy(pixels) / 255, torch.randn(128, model.latent_dim)
    expected = model(x, {"posterior": epsilon}).loss
    parameters = {"encoder": layers(model.encoder), "decoder": layers(model.decoder)}
    actual = loss(parameters, pixels.reshape(128, -1), epsilon.numpy())
    assert float(actual) == pytest.approx(float(expected.detach()), rel=1e-4)


@pytest.mark.parametrize("method", ["vae", "wae"])
def test_pythae_computes_what_hebae_does(method, monkeypatch):
    """The same objective but for the constant of the Gaussian likelihood, and the same gradient."""
    pytest.importorskip("pythae")
    from contenders import SETTINGS, SQUARED_ERROR
    from contenders.with_pythae import make_peer

    changes = SQUARED_ERROR if method == "wae" else {}
    model = build(SETTINGS.replace(method=method, **changes), (1, 28, 28)).double()
    x, epsilon, noise = batch(model)
    ours = model(x, noise).loss
    ours.backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    monkeypatch.setattr(torch, "randn_like", lambda *arguments, **named: epsilon)
    theirs = make_peer(model, method)({"data": x}).loss
    theirs.backward()
    constant = 392 * math.log(math.pi) if method == "wae" else 0.0
    torch.testing.assert_close(theirs + constant, ours)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["vae", "hebae"])
def test_a_stretch_counts_every_step_but_those_that_warm_up(method, monkeypatch):
    """Two marks, and as many steps of the optimizer between them as there are batches."""
    from contenders import WARM_UP, make_examples
    from contenders.bare import by_bare_loop
    from contenders.ours import by_hebae

    taken, marks = [], []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: taken.append(1) or step(self))
    contender = by_bare_loop() if method == "hebae" else by_hebae(method)
    contender(make_examples(WARM_UP + 1), lambda: marks.append(len(taken)))
    assert marks == [WARM_UP, 2 * WARM_UP + 1]


def test_a_profile_counts_the_calls_of_a_step():
    """The bare loop has six dense layers, and so six products with a bias."""
    from contenders import make_examples
    from contenders.bare import by_bare_loop
    from topics.profile import breakdown

    examples = make_examples(2)

    def stretch(mark):
        by_bare_loop()(examples, mark)

    table = breakdown("per step", stretch, "itself", stretch, steps=2, rows=1000)
    calls = {row[0]: row[1:3] for row in table.rows}
    assert calls["`aten::addmm`"] == ["6.0", "6.0"]
    assert calls["`aten::linalg_cholesky_ex`"] == ["1.0", "1.0"]


def test_a_grid_and_the_same_in_turn_end_alike(monkeypatch):
    """What is timed is the same work: the models that come out are the same but for rounding."""
    from topics import grid

    built = []

    def remembered(*arguments, **named):
        built.append(build(*arguments, **named))
        return built[-1]

    monkeypatch.setattr(grid, "build", remembered)
    family = grid.small("hebae", 5)
    members = family.members(16)  # no two of one seed or weight
    assert len({m.seed for m in members}) == len({m.penalty_weight for m in members}) == 16
    assert family.members(1)[0].penalty_weight == 1
    family = family._replace(settings=family.settings.replace(epochs=1))
    family.in_turn(2)()
    family.together(2)()
    for alone, member in zip(built[:2], built[2:], strict=True):
        for ours, its in zip(alone.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(its, ours, rtol=1e-3, atol=1e-5)
