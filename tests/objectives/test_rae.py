"""Regularised autoencoders: norms, the decoder's derivative and spectral normalisation."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from hebae.objectives import RAEGP, RAEL2, RAESN
from hebae.priors import StandardNormal
from hebae.spectral import SpectralNorm


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def network(*layers):
    """In float64, with weights that depend on the layers alone."""
    made = nn.Sequential(*layers).double()
    for index, parameter in enumerate(made.parameters()):
        parameter.data = 0.7 * normal(*parameter.shape, seed=index)
    return made


@pytest.fixture
def decoder():
    return network(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 8), nn.Unflatten(1, (2, 4)))


@pytest.mark.parametrize("method", [RAEL2, RAEGP, RAESN])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3)])
def test_codes_are_the_means_and_pay_half_their_squared_norm(method, shape):
    mean = normal(*shape)
    z, terms = method()(mean, None, {}, StandardNormal(shape[1]))
    assert torch.equal(z, mean)
    assert terms.keys() == {"norm"}
    expected = np.mean([np.linalg.norm(row) ** 2 / 2 for row in mean.numpy()])
    np.testing.assert_allclose(terms["norm"].item(), expected)


def test_l2_is_the_squared_norm_of_all_weights(decoder):
    z = normal(5, 3)
    output, terms = RAEL2().decode(decoder, z, {})
    assert torch.equal(output, decoder(z))
    flat = np.concatenate([p.detach().numpy().ravel() for p in decoder.parameters()])
    np.testing.assert_allclose(terms["decoder"].item(), flat @ flat)
    terms["decoder"].backward()
    for p in decoder.parameters():  # that of weight decay
        torch.testing.assert_close(p.grad, 2 * p.detach())


def test_gradient_penalty_is_the_jacobians_squared_frobenius_norm(decoder):
    """Exactly along an orthonormal basis; the Jacobian by reverse mode."""
    z, k = normal(2, 3), 3
    basis, _ = torch.linalg.qr(normal(k, k, seed=1))
    lengths = torch.tensor([0.1, 1.0, 30.0]).double()  # which do not count
    tangents = (basis * lengths[:, None]).repeat(len(z), 1)
    output, terms = RAEGP().decode(decoder, z.repeat_interleave(k, 0), {"tangent": tangents})
    torch.testing.assert_close(output[::k], decoder(z))
    J = [jacobian(decoder, row[None])[0, :, :, 0].reshape(8, k).numpy() for row in z]
    expected = np.mean([np.linalg.norm(matrix, "fro") ** 2 for matrix in J])
    np.testing.assert_allclose(terms["decoder"].item(), expected)


def test_one_random_direction_per_code_estimates_it_without_bias():
    """A linear decoder, whose Jacobian is its weight everywhere; 20,000 directions."""
    linear = network(nn.Linear(4, 9))
    n = 20_000
    z, tangents = normal(n, 4), normal(n, 4, seed=1)
    with torch.no_grad():  # as on held-out examples
        found = RAEGP().decode(linear, z, {"tangent": tangents})[1]["decoder"].item()
    W = linear[0].weight.detach().numpy()
    u = tangents.numpy() / np.linalg.norm(tangents.numpy(), axis=1, keepdims=True)
    each = 4 * np.square(u @ W.T).sum(1)
    assert found == pytest.approx(each.mean(), rel=1e-12)
    assert abs(found - np.square(W).sum()) < 4 * each.std() / np.sqrt(n)


def test_with_one_latent_dimension_the_gradient_penalty_is_exact():
    """By central differences."""
    decoder = network(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 8))
    z, h = normal(5, 1), 1e-5
    _, terms = RAEGP().decode(decoder, z, {"tangent": normal(5, 1, seed=1)})
    slope = (decoder(z + h) - decoder(z - h)).detach().numpy() / (2 * h)
    assert terms["decoder"].item() == pytest.approx(np.square(slope).sum(1).mean(), rel=1e-8)


def test_the_penalties_train_the_decoder(decoder):
    """Descent on the gradient penalty alone flattens the decoder."""
    z, noise = normal(16, 3), {"tangent": normal(16, 3, seed=1)}
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    terms = []
    for _ in range(60):
        loss = RAEGP().decode(decoder, z, noise)[1]["decoder"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        terms.append(loss.item())
    assert terms[-1] < 0.1 * terms[0]


def test_gradient_penalty_passes_convolutions_and_batch_normalisation():
    layers = (nn.Linear(2, 12), nn.Unflatten(1, (3, 2, 2)), nn.BatchNorm2d(3), nn.ReLU())
    decoder = nn.Sequential(*layers, nn.ConvTranspose2d(3, 1, 3)).double()
    z = normal(6, 2).requires_grad_()
    output, terms = RAEGP().decode(decoder, z, {"tangent": normal(6, 2, seed=1)})
    (output.square().mean() + terms["decoder"]).backward()
    gradients = [z.grad, *(p.grad for p in decoder.parameters())]
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_the_gradient_of_the_penalty_is_right_behind_batch_normalisation():
    """It is a third derivative, and those of torch's batch normalisation are wrong."""
    layers = (nn.Linear(2, 12), nn.Unflatten(1, (3, 2, 2)), nn.BatchNorm2d(3), nn.Tanh())
    decoder = network(*layers, nn.ConvTranspose2d(3, 1, 3))
    noise = {"tangent": normal(6, 2, seed=1)}

    def penalty(z, weight):
        own = nn.Sequential(Times(weight), *decoder[1:])
        return RAEGP().decode(own, z, noise)[1]["decoder"]

    arguments = normal(6, 2).requires_grad_(), normal(12, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(penalty, arguments)
    assert "forward" not in vars(decoder[2])


class Times(nn.Module):
    """Multiplication by a matrix that is not a parameter."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, z):
        return z @ self.matrix.mT


# ---- spectral normalisation ----------------------------------------------------------------------


def matrices(wrapped, seen):
    """Weights that the wrapped network computes with, as matrices with one row per output."""
    found = {}

    def keep(layer, arguments, output):
        weight = layer.weight.detach().numpy()
        if isinstance(layer, nn.ConvTranspose2d):
            weight = weight.swapaxes(0, 1)
        found[layer] = weight.reshape(len(weight), -1)

    layers = [m for m in wrapped.network.modules() if hasattr(m, "weight")]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    wrapped(seen)
    for hook in hooks:
        hook.remove()
    return list(found.values())


def convolutional():
    layers = (nn.Linear(2, 12), nn.Unflatten(1, (3, 2, 2)), nn.ReLU())
    return network(*layers, nn.ConvTranspose2d(3, 5, 3), nn.Conv2d(5, 1, 2))


@pytest.mark.parametrize("make", [convolutional, lambda: network(nn.Linear(2, 30), nn.ReLU())])
def test_weights_are_divided_by_their_largest_singular_value(make):
    """By NumPy's singular values, once power iteration has converged; all singular values keep
    their ratios."""
    bare = make()
    wrapped, z = SpectralNorm(copy.deepcopy(bare), seed=0), normal(4, 2)
    for _ in range(300):
        wrapped(z)
    reference = [m for m in bare.modules() if hasattr(m, "weight")]
    found = matrices(wrapped.eval(), z)
    assert len(found) == len(reference)
    for weight, layer in zip(found, reference, strict=True):
        own = layer.weight.detach().numpy()
        own = own.swapaxes(0, 1) if isinstance(layer, nn.ConvTranspose2d) else own
        own = own.reshape(len(own), -1)
        np.testing.assert_allclose(np.linalg.svd(weight)[1][0], 1, rtol=1e-6)
        np.testing.assert_allclose(weight, own / np.linalg.norm(own, 2), rtol=1e-6)


def test_the_gradient_is_that_of_the_normalised_weights():
    """Against autograd through torch's singular values."""
    bare = network(nn.Linear(3, 5))
    wrapped, z = SpectralNorm(copy.deepcopy(bare), seed=0), normal(7, 3)
    for _ in range(300):
        wrapped(z)
    wrapped(z).sin().sum().backward()
    W, b = bare[0].weight, bare[0].bias
    (z @ (W / torch.linalg.matrix_norm(W, ord=2)).mT + b).sin().sum().backward()
    torch.testing.assert_close(wrapped.network[0].weight.grad, W.grad)
    torch.testing.assert_close(wrapped.network[0].bias.grad, b.grad)


def test_from_the_first_step_the_decoder_amplifies_hardly_anything():
    wrapped = RAESN().prepare_decoder(
        network(nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 50)), seed=5
    )
    a, b = normal(500, 3), normal(500, 3, seed=1)
    moved = (wrapped(a) - wrapped(b)).norm(dim=1) / (a - b).norm(dim=1)
    assert moved.max() < 1.05


