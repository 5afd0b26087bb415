"""Step time as a function of batch size, latent dimension and image size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from contenders import SETTINGS, make_examples
from contenders.ours import by_hebae
from results import Curve, Effort, Panel, Result
from turns import quartiles, take_turns, timed

from topics.moments import objective_alone

TEXT = """\
A HEBAE step with one size changed and the others as in Appendix B.1 (m = 128, k = 20, 28 x 28; the
image size changes only the first and the last layer), and the objective alone, forward and
backward. Exponents are slopes of least-squares lines through the logarithms of all points. Where a
cost has a constant part, the exponent is smaller than its limit for large sizes."""

BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
LATENT_DIMS = (5, 10, 20, 40, 80)
SIDES = (14, 28, 56, 112)

Sizes = Sequence[int]


def measure(effort: Effort) -> Result:
    """Time a few steps at each size."""
    steps = min(effort.steps, 10)
    rounds = effort.share(0.15)

    def step(m: int = SETTINGS.batch_size, k: int = 20, side: int = 28) -> Callable[[], float]:
        contender = by_hebae("hebae", batch_size=m, latent_dim=k)
        return timed(contender, make_examples(steps, m, side), steps)

    def curve(label: str, sizes: Sizes, make: Callable[[int], Callable[[], float]]) -> Curve:
        contenders: Mapping[str, Callable[[], float]] = {str(s): make(s) for s in sizes}
        readings = take_turns(contenders, rounds, label)
        return Curve(label, sizes, [1e3 * quartiles(times)[1] for times in readings.values()])

    few = effort.few
    return Result(
        title="Scaling",
        text=TEXT,
        panels=[
            Panel(
                "Batch size",
                "examples m",
                "ms",
                [
                    curve("step", few(BATCH_SIZES), lambda m: step(m=m)),
                    curve(
                        "objective", few(BATCH_SIZES), lambda m: objective_alone(m, 20, calls=30)
                    ),
                ],
            ),
            Panel(
                "Latent dimension",
                "dimensions k",
                "ms",
                [
                    curve("step", few(LATENT_DIMS), lambda k: step(k=k)),
                    curve(
                        "objective", few(LATENT_DIMS), lambda k: objective_alone(128, k, calls=30)
                    ),
                ],
            ),
            Panel(
                "Image size",
                "pixels a side",
                "ms",
                [curve("step", few(SIDES), lambda side: step(side=side))],
            ),
        ],
    )
