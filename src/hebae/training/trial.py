"""What a short trial on this machine decides: precision "auto", compile "auto"."""

from __future__ import annotations

import statistics
import textwrap
import time
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from hebae.config import ModelSettings, Settings
from hebae.errors import HebaeError
from hebae.model import build
from hebae.training.capture import WARM_UP
from hebae.training.checks import device_type
from hebae.training.loop import make_fabric
from hebae.training.noise import draw_noise
from hebae.training.precision import lay_out_filters, tensor_cores
from hebae.training.step import make_optimizer, make_step

__all__ = ["TRIED", "decide", "stepper"]

BUDGET = 1.0
"""Seconds of steps in a trial, those of warming up not counted."""
MOST_TURNS = 30
WORTH = 0.9
"""Largest ratio of times for which something is given up: exactness, or a step that can be read."""
TRIED = {*ModelSettings.model_fields} - {"penalty_weight"} | {
    "batch_size",
    "gradient_clip",
    "device",
}
"""Settings that a step's time depends on, beside precision and compile."""


def decide(settings: Settings, shape: Sequence[int]) -> tuple[Settings, list[str]]:
    """Replace "auto" in `precision` and `compile` by what this machine does best.

    Trainings whose steps cost the same, such as those of several seeds, share a trial.

    Parameters
    ----------
    settings : Settings
        Completed and checked by ``training.checks``.
    shape : sequence of int
        Of one example.

    Returns
    -------
    settings : Settings
    notes : list of str
        What was measured, for the user.

    Raises
    ------
    HebaeError
        If compile is "on" and cannot be done here.
    """
    notes: list[str] = []
    tried = Settings(**{name: getattr(settings, name) for name in TRIED})
    where = device_type(settings)
    if settings.precision == "auto":
        plain = tried.replace(precision="32-true", compile="off")
        precision = "32-true"
        # On MPS Fabric's mixed precision is that of the CPU, and does nothing.
        if where != "mps" and not (where == "cuda" and not torch.cuda.is_bf16_supported(False)):
            mixed = plain.replace(precision="bf16-mixed")
            seconds = _in_turn(plain, mixed, tuple(shape))
            precision = "bf16-mixed" if seconds[1] < WORTH * seconds[0] else "32-true"
            notes.append(_report("precision", ["32-true", "bf16-mixed"], seconds, precision))
        settings = settings.replace(precision=precision)
    by_hand = tried.replace(precision=settings.precision, compile="off")
    as_one = by_hand.replace(compile="on")
    if settings.compile == "auto":
        choice = "off"
        # On the CPU a compiled step saves 5 % of Appendix B.1's and a quarter of a small one's, and
        # took 9 to 85 s to compile, on a loaded machine.
        if where == "cuda" and settings.devices == 1 and settings.precision != "16-mixed":
            try:
                seconds = _in_turn(by_hand, as_one, tuple(shape))
            except RuntimeError as error:
                notes.append(f"compile off: the step cannot be captured ({_reason(error)}).")
            else:
                choice = "on" if seconds[1] < WORTH * seconds[0] else "off"
                notes.append(_report("compile", ["off", "on"], seconds, choice))
        settings = settings.replace(compile=choice)
    elif settings.compile == "on":
        try:
            if where == "cuda":
                _in_turn(by_hand, as_one, tuple(shape))
            else:
                _compile_something()
        except RuntimeError as error:
            raise HebaeError(
                f"--compile on cannot be done here ({_reason(error)}); on the CPU it needs a "
                "C++ compiler such as g++; use --compile off."
            ) from None
    return settings, notes


@cache
def _in_turn(first: Settings, second: Settings, shape: tuple[int, ...]) -> tuple[float, float]:
    """Seconds a step with each of two settings: medians of steps taken in turn."""
    with torch.random.fork_rng():
        takes = [stepper(settings, shape) for settings in (first, second)]
        for take in takes * (1 + WARM_UP if second.compile == "on" else 1):
            take()  # the first ones allocate, and capture
        seconds: tuple[list[float], list[float]] = ([], [])
        begin = time.perf_counter()
        while len(seconds[0]) < MOST_TURNS and time.perf_counter() - begin < BUDGET:
            for take, readings in zip(takes, seconds, strict=True):
                readings.append(take())
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def stepper(settings: Settings, shape: tuple[int, ...]) -> Callable[[], float]:
    """Give what takes a step on random examples and tells its seconds."""
    fabric = make_fabric(settings)
    model = build(settings, shape)
    lay_out_filters(model, torch.channels_last)
    module, optimizer = fabric.setup(model, make_optimizer(model, settings, fabric.device))
    step = make_step(model, module, optimizer, settings, fabric)
    like = model.population_mean  # on the device, and in the precision of the batches
    x = torch.rand(settings.batch_size, *shape, device=like.device, dtype=like.dtype)
    generator = torch.Generator(like.device).manual_seed(0)
    noise = draw_noise(model.noise_shapes(len(x)), generator, like.dtype)

    def take() -> float:
        begin = time.perf_counter()
        with tensor_cores(fabric.device):
            step(x, noise)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        return time.perf_counter() - begin

    return take


@cache
def _compile_something() -> None:
    """Compile the least there is, since only this shows whether a compiler is there and works."""
    torch.compile(_negate, options={"fx_graph_cache": False})(torch.ones(2))


def _negate(x: Tensor) -> Tensor:
    return -x


def _report(what: str, names: Sequence[str], seconds: Sequence[float], chosen: str) -> str:
    milliseconds = dict(zip(names, (f"{1e3 * s:.3g} ms" for s in seconds), strict=True))
    mine = milliseconds.pop(chosen)
    ((other, its),) = milliseconds.items()
    return f"{what} {chosen}: {mine} a step against {its} with {other}, tried on this machine."


def _reason(error: BaseException) -> str:
    """First line of an error's message, without what torch has wrapped it in."""
    lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0].rstrip("."), 200)
