"""The cache directory, and what is shown while it is filled."""

import io
import pwd
import sys

import pytest

from hebae import data
from hebae.data.cache import cache_dir
from hebae.errors import HebaeError


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HEBAE_CACHE_DIR", "~/here")
    assert cache_dir() == tmp_path / "here"


def test_without_a_home_directory_the_variable_is_named(monkeypatch):
    """A container's user may have neither HOME nor an entry in the password file."""

    def no_entry(*_):
        raise KeyError("no such user")

    for name in ("HEBAE_CACHE_DIR", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    for act in (data.catalogue, lambda: data.load("mnist")):
        with pytest.raises(HebaeError, match=r"home directory is unknown.*HEBAE_CACHE_DIR"):
            act()
    assert len(data.load("mnist-mini").train) == 10_000  # needs no cache
    monkeypatch.setenv("HEBAE_CACHE_DIR", "~nosuchuser/x")
    with pytest.raises(HebaeError, match=r"~nosuchuser/x.*HEBAE_CACHE_DIR"):
        data.load("mnist")


class Terminal(io.StringIO):
    """A standard error that claims to be a terminal, and keeps what is written to it."""

    def isatty(self):
        return True


def test_a_terminal_shows_how_preparation_advances_and_a_log_file_nothing(
    tmp_path, write_images, monkeypatch, capsys
):
    data.load(write_images(tmp_path / "pets", ["a.png", "b.png"]))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    folder = write_images(tmp_path / "pets [b]", ["a.png", "b.png"])
    monkeypatch.setattr(sys, "stderr", Terminal())
    data.load(folder)
    assert "Preparing pets [b]" in sys.stderr.getvalue()
    assert "100%" in sys.stderr.getvalue()
