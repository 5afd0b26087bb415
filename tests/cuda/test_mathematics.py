"""The pure functions give the same on the CPU and on the device: 1e-9 in float64, else 1e-5."""

import pytest
import torch
from device_tools import relative_error, small_settings

from hebae import gaussian, kernels
from hebae.building import build
from hebae.likelihoods import LIKELIHOODS
from hebae.objectives import OBJECTIVES

VARIANTS = {
    "hebae": {},
    "hebae, rate": {"rate_weight": 0.5},
    "hebae, diagonal": {"noise": "diagonal"},
    "hebae, scalar scale": {"scale": "scalar"},
    "hebae, shrunk moments": {"moments": "shrunk"},
    "hebae, running moments": {"moments": "running"},
    "wae, rbf": {"kernel": "rbf"},
    "vae, gaussian": {"likelihood": "gaussian"},
    "vae, learned scale": {"likelihood": "gaussian", "likelihood_scale": "learned"},
} | {method: {} for method in OBJECTIVES if method != "hebae"}
LIMITS = {torch.float64: 1e-9, torch.float32: 1e-5}


@pytest.mark.parametrize("dtype", LIMITS, ids=["float64", "float32"])
@pytest.mark.parametrize("name", VARIANTS)
def test_loss_and_gradients_of_each_method_agree(name, dtype, device):
    settings = small_settings(method=name.split(",")[0], **VARIANTS[name])
    reference = build(settings, (1, 8, 8)).to(dtype)
    model = build(settings, (1, 8, 8)).to(device, dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(16, 1, 8, 8, generator=generator, dtype=dtype)
    noise = {
        key: torch.randn(shape, generator=generator, dtype=dtype)
        for key, shape in model.noise_shapes(16).items()
    }
    expected = reference(x, noise)
    actual = model(x.to(device), {key: value.to(device) for key, value in noise.items()})
    expected.loss.backward()
    actual.loss.backward()
    assert relative_error(actual.loss, expected.loss) < LIMITS[dtype]
    for key, term in expected.terms.items():
        assert abs(float(actual.terms[key]) - float(term)) < LIMITS[dtype] * max(
            1, abs(float(term))
        )
    # A gradient sums 16 examples of either sign, so it loses a digit.
    gradients = [[p.grad.flatten() for p in m.main_parameters()] for m in (model, reference)]
    actual_gradient, expected_gradient = map(torch.cat, gradients)
    assert relative_error(actual_gradient, expected_gradient) < 10 * LIMITS[dtype]


@pytest.mark.parametrize("k", [1, 20, 64])
def test_moments_factor_divergence_and_mmd_agree(k, device):
    samples = torch.randn(2, 128, k, generator=torch.Generator().manual_seed(0)).double()

    def results(mean, p):
        beta, Sigma = gaussian.batch_moments(mean)
        R = gaussian.cholesky(Sigma)
        mmds = [mmd(mean + 0.5, p) for mmd in (kernels.mmd_imq, kernels.mmd_rbf)]
        return [beta, Sigma, R, gaussian.kl_from_factor(beta, R), *mmds]

    for actual, expected in zip(results(*samples.to(device)), results(*samples), strict=True):
        assert relative_error(actual, expected) < 1e-9


def test_a_covariance_without_a_factor_gives_nan_for_its_model_alone(device):
    covariances = torch.stack([torch.eye(3), -torch.eye(3)]).to(device, torch.float64)
    factors = torch.func.vmap(gaussian.cholesky)(covariances)
    assert bool(factors[0].isfinite().all())
    assert bool(factors[1].isnan().all())


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_each_likelihood_agrees(name, device):
    """Its loss, its mean and, from a generator on the CPU, its draws."""
    outputs = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()

    def results(where):
        likelihood, output = LIKELIHOODS[name]().to(where), outputs.to(where)
        x = likelihood.sample(output, torch.Generator().manual_seed(1))
        return [likelihood.negative_log_likelihood(output, x), likelihood.mean(output), x]

    for actual, expected in zip(results(device), results("cpu"), strict=True):
        assert relative_error(actual, expected) < 1e-9


def test_the_convolutional_network_agrees(device):
    settings = small_settings(
        network="convolutional", encoder_widths=(8, 16), decoder_widths=(16, 8), method="vae"
    )
    reference, model = build(settings, (3, 16, 16)), build(settings, (3, 16, 16)).to(device)
    x = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for module in (reference, model):
        module.train()
    expected, actual = reference.reconstruct(x), model.reconstruct(x.to(device))
    assert relative_error(actual, expected) < 1e-4
    with torch.autocast(device.type, torch.bfloat16):
        half = model.reconstruct(x.to(device))
    assert relative_error(half, expected) < 2e-2  # bfloat16 keeps 8 bits
