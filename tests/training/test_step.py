"""One step: by hand, compiled, or replayed from a recording, it is the same step."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from training_runs import same

from hebae.building import build
from hebae.config import Settings
from hebae.data import Examples, load
from hebae.data.schema import Column
from hebae.errors import HebaeError
from hebae.model import Step
from hebae.run_folder import RunFolder
from hebae.training import session
from hebae.training import step as training_step
from hebae.training.batches import ArrayBatches
from hebae.training.denormals import EVERY, clear_denormal_means
from hebae.training.loop import train
from hebae.training.machine import make_fabric
from hebae.training.step import WARM_UP, CapturedStep, Updater, lay_out_filters, tensor_cores


def stepper(settings):
    model = build(settings.replace(likelihood="bernoulli"), (12,), seed=1)
    return model, Updater(model, settings, make_fabric(settings), [1e-3])


def inputs(sizes, name="posterior"):
    generator = torch.Generator().manual_seed(4)
    return [
        (torch.rand(m, 12, generator=generator), {name: torch.randn(m, 3, generator=generator)})
        for m in sizes
    ]


class Tape:
    """Stands for a CUDA graph: fixed inputs, and results that each replay overwrites."""

    def __init__(self):
        self.recordings = self.replays = 0

    def record(self, take):
        self.recordings += 1
        names = ("reconstruction", "moments")
        terms = {name: torch.empty(()) for name in names}
        result = Step(torch.empty(()), terms, torch.empty(32, 3), torch.empty(32, 3))

        def replay():
            self.replays += 1
            step = take()
            result.loss.copy_(step.loss.detach())
            result.mean.copy_(step.mean)
            for name in names:
                result.terms[name].copy_(step.terms[name])

        return replay, result


def test_a_captured_step_is_the_step_by_hand_for_full_and_for_smaller_batches(settings):
    batches = inputs([32] * (WARM_UP + 2) + [20] + [32] * 3)
    by_hand, updater = stepper(settings)
    expected = [updater.take(*batch) for batch in batches]
    captured, updater = stepper(settings)
    tape = Tape()
    step = CapturedStep(updater.take, 32, record=tape.record)
    found = [step(*batch) for batch in batches]
    assert (tape.recordings, tape.replays) == (1, 5)
    for mine, its in zip(found, expected, strict=True):
        # Looked at only now: a later replay has not overwritten what an earlier one gave.
        assert torch.equal(mine.loss, its.loss.detach())
        assert torch.equal(mine.mean, its.mean)
        assert all(torch.equal(mine.terms[n], its.terms[n]) for n in its.terms)
    assert same(captured.state_dict(), by_hand.state_dict())


def test_a_captured_step_is_given_the_conditions_of_its_batch(settings):
    rng = np.random.default_rng(0)
    columns = (Column("batch", "category", ("a", "b")), Column("age", "number"))
    drawn = np.column_stack([rng.integers(0, 2, 64), rng.normal(size=64)]).astype(np.float32)
    values = rng.random((64, 12), np.float32)
    seen = Examples(values, conditions=drawn, condition_columns=columns).seen
    settings = settings.replace(likelihood="bernoulli", condition_encoder=True)

    def stepper():
        model = build(settings, (12,), seed=1, seen=seen)
        return model, Updater(model, settings, make_fabric(settings), [1e-3])

    pairs = inputs([32] * (WARM_UP + 3))
    rows = [torch.from_numpy(drawn[rng.permutation(64)[:32]]) for _ in pairs]
    by_hand, updater = stepper()
    for (x, noise), condition in zip(pairs, rows, strict=True):
        updater.take(x, noise, condition)
    captured, updater = stepper()
    step = CapturedStep(updater.take, 32, record=Tape().record)
    for (x, noise), condition in zip(pairs, rows, strict=True):
        step(x, noise, condition)
    assert same(captured.state_dict(), by_hand.state_dict())


def test_a_compiled_step_is_one_program_and_the_step_by_hand():
    """Traced as for the compiler; what a C++ compiler makes of it is its own affair.

    In a process of its own: the tests' checks of shapes cannot be traced.
    """
    done = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


COMPARED = """
from functools import partial
import torch
from hebae.building import build
from hebae.config import Settings
from hebae.training.machine import make_fabric
from hebae.training.step import Updater

traced = []

def backend(graph, examples):
    traced.append(len(examples))
    return graph.forward

