"""One step of training: a batch and noise in, weights updated, terms of the loss out."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.model import Autoencoder, Step
from hebae.objectives import Noise
from hebae.training.denormals import clear_denormal_means
from hebae.training.stack import Stack, StackedAdam

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TakeStep = Callable[..., Step]
"""From a batch, its noise and, of a conditional model, its conditions."""

PRIOR_GRADIENT_NORM = 5.0
"""Largest norm of the gradient of a learned prior's parameters, apart from the other weights'.

A code in a far tail of p(z) has a steep log density; the networks' steps do not depend on it."""


class Updater:
    """Updates a model, or a stack of models, by one batch at a time: see `take`.

    One fused Adam updates the main weights, after the gradient of a learned prior was clipped. If
    the method has a critic, a second one then updates the critic on the codes of the same step.
    Full batches are compiled or captured where the settings say so. A last, smaller batch never is,
    so that there is one program, and the same one wherever a run is resumed.

    `rates` are the first learning rates of the members. `random_state` makes the context for the
    forward pass of networks that draw random numbers.
    """

    def __init__(
        self,
        model: Autoencoder,
        settings: Settings,
        fabric: Fabric,
        rates: Sequence[float],
        random_state: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        stacked = isinstance(model, Stack)
        captured = is_captured(settings, fabric.device) and fabric.world_size == 1
        if captured and random_state is not None:
            if settings.compile == "on":
                raise HebaeError(
                    "compile='on' captures the step in a CUDA graph, which is not possible if the "
                    "networks draw random numbers (such as dropout). Use compile='off'."
                )
            captured = False
        betas = (settings.adam_beta1, settings.adam_beta2)
        adam = partial(torch.optim.Adam, betas=betas, fused=True, capturable=captured)
        self.critic: torch.optim.Adam | None = None
        if isinstance(model, Stack):
            self.main: torch.optim.Adam | StackedAdam = StackedAdam(model, rates, adam)
        else:
            self.main = adam(model.main_parameters(), lr=rates[0])
            clear_denormal_means(self.main)
        if model.critic is not None:
            self.critic = adam(model.critic.parameters(), lr=settings.critic_learning_rate)
            clear_denormal_means(self.critic)
        groups = [group for adam in self.optimizers for group in adam.param_groups]
        self.rates = [float(group["lr"]) for group in groups]
        if captured:  # a graph reads what is at an address, so each rate needs one
            for group in groups:
                group["lr"] = torch.tensor(group["lr"], device=fabric.device)
        # With one process, and no loss to be scaled, Fabric's wrappers pass their arguments on.
        # Without them a step of Appendix B.1 takes 2 % less time.
        forward: Callable[..., Step] = model
        backward: Callable[[Tensor], object] = Tensor.backward
        main, critic = self.main, self.critic
        # The gradients of the critic are averaged below, and buffers follow from the whole batch.
        ignored = [name for name, _ in model.named_parameters() if name.startswith("critic.")]
        ignored += [name for name, _ in model.named_buffers()]
        model._ddp_params_and_buffers_to_ignore = ignored  # type: ignore[assignment]
        if settings.precision == "16-mixed":
            forward, main, *critics = fabric.setup(model, *self.optimizers)  # type: ignore[arg-type]
            critic = critics[0] if critics else None
            backward = fabric.backward
        elif fabric.world_size > 1:  # without Fabric's wrapper, which makes results float32
            forward = fabric.strategy.setup_module(model)
        mixed = settings.precision in ("16-mixed", "bf16-mixed")
        autocast = fabric.autocast if mixed else nullcontext
        random_state = random_state or nullcontext
        parameters = model.main_parameters()
        critic_parameters = [] if model.critic is None else list(model.critic.parameters())

        learned = list(model.prior.parameters())

        def clip(largest: float) -> None:
            if isinstance(main, StackedAdam):
                main.clip(largest)
            else:  # checking that the norm is finite would wait for the device; the monitor does
                fabric.clip_gradients(model, main, max_norm=largest, error_if_nonfinite=False)

        def plain_step(
            x: Tensor,
            noise: Noise,
            condition: Tensor | None = None,
            forward: Callable[..., Step] = forward,
        ) -> Step:
            with autocast(), random_state():
                step = forward(x, noise, condition)
            # Here, not after the step: gradients are freed when their memory is needed.
            for parameter in parameters:
                parameter.grad = None
            backward(step.loss.sum() if stacked else step.loss)
            if learned:
                nn.utils.clip_grad_norm_(learned, PRIOR_GRADIENT_NORM)
            if settings.gradient_clip is not None:
                clip(settings.gradient_clip)
            main.step()
            if critic is not None:
                with autocast():
                    loss = model.critic_loss(step.z, noise)
                for parameter in critic_parameters:
                    parameter.grad = None
                backward(loss)
                if fabric.world_size > 1:
                    for parameter in critic_parameters:
                        torch.distributed.all_reduce(parameter.grad)
                        parameter.grad.div_(fabric.world_size)  # type: ignore[union-attr]
                critic.step()
            # Without the graph, whose nodes belong to the CUDA stream of this step.
            return step._replace(loss=step.loss.detach())

        self.take: TakeStep = plain_step
        """From a batch and its noise: forward, backward, update."""
        self.held_out: TakeStep = model.held_out_step
        """From a held-out batch and its noise: terms alone."""
        if captured:
            strict = settings.compile == "on"
            self.take, self.held_out = (
                CapturedStep(step, settings.batch_size, int(stacked), strict=strict)
                for step in (plain_step, model.held_out_step)
            )
        elif settings.compile == "on" and not stacked:
            compiled = torch.compile(model, dynamic=False)

            def take(x: Tensor, noise: Noise, condition: Tensor | None = None) -> Step:
                whole = len(x) == settings.batch_size
                return plain_step(x, noise, condition, compiled if whole else forward)

            self.take = take

    @property
    def optimizers(self) -> list[torch.optim.Adam | StackedAdam]:
        """The main optimizer, and the critic's if there is one."""
        return [self.main] if self.critic is None else [self.main, self.critic]

    def set_rate_factor(self, factor: float) -> None:
        """Multiply the first learning rates by a schedule's factor."""
        groups = [group for adam in self.optimizers for group in adam.param_groups]
        for rate, group in zip(self.rates, groups, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def reset_moments(self) -> None:
        """Set Adam's moments and step count to zero, as they are at the start."""
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()

    def state_of(self, member: int) -> dict[str, Any]:
        """Optimizers of one member, for its checkpoint."""
        if isinstance(self.main, StackedAdam):
            return {"optimizer": self.main.state_of(member), "critic_optimizer": None}
        critic = None if self.critic is None else self.critic.state_dict()
        return {"optimizer": self.main.state_dict(), "critic_optimizer": critic}

    def load(self, states: Sequence[dict[str, Any]]) -> None:
        """Load the optimizers of the members' checkpoints, but not their learning rates."""
        if isinstance(self.main, StackedAdam):
            self.main.load([state["optimizer"] for state in states])
            return
        _load_adam(self.main, states[0]["optimizer"])
        if self.critic is not None:
            _load_adam(self.critic, states[0]["critic_optimizer"])


def _load_adam(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    own = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": own})
    # The fused kernel goes through memory in order, so moments need the layout of their weights.
    for parameter, moments in optimizer.state.items():
        for name, tensor in moments.items():
            if tensor.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(tensor).detach()


def is_captured(settings: Settings, device: torch.device) -> bool:
    """Whether steps are replayed from a CUDA graph: on CUDA, unless the settings say otherwise.

    Not with 16-mixed, which scales each loss by the result of the step before, and not with several
    processes.
    """
    return (
        settings.compile != "off"
        and device.type == "cuda"
        and settings.devices == 1
        and settings.precision != "16-mixed"
    )


WARM_UP = 3
"""Full batches before the capture, in which nothing may be allocated or initialised."""


def record_cuda_graph(take: Callable[[], Step]) -> tuple[Callable[[], None], Step]:
    """Capture a step, which is not executed: what replays it, and the result that is replaced."""
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the device meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = take()
    return graph.replay, result


class CapturedStep:
    """Replays a step for batches of one size; other batches run step by step.

    A graph reads its inputs at fixed addresses, so each batch is copied to where the graph was
    recorded, and the results are copied from there before the next replay overwrites them.
    The first `WARM_UP` full batches run step by step.

    `take` is the step, which must not wait for the device; `dim` that of the examples in x (1 for a
    stack). If the step cannot be captured, a HebaeError is raised if `strict`; otherwise a warning
    is given and steps run one by one.
    """

    def __init__(
        self,
        take: TakeStep,
        batch_size: int,
        dim: int = 0,
        *,
        strict: bool = True,
        record: Callable[[Callable[[], Step]], tuple[Callable[[], None], Step]] = record_cuda_graph,
    ) -> None:
        self.take = take
        self.batch_size = batch_size
        self.dim = dim
        self.strict = strict
        self.record = record
        self.taken = 0
        self.works = True
        self.replay: Callable[[], None] | None = None

    def __call__(self, x: Tensor, noise: Noise, condition: Tensor | None = None) -> Step:
        """Take a step."""
        if x.shape[self.dim] != self.batch_size or not self.works:
            return self.take(x, noise, condition)
        if self.taken < WARM_UP:
            self.taken += 1
            return _on_a_stream_of_its_own(self.take, x, noise, condition)
        if self.replay is None:
            self.x = x.clone()
            self.condition = None if condition is None else condition.clone()
            self.noise = {name: epsilon.clone() for name, epsilon in noise.items()}
            try:
                self.replay, self.result = self.record(
                    lambda: self.take(self.x, self.noise, self.condition)
                )
            except RuntimeError as error:
                reason = str(error).strip().partition("\n")[0]
                if self.strict:
                    raise HebaeError(
                        f"--compile on: the step cannot be captured in a CUDA graph ({reason}). "
                        "Use --compile off."
                    ) from error
                warnings.warn(
                    f"steps are not captured in a CUDA graph, which is slower ({reason}).",
                    stacklevel=2,
                )
                self.works = False
                return self.take(x, noise, condition)
        self.x.copy_(x)
        if self.condition is not None and condition is not None:
            self.condition.copy_(condition)
        for name, epsilon in noise.items():
            self.noise[name].copy_(epsilon)
        self.replay()
        loss, terms, mean, z = self.result
        loss, *copies = torch.stack([loss, *terms.values()], dim=-1).unbind(-1)  # one kernel
        return Step(loss, dict(zip(terms, copies, strict=True)), mean.clone(), z)


def _on_a_stream_of_its_own(
    take: TakeStep, x: Tensor, noise: Noise, condition: Tensor | None
) -> Step:
    # A capture runs on one too, and autograd remembers the stream that a gradient was made on.
    if x.device.type != "cuda":
        return take(x, noise, condition)
    stream = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(stream):
        step = take(x, noise, condition)
    torch.cuda.current_stream(x.device).wait_stream(stream)
    return step


_PRECISION = threading.Lock()
_trainings_on_cuda: list[str] = []
"""For each training that uses tensor cores, the precision that was set before."""


@contextmanager
def tensor_cores(device: torch.device) -> Iterator[None]:
    """Let a GPU compute float32 products in TF32, with 10 bits of mantissa in place of 23.

    HEBAE's moments are float64, whose products are not rounded so. The distances of a WAE's codes
    are: by a thousandth of their size, at random, far below the noise of a batch's MMD. The setting
    is the process's: the last of several trainings in threads restores it.
    """
    if device.type != "cuda":
        yield
        return
    with _PRECISION:
        _trainings_on_cuda.append(torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        with _PRECISION:
            before = _trainings_on_cuda.pop()
            if not _trainings_on_cuda:
                torch.set_float32_matmul_precision(before)


def lay_out_filters(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Set the memory layout of convolution filters and so of the images; values do not change.

    ``torch.channels_last`` is faster: measured on one CPU core, networks of
    Appendix B.2 with 16 to 128 filters, a step takes 0.70 times as long.
    """
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
