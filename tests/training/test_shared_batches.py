"""Several processes that share each batch train the model that one process trains."""

import os
import socket

import numpy as np
import pytest
import torch
from torch import distributed

from hebae.config import Settings
from hebae.data import load
from hebae.objectives import OBJECTIVES
from hebae.training import session

PARTS = ("train", "held_out")
COUNT, D = 109, 6
BATCH, EPOCHS = 16, 3  # 7 batches, the last of 13: no number of processes divides it

SMALL = {
    "latent_dim": 2,
    "encoder_widths": (8,),
    "decoder_widths": (8,),
    "batch_size": BATCH,
    "epochs": EPOCHS,
    "learning_rate": 3e-3,
    "device": "cpu",
}
IMAGES = {"network": "convolutional", "encoder_widths": (4, 4), "decoder_widths": (4, 4)}
HEBAES = {
    "diagonal": {"noise": "diagonal", "scale": "scalar"},
    "running": {"moments": "running"},
    "shrunk": {"moments": "shrunk"},
    "rate": {"rate_weight": 0.3, "gradient_clip": 1.0},
}
CASES = {method: ("grey", {"method": method}) for method in OBJECTIVES}
CASES |= {f"hebae {name}": ("grey", options) for name, options in HEBAES.items()}
CASES |= {
    f"prior {prior}": ("grey", {"method": method, "prior": prior, "prior_components": 5} | more)
    for prior, method, more in (
        ("mixture", "vae", {}),
        ("vamp", "hebae", {"rate_weight": 1.0}),
        ("flow", "infovae", {"prior_widths": (8,), "prior_transforms": 1}),
    )
}
CASES |= {
    f"likelihood {name}": (kind, {"method": "vae", "likelihood": name})
    for name, kind in (
        ("continuous_bernoulli", "grey"),
        ("gaussian", "numbers"),
        ("gaussian_columns", "numbers"),
        ("poisson", "counts"),
        ("negative_binomial", "counts"),
        ("zero_inflated_negative_binomial", "counts"),
        ("binomial", "genotypes"),
        ("columns", "table"),
        ("categorical", "categories"),
    )
}
CASES |= {
    "scale per column, missing": ("missing", {"likelihood": "gaussian_columns"}),
    "one scale, missing": ("missing", {"likelihood": "gaussian", "method": "vae"}),
    "conditions": ("table", {"condition": ("c",), "condition_encoder": True}),
    "conditions, rae-gp": ("table", {"condition": ("c",), "method": "rae-gp"}),
    "learned scale": ("numbers", {"likelihood": "gaussian", "likelihood_scale": "learned"}),
    "drawn anew": ("grey", {"binarize": "dynamic"}),
    "batch normalisation": ("images", IMAGES),
    "batch normalisation, rae-gp": ("images", IMAGES | {"method": "rae-gp"}),
    # The last batch of 1 leaves most processes without an example.
    "no example": ("grey", {"method": "vae", "batch_size": 18}),
    "no image": ("images", IMAGES | {"method": "rae-gp", "batch_size": 107}),
}


def examples(kind):
    generator = np.random.default_rng(3)
    if kind == "images":
        return generator.random((COUNT, 1, 4, 4), dtype=np.float32)
    grey = generator.random((COUNT, D), dtype=np.float32)
    numbers = (generator.normal(size=(COUNT, D)) * 3 + 2).astype(np.float32)
    missing = np.where(grey < 0.2, np.nan, numbers).astype(np.float32)
    codes = generator.integers(0, 3, (COUNT, D))
    if kind == "table":
        import pandas

        words = {"a": numbers[:, 0], "b": codes[:, 1], "c": codes[:, 2].astype(str)}
        return pandas.DataFrame(words)
    counts = generator.poisson(4.0, (COUNT, D)).astype(np.float32)
    return {
        "grey": grey,
        "numbers": numbers,
        "missing": missing,
        "counts": counts,
        "genotypes": codes.astype(np.float32),
        "categories": codes.astype(np.float32),
    }[kind]


def outcome(name, folder, precision, processes=1):
    """Loss of each epoch, and the model's state, of one case."""
    kind, changes = CASES[name]
    changes = SMALL | changes | {"precision": precision, "devices": processes}
    settings = Settings.checked({n: v for n, v in changes.items() if n != "binarize"})
    how = {"binarize": changes.get("binarize", "none"), "condition": settings.condition}
    dataset = load(examples(kind), validation_size=12, **how)
    prepared = session.prepare(settings, dataset)
    member = session.run(prepared, folder / name)
    losses = [-record[part]["objective"] for record in member.history for part in PARTS]
    return losses, prepared.model.state_dict()


def work(rank, folder, processes, port, precision):
    """One of the processes: all cases, one after the other."""
    torch.set_num_threads(1)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": rank}
    os.environ.update({name: str(value) for name, value in place.items()})
    results = {name: outcome(name, folder, precision, processes) for name in CASES}
    torch.save(results, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def compare(folder, processes, precision, loss_tolerance, weight_tolerance):
    """Train every case in `processes` processes and in this one; each gives the same."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    several = folder / "several"
    several.mkdir()
    torch.multiprocessing.spawn(work, args=(several, processes, port, precision), nprocs=processes)
    found = [torch.load(several / f"{rank}.pt") for rank in range(processes)]
    wrong = []
    for name in CASES:
        losses, state = outcome(name, folder / "one", precision)
        assert len(losses) == len(PARTS) * EPOCHS
        norm = {n: float(t.double().norm()) for n, t in state.items()}
        for rank, (other_losses, other) in enumerate(results[name] for results in found):
            loss = max(abs(a - b) for a, b in zip(other_losses, losses, strict=True))
            apart = {n: float((other[n].double() - t.double()).norm()) for n, t in state.items()}
            weight = max(difference / (norm[n] or 1.0) for n, difference in apart.items())
            # The likelihood of an image or a row of counts is a sum, and rounded as such.
            if not (loss <= loss_tolerance * max(map(abs, losses)) and weight <= weight_tolerance):
                wrong.append(f"{name}, process {rank}: loss {loss:.1e}, weights {weight:.1e}")
    assert not wrong


def test_two_processes_train_the_model_that_one_process_trains(tmp_path):
    """To the rounding of float64: nothing of a batch is taken over a share of it."""
    compare(tmp_path, 2, "64-true", 1e-12, 1e-12)


@pytest.mark.long
@pytest.mark.parametrize(
    ("precision", "loss", "weight"), [("64-true", 1e-12, 1e-12), ("32-true", 1e-5, 1e-4)]
)
def test_four_processes_train_the_model_that_one_process_trains(tmp_path, precision, loss, weight):
    compare(tmp_path, 4, precision, loss, weight)
