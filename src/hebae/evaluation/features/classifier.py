"""Features of a classifier of the data set's own labels, trained once and kept in the cache."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hebae.data import Dataset
from hebae.data.cache import cached_folder
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation.features.base import (
    FeatureExtractor,
    as_uint8,
    file_hash,
    first_line,
    tensor_hash,
)

Progress = Callable[[int, int], None]
"""Called with the steps done and their total."""

RECIPE = 1  # raise it when a change in this file changes what is learned
SEED = 0
WIDTH = 128
BATCH = 128
STEPS = 1500
EPOCHS = 8  # at most, if there are few data
PEAK_RATE = 4e-3
SMALLEST = 8
WEIGHTS, SUMMARY = "classifier.safetensors", "classifier.json"


def classifier_features(
    dataset: Dataset, *, device: str | torch.device = "cpu", progress: Progress | None = None
) -> FeatureExtractor:
    """Return the classifier of a data set's labels, which is trained at the first call.

    A small convolutional network sees the training split for 1,500 steps of 128 images, or 8 epochs
    if that is less, always from the same seed and on the CPU. Features are its last hidden layer,
    128 wide, after the nonlinearity.

    Parameters
    ----------
    dataset : Dataset
        Images with values in [0, 1], at least 8 x 8, with at least two labels; otherwise
        `UndefinedMetric` is raised.
    device : str or torch.device
        Where features are computed.
    progress : callable, optional
        Called with the steps of training done and their total.
    """
    if min(dataset.shape[1:]) < SMALLEST:
        raise UndefinedMetric(
            f"classifier features are of images of {SMALLEST} x {SMALLEST} or larger, but those of "
            f"{dataset.name} have shape {dataset.shape}; choose pixels."
        )
    if dataset.train.labels is None or len(np.unique(dataset.train.labels)) < 2:
        raise UndefinedMetric(
            f"classifier features need labels of two classes or more to learn, but {dataset.name} "
            "has none; choose inception, timm:NAME, the file of a network, or pixels."
        )
    key = f"{dataset.fingerprint[:32]}-{len(dataset.train)}-{RECIPE}"
    folder = cached_folder(f"classifiers/{key}", lambda new: _train(new, dataset, progress))
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if file_hash(folder / WEIGHTS) != summary["weights_sha256"]:
            raise ValueError("the SHA-256 of the weights differs from the recorded one")
        network = _new_network(dataset, len(summary["classes"]))
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise HebaeError(
            f"the classifier in {folder} is damaged ({first_line(error)}); delete that folder, and "
            "it will be trained again."
        ) from None
    slug = re.sub(r"[^a-z0-9]+", "-", dataset.name.lower()).strip("-")
    return FeatureExtractor(
        network,
        name=f"classifier-{slug}",
        dimension=WIDTH,
        fingerprint=tensor_hash(network),
        shape=dataset.shape,
        device=device,
        accuracy=summary["accuracy"],
        weights_sha256=summary["weights_sha256"],
    )


class Classifier(nn.Module):
    """uint8 images (n, c, h, w), at least 8 x 8, to features (n, 128) and logits."""

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        widths = [channels, 32, 64, *([64] if size > 32 else [])]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(widths[-1] * 16, WIDTH),
            nn.BatchNorm1d(WIDTH),  # features of unit scale, before the ReLU
            nn.ReLU(),
        )
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Features, after the last nonlinearity."""
        features: Tensor = self.trunk(images.float() / 255)
        return features


def _train(folder: Path, dataset: Dataset, progress: Progress | None) -> None:
    """Minimise the cross-entropy by Adam with one cycle of the learning rate (Smith, 2018)."""
    classes, targets = np.unique(np.asarray(dataset.train.labels), return_inverse=True)
    images, count = as_uint8(dataset.train.values), len(dataset.train)
    network = _new_network(dataset, len(classes))
    batch = min(BATCH, count)
    steps = min(STEPS, EPOCHS * (count // batch))
    optimiser = torch.optim.Adam(network.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps)
    generator = np.random.default_rng(SEED)
    order = np.empty(0, np.int64)
    network.train()
    for step in range(steps):
        if len(order) < batch:
            order = generator.permutation(count)
        rows, order = order[:batch], order[batch:]
        x, y = torch.from_numpy(images[rows]), torch.from_numpy(targets[rows])
        loss = F.cross_entropy(network.head(network(x)), y)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval()
    save_file(network.state_dict(), folder / WEIGHTS)
    split, examples = dataset.held_out() or (None, None)
    accuracy = None
    if examples is not None and examples.labels is not None:
        with torch.inference_mode():
            predicted = [
                network.head(network(torch.from_numpy(part.copy()))).argmax(dim=1).numpy()
                for part in np.array_split(as_uint8(examples.values), -(-len(examples) // 1000))
            ]
        accuracy = float((classes[np.concatenate(predicted)] == examples.labels).mean())
    summary = {
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "training_examples": count,
        "recipe": RECIPE,
        "seed": SEED,
        "classes": classes.tolist(),
        "held_out": split,
        "accuracy": accuracy,
        "weights_sha256": file_hash(folder / WEIGHTS),
    }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _new_network(dataset: Dataset, classes: int) -> Classifier:
    channels, height, width = dataset.shape
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        return Classifier(channels, min(height, width), classes)
