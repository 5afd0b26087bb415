"""Files of figures: the same bytes each time, whole or not at all; how methods look in them."""

from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hebae.errors import HebaeError
from hebae.methods import METHODS
from hebae.report.codes import code_heatmaps
from hebae.report.methods import looks
from hebae.report.style import literal, render, save, styled


def draw():
    with styled():
        figure = Figure(figsize=(2, 1.5), layout="constrained")
        figure.subplots().plot([1, 2], [3, 5], label="A line")
        figure.axes[0].set(xlabel="epoch", ylabel="nats", title="A title")
        figure.axes[0].legend()
    return figure


def draw_heatmaps():
    return code_heatmaps({"vae": (np.eye(3), np.eye(3))}, title="Codes")


@pytest.mark.parametrize(("make", "suffix"), [(draw_heatmaps, ".png"), (draw, ".pdf")])
def test_the_same_figure_gives_the_same_bytes(make, suffix, tmp_path):
    figure = make()
    for name, drawn in (("a", figure), ("b", figure), ("c", make())):
        save(drawn, tmp_path / f"{name}{suffix}")
    first, *others = [(tmp_path / f"{name}{suffix}").read_bytes() for name in "abc"]
    assert others == [first, first]


def test_a_png_has_150_dots_an_inch_and_says_nothing_of_when_and_by_what():
    figure = draw()
    png = render(figure)
    assert b"Software" not in png
    assert b"tIME" not in png
    width, height = figure.get_size_inches()
    with Image.open(BytesIO(png)) as picture:
        assert picture.size == (int(width * 150), int(height * 150))
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_the_users_settings_change_nothing_and_are_kept():
    plain = render(draw())
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "savefig.dpi": 20}):
        assert render(draw()) == plain
        assert mpl.rcParams["font.size"] == 30


def test_nothing_is_left_by_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"the old one")
    figure = draw()
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(figure, path)
    assert path.read_bytes() == b"the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(HebaeError, match="cannot write"):
        save(draw(), tmp_path / "missing" / "a.png")


def test_a_dollar_sign_is_a_dollar_sign():
    figure = Figure()
    broken = r"$\nonsense{$"
    figure.suptitle(broken)
    with pytest.raises(ValueError, match="nonsense"):
        render(figure)
    figure.suptitle(literal(broken))
    assert render(figure)


def test_a_method_looks_the_same_in_any_company():
    look = looks(["x", "vae", "y"])["vae"]
    assert look == looks(["VAE"])["VAE"]
    assert (look.colour, look.marker) == (METHODS["vae"].colour, METHODS["vae"].marker)


def test_no_two_look_alike():
    given = looks([*METHODS, *(f"run {i}" for i in range(12))]).values()
    assert len({(look.colour, look.marker) for look in given}) == len(given)


def test_colours_are_dark_enough_for_a_white_page():
    for look in METHODS.values():
        red, green, blue = (int(look.colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.7
