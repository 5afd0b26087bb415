"""What holds for every method in every configuration."""

import dataclasses
import inspect
import itertools
import math
from functools import partial

import pytest
import torch
from calls import call, critic_of
from torch.func import grad, vmap

from hebae.objectives import HEBAE, OBJECTIVES, VAE, WAE, Moments, VISReg

HEBAES = [
    HEBAE(penalty_weight=0.7, rate_weight=rate, noise=noise, scale=scale, moments=moments)
    for rate, noise, scale, moments in itertools.product(
        (0.0, 0.3), ("cholesky", "diagonal"), ("vector", "scalar"), ("batch", "running", "shrunk")
    )
]
OTHERS = [method() for name, method in OBJECTIVES.items() if name != "hebae"]
OTHERS += [VAE(penalty_weight=4.0), VAE(free_bits=0.1), WAE(kernel="rbf", base_variance=2.0)]


def title(objective):
    values = (f"{getattr(objective, field.name)}" for field in dataclasses.fields(objective))
    return "-".join((type(objective).__name__, *values))


every = pytest.mark.parametrize("objective", HEBAES + OTHERS, ids=title)


@pytest.fixture
def inputs(batch):
    """(mean, log_scale, epsilon) as the objective wants them."""

    def make(objective, m=12, k=3, seed=0, dtype=torch.float64):
        scale = getattr(objective, "scale", "vector")
        mean, log_scale, epsilon = batch(m, k, seed, scale, dtype)
        if objective.adversarial:
            critic_of(objective, k, dtype)
        assert objective.log_scale_dim(k) in (0, log_scale.shape[1])
        return mean, (log_scale if objective.log_scale_dim(k) else None), epsilon

    return make


def total(objective, terms):
    return sum(weight * terms[name] for name, weight in objective.weights.items())


def same(actual, expected, tolerance=1e-10):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@every
def test_a_step_gives_the_codes_of_draw_and_the_terms_that_have_weights(objective, inputs):
    mean, log_scale, epsilon = inputs(objective)
    z, terms = call(objective, mean, log_scale, epsilon)
    assert set(objective.weights) == set(terms)
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    assert torch.equal(z, mean) is not objective.stochastic
    same(z, objective.draw(mean, log_scale, epsilon))


@pytest.mark.parametrize("objective", [o for o in HEBAES + OTHERS if o.weights], ids=title)
@pytest.mark.parametrize("weight", [1.5, 2.5])
def test_terms_do_not_depend_on_the_weights(objective, weight, inputs):
    arguments = inputs(objective)
    other = dataclasses.replace(objective, penalty_weight=weight)
    assert other.weights != objective.weights
    same(call(other, *arguments)[1], call(objective, *arguments)[1])


@every
def test_inputs_and_random_state_are_left_as_they_were(objective, inputs):
    arguments = inputs(objective)
    copies = [None if x is None else x.clone() for x in arguments]
    state = torch.get_rng_state()
    first = call(objective, *arguments)
    same(call(objective, *arguments), first, 0)
    same(list(arguments), copies, 0)
    assert torch.equal(torch.get_rng_state(), state)


@every
def test_results_have_the_precision_of_the_input(objective, dtype, inputs):
    z, terms = call(objective, *inputs(objective, dtype=dtype))
    assert z.dtype == dtype
    assert all(term.dtype == dtype for term in terms.values())


@every
def test_float32_gives_the_loss_and_gradient_of_float64(objective, inputs):
    """At m = 24, k = 20: the covariance is all but singular, and the gradient holds its inverse."""
    found = []
    for dtype in (torch.float64, torch.float32):
        mean, log_scale, epsilon = inputs(objective, m=24, k=20, dtype=dtype)
        mean.requires_grad_()
        z, terms = call(objective, mean, log_scale, epsilon)
        loss = z.square().mean() + total(objective, terms)
        found.append((loss.detach().double(), torch.autograd.grad(loss, mean)[0].double()))
    (loss, gradient), (loss32, gradient32) = found
    assert abs(loss32 - loss) <= 1e-4 * abs(loss)
    assert (gradient32 - gradient).norm() <= 1e-4 * gradient.norm()


@every
def test_with_a_covariance_each_example_is_drawn_for_itself(objective, inputs):
    """The same z alone, in any batch and in any order."""
    mean, log_scale, epsilon = inputs(objective)
    root = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [-0.3, 0.2, 0.7]]).double()
    covariance = root @ root.mT
    z = objective.draw(mean, log_scale, epsilon, covariance=covariance)
    for rows in ([0], [5, 2], list(range(11, -1, -1))):
        part = None if log_scale is None else log_scale[rows]
        same(objective.draw(mean[rows], part, epsilon[rows], covariance=covariance), z[rows])


