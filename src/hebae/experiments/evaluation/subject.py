"""What a metric may ask of a run: its model, examples, codes and samples, each made once."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference, priors, samplers
from hebae.config import Settings
from hebae.data import Dataset, Examples
from hebae.errors import HebaeError
from hebae.evaluation.features import FeatureExtractor
from hebae.evaluation.reference import Split, reference_features, reference_rows
from hebae.experiments.evaluation.settings import EvaluationSettings
from hebae.report.pixels import to_uint8
from hebae.storage import RunFolder, load_model

__all__ = ["Subject", "examples_of"]

Array = npt.NDArray[Any]


def examples_of(dataset: Dataset, split: str | None) -> Examples:
    """Return a split, test if None; a HebaeError names the others if there is none of that name."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    examples = splits[split or "test"]
    if examples is None:
        there = " or ".join(name for name, part in splits.items() if part is not None)
        raise HebaeError(f"{dataset.name} has no {split} split; take --split {there}.")
    return examples


class Subject:
    """One run under evaluation.

    Parameters
    ----------
    path : Path
        Folder of a finished run.
    run_settings : Settings
        With which it was trained.
    dataset : Dataset
        That it was trained on.
    settings : EvaluationSettings
    """

    def __init__(
        self, path: Path, run_settings: Settings, dataset: Dataset, settings: EvaluationSettings
    ) -> None:
        self.path = path
        self.folder = RunFolder(path)
        self.run_settings = run_settings
        self.dataset = dataset
        self.settings = settings
        self.seed = settings.evaluation_seed
        self.model, _ = load_model(path)
        self.examples = examples_of(dataset, settings.split)
        if self.examples.shape != self.model.input_shape:
            raise HebaeError(
                f"{dataset.name} has examples of shape {self.examples.shape}; the model in {path} "
                f"was trained on {self.model.input_shape}."
            )
        self.sampler_names = settings.samplers or priors.NAMES
        self._samples: dict[str, Array] = {}
        self._features: dict[tuple[str, str], Array] = {}

    @property
    def identity(self) -> dict[str, str]:
        """What the numbers are of: change it, and they are forgotten."""
        digest = hashlib.sha256(self.folder.weights.read_bytes()).hexdigest()
        return {"weights": digest, "data": self.dataset.name, "examples": self.dataset.fingerprint}

    @property
    def values(self) -> Array:
        """The examples to judge on, shape (n, *shape)."""
        return self.examples.values

    def some(self, count: int) -> Array:
        """Take `count` at random, the same for every model and metric; all if there are fewer."""
        return self.values[self.some_rows(count)]

    def some_rows(self, count: int) -> npt.NDArray[np.intp]:
        """Rows of `some`, in increasing order."""
        total = len(self.values)
        order = np.random.default_rng(self.seed).permutation(total)
        return np.sort(order[: min(count, total)])

    @cached_property
    def codes(self) -> inference.Codes:
        """Means and log-scales of the examples."""
        return inference.encode(self.model, self.values)

    @cached_property
    def z(self) -> Array:
        """One draw of q(z | x) for each example."""
        return inference.draw(self.model, self.codes, self.seed)

    @cached_property
    def training_codes(self) -> inference.Codes:
        """Means and log-scales of the training examples."""
        return inference.encode(self.model, self.dataset.train.values)

    @cached_property
    def fitted(self) -> priors.Samplers:
        """The samplers, fitted to the training codes once, and kept with the run."""
        return samplers.fitted_samplers(
            self.path,
            self.model,
            lambda: self.dataset.train.values,
            seed=self.seed,
            names=self.sampler_names,
        )

    def samples(self, sampler: str) -> Array:
        """Decode draws of a sampler: floats, in the units of the model."""
        if sampler not in self._samples:
            z = self.fitted[sampler].sample(self.settings.samples, self.seed)
            self._samples[sampler] = inference.decode(self.model, z)
        return self._samples[sampler]

    @property
    def has_images(self) -> bool:
        """Whether an example is a picture."""
        return len(self.examples.shape) == 3 and self.examples.shape[0] in (1, 3)

    def shown(self, sampler: str, count: int) -> Array:
        """Decode the first draws of a sampler for a picture: floats (count, *shape)."""
        return inference.decode(self.model, self.fitted[sampler].sample(count, self.seed))

    def _made(self, what: str) -> Array:
        if what == "reconstructions":
            return inference.reconstruct(self.model, self.some(self.settings.samples))
        if what == "training codes":
            train = self.dataset.train.values
            rows = reference_rows(len(train), min(self.settings.samples, len(train)), self.seed)
            z = samplers.codes_of(self.model, train[rows], self.seed)
            return inference.decode(self.model, z)
        return self.samples(what)

    def features(self, what: str, extractor: FeatureExtractor) -> Array:
        """Return features of a sampler's samples, of "reconstructions", or of "training codes".

        The last are the decoded codes of the training examples that `reference` takes.
        """
        key = (what, extractor.name)
        if key not in self._features:
            self._features[key] = self.extract(self._made(what), extractor)
        return self._features[key]

    def extract(self, decoded: Array, extractor: FeatureExtractor) -> Array:
        """Return features of what was decoded.

        What is generated is rounded to bytes here, and only here, where the features are of bytes.
        """
        return extractor(to_uint8(decoded) if extractor.takes_uint8 else decoded)

    def reference(self, extractor: FeatureExtractor, split: Split | None = None) -> Array:
        """Return features of real examples: of `split`, or of those to judge on."""
        split = split or self.settings.split or "test"
        count = min(self.settings.samples, len(examples_of(self.dataset, split)))
        return reference_features(self.dataset, split, count, extractor, seed=self.seed)
