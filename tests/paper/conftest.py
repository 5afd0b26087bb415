"""One smoke run of all studies, with the smallest networks, shared by the tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hebae.paper import choose
from hebae.paper.budgets import BUDGETS
from hebae.paper.reproduce import reproduce

FACES = {"data": "synthetic-faces", "latent_dim": 2, "epochs": 1}
FACES |= {"encoder_widths": (32,), "decoder_widths": (32,)}
TINY = replace(
    BUDGETS["smoke"],
    changes={"celeba": FACES},
    evaluation={"features": ("pixels",), "samples": 100, "allow_rank_deficient": True},
)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Folder with the results of studies that measure, load models, draw and tabulate."""
    output = tmp_path_factory.mktemp("paper") / "out"
    for study in ("figure1b", "figure3"):  # by a command each
        reproduce(choose([study]), TINY, output, command="test")
    return output / "results"
