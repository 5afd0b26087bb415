"""The whole module: initial weights, losses, codes of single examples."""

import copy
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from hebae import gaussian
from hebae.building import build, build_objective
from hebae.config import ModelSettings
from hebae.likelihoods import Bernoulli
from hebae.model import Autoencoder, to_floats
from hebae.networks import NETWORKS
from hebae.objectives import VAE, Objective

K = 3
METHODS = [
    {"method": "hebae"},
    {"method": "hebae", "scale": "scalar", "noise": "diagonal"},
    {"method": "hebae", "rate_weight": 0.3, "penalty_weight": 2.0},
    {"method": "hebae", "moments": "running"},
    {"method": "hebae", "moments": "shrunk"},
    {"method": "vae", "penalty_weight": 4.0},
    {"method": "wae", "penalty_weight": 10.0},
    {"method": "wae", "kernel": "rbf"},
    {"method": "ae"},
]
methods = pytest.mark.parametrize(
    "method", METHODS, ids=lambda settings: "-".join(map(str, settings.values()))
)
networks = pytest.mark.parametrize("network", ["mlp", "convolutional"])

SHAPE = (1, 16, 16)


def settings_of(**changes):
    small = {"latent_dim": K, "likelihood": "bernoulli"}
    widths = {"encoder_widths": (9, 8), "decoder_widths": (8, 9)}
    return ModelSettings(**(small | widths | changes))


def batch_of(m, shape=SHAPE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, epsilon = torch.rand(m, *shape, generator=generator), torch.randn(m, K, generator=generator)
    return x, {"posterior": epsilon, "prior": epsilon}


def same(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# --- From a seed --------------------------------------------------------------------------------


@networks
@pytest.mark.parametrize("initial_weights", ["default", "normal"])
def test_the_same_seed_starts_all_methods_alike(network, initial_weights):
    """The same decoder, and the same encoder but for its last layer, whose size is the method's."""
    models = [
        build(settings_of(network=network, initial_weights=initial_weights, **m), SHAPE, seed=7)
        for m in METHODS
    ]
    sizes = {model.encoder[-1].out_features for model in models}
    assert sizes == {K, K + 1, 2 * K}
    for model, other in itertools.pairwise(models):
        same(dict(model.decoder.state_dict()), dict(other.decoder.state_dict()), 0)
        assert len(model.encoder) == len(other.encoder)
        for layer, counterpart in zip(model.encoder[:-1], other.encoder[:-1], strict=True):
            same(dict(layer.state_dict()), dict(counterpart.state_dict()), 0)


@networks
@pytest.mark.parametrize("initial_weights", ["default", "normal"])
def test_no_global_random_state_is_read_or_changed(network, initial_weights):
    """Else models that are built in several threads would disturb one another."""
    settings = settings_of(network=network, initial_weights=initial_weights)
    expected = build(settings, SHAPE, seed=3).state_dict()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: build(settings, SHAPE, seed=3), range(16)))
    assert torch.equal(torch.get_rng_state(), state)
    for model in models:
        same(dict(model.state_dict()), dict(expected), 0)


@networks
def test_default_initial_weights_are_those_of_torch(network):
    """As when the layers draw from torch's generator, seeded: version 0.1.0 started so."""
    model = build(settings_of(network=network), SHAPE, seed=7)
    architecture = NETWORKS[network]
    torch.manual_seed(7)
    decoder = architecture.decoder(K, SHAPE, (8, 9))
    torch.manual_seed(7 + 2**32)
    encoder = architecture.encoder(SHAPE, 2 * K, (9, 8))
    same(dict(model.decoder.state_dict()), dict(decoder.state_dict()), 0)
    same(dict(model.encoder.state_dict()), dict(encoder.state_dict()), 0)


# --- Own networks -------------------------------------------------------------------------------


@methods
def test_own_networks_take_the_place_of_ours(method):
    settings = settings_of(**method)
    output_dim = K + build_objective(settings).log_scale_dim(K)
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Linear(256, output_dim))
    decoder = nn.Sequential(nn.Linear(K, 256), nn.Sigmoid(), nn.Unflatten(1, SHAPE))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.eval()
    model = build(settings, SHAPE, encoder=encoder, decoder=decoder)
    assert model.encoder is encoder
    assert model.decoder is decoder
    assert not encoder.training  # as it was given
    same(dict(encoder.state_dict()), before, 0)  # the trial taught batch normalisation nothing
    model.train()(*batch_of(8)).loss.backward()
    assert decoder[0].weight.grad.norm() > 0


