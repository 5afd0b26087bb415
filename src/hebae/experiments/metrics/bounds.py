"""The objective and its terms, the reconstruction error, and bounds on log p(x).

Sections 4 and 5 of the mathematics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from hebae.evaluation import bounds, usage
from hebae.evaluation.annealing import ais as annealed
from hebae.evaluation.annealing import bidirectional
from hebae.evaluation.estimate import Estimate
from hebae.experiments.measurement import Measurement, attempt, find, measured, part
from hebae.experiments.trained_run import TrainedRun
from hebae.training.batches import ArrayBatches
from hebae.training.population import held_out_estimates

CURVE_EXAMPLES, CURVE_SHARES = 20, (64, 16, 4)
"""The curves that show whether annealing has converged: examples, and shares of temperatures."""


def objective(run: TrainedRun) -> Iterator[Measurement]:
    """Measure the objective and its terms on batches of the training batch size."""
    size = min(run.settings.batch_size, len(run.examples))
    method, like = run.model.objective, run.model.population_mean
    # In the order of the training's own held-out terms, so that the numbers agree.
    batches = ArrayBatches(
        run.examples, size, seed=run.settings.seed, device=like.device, dtype=like.dtype
    )
    terms = held_out_estimates(run.model, batches)[0]
    counts = {"examples": len(run.examples) // size * size, "batch": size}

    def term(id: str, name: str, sign: int = 1, **fields: Any) -> Measurement:
        value, error = terms.pop(name)
        estimate = None if value is None else Estimate(sign * value, error or math.nan)
        why = "there are too few examples for a batch"
        return measured(id, estimate, counts, undefined=why, **fields)

    yield term("objective", "loss", sign=-1)
    yield term("objective.reconstruction", "reconstruction")
    penalties = [
        term(
            f"objective.penalty.{name}",
            name,
            words={"term": name},
            detail=f"weight {method.weights[name]:g}",
            unit=method.units.get(name, "nats"),
        )
        for name in list(terms)
    ]
    if not penalties:
        why = "the method has no penalty"
        yield measured("objective.penalty.none", None, words={"term": ""}, undefined=why)
    yield from penalties
    floor = method.penalty_floor(size, run.model.latent_dim)
    if floor is None or not penalties or penalties[0].value is None:
        why = "the penalty of white codes is known only for HEBAE's penalty on batch moments"
        yield measured("objective.excess", None, counts, undefined=why)
    else:
        excess = Estimate(penalties[0].value - floor, penalties[0].standard_error or math.nan)
        yield measured("objective.excess", excess, counts, arrays={"floor": floor})


def not_white(measurements: Sequence[Measurement], split: str) -> str:
    """Return a warning with advice if codes are further from N(0, I) than batch noise explains.

    That is a penalty of more than twice that of white codes, or a larger mean |correlation| than a
    batch of independent normal codes has. Known for methods with an `Objective.penalty_floor`.
    `measurements` are those of the metrics ``objective`` and ``moments`` on `split`.
    """
    excess = find(measurements, "objective.excess")
    correlation = find(measurements, "moments.mean_abs_correlation.mean")
    if excess is None or excess.value is None:
        return ""
    batch, floor = excess.counts["batch"], float(excess.arrays["floor"])
    chance = math.sqrt(2 / (math.pi * batch))  # E|r| of independent normal samples
    found = []
    if excess.value > max(floor, 2 * (excess.standard_error or 0)):
        found.append(f"penalty {floor + excess.value:.2g} nats (white codes: {floor:.2g})")
    if correlation is not None and (r := correlation.value or 0) > chance:
        found.append(f"mean |correlation| {r:.2g} (expected by chance: {chance:.2g})")
    if not found:
        return ""
    return (
        f"the codes of the {split} examples are not white: {', '.join(found)}. Train for more "
        "epochs or increase --penalty-weight. If only held-out codes are not white, the encoder "
        "overfits: use more data, a smaller network or --early-stopping. A larger --batch-size "
        "reduces batch noise."
    )


def training(run: TrainedRun) -> Iterator[Measurement]:
    """Return the time spent in training steps."""
    last = run.history[-1]
    yield measured("training.seconds", last["seconds"])
    yield measured("training.milliseconds_per_step", 1000 * last["seconds"] / last["step"])


def reconstruction(run: TrainedRun) -> Iterator[Measurement]:
    """Measure how far E[x | mu(x)] is from x."""
    found = usage.reconstruction_error(run.model, run.examples)
    counts, note = {"examples": len(run.examples)}, f"{run.settings.likelihood} likelihood"
    likelihood = found.negative_log_likelihood
    yield measured("reconstruction.negative_log_likelihood", likelihood, counts, note=note)
    yield measured("reconstruction.squared_error", found.squared_error, counts)


def elbo(run: TrainedRun) -> Iterator[Measurement]:
    """Bound log p(x) by the evidence lower bound; measure its two parts."""
    bound = attempt(bounds.elbo, run.model, run.examples, seed=run.seed)
    yield measured("elbo", bound, {"examples": len(run.examples), "draws": 1})
    yield _bits("elbo", bound, run)
    yield measured("elbo.reconstruction", part(bound, "reconstruction"))
    yield measured("elbo.kl", part(bound, "kl"))


def iwae(run: TrainedRun) -> Iterator[Measurement]:
    """Bound log p(x) by importance weighting, with q(z|x) and with a fitted width."""
    values, samples = run.some(run.evaluation.iwae_examples), run.evaluation.iwae_samples
    counts = {"examples": len(values), "samples": samples}
    widths = bounds.fit_width(run.model, run.dataset.train, seed=run.seed)
    weighted = partial(attempt, bounds.iwae, run.model, values, samples=samples, seed=run.seed)
    for id, bound in (
        ("iwae.encoder", weighted(proposal="encoder")),
        ("iwae.fitted_width", weighted(proposal="gaussian-width", width=widths)),
    ):
        # Values of each example: models are compared in pairs.
        yield measured(id, bound, counts, arrays={"per_example": part(bound, "per_example")})
        yield _bits(id, bound, run, counts)
        yield measured(f"{id}.effective_share", part(bound, "effective_sample_size"), counts)
    yield measured("iwae.width", widths.mean(), arrays={"width": widths})


def ais(run: TrainedRun) -> Iterator[Measurement]:
    """Anneal from the prior to p(z | x), and measure whether the estimate has converged."""
    values = run.some(run.evaluation.ais_examples)
    T, chains = run.evaluation.ais_temperatures, run.evaluation.ais_chains
    ladder = [*dict.fromkeys(t for share in CURVE_SHARES if 2 <= (t := T // share) < T), T]
    anneal = partial(annealed, run.model, chains=chains, seed=run.seed)
    simulate = partial(bidirectional, run.model, chains=chains, seed=run.seed)
    full = anneal(values, temperatures=T)
    first = values[:CURVE_EXAMPLES]
    lower = [float(anneal(first, temperatures=t).value) for t in ladder[:-1]]
    gaps = [simulate(len(first), temperatures=t) for t in ladder]
    arrays = {
        "temperatures": ladder,
        "lower": [*lower, float(full.per_example[: len(first)].mean())],
        "gap": [gap.value for gap in gaps],
        "per_example": full.per_example,
    }
    counts = {"examples": len(values), "temperatures": T, "chains": chains}
    yield measured("ais", full, counts, arrays=arrays)
    yield measured("ais.effective_chains", full.effective_sample_size.mean(), counts)
    yield measured("ais.acceptance", full.acceptance, counts)
    yield measured("ais.gap", gaps[-1], counts | {"examples": len(first)})


def _bits(
    id: str, bound: Any, run: TrainedRun, counts: Mapping[str, int] | None = None
) -> Measurement:
    """Return a bound in bits per dimension, where the likelihood is a density of the data."""
    why = f"the {run.settings.likelihood} likelihood is not a density on these data"
    return measured(
        f"{id}.bits_per_dimension",
        part(bound, "bits_per_dimension"),
        counts,
        undefined=why,
        headline=run.model.likelihood.density,
    )
