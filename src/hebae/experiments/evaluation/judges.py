"""The feature spaces that samples are compared in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.evaluation.features import FeatureExtractor, extractor
from hebae.experiments.evaluation.metrics import Metric
from hebae.experiments.evaluation.settings import EvaluationSettings
from hebae.experiments.evaluation.subject import examples_of

__all__ = ["extractors_for"]


def extractors_for(
    dataset: Dataset,
    metrics: Sequence[Metric],
    settings: EvaluationSettings,
    *,
    told: Callable[[str], None],
    progress: Callable[[str], None],
) -> dict[str, FeatureExtractor]:
    """Make the feature extractors that the metrics need, by the names they were asked for by.

    Raises
    ------
    HebaeError
        If one cannot be had, or the Frechet distance needs more samples than there are.
    """
    names = settings.features
    if settings.weights is not None and "inception" not in (names or ()):
        raise HebaeError(
            f"--weights {settings.weights} are Inception's; add --features inception, or leave out "
            "--weights."
        )
    if not any(metric.of_features for metric in metrics):
        return {}
    if names is None:
        labelled = dataset.train.labels is not None and len(dataset.shape) == 3
        names = ("classifier",) if labelled else ("pixels",)
        told(
            f"Samples are compared in the features of {names[0]}; --features names others: "
            "classifier, pixels, random, inception, timm:NAME or an exported network's file."
        )
    found = {}
    for name in names:
        progress(f"features: {name}")
        found[name] = extractor(
            name,
            dataset=dataset,
            weights=settings.weights if name == "inception" else None,
            progress=lambda done, steps: progress(f"classifier: step {done:,} of {steps:,}"),
        )
        if any(metric.name == "frechet" for metric in metrics):
            _require_enough(found[name], dataset, settings)
    return found


def _require_enough(
    chosen: FeatureExtractor, dataset: Dataset, settings: EvaluationSettings
) -> None:
    """Refuse what was asked for and cannot be; of what was not, the table says it is undefined."""
    there = len(examples_of(dataset, settings.split))
    if settings.allow_rank_deficient or min(settings.samples, there) >= chosen.minimum:
        return
    asked = settings.model_fields_set
    if "features" not in asked and ("samples" not in asked or there < chosen.minimum):
        return
    if settings.samples < chosen.minimum:
        have, advice = f"--samples is {settings.samples}", "ask for more"
    else:
        have = f"the {settings.split} split of {dataset.name} has {there}"
        advice = "take another --split"
    raise HebaeError(
        f"the Frechet distance in {chosen.name} needs at least {chosen.minimum} samples and "
        f"references, and {have}; {advice}, choose other --features, or pass "
        "--allow-rank-deficient."
    )
