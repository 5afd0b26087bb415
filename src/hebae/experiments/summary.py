"""The table that ends a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hebae.config import Settings
from hebae.experiments.measures import Measures
from hebae.report.methods import display_name
from hebae.report.tables import Row, Table, Undefined, Value
from hebae.training.checks import weight_of_mean_squared_error

__all__ = ["summarise"]

NO_FLOOR = Undefined("the noise floor is known for HEBAE's penalty on a batch's own moments")
NO_NOISE = Undefined("the encoder is deterministic")
ONE_DIMENSION = Undefined("it takes two dimensions that vary")
NO_PENALTY = Undefined("the method has no penalty")
NO_RATE = Undefined("a term of HEBAE with a rate weight")
NOT_DEFINED = Undefined("too few held-out examples for a batch")


def summarise(
    measured: Mapping[str, Sequence[Measures]],
    settings: Mapping[str, Settings],
    shape: Sequence[int],
) -> Table:
    """Tabulate the measures of each method, over its seeds.

    Parameters
    ----------
    measured : mapping of str to list of Measures
        By method, one a seed.
    settings : mapping of str to Settings
        By method.
    shape : sequence of int
        Of one example.
    """
    first = next(iter(measured.values()))[0]

    def row(
        name: str,
        unit: str,
        format: str,
        pick: Callable[[Measures], float | None],
        reason: Callable[[str], Undefined] = lambda method: NOT_DEFINED,
    ) -> Row:
        values = [
            _over_seeds([pick(m) for m in seeds], reason(method))
            for method, seeds in measured.items()
        ]
        return Row(name, values, unit, format)

    # A method's own penalty is its first term; HEBAE with a rate weight has a second.
    rates = [row("rate", "nats", ".2f", lambda m: m.penalty.get("rate"), lambda _: NO_RATE)]
    rows = [
        row("objective", "nats", ".1f", lambda m: m.objective),
        row("reconstruction", "nats", ".1f", lambda m: m.reconstruction),
        row(
            "penalty",
            "its own",
            ".3f",
            lambda m: next(iter(m.penalty.values()), None),
            lambda method: NO_PENALTY if method == "ae" else NOT_DEFINED,
        ),
        *(rates if any("rate" in seeds[0].penalty for seeds in measured.values()) else []),
        row("penalty over noise floor", "nats", ".3f", lambda m: m.excess, lambda _: NO_FLOOR),
        row("median sigma", "", ".3g", lambda m: m.median_sigma, lambda _: NO_NOISE),
        row("mean |correlation|", "", ".3f", lambda m: m.correlation, lambda _: ONE_DIMENSION),
        row("training", "s", ".1f", lambda m: m.seconds),
        row("a step", "ms", ".1f", lambda m: m.milliseconds_a_step),
    ]
    own = "; ".join(
        f"{display_name(method)} {next(iter(seeds[0].penalty))}, "
        f"weight {settings[method].penalty_weight:g}{_in_other_units(settings[method], shape)}"
        for method, seeds in measured.items()
        if seeds[0].penalty
    )
    any_settings = next(iter(settings.values()))
    epochs = " or ".join(map(str, dict.fromkeys(s.epochs for s in settings.values())))
    return Table(
        f"{any_settings.data}, k = {any_settings.latent_dim}, {epochs} epochs: "
        f"{first.split} examples",
        [display_name(method) for method in measured],
        rows,
        (
            f"Penalties: {own}. In nats, but for the MMD, which has no unit.",
            *(
                ["Bernoulli cross-entropy of grey levels is no normalised density."]
                if any_settings.likelihood == "bernoulli"
                else []
            ),
            "Each method's objective is its own and, but for a VAE of weight 1, no ELBO: do not "
            "compare them. Correlation: off the diagonal, of the posterior means.",
        ),
    )


def _in_other_units(settings: Settings, shape: Sequence[int]) -> str:
    weight = weight_of_mean_squared_error(settings, shape)
    return "" if weight is None else f" ({weight:g} of the mean squared error of [-1, 1])"


def _over_seeds(values: Sequence[float | None], reason: Undefined) -> Value:
    known = [value for value in values if value is not None]
    if not known:
        return reason
    return known[0] if len(values) == 1 else list(values)
