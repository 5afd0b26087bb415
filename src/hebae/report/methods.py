"""How each method is named and drawn, the same in every figure and table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle

__all__ = ["METHODS", "Look", "display_name", "looks"]


@dataclass(frozen=True)
class Look:
    """Name, colour and marker of a line; the marker tells methods apart in print without colour."""

    name: str
    colour: str
    marker: str


# The colours are Okabe and Ito's, told apart with any common kind of colour vision.
METHODS = {
    "hebae": Look("HEBAE", "#D55E00", "o"),
    "vae": Look("VAE", "#0072B2", "s"),
    "wae": Look("WAE-MMD", "#009E73", "^"),
    "ae": Look("AE", "#000000", "D"),
}
# What the methods leave; yellow, the eighth, is too faint on white. Three colours against five
# markers: fifteen pairs before one comes again.
_OTHER_COLOURS = ("#CC79A7", "#56B4E9", "#E69F00")
_OTHER_MARKERS = ("v", "P", "X", "<", ">")


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """Return the look of each label: a method's own, or the next of the rest.

    Parameters
    ----------
    labels : iterable of str
        Methods ("hebae" or "HEBAE", "wae" or "WAE-MMD", ...) or any names of runs.
    """
    rest = zip(cycle(_OTHER_COLOURS), cycle(_OTHER_MARKERS), strict=False)
    return {label: _method(label) or Look(label, *next(rest)) for label in labels}


def display_name(label: str) -> str:
    """Return a method's name as the paper writes it; any other label as it is."""
    look = _method(label)
    return look.name if look else label


def _method(label: str) -> Look | None:
    key = label.casefold()
    return METHODS.get("wae" if key == "wae-mmd" else key)