def test_evaluation_changes_nothing_and_training_follows_the_weights():
    wrapped, z = SpectralNorm(network(nn.Linear(3, 5)), seed=0).eval(), normal(4, 3)
    state = copy.deepcopy(wrapped.state_dict())
    assert torch.equal(wrapped(z), wrapped(z))
    assert all(torch.equal(state[name], value) for name, value in wrapped.state_dict().items())
    with torch.no_grad():
        wrapped.network[0].weight.copy_(normal(5, 3, seed=9))
    for _ in range(200):
        wrapped.train()(z)
    assert np.linalg.svd(matrices(wrapped.eval(), z)[0])[1][0] == pytest.approx(1, rel=1e-6)


def test_it_depends_on_the_seed_alone_and_survives_copies():
    networks, state = [network(nn.Linear(3, 5)) for _ in range(3)], torch.get_rng_state()
    first, again, other = map(SpectralNorm, networks, (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.left_0, again.left_0)
    assert not torch.equal(first.left_0, other.left_0)
    z = normal(4, 3)
    other.load_state_dict(first.state_dict())
    expected = first.eval()(z)
    for copied in (other.eval(), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert torch.equal(copied(z), expected)


def test_what_cannot_be_normalised_is_refused():
    with pytest.raises(ValueError, match=r"linear or convolutional.*Sequential has none"):
        SpectralNorm(nn.Sequential(nn.ReLU()), seed=0)
    zeros = network(nn.Linear(3, 5), nn.Linear(5, 2))
    nn.init.zeros_(zeros[1].weight)
    with pytest.raises(ValueError, match=r"1\.weight is all zeros"):
        SpectralNorm(zeros, seed=0)
