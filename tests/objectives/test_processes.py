"""Two processes with half a batch each give the loss and gradient of one with the whole batch."""

import pytest
import torch
from torch import distributed, nn

from hebae import gaussian
from hebae.likelihoods import Bernoulli
from hebae.model import Autoencoder
from hebae.objectives import DIPVAEI, DIPVAEII, HEBAE

M, D, K = 16, 7, 4
OBJECTIVES = {
    "batch": HEBAE(penalty_weight=0.7),
    "diagonal": HEBAE(noise="diagonal", scale="scalar"),
    "running": HEBAE(moments="running", moments_decay=0.6),
    "shrunk": HEBAE(moments="shrunk"),
    "rate": HEBAE(penalty_weight=0.7, rate_weight=0.2),
    "rate-scalar": HEBAE(penalty_weight=0.7, rate_weight=0.2, scale="scalar"),
    "dip-vae-i": DIPVAEI(),
    "dip-vae-ii": DIPVAEII(),
    "rate-diagonal": HEBAE(penalty_weight=0.7, rate_weight=0.2, noise="diagonal"),
}


def train_one_step(objective, rows):
    """Loss, terms, gradients and running moments of a small model on these rows of one batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(M, D, generator=generator, dtype=torch.float64)
    epsilon = torch.randn(M, K, generator=generator, dtype=torch.float64)
    encoder = nn.Linear(D, K + objective.log_scale_dim(K))
    model = Autoencoder(encoder, nn.Linear(K, D), objective, Bernoulli(), (D,), K).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    step = model(x[rows], {"posterior": epsilon[rows]})
    step.loss.backward()
    values = {"loss": step.loss.detach(), **{k: v.detach() for k, v in step.terms.items()}}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    buffers = {name: b for name, b in model.named_buffers() if name.startswith("running")}
    return values, gradients, buffers


def uneven_moments(rows):
    mean = torch.randn(M, K, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if rows is None:
        return gaussian.batch_moments(mean)
    return gaussian.global_moments(mean[rows])


def work(rank, folder):
    """One of two processes; data-parallel training averages losses and gradients over them."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    results = {}
    for name, objective in OBJECTIVES.items():
        values, gradients, buffers = train_one_step(objective, slice(rank, None, 2))
        for tensor in (*values.values(), *gradients.values()):
            distributed.all_reduce(tensor)
            tensor /= 2
        results[name] = (values, gradients, buffers)
    moments = uneven_moments(slice(0, 5) if rank == 0 else slice(5, None))
    torch.save({"steps": results, "moments": tuple(moments)}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("this build of PyTorch has no gloo, so two processes cannot meet")
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_terms_and_gradient_are_those_of_one_process(found, name):
    """Averaged over the processes, as data-parallel training does."""
    expected = train_one_step(OBJECTIVES[name], slice(None))
    for process in found:
        torch.testing.assert_close(process["steps"][name], expected, rtol=1e-10, atol=1e-12)


def test_moments_of_uneven_shares_are_those_of_the_whole_batch(found):
    for process in found:
        torch.testing.assert_close(process["moments"], uneven_moments(None))
