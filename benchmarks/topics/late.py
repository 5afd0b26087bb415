"""A step late in a training, when weights that get no more gradient slow the processor down."""

from __future__ import annotations

from contenders import load_digits
from contenders.bare import by_bare_loop
from contenders.ours import by_hebae
from results import Aim, Effort, Result
from turns import paired, take_turns, timed

STEPS = 78
EPOCHS_BEFORE = 15

TEXT = """\
The same step as above on images of MNIST, first in a new training, then after {before:,} steps. A
weight behind a pixel that is black for a while, or of a ReLU that never opens again, gets no
gradient, and Adam's mean of its gradients sinks into the smallest numbers that there are, for which
a processor takes some 100 times as long. `hebae` sets such means to zero (`training/subnormal.py`);
no weight changes by a bit, which a test holds. The bare loop is left as it comes."""


def measure(effort: Effort) -> Result:
    """Time an epoch of the bare loop and of ours, the first and a late one, in turn."""
    steps = effort.steps if effort.smoke else STEPS
    before = 1 if effort.smoke else EPOCHS_BEFORE
    late = f"after {before * steps:,} steps"
    examples = load_digits(steps)
    contenders = {
        "bare loop, new": by_bare_loop(),
        "HEBAE, new": by_hebae("hebae"),
        f"bare loop, {late}": by_bare_loop(epochs_before=before),
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
        title="A step late in a training",
        text=TEXT.format(before=before * steps),
        aims=[
            ratio(f"the bare loop's step {late} / ours", f"bare loop, {late}", f"HEBAE, {late}"),
            ratio(f"the bare loop's step, {late} / new", f"bare loop, {late}", "bare loop, new"),
            ratio(f"HEBAE's step, {late} / new", f"HEBAE, {late}", "HEBAE, new"),
        ],
        readings=readings,
        readings_title="a step",
    )
