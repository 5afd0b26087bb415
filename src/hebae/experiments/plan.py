"""Plan the runs of an experiment and check all of them before the first training."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any, get_args

from hebae.config import DataSettings, Settings, resolve
from hebae.data import Dataset
from hebae.errors import HebaeError

MOST_RUNS = 10_000
"""Most runs of a sweep, and most values of an axis: more is probably a typing error."""
LONGEST_NAME = 200
"""Bytes of a folder's name; most file systems allow 255."""

EXAMPLE = "--grid penalty_weight=0.1,1,10 --grid seed=0..4"


@dataclass(frozen=True)
class PlannedRun:
    """One training, not yet checked against the data."""

    label: str
    """Name of the run's folder."""
    settings: Settings
    values: Mapping[str, Any] = field(default_factory=dict)
    """What distinguishes the run from the others: in a sweep, its value on each axis."""


@dataclass(frozen=True)
class Axis:
    """A setting, and the values that it takes in a sweep."""

    name: str
    values: tuple[Any, ...]


def plan_methods(
    by_method: Mapping[str, Settings], seeds: Sequence[int] | None
) -> list[PlannedRun]:
    """Plan one run per seed and method; the methods of a seed follow each other."""
    settings = list(by_method.values())
    _require_one_dataset(settings, "the methods to compare")
    seeds = [settings[0].seed] if seeds is None else seeds
    if len(set(seeds)) < len(seeds):
        raise HebaeError(f"--seeds contains a seed twice: {' '.join(map(str, seeds))}.")
    return [
        PlannedRun(f"{method}-seed{seed}", settings.replace(seed=seed))
        for seed in seeds
        for method, settings in by_method.items()
    ]