torch.compile = partial(torch.compile, backend=backend)
batches = [(torch.rand(m, 12), {"posterior": torch.randn(m, 3)}) for m in (32, 32, 20, 32)]

def losses(compile):
    settings = Settings(compile=compile, device="cpu", likelihood="bernoulli", latent_dim=3,
                        encoder_widths=(16,), decoder_widths=(16,), batch_size=32)
    take = Updater(build(settings, (12,)), settings, make_fabric(settings), [1e-3]).take
    return torch.stack([take(*batch).loss for batch in batches])

expected = losses("off")
assert not traced
torch.testing.assert_close(losses("on"), expected)
assert len(traced) == 1, "one program, without a break; none for the smaller batch"
"""


def test_what_cannot_be_captured_is_said_and_steps_go_on_by_hand_unless_asked_for(settings):
    def fails(take):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    batches = inputs([32] * (WARM_UP + 2))
    _, updater = stepper(settings)
    expected = [updater.take(*batch).loss for batch in batches]
    _, updater = stepper(settings)
    step = CapturedStep(updater.take, 32, strict=False, record=fails)
    with pytest.warns(UserWarning, match="operation not permitted"):
        assert [step(*batch).loss for batch in batches] == expected
    step = CapturedStep(updater.take, 32, strict=True, record=fails)
    with pytest.raises(HebaeError, match=r"operation not permitted.*--compile off"):
        [step(*batch) for batch in batches]


def test_moments_set_to_zero_are_those_of_a_new_optimizer(settings):
    first, second = inputs([32, 32])
    model, updater = stepper(settings)
    updater.take(*first)
    fresh, afresh = stepper(settings)
    fresh.load_state_dict(model.state_dict())
    updater.reset_moments()
    updater.take(*second)
    afresh.take(*second)
    assert all(map(torch.equal, model.parameters(), fresh.parameters()))


def test_a_critic_is_updated_by_its_own_loss_and_rate_and_resumes_exactly(settings):
    adversarial = settings.replace(method="wae-gan", critic_learning_rate=2e-3)
    batches = inputs([32] * 4, "prior")
    model, updater = stepper(adversarial)
    other = copy.deepcopy(model)
    updater.take(*batches[0])
    # By hand: the main weights first, then the critic on the codes that the step gave.
    main = torch.optim.Adam(other.main_parameters(), lr=1e-3)
    critic = torch.optim.Adam(other.critic.parameters(), lr=2e-3)
    step = other(*batches[0])
    step.loss.backward()
    main.step()
    critic.zero_grad()
    other.critic_loss(step.z, batches[0][1]).backward()
    critic.step()
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its)  # fused Adam rounds differently
    resumed, again = stepper(adversarial)
    resumed.load_state_dict(model.state_dict())
    again.load([copy.deepcopy(updater.state_of(0))])
    for batch in batches[1:]:
        updater.take(*batch)
        again.take(*batch)
    assert all(map(torch.equal, model.parameters(), resumed.parameters()))


def test_a_checkpoints_moments_get_the_layout_of_the_weights_and_its_rate_is_not_taken():
    images = Settings(
        network="convolutional", encoder_widths=(4,), decoder_widths=(4,), latent_dim=2,
        batch_size=8, likelihood="bernoulli", device="cpu",
    )  # fmt: skip
    x = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = {"posterior": torch.randn(8, 2, generator=torch.Generator().manual_seed(1))}
    fabric = make_fabric(images)
    plain = Updater(model := build(images, x.shape[1:]), images, fabric, [1e-2])
    plain.take(x, noise)
    laid_out = build(images, x.shape[1:])
    laid_out.load_state_dict(model.state_dict())
    lay_out_filters(laid_out, torch.channels_last)
    other = Updater(laid_out, images, fabric, [1e-3])
    other.load([copy.deepcopy(plain.state_of(0))])
    weight = laid_out.encoder[0].weight
    assert other.main.param_groups[0]["lr"] == 1e-3
    moments = other.main.state[weight]["exp_avg"]
    assert moments.stride() == weight.stride() != model.encoder[0].weight.stride()
    plain.set_rate_factor(0.1)
    plain.take(x, noise)
    other.take(x, noise)
    torch.testing.assert_close(laid_out.encoder[0].weight, model.encoder[0].weight)


def test_a_convolutional_run_stopped_and_resumed_ends_as_one_never_stopped(tmp_path):
    images = load(np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8))
    settings = Settings(
        network="convolutional", encoder_widths=(4, 8), decoder_widths=(8, 4), latent_dim=3,
        batch_size=12, epochs=2, device="cpu",
    )  # fmt: skip
    longer = settings.replace(epochs=4)
    prepared = session.prepare(longer, images)
    session.run(prepared, tmp_path / "whole")
    assert all(p.is_contiguous() for p in prepared.model.parameters())
    session.run(session.prepare(settings, images), tmp_path / "stopped")
    session.run(session.prepare(longer, images), tmp_path / "stopped", resuming=True)
    whole, stopped = (RunFolder(tmp_path / n).read_checkpoint() for n in ("whole", "stopped"))
    assert same(whole["model"], stopped["model"])


def test_products_are_rounded_on_a_gpu_alone_and_for_the_training_alone():
    before = torch.get_float32_matmul_precision()
    with tensor_cores(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == before
    with tensor_cores(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def subnormals(mean):
    return int(((mean != 0) & (mean.abs() < torch.finfo(mean.dtype).tiny)).sum())


def test_what_is_a_normal_number_or_none_at_all_stays():
    weight = torch.nn.Parameter(torch.ones(5))
    adam = torch.optim.Adam([weight], fused=True)
    clear_denormal_means(adam)
    tiny = torch.finfo(torch.float32).tiny
    values = torch.tensor([tiny, -tiny, 1e-3, torch.nan, 0.0])
    for _ in range(EVERY - 1):
        weight.grad = torch.zeros_like(weight)
        adam.step()
    # One step multiplies by 0.9, so that what is to stay has to be larger before it.
    adam.state[weight]["exp_avg"].copy_(values / 0.9 * (1 + 1e-6))
    adam.step()
    mean = adam.state[weight]["exp_avg"]
    torch.testing.assert_close(mean, values, equal_nan=True, rtol=1e-5, atol=0)
    assert (mean[:3] != 0).all()


SPARSE = Settings(
    likelihood="bernoulli", latent_dim=3, encoder_widths=(64, 64), decoder_widths=(64, 64),
    batch_size=32, epochs=40, learning_rate=3e-3, device="cpu",
)  # fmt: skip


def test_training_ends_with_the_same_weights_to_the_last_bit(monkeypatch):
    """And without the clearing some means do sink on such examples: the test has a subject."""
    random = np.random.default_rng(5)
    examples = random.random((640, 24), dtype=np.float32)
    examples[:, 8:] *= random.random((640, 16)) < 0.003  # as MNIST's border is
    ends = []
    for clear in (clear_denormal_means, lambda adam: None):
        adams = []

        def noted(adam, clear=clear, adams=adams):
            adams.append(adam)
            clear(adam)

        monkeypatch.setattr(training_step, "clear_denormal_means", noted)
        model = build(SPARSE, (24,), seed=3)
        batches = ArrayBatches(examples, SPARSE.batch_size)
        train(model, SPARSE, batches, fabric=make_fabric(SPARSE))
        sunk = sum(subnormals(state["exp_avg"]) for state in adams[0].state.values())
        ends.append((model.state_dict(), sunk))
    (cleared, few), (plain, many) = ends
    assert many > 100
    assert few < many / 10
    assert same(cleared, plain)


def test_the_gradient_of_a_learned_prior_is_clipped_apart_from_the_networks(
    settings: Settings,
) -> None:
    """To a norm of 5 if it is larger; the gradients of the networks stay as they were."""
    for weight, is_clipped in ((1e3, True), (1e-3, False)):
        flow = settings.replace(prior="flow", rate_weight=weight, prior_widths=(8,))
        x, noise = inputs([32])[0]
        plain, _ = stepper(flow)
        plain(x, noise).loss.backward()
        model, updater = stepper(flow)
        updater.take(x, noise)
        free, clipped = (
            torch.cat([p.grad.flatten() for p in m.prior.parameters()])  # type: ignore[union-attr]
            for m in (plain, model)
        )
        assert (free.norm() > 5) == is_clipped
        torch.testing.assert_close(clipped, free * min(1.0, 5 / float(free.norm())))
        for own, theirs in zip(model.encoder.parameters(), plain.encoder.parameters(), strict=True):
            torch.testing.assert_close(own.grad, theirs.grad)
