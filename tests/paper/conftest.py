"""One smoke run of all studies, with the smallest networks, shared by the tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hebae.paper import choose
from hebae.paper.budgets import BUDGETS
from hebae.paper.reproduce import reproduce

MNIST = {"data": "mnist-mini", "epochs": 1, "encoder_widths": (32,), "decoder_widths": (32,)}
FACES = {"data": "synthetic-faces", "latent_dim": 2, "epochs": 1}
FACES |= {"encoder_widths": (32,), "decoder_widths": (32,)}
TINY = replace(
    BUDGETS["smoke"],
    changes={"mnist": MNIST, "mnist-released": MNIST, "celeba": FACES},
    evaluation=BUDGETS["smoke"].evaluation | {"samples": 100, "allow_rank_deficient": True},
)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Folder with the results of studies that together take every path."""
    output = tmp_path_factory.mktemp("paper") / "out"
    studies = choose(["figure1b", "figure2", "rate"])
    reproduce(studies, TINY, output, command="test")
    return output / "results"
