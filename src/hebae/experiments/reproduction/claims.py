"""Claims of the common forms: the best of the methods, better than the VAE, within a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hebae.experiments.reproduction.study import Claim, Whose, median, verdict
from hebae.report.methods import display_name

__all__ = ["best", "better", "listed", "within"]

Values = Sequence[float | None]
"""One a seed; None where it does not exist."""


def best(
    key: str,
    says: str,
    what: str,
    numbers: Mapping[str, float | None],
    form: str,
    *,
    lower: bool = False,
    whose: Whose = "paper",
) -> Claim:
    """Claim that HEBAE has the greatest number of all methods, or the least if `lower`.

    Parameters
    ----------
    key, says : str
        See `Claim`.
    what : str
        What the numbers are.
    numbers : mapping of str to (float or None)
        By method, one run each.
    form : str
        How a number is written, ".3f".
    lower : bool
    whose : Whose
    """
    known = [value for value in numbers.values() if value is not None]
    ours = numbers.get("hebae")
    first = None
    if ours is not None and len(known) > 1:
        first = ours == (min(known) if lower else max(known))
    return Claim(key, says, f"{what}: {listed(numbers, form)}", numbers, verdict([first]), whose)


def better(
    key: str, says: str, ours: Values, theirs: Values, form: str, *, whose: Whose = "paper"
) -> Claim:
    """Claim that HEBAE's number is below the VAE's; not told where their ranges overlap.

    Parameters
    ----------
    key, says : str
        See `Claim`.
    ours, theirs : sequence of (float or None)
        Of HEBAE and of the VAE.
    form : str
    whose : Whose
    """
    numbers = _summary("hebae", ours) | _summary("vae", theirs)
    below = None
    if _known(ours) and _known(theirs):
        if max(_known(ours)) < min(_known(theirs)):
            below = True
        elif min(_known(ours)) > max(_known(theirs)):
            below = False
    found = f"HEBAE {_said('hebae', ours, form)} against VAE {_said('vae', theirs, form)}"
    return Claim(key, says, found, numbers, verdict([below]), whose)


def within(
    key: str, what: str, values: Values, limit: float, form: str, *, above: bool = False
) -> Claim:
    """Claim, as an aim, that a median over seeds is at most `limit`, or `above` it.

    Parameters
    ----------
    key : str
    what : str
        What the numbers are.
    values : sequence of (float or None)
    limit : float
    form : str
    above : bool
    """
    middle = median(values)
    holds = None if middle is None else (middle > limit if above else middle <= limit)
    says = f"{what} {'above' if above else 'at most'} {limit:g}"
    found = _said("value", values, form)
    return Claim(key, says, found, _summary("value", values), verdict([holds]), "aim")


def listed(numbers: Mapping[str, float | None], form: str, suffix: str = "") -> str:
    """Return the numbers by method as a `Claim` has them: ``HEBAE {hebae:.3f}, VAE ...``."""
    names = {name: display_name(name.removesuffix(suffix)) for name in numbers}
    return ", ".join(f"{shown} {{{name}:{form}}}" for name, shown in names.items())


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None]


def _summary(name: str, values: Values) -> dict[str, float | None]:
    known = _known(values)
    ends = {f"{name}_least": min(known), f"{name}_greatest": max(known)} if len(known) > 1 else {}
    return {name: median(values), **ends}


def _said(name: str, values: Values, form: str) -> str:
    span = f" [{{{name}_least:{form}}}, {{{name}_greatest:{form}}}]"
    return f"{{{name}:{form}}}" + (span if len(_known(values)) > 1 else "")
