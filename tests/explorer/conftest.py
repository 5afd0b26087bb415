"""Runs to explore: on labelled images, by two methods, and on a conditional table."""

import csv

import numpy as np
import pytest
from command_line import SMALL

from hebae.cli.explore import _open
from hebae.config import DataSettings
from hebae.explorer import runs

TABLE = "table.csv"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Data: labelled images in colour; a table with categories and a gap, conditioned on a site."""
    folder = tmp_path_factory.mktemp("explorer")
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 8], 40)
    images = rng.integers(0, 60, (80, 3, 8, 8), dtype=np.uint8)
    images[labels == 8, :, :4] += 190
    order = rng.permutation(80)
    (x_train, x_test), (y_train, y_test) = (np.split(a[order], [60]) for a in (images, labels))
    np.savez(folder / "images.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    with (folder / TABLE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "height", "colour", "site"])
        for row in range(80):
            height = "" if row == 5 else f"{rng.normal(50, 10):.2f}"
            colour = "red" if row % 3 else "green"
            writer.writerow([f"r{row}", height, colour, "north" if row % 2 else "south"])
    return folder


@pytest.fixture(scope="session")
def opened(folder):
    """Trained runs by name, opened as the command does, with what reads uploads."""
    pytest.importorskip("pandas", reason="the extra tables is not installed")
    from hebae.cli import main

    found = {}
    for name, data, *more in (
        ("images", "images.npz"),
        ("vae", "images.npz", "--method", "vae"),
        ("table", TABLE, "--condition", "site", "--id-column", "id"),
    ):
        output = str(folder / name)
        words = "--data", str(folder / data), "--output", output
        with pytest.raises(SystemExit) as status:
            main(["train", *words, *more, *SMALL])
        assert status.value.code == 0
        found[name] = _open(folder / name, DataSettings(), 1000)
    runs.name_runs([found["images"][0], found["vae"][0]])
    return found


@pytest.fixture
def image_run(opened):
    return opened["images"][0]


@pytest.fixture
def table_run(opened):
    return opened["table"][0]
