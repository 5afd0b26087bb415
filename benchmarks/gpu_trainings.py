"""Whole trainings and evaluations on a GPU: MNIST and CelebA."""

from __future__ import annotations

import contextlib
import io
import json
import time
from typing import Any

import numpy as np
from gpu_bench import METHODS, Bench, Result
from gpu_steps import celeba_settings, mnist_settings, random_images

from hebae.cli import main as hebae
from hebae.config import Settings
from hebae.data import Dataset, load
from hebae.run_folder import RunFolder
from hebae.training.session import prepare, run


def mnist(bench: Bench) -> None:
    """Train on MNIST with the preset, then evaluate on the device."""
    dataset = load("mnist-mini" if bench.tiny else "mnist")
    for method in METHODS:
        settings = mnist_settings(bench, method, epochs=2 if bench.tiny else 100)
        folder = f"mnist-{method}"
        bench.case(
            f"{method}, training", lambda s=settings, f=folder: _train(bench, s, dataset, f), 20
        )
    for method in METHODS:
        bench.case(f"{method}, evaluation", lambda m=method: _evaluate(bench, f"mnist-{m}"), 15)
    if not bench.tiny:
        bench.case("hebae, all metrics but AIS", lambda: _evaluate(bench, "mnist-hebae", True), 20)


FACES: dict[str, dict[str, Any]] = {
    "hebae": {"method": "hebae"},
    "vae": {"method": "vae"},
    "wae": {"method": "wae"},
    "hebae with rate": {"method": "hebae", "rate_weight": 1.0},
}
"""Models that are trained on CelebA.

Batch normalisation is frozen for all of them. With statistics of the batch the paper's HEBAE
diverges at full width: nothing in its objective bounds the noise, and one example with large noise
makes all others small after normalisation.
"""


def celeba(bench: Bench) -> None:
    """Train on CelebA with the preset, for as many of its epochs as time allows, and evaluate."""
    source: dict[str, Any] = {"batch_norm": "frozen"}
    if bench.tiny:
        path = bench.work / "images.npy"
        np.save(path, random_images(bench, 4, 32, (3, 16, 16)).train.values)
        dataset = load(path, validation_size=32)
        source |= {"data": str(path), "validation_size": 32}
    else:
        dataset = load("celeba")
    source["epochs"] = 2 if bench.tiny else _affordable_epochs(bench, dataset)
    for name, changes in FACES.items():
        folder = f"celeba-{name.replace(' ', '-')}"
        settings = celeba_settings(bench, **(source | changes))
        bench.case(f"{name}, training", lambda s=settings, f=folder: _train(bench, s, dataset, f))
        bench.case(f"{name}, evaluation", lambda f=folder: _evaluate(bench, f))
    bench.case("pictures", lambda: _pictures(bench, dataset))


SECONDS_OF_EVALUATION = 12
"""Time reserved per model; the rest of the part's time is for training."""


def _affordable_epochs(bench: Bench, dataset: Dataset) -> int:
    """Return the number of epochs, at most 70, that fit for all models."""
    settings = celeba_settings(bench, "vae", epochs=3, batch_norm="frozen")
    known = bench.case("time of an epoch", lambda: _time_of_epoch(bench, settings, dataset))
    if known is None:
        raise RuntimeError("an epoch could not be timed")
    left = bench.left - len(FACES) * SECONDS_OF_EVALUATION
    return max(2, min(70, int(left / len(FACES) / known["seconds"])))


def _time_of_epoch(bench: Bench, settings: Settings, dataset: Dataset) -> Result:
    with bench.folder() as folder:
        # The first training of a process also starts the device's libraries.
        run(prepare(settings.replace(epochs=1), dataset), folder / "first")
        begin = time.perf_counter()
        outcome = run(prepare(settings, dataset), folder / "run")
        wall = time.perf_counter() - begin
        history = RunFolder(folder / "run").history()
    first, last = history[0], history[-1]
    steps = (last["seconds"] - first["seconds"]) / (len(history) - 1)
    held_out = (wall - outcome.seconds) / settings.epochs
    return {"seconds": steps + held_out, "steps": steps, "held_out_and_rest": held_out}


def _train(bench: Bench, settings: Settings, dataset: Dataset, name: str) -> Result:
    folder = bench.work / name
    if not RunFolder(folder).is_finished:
        begin = time.perf_counter()
        run(prepare(settings, dataset), folder, overwrite=True)
        bench.wait()
        wall: float | None = time.perf_counter() - begin
    else:
        wall = None
    history = RunFolder(folder).history()
    last = history[-1]
    return {
        "epochs": last["epoch"],
        "steps": last["step"],
        "wall": wall,
        "seconds_in_steps": last["seconds"],
        "train": last["train"],
        "held_out": last.get("held_out"),
        "curve": [record.get("held_out", record["train"])["objective"] for record in history],
    }


def _evaluate(bench: Bench, name: str, everything: bool = False) -> Result:
    """Run `hebae evaluate --device` for bounds, reconstructions and samples, or for all but AIS."""
    from hebae.experiments.metrics import METRICS

    metrics = ["reconstruction", "elbo", "frechet"]
    if everything:
        metrics = [metric for metric in METRICS if metric != "ais"]
    features = "classifier" if name.startswith("mnist") else "random"
    folder = bench.work / name
    arguments = ["evaluate", str(folder), "--device", bench.device.type, "--metrics", *metrics]
    arguments += ["--features", "pixels" if bench.tiny else features]
    if bench.tiny:
        arguments += ["--samples", "20", "--samplers", "normal", "--allow-rank-deficient"]
    elif not everything:
        arguments += ["--samplers", "normal", "mixture"]
    begin = time.perf_counter()
    _run_hebae(arguments)
    wall = time.perf_counter() - begin
    entries = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["metrics"]
    return {
        "wall": wall,
        "seconds": {key: entry[-1]["seconds"] for key, entry in entries.items()},
        "values": {
            one["id"]: [one["value"], one.get("standard_error")]
            for entry in entries.values()
            for one in entry[-1]["measurements"]
            if one.get("value") is not None
        },
    }


def _run_hebae(arguments: list[str]) -> None:
    """Run a command of `hebae` in this process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            hebae(arguments)
        except SystemExit as end:
            status = end.code
    if status:
        text = printed.getvalue()[-1500:]
        raise RuntimeError(f"hebae {' '.join(arguments)} ended with {status}: {text}")


def _pictures(bench: Bench, dataset: Dataset) -> Result:
    """Draw samples from N(0, I) and reconstructions of each method, beside the JSON file."""
    from PIL import Image

    from hebae import inference
    from hebae.storage import load_model

    (examples,) = (part for part in (dataset.test or dataset.validation,) if part is not None)
    rows = []
    folders = [bench.work / f"celeba-{name.replace(' ', '-')}" for name in FACES]
    finished = [folder for folder in folders if RunFolder(folder).is_finished]
    for folder in finished:
        model, _ = load_model(folder)
        model.to(bench.device)
        rows += [
            inference.sample(model, 16, seed=0),
            np.asarray(examples.values[:16]) / 255,
            inference.reconstruct(model, examples.values[:16]),
        ]
    tiles = (255 * np.clip(np.stack(rows), 0, 1)).round().astype(np.uint8)
    count, columns, _, height, width = tiles.shape
    mosaic = tiles.transpose(0, 3, 1, 4, 2).reshape(count * height, columns * width, -1)
    path = bench.output.with_suffix(".png")
    Image.fromarray(mosaic.squeeze()).save(path)
    names = ", ".join(folder.name for folder in finished)
    return {"rows": f"samples, test images and reconstructions of {names}"}