@pytest.mark.parametrize(
    ("name", "network", "words"),
    [
        ("encoder", nn.Sequential(nn.Flatten(), nn.Linear(256, 5)), ["(2, 5)", "(2, 6)", "6 num"]),
        ("encoder", nn.Linear(256, 6), ["cannot take examples of shape (1, 16, 16)"]),
        ("encoder", nn.Conv2d(1, 6, 16), ["(2, 6, 1, 1)", "(2, 6)"]),
        ("decoder", nn.Linear(K, 256), ["(2, 256)", "(2, 1, 16, 16)", "256 num"]),
        ("decoder", nn.Linear(K + 1, 256), ["cannot take examples of shape (3,)"]),
    ],
)
def test_own_networks_of_the_wrong_shape_are_refused_with_both_shapes(name, network, words):
    with pytest.raises(ValueError, match=f"the {name} ") as caught:
        build(settings_of(), SHAPE, **{name: network})
    assert all(word in str(caught.value) for word in words)


def scripted() -> nn.Module:
    return copy.deepcopy(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(256, 6)))).float()


class TwoArguments(nn.Module):
    def forward(self, x, condition):
        return x


@pytest.mark.parametrize(
    ("network", "word"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(256, 6)).to("meta"), "device 'meta'"),
        (scripted(), "TorchScript"),
        (TwoArguments(), "condition"),
    ],
)
def test_own_networks_that_cannot_be_trained_are_refused(network, word):
    with pytest.raises(ValueError, match=f"the encoder.*{word}"):
        build(settings_of(), SHAPE, encoder=network)


# --- The loss -----------------------------------------------------------------------------------


@methods
def test_loss_is_reconstruction_and_weighted_terms_and_every_parameter_learns(method):
    """Put together again from encoder, objective, decoder and likelihood."""
    model = build(settings_of(**method), SHAPE)
    x, noise = batch_of(10)
    step = model(x, noise)
    output = model.encoder(x)
    mean, log_scale = output[:, :K], output[:, K:] if output.shape[1] > K else None
    running = None
    if method.get("moments") == "running":  # as they were before the step: N(0, I)
        running = type(model.objective.estimate(mean))(torch.zeros(K), torch.eye(K))
    z, terms = model.objective(mean, log_scale, noise, model.prior, running=running)
    nll = nn.functional.binary_cross_entropy_with_logits(model.decoder(z), x, reduction="none")
    reconstruction = nll.sum((1, 2, 3)).mean()
    weights = model.objective.weights
    assert list(step.terms) == ["reconstruction", *weights]
    same(step.terms, {"reconstruction": reconstruction, **terms})
    same(step.loss, reconstruction + sum(weights[name] * terms[name] for name in weights))
    same(step.mean, mean)
    step.loss.backward()
    for name, parameter in model.named_parameters():
        assert 0 < parameter.grad.norm() < float("inf"), name


@methods
def test_half_precision_goes_no_further_than_the_networks(method):
    """Moments, Cholesky factor and losses are taken in float32, with autocast on around them."""
    model = build(settings_of(**method), SHAPE).eval()
    x, noise = batch_of(10)
    expected = build(settings_of(**method), SHAPE).eval()(x, noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = model(x, noise)
        assert model.encoder(x).dtype == torch.bfloat16
        assert model.decode(noise["posterior"]).dtype == torch.float32
    assert step.loss.dtype == step.mean.dtype == torch.float32
    assert {term.dtype for term in step.terms.values()} == {torch.float32}
    same(step.terms, expected.terms, 0.05)


# --- A method of one's own ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sparse(Objective):
    """Noise of fixed width, and an absolute value as penalty; in no list."""

    draws = ("posterior",)

    penalty_weight: float = 0.5
    width: float = 0.1

    stochastic = True

    def log_scale_dim(self, latent_dim):
        return 0

    @property
    def weights(self):
        return {"absolute": self.penalty_weight}

    def draw(self, mean, log_scale, epsilon, covariance=None):
        return mean + self.width * epsilon.sign() * epsilon.square()

    def __call__(self, mean, log_scale, noise, prior, running=None, critic=None):
        z = self.draw(mean, log_scale, noise["posterior"])
        return z, {"absolute": z.abs().sum(1).mean()}


def test_a_new_method_needs_no_change_to_the_package():
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(6, K), nn.Linear(K, 6)
    model = Autoencoder(encoder, decoder, Sparse(), Bernoulli(), (6,), K)
    x, noise = batch_of(9, (6,))
    for step in (model(x, noise), model.held_out_step(x, noise)):
        epsilon = noise["posterior"]
        z = encoder(x) + 0.1 * epsilon.sign() * epsilon.square()
        reconstruction = model.likelihood.negative_log_likelihood(decoder(z), x).mean()
        same(step.loss, reconstruction + 0.5 * z.abs().sum(1).mean())
        assert list(step.terms) == ["reconstruction", "absolute"]
    step.loss.backward()
    assert encoder.weight.grad.norm() > 0
    assert model.objective.penalty_floor(9, K) is None


@dataclass(frozen=True, kw_only=True)
class OldStyle(Objective):
    """As version 0.1.0 documented it: `draw` and `penalty`."""

    penalty_weight: float = 2.0
    stochastic = False

    @property
    def weights(self):
        return {"variance": self.penalty_weight}

    def draw(self, mean, log_scale, epsilon, covariance=None):
        return mean

    def penalty(self, z, mean, log_scale):
        return {"variance": (mean.var(dim=0) - 1).square().sum()}


def test_methods_and_calls_of_0_1_0_still_work():
    x = batch_of(9, (6,))[0]
    model = Autoencoder(nn.Linear(6, K), nn.Linear(K, 6), OldStyle(), Bernoulli(), (6,), K)
    step = model(x, {})
    same(step.terms["variance"], (step.mean.var(dim=0) - 1).square().sum())
    mean, log_scale = torch.randn(2, 9, K)
    with pytest.warns(DeprecationWarning):
        terms = VAE().penalty(mean, mean, log_scale)
    same(terms["kl"], gaussian.mean_kl_to_standard_normal(mean, log_scale))
    with pytest.warns(DeprecationWarning):
        assert model.prior.draw(3, 0).shape == (3, K)


# --- Examples for themselves --------------------------------------------------------------------


def trained_to_be_peculiar(method):
    """A model with a population that is not N(0, I), and batch normalisation that has learned."""
    model = build(settings_of(**method), SHAPE)
    for seed in range(3):
        model(*batch_of(10, seed=seed))
    root = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [-0.3, 0.2, 0.7]])
    model.population_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
    model.population_covariance.copy_(root @ root.mT)
    return model.eval()


