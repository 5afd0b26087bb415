"""The objective, reconstruction, and bounds on log p(x): sections 4 and 5 of the mathematics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy.typing as npt

from hebae.evaluation import bounds, decoding
from hebae.evaluation.annealing import Annealed, bidirectional
from hebae.evaluation.annealing import ais as annealed
from hebae.evaluation.estimate import UndefinedMetric
from hebae.experiments.evaluation.measurement import Measurement, measured
from hebae.experiments.evaluation.subject import Subject
from hebae.training.batches import ArrayBatches
from hebae.training.population import held_out_estimates

__all__ = ["ais", "elbo", "iwae", "objective", "reconstruction"]

FIRST = 20
"""Examples of the curves by which convergence is judged."""
SHARES = (64, 16, 4)
"""Their numbers of temperatures: these shares of all."""


def objective(subject: Subject) -> Iterator[Measurement]:
    """Negate what was optimised; and its terms."""
    size = min(subject.run_settings.batch_size, len(subject.values))
    like = subject.model.population_mean
    batches = ArrayBatches(subject.values, size, device=like.device, dtype=like.dtype)
    terms = held_out_estimates(subject.model, batches)
    used = len(subject.values) // size * size
    counts = {"examples": used, "batch": size}
    for name, (value, error) in terms.items():
        if name == "reconstruction":
            continue
        yield Measurement(
            name="objective" if name == "loss" else f"penalty: {name}",
            value=-value if name == "loss" and value is not None else value,
            standard_error=error,
            unit="" if name == "mmd" else "nats",
            counts=counts,
            undefined="" if value is not None else "too few examples for a batch",
            note="each method's own: not comparable between methods",
            headline=name == "loss",
            format=".2f",
        )
    floor = subject.model.objective.penalty_floor(size, subject.model.latent_dim)
    moments = terms.get("moments", (None, None))
    if floor is not None and moments[0] is not None:
        yield Measurement(
            name="penalty over noise floor",
            value=moments[0] - floor,
            standard_error=moments[1],
            unit="nats",
            counts=counts,
            headline=False,
        )


def reconstruction(subject: Subject) -> Iterator[Measurement]:
    """Measure how far E[x | mu(x)] is from x."""
    likelihood = subject.run_settings.likelihood
    found = decoding.reconstruction_error(subject.model, subject.values)
    counts = {"examples": len(subject.values)}
    yield measured(
        "reconstruction, -log p(x | mu(x))",
        lambda: found.negative_log_likelihood,
        unit="nats",
        better="lower",
        counts=counts,
        by_likelihood=True,
        note=f"{likelihood} likelihood",
        format=".2f",
    )
    yield measured(
        "squared error",
        lambda: found.squared_error,
        better="lower",
        counts=counts,
        note="summed over the numbers of an example, squared units of the data ([0, 1] of bytes)",
        format=".2f",
    )


def elbo(subject: Subject) -> Iterator[Measurement]:
    """Bound log p(x) by the evidence lower bound; its two parts."""
    bound = cache(lambda: bounds.elbo(subject.model, subject.values, seed=subject.seed))
    yield _bound("ELBO", bound, counts={"examples": len(subject.values), "draws": 1})
    yield _bits("ELBO, bits per dimension", bound, subject)
    for part, better in (("reconstruction", "lower"), ("kl", "")):
        yield measured(
            f"ELBO's {'KL(q(z|x) to N(0, I))' if part == 'kl' else 'reconstruction'}",
            lambda part=part: getattr(bound(), part),
            unit="nats",
            better=better,
            by_likelihood=True,
            headline=False,
        )


def iwae(subject: Subject) -> Iterator[Measurement]:
    """Bound log p(x) by importance weights, of the encoder's posterior and of a fitted width."""
    values, K = subject.some(subject.settings.iwae_examples), subject.settings.iwae_samples
    counts = {"examples": len(values), "samples": K}

    widths = bounds.fit_width(subject.model, subject.dataset.train.values, seed=subject.seed)
    for name, how in (("encoder", "q(z|x)"), ("gaussian-width", "fitted width")):
        bound = cache(
            lambda name=name: bounds.iwae(
                subject.model,
                values,
                samples=K,
                proposal=name,
                width=widths if name == "gaussian-width" else None,
                seed=subject.seed,
            )
        )
        note = (
            "proposal N(mu(x), diag(width^2)), its width fitted on training examples by maximising "
            "the bound"
        )
        title = f"IWAE-{K}, {how}"
        yield _with_examples(
            _bound(title, bound, counts=counts, note=note if name == "gaussian-width" else ""),
            bound,
        )
        yield _bits(f"{title}, bits per dimension", bound, subject)
        yield measured(
            f"{title}: effective share of samples",
            lambda bound=bound: bound().effective_sample_size,
            counts=counts,
            headline=False,
            note="mean over examples; near 1/K one sample decides, and the bound is loose",
        )
    yield Measurement(
        name="fitted width",
        value=float(widths.mean()),
        headline=False,
        arrays={"width": widths.tolist()},
    )


