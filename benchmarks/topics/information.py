"""I(i; z) over all pairs of 10,000 examples."""

from __future__ import annotations

from contenders import SETTINGS, make_examples
from results import Aim, Effort, Result
from turns import clocked, take_turns

from hebae.building import build
from hebae.evaluation import mutual_information

TEXT = """\
`hebae.evaluation.mutual_information` of {count:,} examples at k = 20, encoding included: the
posterior of each example against the mixture of all. The networks are untrained, so all posteriors
overlap and no pair can be skipped. Its memory is listed under "Memory"."""

EXAMPLES = 10_000


def measure(effort: Effort) -> Result:
    """Time it for both kinds of noise."""
    count = 300 if effort.smoke else EXAMPLES
    examples = make_examples(-(-count // SETTINGS.batch_size))[:count]
    models = {
        method.upper(): build(SETTINGS.replace(method=method), examples.shape[1:]).eval()
        for method in ("hebae", "vae")
    }
    readings = take_turns(
        {
            name: clocked(lambda model=model: mutual_information(model, examples))
            for name, model in models.items()
        },
        effort.share(0.2),
        "mutual information",
    )
    return Result(
        title="Mutual information",
        text=TEXT.format(count=count),
        aims=[
            Aim(f"I(i; z), {name}, {count:,} x {count:,} pairs", "s", values, at_most=5)
            for name, values in readings.items()
        ],
        readings=readings,
        readings_title="per call",
        readings_unit="s",
    )
