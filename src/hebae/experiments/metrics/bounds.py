"""The objective and its terms, the reconstruction error, and bounds on log p(x).

Sections 4 and 5 of the mathematics. Ids: ``objective`` and ``objective.*``, ``reconstruction.*``,
``elbo`` and ``elbo.*``, ``iwae.encoder`` and ``iwae.fitted_width`` with parts, ``ais`` and
``ais.*``, ``training.*``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy.typing as npt

from hebae.errors import UndefinedMetric
from hebae.evaluation import bounds, decoding
from hebae.evaluation.annealing import ais as annealed
from hebae.evaluation.annealing import bidirectional
from hebae.experiments.measurement import Measurement, find, measured
from hebae.experiments.trained_run import TrainedRun
from hebae.training.batches import ArrayBatches
from hebae.training.population import held_out_estimates

__all__ = ["ais", "elbo", "iwae", "not_white", "objective", "reconstruction", "training"]

FIRST = 20
"""Examples of the curves that show whether annealing has converged."""
SHARES = (64, 16, 4)
"""The curves have this share of all temperatures."""


def objective(run: TrainedRun) -> Iterator[Measurement]:
    """Measure the objective and its terms on batches of the training batch size."""
    size = min(run.settings.batch_size, len(run.values))
    like = run.model.population_mean
    # In the order of the training's own held-out terms, so that the numbers agree.
    batches = ArrayBatches(
        run.values, size, seed=run.settings.seed, device=like.device, dtype=like.dtype
    )
    terms = held_out_estimates(run.model, batches)
    counts = {"examples": len(run.values) // size * size, "batch": size}
    loss, reconstruction_error = terms.pop("loss"), terms.pop("reconstruction")

    def term(
        id: str, name: str, estimate: Sequence[float | None], unit: str = "nats", **fields: Any
    ) -> Measurement:
        fields.setdefault("undefined", "" if estimate[0] is not None else "too few examples")
        return Measurement(
            id=id,
            name=name,
            value=estimate[0],
            standard_error=estimate[1],
            unit=unit,
            counts=counts,
            **({"headline": False, "format": ".3f"} | fields),
        )

    yield term(
        "objective",
        "objective",
        (None if loss[0] is None else -loss[0], loss[1]),
        note="each method has its own objective: not comparable between methods",
        headline=True,
        format=".2f",
    )
    yield term(
        "objective.reconstruction",
        "reconstruction, -log p(x | z)",
        reconstruction_error,
        by_likelihood=True,
        format=".1f",
    )
    units = getattr(run.model.objective, "units", {"mmd": ""})
    for name, estimate in terms.items():
        yield term(
            f"objective.penalty.{name}", f"penalty: {name}", estimate, units.get(name, "nats")
        )
    if not terms:
        none = "the method has no penalty"
        yield term("objective.penalty.none", "penalty", (None, None), undefined=none)
    floor = run.model.objective.penalty_floor(size, run.model.latent_dim)
    penalty, error = next(iter(terms.values()), (None, None))
    if floor is None or penalty is None:
        why = "the penalty of white codes is known only for HEBAE's penalty on batch moments"
        yield term("objective.excess", "penalty over noise floor", (None, None), undefined=why)
    else:
        yield term(
            "objective.excess",
            "penalty over noise floor",
            (penalty - floor, error),
            note="penalty minus its mean for perfectly standard normal codes in batches this large",
            arrays={"floor": floor},
        )


def not_white(measurements: Sequence[Measurement], split: str) -> str:
    """Return a warning with advice if codes are further from N(0, I) than batch noise explains.

    Defined for methods that know the penalty of white codes (`Objective.penalty_floor`). The
    warning needs more than twice the penalty of white codes, or a larger mean |correlation| than
    one batch of independent normal codes shows by chance.

    Parameters
    ----------
    measurements : sequence of Measurement
        Of the metrics ``objective`` and ``moments``.
    split : str
        The split that they were taken on.
    """
    excess = find(measurements, "objective.excess")
    correlation = find(measurements, "moments.mean_abs_correlation.mean")
    if excess is None or excess.value is None:
        return ""
    batch, floor = excess.counts["batch"], float(excess.arrays["floor"])
    chance = math.sqrt(2 / (math.pi * batch))  # E|r| of independent normal samples
    found = []
    if excess.value > max(floor, 2 * (excess.standard_error or 0)):
        found.append(f"a penalty of {floor + excess.value:.2g} nats (white codes: {floor:.2g})")
    if correlation is not None and (correlation.value or 0) > chance:
        found.append(
            f"a mean |correlation| of {correlation.value:.2g} (one batch of {batch} white codes: "
            f"{chance:.2g})"
        )
    if not found:
        return ""
    return (
        f"the codes of the {split} examples are not white: {' and '.join(found)}. If the penalty "
        "is still falling, train for more epochs or increase --penalty-weight. If it is small on "
        "the training examples only, the encoder overfits: use more data, a smaller network or "
        "--early-stopping. A larger --batch-size lowers the batch noise itself."
    )


def training(run: TrainedRun) -> Iterator[Measurement]:
    """Return the time spent in training steps."""
    last = run.history[-1]
    yield Measurement(
        id="training.seconds", name="training", value=last["seconds"], unit="s", format=".1f"
    )
    yield Measurement(
        id="training.milliseconds_per_step",
        name="time per step",
        value=1000 * last["seconds"] / last["step"],
        unit="ms",
        format=".1f",
    )


def reconstruction(run: TrainedRun) -> Iterator[Measurement]:
    """Measure how far E[x | mu(x)] is from x."""
    found = decoding.reconstruction_error(run.model, run.values)
    fields: dict[str, Any] = {"better": "lower", "counts": {"examples": len(run.values)}}
    yield measured(
        "reconstruction.negative_log_likelihood",
        "reconstruction, -log p(x | mu(x))",
        lambda: found.negative_log_likelihood,
        unit="nats",
        by_likelihood=True,
        note=f"{run.settings.likelihood} likelihood",
        format=".2f",
        **fields,
    )
    yield measured(
        "reconstruction.squared_error",
        "squared error",
        lambda: found.squared_error,
        note="summed over the numbers of an example, squared units of the data ([0, 1] for bytes)",
        format=".2f",
        **fields,
    )


def elbo(run: TrainedRun) -> Iterator[Measurement]:
    """Bound log p(x) by the evidence lower bound; measure its two parts."""
    bound = cache(lambda: bounds.elbo(run.model, run.values, seed=run.seed))
    yield from _bound("elbo", "ELBO", bound, run, {"examples": len(run.values), "draws": 1})
    for part, name, better in (
        ("reconstruction", "ELBO's reconstruction", "lower"),
        ("kl", "ELBO's KL(q(z|x) to N(0, I))", ""),
    ):
        yield measured(
            f"elbo.{part}",
            name,
            lambda part=part: getattr(bound(), part),
            unit="nats",
            better=better,
            by_likelihood=True,
            headline=False,
        )


def iwae(run: TrainedRun) -> Iterator[Measurement]:
    """Bound log p(x) by importance weighting with two proposals."""
    values, K = run.some(run.evaluation.iwae_examples), run.evaluation.iwae_samples
    counts = {"examples": len(values), "samples": K}
    widths = bounds.fit_width(run.model, run.dataset.train.values, seed=run.seed)
    for id, name, proposal, note in (
        ("iwae.encoder", "q(z|x)", "encoder", ""),
        (
            "iwae.fitted_width",
            "fitted width",
            "gaussian-width",
            "proposal N(mu(x), diag(width^2)); the width is fitted on training examples by "
            "maximising the bound",
        ),
    ):
        bound = cache(
            lambda proposal=proposal: bounds.iwae(
                run.model,
                values,
                samples=K,
                proposal=proposal,
                width=widths if proposal == "gaussian-width" else None,
                seed=run.seed,
            )
        )
        yield from _bound(id, f"IWAE-{K}, {name}", bound, run, counts, note, per_example=True)
        yield measured(
            f"{id}.effective_share",
            f"IWAE-{K}, {name}: effective share of samples",
            lambda bound=bound: bound().effective_sample_size,
            counts=counts,
            headline=False,
            note="mean over examples; near 1/K a single sample dominates and the bound is loose",
        )
    yield Measurement(
        id="iwae.width",
        name="fitted width",
        value=float(widths.mean()),
        headline=False,
        arrays={"width": widths.tolist()},
    )


def ais(run: TrainedRun) -> Iterator[Measurement]:
    """Anneal from the prior to p(z | x), and measure whether the estimate has converged."""
    values = run.some(run.evaluation.ais_examples)
    T, chains = run.evaluation.ais_temperatures, run.evaluation.ais_chains
    ladder = [*dict.fromkeys(t for share in SHARES if 2 <= (t := T // share) < T), T]

    def anneal(x: npt.NDArray[Any], temperatures: int) -> Any:
        return annealed(run.model, x, temperatures=temperatures, chains=chains, seed=run.seed)

    full = anneal(values, T)
    first = values[:FIRST]
    lower = [float(anneal(first, t).value) for t in ladder[:-1]]
    simulated = [
        bidirectional(run.model, len(first), temperatures=t, chains=chains, seed=run.seed)
        for t in ladder
    ]
    counts = {"examples": len(values), "temperatures": T, "chains": chains}
    note = "stochastic lower bound from decoder and prior alone"
    bound = next(_bound("ais", f"AIS-{T}, log p(x)", lambda: full, run, counts, note))
    arrays = {
        "temperatures": ladder,
        "lower": [*lower, float(full.per_example[: len(first)].mean())],
        "gap": [both.value for both in simulated],
        "per_example": full.per_example.tolist(),
    }
    yield replace(bound, arrays=arrays)
    yield Measurement(
        id="ais.effective_chains",
        name=f"AIS-{T}: effective chains",
        value=float(full.effective_sample_size.mean()),
        counts=counts,
        format=".1f",
        headline=False,
    )
    yield Measurement(
        id="ais.acceptance",
        name=f"AIS-{T}: acceptance",
        value=full.acceptance,
        counts=counts,
        headline=False,
    )
    yield measured(
        "ais.gap",
        f"AIS-{T}: upper less lower bound",
        lambda: simulated[-1],
        unit="nats",
        counts={"examples": len(first), "temperatures": T, "chains": chains},
        note="bidirectional Monte Carlo on examples simulated from the model; 0 if converged",
        format=".2f",
    )


def _bound(
    id: str,
    name: str,
    bound: Callable[[], Any],
    run: TrainedRun,
    counts: dict[str, int],
    note: str = "",
    *,
    per_example: bool = False,
) -> Iterator[Measurement]:
    """Yield a bound in nats, then in bits per dimension.

    With `per_example`, the bound of each example is stored: models are then compared in pairs.
    """
    nats = measured(
        id,
        name,
        bound,
        unit="nats",
        better="higher",
        counts=counts,
        note=note,
        by_likelihood=True,
        format=".2f",
    )
    if per_example and nats.value is not None:
        nats = replace(nats, arrays={"per_example": bound().per_example.tolist()})
    yield nats

    def bits() -> float:
        found = bound().bits_per_dimension
        if found is None:
            likelihood = run.settings.likelihood
            raise UndefinedMetric(f"the {likelihood} likelihood is no density on these data")
        return float(found)

    yield measured(
        f"{id}.bits_per_dimension",
        f"{name}, bits per dimension",
        bits,
        unit="bits",
        better="lower",
        by_likelihood=True,
        headline=run.model.likelihood.density,
    )
