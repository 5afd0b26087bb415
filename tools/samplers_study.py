"""Find the two-sample measure between codes that ranks samplers as their decoded samples do.

`python tools/samplers_study.py WORK [DIRECTORY]` trains small models on MNIST and Fashion-MNIST,
fits every sampler to nine tenths of their codes, and compares its draws with the rest of the codes
by several measures, and its decoded draws with test images by the Frechet distance in the features
of a classifier. Models and draws are kept in WORK and reused. The results are written to DIRECTORY
(docs/results/samplers) as JSON, from which `make pages` makes the page. It takes about ten minutes
on one core.
"""

from __future__ import annotations

import json
import math
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
from hebae.evaluation import density_coverage
from hebae.evaluation.features import extractor, reference_features
from hebae.evaluation.frechet import frechet_distance
from hebae.files import write_atomically
from hebae.priors.base import Split
from hebae.priors.choice import NAMES, SAMPLERS, Samplers, sampler_class
from hebae.priors.fitting import hold_out_tenth
from hebae.priors.two_sample import same_sample_share, two_sample_distances
from hebae.provenance import provenance
from hebae.report.pixels import to_uint8

PAGE = Path(__file__).parents[1] / "docs/results/samplers"
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
]
EXAMPLES, DRAWS, COMPARED, SEED = 20_000, 10_000, 6_000, 1
STEPS = {"flow-matching": 1000, "two-stage": 1000, "flow": 500}
"""Largest number of steps of the fits: about half of the usual one."""
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


# ---- models, draws and what they look like when decoded -------------------------------------


def trained(folder: Path, data: str, method: str) -> Any:
    """Return the fitted estimator, trained at the first call."""
    if not folder.exists():
        class_name, options = METHODS[method]
        model = getattr(hebae, class_name)(**SETTINGS, **options)
        model.fit(load(data).train.values[:EXAMPLES]).save(folder)
    return hebae.load(folder)


def draws_of(folder: Path, split: Split) -> dict[str, dict[str, Any]]:
    """Draw from every sampler fitted to nine tenths of the codes, twice `DRAWS` codes each."""
    known: dict[str, Any] = {}
    found = {}
    for name in SAMPLERS:
        file = folder / f"{name}.npz"
        if not file.exists():
            begin = time.process_time()
            for needed in set(sampler_class(name).needs) - set(known):
                known[needed] = sampler_class(needed).fit_split(split, {}).sampler
            sampler = sampler_class(name)
            sampler.steps = STEPS.get(name, 0)  # type: ignore[attr-defined]
            fit = sampler.fit_split(split, known)
            known[name] = fit.sampler
            seconds = time.process_time() - begin
            density = fit.unrefined.log_density(split.held_out)
            draws = fit.unrefined.sample(2 * DRAWS, SEED)
            np.savez(file, draws=draws, log_density=density.mean(), seconds=seconds)
            print(f"{folder.name} {name}: {seconds:.0f} s of CPU", flush=True)
        found[name] = dict(np.load(file))
    return found


def decoded_distance(model: Any, data: str, draws: Array) -> tuple[float, float]:
    """Frechet distance of decoded draws: mean of two halves, and half of their difference."""
    dataset = load(data)
    features = extractor("classifier", dataset=dataset)
    real = reference_features(dataset, "test", 10_000, features)
    values = []
    for half in (draws[:DRAWS], draws[DRAWS:]):
        decoded = inference.decode(model.module_, half.astype(np.float32))
        values.append(frechet_distance(features(to_uint8(decoded)), real))
    return float(np.mean(values)), float(abs(values[0] - values[1]) / 2)


# ---- measures of draws x, held-out codes y and training codes t, all white; lower is better -


def energy(x: Array, y: Array, t: Array) -> float:
    """Energy distance, unbiased."""
    return float(2 * _mean(x, y) - _mean(x, x) - _mean(y, y))


def mmd(x: Array, y: Array, t: Array) -> float:
    """Squared MMD with a Gaussian kernel a quarter as wide (in variance) as codes lie apart."""

    def kernel(d: torch.Tensor) -> torch.Tensor:
        return torch.exp(-d.square() / (0.5 * x.shape[1]))

    return float(_mean(x, x, kernel) + _mean(y, y, kernel) - 2 * _mean(x, y, kernel))


def _mean(
    a: Array, b: Array, function: Callable[[torch.Tensor], torch.Tensor] = lambda d: d
) -> float:
    d = function(torch.cdist(torch.from_numpy(a), torch.from_numpy(b)))
    if a is not b:
        return float(d.mean())
    return float((d.sum() - d.diagonal().sum()) / (len(a) * (len(a) - 1)))


def sliced(x: Array, y: Array, t: Array) -> float:
    """Sliced Wasserstein distance, squared, over 200 directions."""
    directions = np.random.default_rng(0).normal(size=(x.shape[1], 200))
    directions /= np.linalg.norm(directions, axis=0)
    a, b = (np.sort(z[: len(y)] @ directions, axis=0) for z in (x, y))
    return float(((a - b) ** 2).mean())


def classify(model: Any, features: Callable[[Array], Array], x: Array, y: Array, t: Array) -> float:
    """Log-likelihood gain over chance, in nats, of a classifier of draws against codes.

    It is trained on training codes and draws, and tested on held-out codes and other draws.
    """
    n = len(y)
    m = min(len(x) - n, len(t))
    train = features(np.concatenate([t[:m], x[n : n + m]]))
    test = features(np.concatenate([y, x[:n]]))
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stops early is meant to
        model.fit((train - mean) / scale, np.repeat([1, 0], m))
    odds = model.predict_proba((test - mean) / scale)[:, 1]
    return math.log(2) - float(log_loss(np.repeat([1, 0], n), odds))


