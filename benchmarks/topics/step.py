"""A training step: `hebae`, a plain PyTorch loop, pythae, JAX and the released code."""

from __future__ import annotations

import time

import torch
from contenders import SQUARED_ERROR, Contender, make_examples, with_jax, with_pythae
from contenders.bare import by_bare_loop
from contenders.ours import by_hebae
from contenders.released import by_released_code
from results import Aim, Effort, Result, Table
from turns import Readings, paired, take_turns, timed

TEXT = """\
One training step with the networks of Appendix B.1 of the paper (784-784-800-2k and k-800-800-784),
batch size 128, k = 20, on random pixels. For `hebae`, the time of an epoch of its training loop is
divided by the number of steps; held-out examples and the last pass over the training set are not
included. The plain PyTorch loop does the same arithmetic with fused Adam and nothing else; a test
checks that its loss and gradients are those of `hebae`. pythae's WAE-MMD runs in pythae's own
trainer, with the same networks, squared error and kernels. The first steps of each measurement are
left out."""


def measure(effort: Effort) -> Result:
    """Time all contenders that are installed."""
    rates = {dtype: product_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    has_bf16 = rates[torch.bfloat16] > rates[torch.float32]
    contenders: dict[str, Contender] = {
        "plain PyTorch loop": by_bare_loop(),
        "HEBAE": by_hebae("hebae"),
        "plain PyTorch loop, moments in float32": by_bare_loop(torch.float32),
        "VAE": by_hebae("vae"),
        "AE": by_hebae("ae"),
        "WAE, squared error": by_hebae("wae", **SQUARED_ERROR),
    }
    if with_pythae.AVAILABLE:
        contenders["pythae: WAE"] = with_pythae.by_pythae("wae")
    if has_bf16:
        contenders["HEBAE, bf16"] = by_hebae("hebae", precision="bf16-mixed")
    if with_jax.AVAILABLE:
        contenders["HEBAE in JAX"] = with_jax.by_jax()
    if effort.released is not None:
        contenders["released code"] = by_released_code(effort.released, effort.released_python)
    examples = make_examples(effort.steps)
    readings = take_turns(
        {name: timed(contender, examples, effort.steps) for name, contender in contenders.items()},
        effort.rounds,
        "per step",
    )
    return Result(
        title="A training step",
        text=TEXT,
        aims=_aims(readings, rates),
        readings=readings,
        readings_title="per step",
        tables=[
            Table(
                "Matrix products on this processor (1024 x 784 by 784 x 800)",
                ["", "GFLOP/s"],
                [[str(dtype).removeprefix("torch."), f"{r:.0f}"] for dtype, r in rates.items()],
            )
        ],
    )


def _aims(readings: Readings, rates: dict[torch.dtype, float]) -> list[Aim]:
    def ratio(what: str, name: str, reference: str, absent: str = "", **bound: float | None) -> Aim:
        if name not in readings or reference not in readings:
            return Aim(what, "x", [], note=absent, **bound)
        return Aim(what, "x", paired(readings, name, reference), **bound)

    bf16 = (
        f"bf16 is slower than float32 on this processor ({rates[torch.bfloat16]:.0f} against "
        f"{rates[torch.float32]:.0f} GFLOP/s)"
    )
    released = "needs --released CHECKOUT"
    return [
        ratio("HEBAE step / plain PyTorch loop", "HEBAE", "plain PyTorch loop", at_most=1.02),
        ratio("HEBAE step / VAE step", "HEBAE", "VAE", at_most=1.15),
        ratio("HEBAE step, bf16 / float32", "HEBAE, bf16", "HEBAE", bf16, at_most=0.55),
        ratio(
            "WAE step, pythae / hebae",
            "pythae: WAE",
            "WAE, squared error",
            with_pythae.ABSENT,
            at_least=1.8,
        ),
        ratio("HEBAE step, released code / hebae", "released code", "HEBAE", released, at_least=5),
        ratio(
            "HEBAE step, JAX / hebae",
            "HEBAE in JAX",
            "HEBAE",
            "needs jax and optax",
        ),
    ]


def product_rate(dtype: torch.dtype, repeats: int = 4) -> float:
    """Best GFLOP/s of a matrix product of the size in the networks, for a large batch."""
    x, weight = torch.randn(1024, 784).to(dtype), torch.randn(784, 800).to(dtype)
    rates = []
    for _ in range(10):
        begin = time.perf_counter()
        for _ in range(repeats):
            x @ weight
        rates.append(2e-9 * repeats * 1024 * 784 * 800 / (time.perf_counter() - begin))
    return max(rates)  # others' work only ever slows it down
