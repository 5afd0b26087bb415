"""Features of a classifier of the data set's own labels, trained once and kept in the cache."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hebae.data import Dataset
from hebae.data.cache import cached_folder
from hebae.errors import HebaeError
from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.features.base import (
    NetworkFeatures,
    as_uint8,
    file_hash,
    require_images,
    tensor_hash,
)
from hebae.evaluation.features.classifier_network import (
    RECIPE,
    WIDTH,
    Classifier,
    Progress,
    labels_of,
    train_classifier,
)

__all__ = ["ClassifierFeatures", "classifier_features"]

SEED = 0
SMALLEST = 8
WEIGHTS, SUMMARY = "classifier.safetensors", "classifier.json"


@dataclass(frozen=True, eq=False)
class ClassifierFeatures(NetworkFeatures):
    """`NetworkFeatures` of a classifier, with how good it is."""

    accuracy: float | None = None
    """Share of right labels in the held-out split; None where none with labels was held out."""
    weights_sha256: str = ""
    """Of the file of weights in the cache."""


def classifier_features(
    dataset: Dataset, *, device: str | torch.device = "cpu", progress: Progress | None = None
) -> ClassifierFeatures:
    """Return the classifier of a data set's labels, which is trained at the first call.

    A small convolutional network sees the training split for 1,500 steps of 128 images, or 8 epochs
    if that is less, always from the same seed and on the CPU: half a minute for MNIST. Features are
    its last hidden layer, 128 wide, after the nonlinearity.

    Parameters
    ----------
    dataset : Dataset
        Images with values in [0, 1], at least 8 x 8, with labels in the training split.
    device : str or torch.device
        Where features are calculated.
    progress : callable, optional
        Told the steps of training done, and how many there are.

    Raises
    ------
    UndefinedMetric
        If the data are no such images, or have no labels or but one.
    HebaeError
        If the cache cannot be written, or what lies there is damaged.
    """
    require_images(dataset, "classifier")
    _, height, width = dataset.shape
    if min(height, width) < SMALLEST:
        raise UndefinedMetric(
            f"classifier features are of images of {SMALLEST} x {SMALLEST} or larger, and those of "
            f"{dataset.name} have shape {dataset.shape}; choose pixels."
        )
    if dataset.train.labels is None or len(np.unique(dataset.train.labels)) < 2:
        raise UndefinedMetric(
            f"classifier features need labels of two classes or more to learn, and {dataset.name} "
            "has none; choose inception, timm:NAME, the file of a network, or pixels."
        )

    def build(folder: Path) -> None:
        _train(folder, dataset, progress)

    key = f"{dataset.fingerprint[:32]}-{len(dataset.train)}-{RECIPE}"
    folder = cached_folder(f"classifiers/{key}", build)
    network, summary = _read(folder, dataset)
    slug = re.sub(r"[^a-z0-9]+", "-", dataset.name.lower()).strip("-")
    return ClassifierFeatures(
        network,
        name=f"classifier-{slug}",
        dimension=WIDTH,
        fingerprint=tensor_hash(network),
        shape=dataset.shape,
        device=device,
        accuracy=summary["accuracy"],
        weights_sha256=summary["weights_sha256"],
    )


def _new_network(dataset: Dataset, classes: int) -> Classifier:
    channels, height, width = dataset.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return Classifier(channels, min(height, width), classes)


def _train(folder: Path, dataset: Dataset, progress: Progress | None) -> None:
    classes, targets = np.unique(np.asarray(dataset.train.labels), return_inverse=True)
    network = _new_network(dataset, len(classes))
    train_classifier(network, as_uint8(dataset.train.values), targets, SEED, progress)
    save_file(network.state_dict(), folder / WEIGHTS)
    held_out = dataset.held_out()
    summary = {
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "training_examples": len(dataset.train),
        "recipe": RECIPE,
        "seed": SEED,
        "classes": classes.tolist(),
        "held_out": held_out[0] if held_out else None,
        "accuracy": _accuracy(network, classes, dataset),
        "weights_sha256": file_hash(folder / WEIGHTS),
    }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _accuracy(
    network: Classifier, classes: npt.NDArray[np.int64], dataset: Dataset
) -> float | None:
    held_out = dataset.held_out()
    if held_out is None or held_out[1].labels is None:
        return None
    examples = held_out[1]
    found = classes[labels_of(network, as_uint8(examples.values))]
    return float((found == examples.labels).mean())


def _read(folder: Path, dataset: Dataset) -> tuple[Classifier, dict[str, Any]]:
    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if file_hash(folder / WEIGHTS) != summary["weights_sha256"]:
            raise ValueError("the weights have another SHA-256 than was noted")
        network = _new_network(dataset, len(summary["classes"]))
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise HebaeError(
            f"the classifier in {folder} is damaged ({str(error).splitlines()[0]}): delete that "
            "folder, and it will be trained anew."
        ) from None
    return network, summary
