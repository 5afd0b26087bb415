"""Runs after training: results and measurements; model, codes and samples made when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hebae import inference, samplers
from hebae.by_condition import conditional_sampler
from hebae.config import DataSettings, Settings
from hebae.data import Dataset, Examples, load
from hebae.data.loading import located
from hebae.data.schema import Column
from hebae.data.writing import within
from hebae.errors import HebaeError
from hebae.evaluation.features import Split, reference_features, reference_rows
from hebae.evaluation.features.base import (
    FeatureExtractor,
    PixelExtractor,
    as_uint8,
    is_image_data,
)
from hebae.experiments.measurement import Measurement, find, value_of
from hebae.experiments.plan import PlannedRun, as_text
from hebae.experiments.settings import EvaluationSettings
from hebae.files import sha256_of
from hebae.methods import AUTOMATIC, SAMPLER_NAMES
from hebae.run_folder import RunFolder, no_model
from hebae.storage import fingerprint_of, load_model

COUNTS = ("binomial", "poisson", "negative_binomial", "zero_inflated_negative_binomial")
"""Likelihoods of counts."""
BLOCK = 1000
"""Examples that are decoded at a time."""
MOST_KEPT = 2**22
"""Numbers of a draw that is kept for other metrics."""

Array = npt.NDArray[Any]


class TrainedRun:
    """A finished run, ready to be measured and drawn.

    `path` is its folder, `dataset` what it was trained on, `evaluation` what is measured: split,
    seed, numbers of samples, device.
    """

    most_fitted: int | None = None
    """Training examples that samplers are fitted to; None: all, and the samplers are stored."""

    def __init__(
        self, path: Path, dataset: Dataset, evaluation: EvaluationSettings | None = None
    ) -> None:
        self.path = path
        self.folder = RunFolder(path)
        self.settings: Settings = self.folder.settings()
        """The settings that the run was trained with."""
        self.dataset = dataset
        evaluation = evaluation or EvaluationSettings()
        own = () if self.settings.prior == "normal" else ("prior",)
        chosen = evaluation.samplers or (*AUTOMATIC, *own)
        self.sampler_names = tuple(name for name in SAMPLER_NAMES if name in chosen)
        """Samplers to evaluate, simple ones first."""
        self.evaluation = evaluation.model_copy(update={"samplers": self.sampler_names})
        self.seed = self.evaluation.evaluation_seed
        self.split = self.evaluation.split or "test"
        self.examples: Examples = examples_of(dataset, self.split)
        """The examples to evaluate on."""
        self.has_images = len(self.examples.shape) == 3 and self.examples.shape[0] in (1, 3)
        """Whether an example is a grey or colour image."""
        self._decoded: dict[str, Array] = {}
        self._drawn: dict[tuple[str, int], Array] = {}
        self._features: dict[tuple[str, str], Any] = {}

    @cached_property
    def model(self) -> Any:
        """The model, on the device of the evaluation, in evaluation mode."""
        model, _ = load_model(self.path)
        if self.examples.shape != model.input_shape:
            raise HebaeError(
                f"{self.dataset.name} has examples of shape {self.examples.shape}, but the model "
                f"in {self.path} was trained on {model.input_shape}."
            )
        return model.to(choose_device(self.evaluation.device))

    @cached_property
    def kind(self) -> Literal["genotypes", "counts", "table", "images"]:
        """What the data are, which decides how samples are compared with real examples.

        A table is rows of numbers, with or without categories; images are everything else.
        """
        if len(self.examples.shape) > 1 or self.dataset.train.are_pixels:
            return "images"
        likelihood, trials = self.settings.likelihood, self.settings.trials
        if self.dataset.variants is not None or (likelihood == "binomial" and trials == 2):
            return "genotypes"
        return "counts" if likelihood in COUNTS else "table"

    @cached_property
    def columns(self) -> tuple[Column, ...] | None:
        """What the columns of a table stand for, by the data or by the likelihood."""
        columns = self.dataset.train.columns
        if columns is None and self.settings.likelihood == "categorical" and self.model.seen:
            found: tuple[Column, ...] | None = self.model.seen.columns
            return found
        return columns

    @property
    def identity(self) -> dict[str, str]:
        """Weights and data: stored measurements of others are not reused."""
        digest = sha256_of(self.folder.weights)
        return {"weights": digest, "data": self.dataset.name, "examples": self.dataset.fingerprint}

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """Records of ``metrics.jsonl``, one per epoch."""
        records = self.folder.history()
        if not records:
            raise HebaeError(
                f"{self.folder.metrics} is missing or empty; restore it, or remove {self.path} and "
                "train again."
            )
        return records

    def some_rows(self, count: int) -> npt.NDArray[np.intp]:
        """Rows of `count` random examples, or of all, in order; the same for every model."""
        order = np.random.default_rng(self.seed).permutation(len(self.examples))
        return np.sort(order[:count])

    def training_rows(self, count: int) -> npt.NDArray[np.intp]:
        """Rows of `count` random training examples, or of all, in random order."""
        size = len(self.dataset.train)
        order: npt.NDArray[np.intp] = np.random.default_rng(self.seed).permutation(size)
        return order[:count]

    def some(self, count: int) -> Examples:
        """Return the examples in `some_rows`."""
        return self.examples[self.some_rows(count)]

    @cached_property
    def codes(self) -> inference.Codes:
        """Means and log-scales of the examples."""
        return inference.encode(self.model, self.examples)

    def some_codes(self, count: int) -> inference.Codes:
        """Means and log-scales of the first `count` examples."""
        if "codes" in self.__dict__ or len(self.examples) <= count:
            mean, log_scale = self.codes
            return inference.Codes(mean[:count], None if log_scale is None else log_scale[:count])
        return inference.encode(self.model, self.examples[:count])

    def some_labels(self, count: int) -> Array | None:
        """Labels of the first `count` examples; None without labels."""
        return None if self.examples.labels is None else self.examples.labels[:count]

    @cached_property
    def z(self) -> Array:
        """One draw of q(z | x) per example, shape (n, k)."""
        return inference.draw(self.model, self.codes, self.seed)

    @cached_property
    def training_codes(self) -> inference.Codes:
        """Means and log-scales of the training examples."""
        return inference.encode(self.model, self.dataset.train)

    @cached_property
    def fitted(self) -> samplers.Samplers:
        """The samplers, fitted to the training codes and stored with the run if possible."""
        if self.most_fitted is not None and len(self.dataset.train) > self.most_fitted:
            some = self.dataset.train[np.sort(self.training_rows(self.most_fitted))]
            codes = samplers.codes_of(self.model, some, self.seed)
            names = [name for name in self.sampler_names if name != "prior"]
            found = samplers.fit_samplers(codes, self.seed, names)
            own = {"prior": self.model.prior}
            return replace(found, by_name=found.by_name | own)
        return samplers.fitted_samplers(
            self.path,
            self.model,
            lambda: self.dataset.train,
            seed=self.seed,
            names=self.sampler_names,
            notify=lambda note: None,
        )

    def _sampler(self, name: str, count: int) -> tuple[inference.DrawsCodes, Array | None]:
        """Return a sampler of the codes, and conditions as frequent as in training."""
        conditions = inference.draw_conditions(self.model, count, self.seed)
        chosen = conditional_sampler(
            self.path,
            self.model,
            lambda: self.dataset.train,
            self.fitted,
            name,
            conditions,
            self.seed,
        )
        return chosen, conditions

    def shown(self, sampler: str, count: int) -> Array:
        """Decode the first `count` draws of a sampler: floats (count, *shape)."""
        return inference.sample(self.model, count, self.seed, *self._sampler(sampler, count))

    def drawn(self, sampler: str, count: int) -> Array:
        """Draw `count` examples x ~ p(x | z), z by a sampler, as `hebae sample` writes them."""
        key = sampler, count
        if key not in self._drawn:
            chosen = self._sampler(sampler, count)
            drawn = inference.sample_examples(self.model, count, self.seed, *chosen)
            drawn = within(drawn, self.columns)
            if drawn.size > MOST_KEPT:
                return drawn
            self._drawn[key] = drawn
        return self._drawn[key]

    def features(self, kind: str, extractor: FeatureExtractor) -> Any:
        """Return features of decoded examples.

        `kind` is the name of a sampler; "reconstructions"; or "training-codes", the decoded codes
        of the training examples that `reference` takes.
        """
        key = (kind, extractor.name)
        if key not in self._features:
            if kind not in self._decoded:
                self._decoded[kind] = self._decode(kind)
            self._features[key] = extractor.compact(self._decoded[kind])
        return self._features[key]

    def release_samples(self) -> None:
        """Free decoded examples and their features; they are made again when asked for."""
        self._decoded.clear()
        self._features.clear()

    def _decode(self, kind: str) -> Array:
        """Decode block by block; images in [0, 1] are kept in bytes."""
        count, train = self.evaluation.samples, self.dataset.train
        if kind == "reconstructions":
            some = self.some(count)
            blocks = (inference.reconstruct(self.model, some[rows]) for rows in _spans(len(some)))
        else:
            if kind == "training-codes":
                chosen = train[reference_rows(len(train), min(count, len(train)), self.seed)]
                z = samplers.codes_of(self.model, chosen, self.seed)
                conditions = chosen.conditions
            else:
                z = self.fitted[kind].sample(count, self.seed)
                conditions = inference.draw_conditions(self.model, count, self.seed)
            blocks = (
                inference.decode(
                    self.model, z[rows], None if conditions is None else conditions[rows]
                )
                for rows in _spans(len(z))
            )
        in_bytes = is_image_data(self.dataset.pictures)
        return np.concatenate([as_uint8(block) if in_bytes else block for block in blocks])

    def reference(self, extractor: FeatureExtractor, split: Split | None = None) -> Any:
        """Return features of real examples of `split`, or of the split of the evaluation."""
        split, dataset = split or self.split, self.dataset.pictures
        count = min(self.evaluation.samples, len(examples_of(dataset, split)))
        if isinstance(extractor, PixelExtractor) and extractor.takes_uint8:  # quick to make
            examples = examples_of(dataset, split)
            rows = reference_rows(len(examples), count, self.seed)
            parts = [as_uint8(examples.rows(rows[span])) for span in _spans(count)]
            return extractor.compact(np.concatenate(parts))
        return reference_features(dataset, split, count, extractor, seed=self.seed)


def _spans(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


@dataclass(frozen=True)
class RunResult(PlannedRun):
    """A run of an experiment after training; its settings are those resolved for the data."""

    path: Path = field(kw_only=True)
    dataset: Dataset = field(kw_only=True)
    evaluation: EvaluationSettings = field(default=EvaluationSettings(), kw_only=True)
    """How it is measured; as long as nothing else is chosen, on the held-out examples."""
    reason: str = ""
    """Why it diverged; empty if it finished."""
    measurements: Sequence[Measurement] = ()
    """None if it diverged."""

    @property
    def diverged(self) -> bool:
        """Whether the run diverged."""
        return bool(self.reason)

    @property
    def split(self) -> str:
        """The split that it is measured on."""
        return self.evaluation.split or "test"

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.settings.method

    def open(self) -> TrainedRun:
        """Load the finished run; its model, codes and samples follow when they are asked for."""
        return TrainedRun(self.path, self.dataset, self.evaluation)

    def measurement(self, id: str, features: str | None = None) -> Measurement | None:
        """Return a measurement; None if there is none."""
        return find(self.measurements, id, features)

    def value(self, id: str, features: str | None = None) -> float | None:
        """Return a measured value; None where it is undefined."""
        return value_of(self.measurements, id, features)

    @cached_property
    def objectives(self) -> dict[int, float]:
        """Held-out objective by epoch; {} if the run diverged."""
        history = [] if self.diverged else RunFolder(self.path).history()
        terms = {record["epoch"]: record.get("held_out") or {} for record in history}
        return {e: t["objective"] for e, t in terms.items() if t.get("objective") is not None}


def examples_of(dataset: Dataset, split: str | None) -> Examples:
    """Return a split, by default the test split; a HebaeError if the data have none."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    examples = splits[split or "test"]
    if examples is None:
        others = " or ".join(name for name, part in splits.items() if part is not None)
        raise HebaeError(f"{dataset.name} has no {split} split; use --split {others}.")
    return examples


