"""Names, colours and markers."""

from itertools import combinations

from hebae.methods import METHODS
from hebae.report.methods import looks


def test_a_method_looks_the_same_in_any_company():
    look = looks(["x", "vae", "y"])["vae"]
    assert look == looks(["VAE"])["VAE"]
    assert (look.colour, look.marker) == (METHODS["vae"].colour, METHODS["vae"].marker)


def test_no_two_look_alike():
    given = looks([*METHODS, *(f"run {i}" for i in range(12))]).values()
    assert len({(look.colour, look.marker) for look in given}) == len(given)


def test_methods_differ_by_marker_and_in_brightness_from_the_page():
    assert len({look.marker for look in METHODS.values()}) == len(METHODS)
    for one, other in combinations(METHODS.values(), 2):
        assert one.colour != other.colour
    for look in METHODS.values():
        red, green, blue = (int(look.colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.7