def plan_grid(
    axes: Sequence[Axis],
    preset: str | None = None,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> list[PlannedRun]:
    """Plan one run per combination of values; the last axis varies fastest.

    The values override preset, configuration file and flags. A method takes its own values of the
    preset or file.
    """
    from hebae.training.checks import require_relevant

    flags = dict(flags or {})
    for axis in axes:
        if axis.name in flags:
            raise HebaeError(
                f"{axis.name} is given as a flag and as an axis; leave out "
                f"--{axis.name.replace('_', '-')}, or --grid {axis.name}."
            )
    runs = []
    for combination in product(*(axis.values for axis in axes)):
        values = dict(zip((axis.name for axis in axes), combination, strict=True))
        label = "-".join(f"{name}={as_text(value)}" for name, value in values.items())
        runs.append(PlannedRun(label, resolve(preset, config, flags | values), values))
    longest = max((run.label for run in runs), key=lambda label: len(label.encode()))
    if len(longest.encode()) > LONGEST_NAME:
        raise HebaeError(
            f"the folder {longest} would have a name of more than {LONGEST_NAME} bytes; give fewer "
            "axes."
        )
    require_relevant({*flags, *(axis.name for axis in axes)}, [run.settings for run in runs])
    _require_one_dataset([run.settings for run in runs], "the methods of the sweep")
    return runs


def _require_one_dataset(settings: Sequence[Settings], what: str) -> None:
    for name in DataSettings.model_fields:
        values = list(dict.fromkeys(str(getattr(each, name)) for each in settings))
        if len(values) > 1:
            raise HebaeError(
                f"{what} have different settings of {name} ({' and '.join(values)}); all runs must "
                "use the same data."
            )
    if any(each.devices > 1 for each in settings):
        raise HebaeError("compare and sweep train on one device; leave out --devices.")


def prepare(runs: Sequence[PlannedRun], folder: Path) -> list[Any]:
    """Load each data set once and check every run, before any training; return a job per run.

    `folder` will hold a folder for each run, named by its label; nothing is written yet. A
    HebaeError names the first run that cannot be trained.
    """
    from hebae.experiments.trained_run import load_dataset
    from hebae.training import session
    from hebae.training.many import Job

    datasets: dict[tuple[Any, ...], Dataset] = {}
    jobs = []
    for run in runs:
        key = tuple(getattr(run.settings, name) for name in DataSettings.model_fields)
        if key not in datasets:
            datasets[key] = load_dataset(run.settings)
        try:
            prepared = session.prepare(run.settings, datasets[key])
        except HebaeError as error:
            raise HebaeError(f"the run {run.label} cannot be trained: {error}") from None
        prepared.release()  # there may be thousands of models
        jobs.append(Job(run.label, prepared, folder / run.label, folder.parent))
    return jobs


def common_settings(settings: Iterable[Settings]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Split settings, as JSON values, into those that all runs share and those of each run."""
    dumped = [each.model_dump(mode="json") for each in settings]
    first = dumped[0] if dumped else {}
    common = {n: first[n] for n in first if all(each[n] == first[n] for each in dumped)}
    return common, [{n: each[n] for n in each if n not in common} for each in dumped]


def as_text(value: Any) -> str:
    """Format a setting's value as `parse_axes` reads it, also for names of folders."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def parse_axes(texts: Sequence[str]) -> list[Axis]:
    """Read the axes of a sweep from the command line: each text is ``NAME=VALUES``.

    VALUES are separated by commas; each is a value, a range of whole numbers such as ``0..4``, or
    ``LOW..HIGH:COUNT`` for logarithmically spaced numbers with four significant digits (whole
    numbers for a setting that takes only these). The widths of layers are joined by an x:
    ``encoder_widths=100,784x800``.
    """
    if not texts:
        raise HebaeError(f"a sweep needs at least one axis: hebae sweep {EXAMPLE}.")
    axes = [_parse(text) for text in texts]
    name, times = Counter(axis.name for axis in axes).most_common(1)[0]
    if times > 1:
        raise HebaeError(f"--grid {name} is given twice; put all its values into one.")
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_RUNS:
        raise HebaeError(
            f"the axes have {count:,} combinations, but a sweep has at most {MOST_RUNS:,} runs; "
            "give fewer values."
        )
    return axes


def _parse(text: str) -> Axis:
    name, equals, values = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    if not equals or not name:
        raise HebaeError(f"--grid {text!r} is not NAME=VALUES, such as {EXAMPLE}.")
    if name in {*DataSettings.model_fields, "devices"}:
        raise HebaeError(
            f"{name} cannot be an axis: all runs of a sweep share one data set and one device."
        )
    if name not in Settings.model_fields:
        Settings.checked({name: values}, "--grid")  # raises, with a suggestion
    parts = [part.strip() for part in values.split(",")]
    if not all(parts):
        raise HebaeError(
            f"--grid {text} has {'no value' if parts == [''] else 'an empty value'}; give one or "
            "more, separated by commas."
        )
    words = (word for part in parts for word in _expand(name, part))
    some = list(islice(words, MOST_RUNS + 1))  # a range may stand for more than fit into memory
    if len(some) > MOST_RUNS:
        raise HebaeError(
            f"--grid {name} has too many values; a sweep has at most {MOST_RUNS:,} runs."
        )
    found = [parse_value(name, word, "--grid") for word in some]
    value, times = Counter(found).most_common(1)[0]
    if times > 1:
        raise HebaeError(f"--grid {name} has the value {as_text(value)} twice; give it once.")
    return Axis(name, tuple(found))


def _expand(name: str, part: str) -> Iterator[str]:
    """Write out a range; anything else is one value."""
    if ".." not in part:
        yield part
    elif whole := re.fullmatch(r"(-?\d+)\.\.(-?\d+)", part):
        low, high = int(whole[1]), int(whole[2])
        if high < low:
            raise HebaeError(f"--grid {name}={part} has no value: write {high}..{low}.")
        yield from map(str, range(low, high + 1))
    else:
        match = re.fullmatch(r"(.+?)\.\.(.+):(\d+)", part)
        try:
            start, end, count = float(match[1]), float(match[2]), int(match[3])  # type: ignore[index]
        except (TypeError, ValueError):
            raise HebaeError(
                f"--grid {name}={part} is not a range: 0..4 stands for whole numbers, and "
                "0.001..1000:7 for seven logarithmically spaced numbers."
            ) from None
        if not 0 < start < end < math.inf or count < 2:
            raise HebaeError(
                f"--grid {name}={part}: logarithmically spaced numbers need a start above 0, a "
                "larger end, and a count of 2 or more."
            )
        is_whole = Settings.model_fields[name].annotation is int
        for index in range(count):
            value = start * (end / start) ** (index / (count - 1))
            yield str(round(value)) if is_whole else f"{value:.4g}"


def parse_value(name: str, word: str, origin: str) -> Any:
    """Convert a word to a value of the setting; `origin` names the flag in messages."""
    value: Any = word
    annotation = Settings.model_fields[name].annotation
    if word == "none" and type(None) in get_args(annotation):
        value = None
    elif "tuple" in str(annotation):
        value = word.split("x")
    return getattr(Settings.checked({name: value}, origin), name)
