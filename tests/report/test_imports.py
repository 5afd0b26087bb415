"""What the room loads: never torch, and matplotlib only to draw."""

import subprocess
import sys

import pytest

LIGHT = ("methods", "pixels", "tables", "page")
FIGURES = ("style", "images", "lines", "codes")


def loaded(modules: tuple[str, ...]) -> set[str]:
    names = ", ".join(f"hebae.report.{name}" for name in modules)
    code = f"import sys, {names}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (LIGHT, ("torch", "matplotlib", "PIL", "rich")),
        (FIGURES, ("torch", "matplotlib.pyplot")),
    ],
)
def test_nothing_more_is_loaded_than_is_needed(modules, absent):
    assert loaded(modules).isdisjoint(absent)
