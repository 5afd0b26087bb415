"""Step time late in training, when subnormal numbers in Adam's means slow a processor down."""

from __future__ import annotations

from contenders import load_digits
from contenders.bare import by_bare_loop
from contenders.ours import by_hebae
from results import Aim, Effort, Result
from turns import paired, take_turns, timed

STEPS = 78
EPOCHS_BEFORE = 15

TEXT = """\
The same step on MNIST images, at the start of training and after {before:,} steps. A weight whose
pixel stays black for a while, or whose ReLU never opens again, gets no gradient. Adam's running
mean of its gradients then shrinks into the subnormal numbers, which take a processor about 100
times as long. `hebae` sets such means to zero (`training/denormals.py`). No weight changes by a
single bit, which a test checks. The plain PyTorch loop does not do this."""


def measure(effort: Effort) -> Result:
    """Time the first and a late epoch of the plain loop and of `hebae`."""
    steps = effort.steps if effort.smoke else STEPS
    before = 1 if effort.smoke else EPOCHS_BEFORE
    late = f"after {before * steps:,} steps"
    examples = load_digits(steps)
    contenders = {
        "plain PyTorch loop, at the start": by_bare_loop(),
        "HEBAE, at the start": by_hebae("hebae"),
        f"plain PyTorch loop, {late}": by_bare_loop(epochs_before=before),
        f"HEBAE, {late}": by_hebae("hebae", epochs_before=before),
    }
    readings = take_turns(
        {name: timed(contender, examples, steps) for name, contender in contenders.items()},
        effort.share(0.2),
        "a late step",
    )

    def ratio(what: str, name: str, reference: str) -> Aim:
        return Aim(what, "x", paired(readings, name, reference))

    return Result(
        title="Step time late in training",
        text=TEXT.format(before=before * steps),
        aims=[
            ratio(
                f"plain PyTorch loop / hebae, {late}",
                f"plain PyTorch loop, {late}",
                f"HEBAE, {late}",
            ),
            ratio(
                f"plain PyTorch loop, {late} / at the start",
                f"plain PyTorch loop, {late}",
                "plain PyTorch loop, at the start",
            ),
            ratio(f"hebae, {late} / at the start", f"HEBAE, {late}", "HEBAE, at the start"),
        ],
        readings=readings,
        readings_title="per step",
    )
