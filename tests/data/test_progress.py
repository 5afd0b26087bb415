import io
import sys

import pytest

from hebae import data


class Terminal(io.StringIO):
    """A standard error that claims to be a terminal, and keeps what is written to it."""

    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """Put a terminal in the place of standard error (within a test, for pytest resets it)."""

    def start():
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return start


def test_a_person_sees_preparation_advance(tmp_path, write_images, open_terminal):
    terminal = open_terminal()
    data.load(write_images(tmp_path / "pets [b]", ["a.png", "b.png"]))
    assert "Preparing pets [b]" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_a_person_sees_each_file_downloaded(toy_mnist, serve, open_terminal):
    install, originals = toy_mnist
    install(mirrors=(serve(originals)[0],))
    terminal = open_terminal()
    data.load("mnist")
    assert "mnist: t10k-labels-idx1-ubyte.gz" in terminal.getvalue()


def test_a_log_file_is_spared(tmp_path, write_images, capsys):
    data.load(write_images(tmp_path / "pets", ["a.png", "b.png"]))
    assert capsys.readouterr() == ("", "")