@pytest.mark.parametrize(
    "method",
    [*METHODS, {"method": "hebae", "network": "convolutional"}],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_results_do_not_depend_on_the_rest_of_the_batch(method):
    """Encoding, drawing, reconstructing and scoring, in evaluation mode: alone or among others."""
    model = trained_to_be_peculiar(method)
    x, noise = batch_of(12)
    epsilon = noise["posterior"]

    def results(rows):
        mean, log_scale = model.encode(x[rows])
        z = mean if log_scale is None else model.draw(mean, log_scale, epsilon[rows])
        scale = [] if log_scale is None else [log_scale]
        scores = model.log_likelihood(x[rows], z)
        return [mean, *scale, z, model.decode(z), model.reconstruct(x[rows]), scores]

    together = results(list(range(12)))
    for rows in ([0], [7], [3, 11], list(range(11, -1, -1))):
        same(results(rows), [part[rows] for part in together], 1e-4)


@methods
def test_held_out_terms_take_noise_from_the_population_and_penalty_from_the_batch(method):
    model = trained_to_be_peculiar(method)
    x, noise = batch_of(12)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = model.held_out_step(x, noise)
    same(dict(model.state_dict()), before, 0)  # running moments have not moved
    mean, log_scale = model.encode(x)
    z = mean if log_scale is None else model.draw(mean, log_scale, noise["posterior"])
    same(step.terms["reconstruction"], -model.log_likelihood(x, z).mean())
    _, terms = model.objective(mean, log_scale, noise, model.prior)
    same({name: step.terms[name] for name in terms}, terms)
    assert list(step.terms) == ["reconstruction", *model.objective.weights]


# --- Running moments ----------------------------------------------------------------------------


def test_each_training_step_moves_the_running_moments_once():
    """rho of what was, 1 - rho of the batch; from N(0, I), and saved with the weights."""
    model = build(settings_of(moments="running", moments_decay=0.75), SHAPE)
    beta, Sigma = torch.zeros(K), torch.eye(K)
    for seed in range(3):
        x, noise = batch_of(10, seed=seed)
        step = model(x, noise)
        mean = step.mean.detach()
        beta = 0.75 * beta + 0.25 * mean.mean(0)
        Sigma = 0.75 * Sigma + 0.25 * torch.cov(mean.mT, correction=0)
        same(model.running_mean, beta)
        same(model.running_covariance, Sigma)
    assert {"running_mean", "running_covariance"} <= set(model.state_dict())
    assert not model.running_covariance.requires_grad


# --- Bytes and numbers --------------------------------------------------------------------------


def test_bytes_become_numbers_between_0_and_1():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)
    same(to_floats(x), torch.tensor([0.0, 0.2, 1.0]), 1e-7)
    assert to_floats(x, torch.float64).dtype == torch.float64
