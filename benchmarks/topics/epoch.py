"""An epoch of the VAE with data loading: `hebae` and pythae."""

from __future__ import annotations

from contenders import SETTINGS, load_digits, with_pythae
from contenders.ours import by_hebae
from results import Aim, Effort, Result
from turns import paired, take_turns, timed

STEPS = 78
"""Batches of 128: all MNIST images in the package."""

TEXT = """\
One epoch of the VAE over {count:,} MNIST images with the networks of Appendix B.1 and batch size
128, including data loading. `hebae` keeps the images in memory as bytes and converts each batch in
the step. pythae keeps them as float32 behind a data loader without workers, its default. pythae's
trainer uses PyTorch's default Adam; the same with fused Adam is shown as well."""


def measure(effort: Effort) -> Result:
    """Time epochs of both."""
    steps = effort.steps if effort.smoke else STEPS
    examples = load_digits(steps)
    contenders = {"VAE": by_hebae("vae")}
    if with_pythae.AVAILABLE:
        contenders["pythae: VAE"] = with_pythae.by_pythae("vae")
        contenders["pythae: VAE, fused Adam"] = with_pythae.by_pythae("vae", fused=True)
    readings = take_turns(
        {name: timed(contender, examples, 1) for name, contender in contenders.items()},
        effort.share(0.4),
        "per epoch",
    )
    absent = not with_pythae.AVAILABLE
    return Result(
        title="An epoch of the VAE with data loading",
        text=TEXT.format(count=steps * SETTINGS.batch_size),
        aims=[
            Aim(
                "VAE epoch, pythae / hebae",
                "x",
                [] if absent else paired(readings, "pythae: VAE", "VAE"),
                at_least=1.4,
                note=with_pythae.ABSENT if absent else "",
            ),
            Aim(
                "VAE epoch, pythae with fused Adam / hebae",
                "x",
                [] if absent else paired(readings, "pythae: VAE, fused Adam", "VAE"),
                note=with_pythae.ABSENT if absent else "",
            ),
        ],
        readings=readings,
        readings_title="per epoch",
    )