@every
def test_noise_has_the_covariance_that_the_method_states(objective, inputs):
    """q(z | x_i) = N(mu_i, D_i N D_i), N = noise_covariance(Sigma): by 20,000 draws."""
    mean, log_scale, _ = (None if x is None else x[:1] for x in inputs(objective))
    root = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [-0.3, 0.2, 0.7]]).double()
    covariance, n = root @ root.mT, 20_000
    epsilon = torch.randn(n, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    many = None if log_scale is None else log_scale.expand(n, -1)
    z = objective.draw(mean.expand(n, -1), many, epsilon, covariance=covariance)
    scale = torch.zeros(1, 3).double() if log_scale is None else log_scale.exp().expand(1, 3)
    expected = objective.noise_covariance(covariance) * (scale.mT @ scale)
    noise = z - mean
    products = noise[:, :, None] * noise[:, None, :]
    assert ((products.mean(0) - expected).abs() <= 4.5 * products.std(0) / math.sqrt(n)).all()
    assert (noise.mean(0).abs() <= 4.5 * noise.std(0) / math.sqrt(n)).all()


@pytest.mark.parametrize("objective", OTHERS, ids=title)
@pytest.mark.parametrize("k", [1, 2])
def test_the_smallest_batch_and_code_have_finite_terms_and_gradients(objective, k, inputs):
    mean, log_scale, epsilon = inputs(objective, m=objective.smallest_batch(k), k=k)
    mean.requires_grad_()
    z, terms = call(objective, mean, log_scale, epsilon)
    (gradient,) = torch.autograd.grad(z.sum() + total(objective, terms), mean)
    assert all(value.isfinite().all() for value in (z, *terms.values(), gradient))


# --- Derivatives -------------------------------------------------------------------------------


def differentiable(objective):
    """Whether z is a smooth function of the means: the diagonal noise detaches Sigma."""
    return getattr(objective, "noise", "cholesky") == "cholesky"


@every
def test_draw_and_penalty_have_the_right_gradient(objective, inputs):
    """By finite differences, with respect to everything that the encoder gives, and the noise."""
    arguments = tuple(
        None if x is None else x.requires_grad_() for x in inputs(objective, m=6, k=2)
    )

    def whole(mean, log_scale, epsilon):
        z, terms = call(objective, mean, log_scale, epsilon)
        return (*((z,) if differentiable(objective) else ()), *terms.values())

    if isinstance(objective, VISReg):
        return  # it stops a gradient on purpose: see test_visreg
    if objective.weights or differentiable(objective):
        assert torch.autograd.gradcheck(whole, arguments, fast_mode=True)

    def draw_at(*rest):
        return objective.draw(arguments[0].detach(), *rest)

    if objective.stochastic:  # the noise's own share, which nothing detaches
        assert torch.autograd.gradcheck(draw_at, arguments[1:], fast_mode=True)


# --- Many models in one program ----------------------------------------------------------------


@every
def test_vmap_over_models_is_a_loop_over_models(objective, inputs):
    """Values and gradients of three models at once equal those of one after the other."""
    if objective.uses_decoder:
        return  # never stacked
    models = [inputs(objective, seed=seed) for seed in range(3)]
    mean, log_scale, epsilon = (
        None if column[0] is None else torch.stack(column) for column in zip(*models, strict=True)
    )
    over = (0, None if log_scale is None else 0, 0)
    z, terms = vmap(partial(call, objective), in_dims=over)(mean, log_scale, epsilon)
    for i, arguments in enumerate(models):
        same((z[i], {name: term[i] for name, term in terms.items()}), call(objective, *arguments))

    def loss(mean, log_scale, epsilon):
        z, terms = call(objective, mean, log_scale, epsilon)
        return z.square().sum() + total(objective, terms)

    at = (0,) if log_scale is None else (0, 1)
    gradients = vmap(grad(loss, argnums=at), in_dims=over)(mean, log_scale, epsilon)
    for i, arguments in enumerate(models):
        leaves = [x.clone().requires_grad_() for x in arguments[: len(at)] if x is not None]
        rest = (*leaves, *arguments[len(leaves) :])
        same([g[i] for g in gradients], list(torch.autograd.grad(loss(*rest), leaves)), 1e-9)


@pytest.mark.parametrize("objective", [o for o in HEBAES if o.moments == "running"], ids=title)
def test_vmap_takes_running_moments_along(objective, inputs):
    models = [inputs(objective, seed=seed) for seed in range(3)]
    running = [Moments(x[0].mean(0), torch.eye(3).double() * (1 + i)) for i, x in enumerate(models)]
    columns = [torch.stack(column) for column in zip(*models, strict=True)]
    beta, Sigma = (torch.stack(column) for column in zip(*running, strict=True))
    z, terms = vmap(partial(call, objective))(*columns, Moments(beta, Sigma))
    for i, arguments in enumerate(models):
        expected = call(objective, *arguments, running[i])
        same((z[i], {name: term[i] for name, term in terms.items()}), expected)


# --- Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "setting", "value"),
    [
        (HEBAE, "penalty_weight", math.nan),
        (HEBAE, "moments_decay", 1.0),
        (HEBAE, "noise", "full"),
        (VAE, "penalty_weight", -0.1),
        (WAE, "base_variance", 0.0),
    ],
)
def test_bad_settings_are_refused_by_name(method, setting, value):
    """By the objective itself: unwrapped, past the run-time check of annotations."""
    with pytest.raises(ValueError, match=f"{setting} is {value!r}"):
        inspect.unwrap(method.__init__)(method.__new__(method), **{setting: value})
