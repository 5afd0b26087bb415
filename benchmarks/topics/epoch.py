"""An epoch of the VAE, data included: `hebae` against pythae."""

from __future__ import annotations

from contenders import SETTINGS, load_digits, with_pythae
from contenders.ours import by_hebae
from results import Aim, Effort, Result
from turns import paired, take_turns, timed

STEPS = 78
"""Of 128 examples: as many as the package has images of MNIST."""

TEXT = """\
An epoch of the VAE over {count:,} images of MNIST, with the networks of Appendix B.1 and batch 128,
and with all that brings the examples into the step: ours lie in memory as bytes and are cast in the
step, pythae's as float32 behind a data loader of its own, without workers, as it comes. pythae's
trainer uses Adam as PyTorch's defaults have it; with fused Adam, for which one has to ask, it is
shown too."""


def measure(effort: Effort) -> Result:
    """Time epochs, ours and theirs in turn."""
    steps = effort.steps if effort.smoke else STEPS
    examples = load_digits(steps)
    contenders = {"VAE": by_hebae("vae")}
    if with_pythae.AVAILABLE:
        contenders["pythae's VAE"] = with_pythae.by_pythae("vae")
        contenders["pythae's VAE, fused Adam"] = with_pythae.by_pythae("vae", fused=True)
    readings = take_turns(
        {name: timed(contender, examples, 1) for name, contender in contenders.items()},
        effort.share(0.4),
        "an epoch",
    )
    absent = not with_pythae.AVAILABLE
    return Result(
        title="An epoch of the VAE, data included",
        text=TEXT.format(count=steps * SETTINGS.batch_size),
        aims=[
            Aim(
                "pythae's VAE epoch / ours",
                "x",
                [] if absent else paired(readings, "pythae's VAE", "VAE"),
                at_least=1.4,
                note=with_pythae.ABSENT if absent else "",
            ),
            Aim(
                "pythae's VAE epoch with fused Adam / ours",
                "x",
                [] if absent else paired(readings, "pythae's VAE, fused Adam", "VAE"),
                note=with_pythae.ABSENT if absent else "",
            ),
        ],
        readings=readings,
        readings_title="an epoch",
    )