def choose_device(name: str) -> torch.device:
    """Return the device; a HebaeError if this machine does not have it."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, there in available.items() if there), "cpu"))
    if not available.get(name, True):
        raise HebaeError(f"--device {name} is not available on this machine; use cpu or auto.")
    return torch.device(name)


def load_dataset(
    settings: Settings, data: str | None = None, data_dir: Path | None = None
) -> Dataset:
    """Load the data of a run, or those named instead."""
    return load(**located(settings.source, data, data_dir))


def open_runs(
    paths: Sequence[Path], data: str | None = None, data_dir: Path | None = None
) -> list[RunResult]:
    """Open finished runs and load the data that all of them were trained on.

    `data` and `data_dir` say where the data are now, if they have moved. A HebaeError is raised if
    no run is given, one is given twice or is not finished, their data differ, or the data do not
    have the content that the runs were trained on.
    """
    if not paths:
        raise HebaeError("name at least one run folder: hebae evaluate runs/first runs/second.")
    twice = [str(path) for path, n in Counter(path.resolve() for path in paths).items() if n > 1]
    if twice:
        raise HebaeError(f"{twice[0]} is named twice; name each run once.")
    runs: dict[Path, Settings] = {}
    for path in paths:
        folder = RunFolder(path)
        if not folder.is_run:
            what = "there is no run of hebae train in" if path.exists() else "there is no folder"
            raise HebaeError(f"{what} {path}; name the folder of a finished run.")
        if not folder.is_finished:
            raise HebaeError(no_model(path))
        runs[path] = folder.settings()
    settings = runs[paths[0]]
    for (path, others), name in product(runs.items(), DataSettings.model_fields):
        ours, theirs = getattr(settings, name), getattr(others, name)
        if ours != theirs and name != "data_dir":
            raise HebaeError(
                f"{paths[0]} was trained with {name} {as_text(ours) or 'none'} and {path} with "
                f"{as_text(theirs) or 'none'}; a table compares runs on the same data. Evaluate "
                "them separately."
            )
    try:
        dataset = load_dataset(settings, data, data_dir)
    except HebaeError as error:
        raise HebaeError(f"{error} If the data have moved, name them with --data.") from None
    for path in runs:
        trained_on = fingerprint_of(path)
        if trained_on != dataset.fingerprint:
            raise HebaeError(
                f"{dataset.name} does not have the content that {path} was trained on (SHA-256 "
                f"{trained_on[:16]}); name the original data with --data."
            )
    return [RunResult(p.resolve().name, own, path=p, dataset=dataset) for p, own in runs.items()]