def _quadratic(z: Array) -> Array:
    i, j = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, i] * z[:, j]], axis=1)


def _perceptron() -> MLPClassifier:
    return MLPClassifier((128,), early_stopping=True, max_iter=15, random_state=0, batch_size=256)


MEASURES: dict[str, tuple[str, Callable[[Array, Array, Array], float]]] = {
    "neighbours": (
        "nearest neighbours in the same sample (5)",
        lambda x, y, t: (
            float(same_sample_share(y, x[: len(y)]).mean()) - (len(y) - 1) / (2 * len(y) - 1)
        ),
    ),
    "coverage": (
        "coverage (5 neighbours), 1 minus",
        lambda x, y, t: 1 - float(density_coverage(y, x[: len(y)], k=5).coverage),
    ),
    "energy": ("energy distance", energy),
    "mmd": ("MMD, Gaussian kernel", mmd),
    "sliced": ("sliced Wasserstein", sliced),
    "frechet": ("Frechet distance of codes", lambda x, y, t: float(frechet_distance(x, y))),
    "logistic": (
        "classifier: logistic, quadratic terms",
        lambda x, y, t: classify(LogisticRegression(C=0.1, max_iter=200), _quadratic, x, y, t),
    ),
    "perceptron": (
        "classifier: perceptron",
        lambda x, y, t: classify(_perceptron(), lambda z: z, x, y, t),
    ),
}


# ---- the study ------------------------------------------------------------------------------


def study(work: Path) -> list[dict[str, Any]]:
    """Return one record per model, with its cases by sampler."""
    records = []
    for data, method in MODELS:
        folder = work / f"{data}-{method}"
        model = trained(folder, data, method)
        codes = model.codes_.astype(np.float64)
        split = Split(codes, *hold_out_tenth(codes, 0), 0)
        y = split.held_out
        mean, (values, directions) = y.mean(axis=0), np.linalg.eigh(np.cov(y.T))
        white = directions / np.sqrt(np.maximum(values, 1e-6 * values.mean()))
        cases: dict[str, dict[str, Any]] = {}
        for name, found in draws_of(folder, split).items():
            x, held_out, t = (
                (z - mean) @ white for z in (found["draws"][:COMPARED], y, split.train)
            )
            decoded, spread = decoded_distance(model, data, found["draws"])
            blocks = two_sample_distances(_Draws(found["draws"]), split)  # type: ignore[arg-type]
            cases[name] = {
                "decoded": decoded,
                "spread": spread,
                "seconds": float(found["seconds"]),
                "blocks": blocks,
                "density": -float(found["log_density"]),
            } | {key: measure(x, held_out, t) for key, (_, measure) in MEASURES.items()}
            print(folder.name, name, json.dumps(cases[name]), flush=True)
        limit, _ = decoded_distance(
            model, data, np.resize(split.train, (2 * DRAWS, codes.shape[1]))
        )
        records.append({"data": data, "method": method, "codes": limit, "cases": cases})
    return records


class _Draws:
    """A sampler whose draws are known."""

    def __init__(self, draws: Array) -> None:
        self.draws = draws

    def sample(self, count: int, seed: int) -> Array:
        return self.draws[:count]


def summary(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rank correlations with the decoded distance, and the regret of the choice, by measure."""
    rows = []
    names = {key: text for key, (text, _) in MEASURES.items()}
    for key, text in (names | {"density": "held-out log density, minus"}).items():
        within, regrets, pairs = [], [], []
        for record in records:
            cases = record["cases"]
            decoded = {name: case["decoded"] for name, case in cases.items()}
            values = {name: case[key] for name, case in cases.items()}
            # Above what decoded training codes reach, since models differ in that.
            pairs += [(decoded[name] - record["codes"], values[name]) for name in cases]
            within.append(float(spearmanr(list(decoded.values()), list(values.values()))[0]))
            chosen = min(values, key=values.__getitem__)
            regrets.append(decoded[chosen] - min(decoded.values()))
        overall = float(spearmanr(*zip(*pairs, strict=True))[0])
        rows.append({"measure": text, "within": within, "overall": overall, "regrets": regrets})
    return rows


def choices(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rule of `auto` chooses: of its own candidates, and of all samplers."""
    rows = []
    for record in records:
        cases = record["cases"]
        row: dict[str, Any] = {"data": record["data"], "method": record["method"]}
        for key, candidates in (("auto", NAMES), ("all", tuple(SAMPLERS))):
            chosen = Samplers(
                dict.fromkeys(candidates),  # type: ignore[arg-type]
                dict.fromkeys(candidates, 0.0),
                distances={name: tuple(cases[name]["blocks"]) for name in candidates},
            )
            best = chosen.choose(candidates)
            lowest = min(candidates, key=lambda name: cases[name]["decoded"])
            regret = cases[best]["decoded"] - cases[lowest]["decoded"]
            row[key] = {"chosen": best, "lowest": lowest, "regret": regret}
        rows.append(row)
    return rows


def main(work: Path, target: Path = PAGE) -> None:
    """Run the study and write its results."""
    torch.set_num_threads(1)
    model = trained(work / "-".join(MODELS[0]), *MODELS[0])
    command = f"python tools/samplers_study.py {shlex.join(sys.argv[1:])}"
    origin = provenance(command, load("mnist"), model.settings_, [SEED])
    origin["data"] += "; " + provenance(command, load("fashion-mnist"), model.settings_, [])["data"]
    origin["data"] += f"; models are trained on the first {EXAMPLES:,} training examples"
    records = study(work)
    content = {
        "provenance": origin,
        "models": records,
        "measures": summary(records),
        "choices": choices(records),
    }
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(
        target / "samplers.json",
        lambda path: path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"),
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
