"""A small convolutional classifier, and the one recipe that it is trained by."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebae.evaluation.features.base import Pixels

__all__ = ["RECIPE", "WIDTH", "Classifier", "labels_of", "train_classifier"]

RECIPE = 1  # to be raised when anything in this file changes what is learned
WIDTH = 128
BATCH = 128
STEPS = 1500
EPOCHS = 8  # at most, where the data are few
PEAK_RATE = 4e-3

Progress = Callable[[int, int], None]
"""Told the steps done, and how many there are."""


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
            nn.BatchNorm1d(WIDTH),  # features of unit scale, before what is below zero is cut off
            nn.ReLU(),
        )
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Features, after the last nonlinearity."""
        features: Tensor = self.trunk(images.float() / 255)
        return features

    def logits(self, images: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the classes, (n, classes)."""
        scores: Tensor = self.head(self(images))
        return scores


def train_classifier(
    network: Classifier, images: Pixels, targets: np.ndarray, seed: int, progress: Progress | None
) -> None:
    """Minimise the cross-entropy by Adam with one cycle of the learning rate (Smith, 2018).

    Parameters
    ----------
    network : Classifier
    images : array of uint8, (n, c, h, w)
    targets : array of int, (n,)
        Positions of the classes.
    seed : int
        Of the order of the examples.
    progress : callable, optional
    """
    count = len(images)
    batch = min(BATCH, count)
    steps = min(STEPS, EPOCHS * (count // batch))
    optimiser = torch.optim.Adam(network.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=steps)
    generator = np.random.default_rng(seed)
    order = np.empty(0, np.int64)
    network.train()
    for step in range(steps):
        if len(order) < batch:
            order = generator.permutation(count)
        rows, order = order[:batch], order[batch:]
        x, y = torch.from_numpy(images[rows]), torch.from_numpy(targets[rows])
        loss = F.cross_entropy(network.logits(x), y)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval()


def labels_of(network: Classifier, images: Pixels, batch: int = 1000) -> np.ndarray:
    """Position of the likeliest class of each image, (n,)."""
    with torch.inference_mode():
        found = [
            network.logits(torch.from_numpy(np.array(images[start : start + batch]))).argmax(dim=1)
            for start in range(0, len(images), batch)
        ]
    labels: np.ndarray = torch.cat(found).numpy()
    return labels