def ais(subject: Subject) -> Iterator[Measurement]:
    """Anneal from N(0, I) to p(z | x), with the means to see whether it has converged."""
    settings, model = subject.settings, subject.model
    values = subject.some(settings.ais_examples)
    T, chains = settings.ais_temperatures, settings.ais_chains
    ladder = [*dict.fromkeys(t for share in SHARES if 2 <= (t := T // share) < T), T]

    def anneal(x: npt.NDArray[Any], temperatures: int) -> Annealed:
        return annealed(model, x, temperatures=temperatures, chains=chains, seed=subject.seed)

    full = anneal(values, T)
    first = values[:FIRST]
    lower = [float(anneal(first, t).value) for t in ladder[:-1]]
    simulated = [
        bidirectional(model, len(first), temperatures=t, chains=chains, seed=subject.seed)
        for t in ladder
    ]
    arrays = {
        "temperatures": ladder,
        "lower": [*lower, float(full.per_example[: len(first)].mean())],
        "gap": [both.value for both in simulated],
        "per_example": full.per_example.tolist(),
    }
    counts = {"examples": len(values), "temperatures": T, "chains": chains}
    yield measured(
        f"AIS-{T}, log p(x)",
        lambda: full,
        unit="nats",
        better="higher",
        counts=counts,
        by_likelihood=True,
        note="stochastic lower bound; decoder and prior alone",
        format=".2f",
        arrays=arrays,
    )
    yield Measurement(
        name=f"AIS-{T}: effective chains",
        value=float(full.effective_sample_size.mean()),
        counts=counts,
        format=".1f",
        headline=False,
    )
    yield Measurement(
        name=f"AIS-{T}: acceptance", value=full.acceptance, counts=counts, headline=False
    )
    yield measured(
        f"AIS-{T}: upper less lower bound",
        lambda: simulated[-1],
        unit="nats",
        counts={"examples": len(first), "temperatures": T, "chains": chains},
        note="bidirectional Monte Carlo on examples simulated from the model; 0: converged",
        format=".2f",
    )


def _with_examples(measurement: Measurement, bound: Any) -> Measurement:
    """Keep the bound of each example, by which models are compared in pairs."""
    if measurement.value is None:
        return measurement
    return replace(measurement, arrays={"per_example": bound().per_example.tolist()})


def _bound(name: str, bound: Any, *, counts: dict[str, int], note: str = "") -> Measurement:
    return measured(
        name,
        bound,
        unit="nats",
        better="higher",
        counts=counts,
        note=note,
        by_likelihood=True,
        format=".2f",
    )


def _bits(name: str, bound: Any, subject: Subject) -> Measurement:
    def bits() -> float:
        value = bound().bits_per_dimension
        if value is None:
            raise UndefinedMetric(
                f"the {subject.run_settings.likelihood} likelihood is no density on these data"
            )
        return float(value)

    density = subject.model.likelihood.density
    return measured(name, bits, unit="bits", better="lower", by_likelihood=True, headline=density)
