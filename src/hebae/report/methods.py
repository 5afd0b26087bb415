"""How methods and runs are named and drawn, the same in every figure and table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle

from hebae.methods import METHODS

# Colours of Okabe and Ito, told apart with any common kind of colour vision, for runs that are not
# named after a method. Yellow is left out, since it is too faint on white.
_COLOURS = ("#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("v", "P", "X", "<", ">")
_BY_NAME = {
    name.casefold(): method
    for method in METHODS.values()
    for name in (method.name, method.display_name)
}


@dataclass(frozen=True)
class Look:
    """Name, colour and marker of a line; markers tell methods apart in print without colour."""

    name: str
    colour: str
    marker: str


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """Return the look of each label: that of its method, or one that no method has.

    Labels are methods ("hebae" or "HEBAE", "wae" or "WAE-MMD", ...) or any names of runs.
    """
    taken = {(method.colour, method.marker) for method in METHODS.values()}
    pairs = zip(_COLOURS * len(_MARKERS), _MARKERS * len(_COLOURS), strict=True)
    rest = cycle([pair for pair in pairs if pair not in taken])
    result = {}
    for label in labels:
        method = _BY_NAME.get(label.casefold())
        colour, marker = (method.colour, method.marker) if method else next(rest)
        result[label] = Look(display_name(label), colour, marker)
    return result


def display_name(label: str) -> str:
    """Return a method's name as the paper writes it; any other label unchanged."""
    method = _BY_NAME.get(label.casefold())
    return method.display_name if method else label
