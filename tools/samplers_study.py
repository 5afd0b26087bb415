"""Which two-sample measure between codes ranks samplers as their decoded samples do?

`python tools/samplers_study.py WORK [DIRECTORY]` trains small models on MNIST and Fashion-MNIST,
fits every sampler to nine tenths of their codes, and compares its draws with the rest of the codes
by several measures, and its decoded draws with test images by the Frechet distance in the features
of a classifier. Models and draws are kept in WORK and reused. The results are written to DIRECTORY,
docs/results/samplers by default, as JSON and as a page. It takes about 15 minutes on one core.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

import hebae
from hebae import inference
from hebae.data import load
from hebae.evaluation import density_coverage, precision_recall
from hebae.evaluation.features import extractor, reference_features
from hebae.evaluation.frechet import frechet_distance
from hebae.priors.base import Split
from hebae.priors.choice import SAMPLERS, sampler_class
from hebae.priors.fitting import hold_out_tenth
from hebae.priors.two_sample import two_sample_distances
from hebae.provenance import provenance
from hebae.report.pixels import to_uint8

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "hebae": ("HEBAE", {"penalty_weight": 1.0}),
    "hebae-rate": ("HEBAE", {"penalty_weight": 1.0, "rate_weight": 1.0}),
    "vae": ("VAE", {}),
    "wae": ("WAE", {"penalty_weight": 10.0}),
}
MODELS = [
    ("mnist", "hebae"),
    ("fashion-mnist", "vae"),
    ("mnist", "hebae-rate"),
    ("fashion-mnist", "hebae"),
    ("mnist", "vae"),
    ("fashion-mnist", "hebae-rate"),
    ("mnist", "wae"),
    ("fashion-mnist", "wae"),
]
EXAMPLES, DRAWS, SEED = 20_000, 10_000, 1
SETTINGS: dict[str, Any] = {
    "latent_dim": 20,
    "likelihood": "bernoulli",
    "network": "mlp",
    "encoder_widths": (512, 512),
    "decoder_widths": (512, 512),
    "batch_size": 128,
    "epochs": 8,
    "random_state": SEED,
}

Array = np.ndarray


def trained(folder: Path, data: str, method: str) -> Any:
    """Return the fitted estimator, trained at the first call."""
    if not folder.exists():
        class_name, options = METHODS[method]
        model = getattr(hebae, class_name)(**SETTINGS, **options)
        model.fit(load(data).train.values[:EXAMPLES]).save(folder)
    return hebae.load(folder)


def draws_of(folder: Path, codes: Array) -> dict[str, dict[str, Any]]:
    """Draw from every sampler fitted to nine tenths of the codes, twice `DRAWS` codes each."""
    split = Split(codes, *hold_out_tenth(codes, 0), 0)
    known: dict[str, Any] = {}
    found = {}
    for name in SAMPLERS:
        file = folder / f"{name}.npz"
        if not file.exists():
            begin = time.process_time()
            if name == "flow-matching" and "mixture" not in known:
                known["mixture"] = sampler_class("mixture").fit_split(split, {}).sampler
            fit = sampler_class(name).fit_split(split, known)
            known[name] = fit.sampler
            seconds = time.process_time() - begin
            density = fit.unrefined.log_density(split.held_out)
            distances = two_sample_distances(fit.unrefined, split)
            np.savez(
                file,
                draws=fit.unrefined.sample(2 * DRAWS, 1),
                log_density=density.mean(),
                seconds=seconds,
                distances=distances,
            )
            print(folder.name, name, f"{seconds:.0f} s of CPU", flush=True)
        found[name] = dict(np.load(file))
    found["training codes"] = {"draws": np.resize(split.train, (2 * DRAWS, codes.shape[1]))}
    return found


def decoded_distances(model: Any, data: str, draws: Array) -> tuple[float, float]:
    """Frechet distance of two sets of decoded draws in a classifier's features: mean, half range."""
    dataset = load(data)
    features = extractor("classifier", dataset=dataset)
    real = reference_features(dataset, "test", 10_000, features)
    values = []
    for half in (draws[:DRAWS], draws[DRAWS:]):
        decoded = inference.decode(model.module_, half.astype(np.float32))
        values.append(frechet_distance(features(to_uint8(decoded)), real))
    return float(np.mean(values)), abs(values[0] - values[1]) / 2
