"""Turns, ratios, verdicts and exponents, on numbers that are known."""

import pytest


def test_turns_go_there_and_back():
    from turns import take_turns

    asked = []

    def contender(name):
        return lambda: asked.append(name) or float(len(asked))

    readings = take_turns({name: contender(name) for name in "abc"}, rounds=3)
    assert asked == list("abccbaabc")
    assert readings == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_ratios_are_taken_within_a_round():
    from turns import paired, quartiles

    readings = {"ours": [1.0, 20.0, 3.0], "theirs": [2.0, 40.0, 6.0]}
    assert paired(readings, "ours", "theirs") == [0.5, 0.5, 0.5]
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


@pytest.mark.parametrize(
    ("bound", "values", "met"),
    [
        ({"at_most": 1.02}, [0.9, 1.02, 5.0], True),
        ({"at_most": 1.02}, [0.9, 1.03, 5.0], False),
        ({"at_least": 3.0}, [1.0, 3.0, 9.0], True),
        ({"at_least": 3.0}, [1.0, 2.9, 9.0], False),
        ({}, [1.0], None),
        ({"at_most": 1.0}, [], None),
    ],
)
def test_the_median_is_held_to_the_bound(bound, values, met):
    from results import Aim

    assert Aim("a", "x", values, **bound).as_record()["met"] is met


def test_an_exponent_is_that_of_the_power_law():
    from results import Curve

    sizes = [8, 16, 32, 64]
    assert Curve("", sizes, [3 * n**1.5 for n in sizes]).exponent == pytest.approx(1.5)
    assert Curve("", sizes, [5.0] * 4).exponent == pytest.approx(0, abs=1e-12)
    assert Curve("", [8], [1.0]).exponent is None
    assert Curve("", sizes, [1.0] * 4, fitted=False).exponent is None


def test_a_difference_is_measured_by_what_seeds_do():
    from topics.agreement import difference

    assert difference([1.0, 2.0, 3.0], [3.0, 4.0, 5.0]) == 1.0
    assert difference([0.0, 0.1], [10.0, 10.1]) == pytest.approx(100)
