"""The search space of `hebae tune`, from what the settings say of themselves."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from hebae.config import AFFECT_NOTHING, AFFECT_ROUNDING, DataSettings, Settings
from hebae.errors import HebaeError
from hebae.experiments.plan import as_text, parse_value
from hebae.methods import METHODS
from hebae.training.checks import check_last_width, smallest_batch

FACTORS = {"weight": 100.0, "float": 10.0, "int": 4.0}
"""By what a setting is divided and multiplied for its default range: weights of penalties, other
numbers, and whole numbers."""
WIDTH_FACTORS = (0.5, 1.0, 2.0)
EXAMPLES = {
    "range": "--space learning_rate=1e-4..1e-2",
    "values": "--space encoder_widths=64x64,256x256",
}
_DECIDED = {
    **dict.fromkeys(DataSettings.model_fields, "all trials use the same data"),
    **dict.fromkeys(AFFECT_NOTHING | AFFECT_ROUNDING, "it does not change what is learned"),
    "method": "penalties of other methods have other settings; run one study per method",
    "seed": "a better result of one seed is chance",
    "epochs": "all trials have the same budget; set it with --epochs",
}
_NARROWED = ("latent_dim", "batch_size", "encoder_widths")
"""Settings whose default ranges depend on one another, in the order in which they are decided."""


@dataclass(frozen=True)
class Dimension:
    """A setting, and the values that are tried: `choices`, or numbers from `low` to `high`."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def values(self) -> Sequence[Any]:
        """The values as Optuna takes them, of which there must be a finite `count`."""
        return [as_text(v) for v in self.choices] or range(int(self.low), int(self.high) + 1)

    def suggest(self, trial: Any) -> Any:
        """Ask an Optuna trial for a value."""
        if self.choices:
            word = trial.suggest_categorical(self.name, [as_text(value) for value in self.choices])
            return parse_value(self.name, word, "--space")
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        value = trial.suggest_float(self.name, self.low, self.high, log=self.log)
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    @property
    def count(self) -> float:
        """How many values there are; infinite for a range of numbers that are not whole."""
        if self.choices:
            return len(self.choices)
        return int(self.high) - int(self.low) + 1 if self.whole else math.inf

    @property
    def text(self) -> str:
        """The values, as a person reads them and `parse_space` does."""
        if self.choices:
            return ",".join(map(as_text, self.choices))
        return f"{self.low:.4g}..{self.high:.4g}"


def example_trial(texts: Sequence[str], settings: Settings) -> Settings:
    """Return settings with the first of the values that the command line gives of each setting.

    No trial has the settings as they are where the space names other values.
    """
    first = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = _setting_name(name)
        if equals and name in Settings.model_fields:
            low = values.partition("..")[0].partition(",")[0]
            first[name] = parse_value(name, low.strip(), "--space")
    return settings.replace(**first)


def parse_space(texts: Sequence[str], settings: Settings) -> list[Dimension]:
    """Read the space from the command line: each text is NAME, NAME=LOW..HIGH or NAME=A,B,C.

    `settings` are completed; default ranges lie around their values. Without texts, the space has
    the method's weights, learning_rate, latent_dim and, of fully connected networks, the widths.

    Raises
    ------
    HebaeError
        If a setting is unknown, cannot be tuned, or has no such values.
    """
    names = list(texts) or _default_names(settings)
    space = [_parse(text, settings) for text in names]
    seen: set[str] = set()
    for dimension in space:
        if dimension.name in seen:
            raise HebaeError(f"--space {dimension.name} is given twice; give it once.")
        seen.add(dimension.name)
    return _trainable(
        space, {text for text in map(_setting_name, names) if "=" not in text}, settings
    )


def searchable() -> list[str]:
    """Return the names of the settings that a study may search."""
    return [name for name in Settings.model_fields if name not in _DECIDED]


def hardest_trial(space: Sequence[Dimension], settings: Settings) -> Settings:
    """Return the trial that needs most of its data and networks.

    It has the highest latent_dim, the smallest batches, the narrowest last layer of the encoder,
    and of other choices those that need the largest batches.
    """
    for dimension in space:
        values = dimension.choices or (dimension.low, dimension.high)
        if dimension.name == "latent_dim":
            settings = settings.replace(latent_dim=int(max(values)))
        elif dimension.name == "batch_size":
            settings = settings.replace(batch_size=int(min(values)))
        elif dimension.name == "encoder_widths":
            settings = settings.replace(encoder_widths=min(values, key=_last))
    for dimension in space:
        if dimension.name in METHODS[settings.method].options and dimension.choices:
            tried = [settings.replace(**{dimension.name: value}) for value in dimension.choices]
            settings = max(tried, key=smallest_batch)
    return settings


def _trainable(space: list[Dimension], defaults: set[str], settings: Settings) -> list[Dimension]:
    """Leave out of default ranges what cannot be trained with the other values of the space."""
    fixed = {d.name: d for d in space if d.name not in defaults}
    order = {name: place for place, name in enumerate(_NARROWED, 1)}
    for dimension in sorted(space, key=lambda dimension: order.get(dimension.name, 0)):
        if dimension.name not in defaults:
            continue
        hardest = hardest_trial([*fixed.values()], settings)
        low, high = dimension.low, dimension.high
        if dimension.name == "latent_dim":
            while high > low and not _fits(hardest.replace(latent_dim=int(high))):
                high -= 1
        elif dimension.name == "batch_size":
            while high > low and not _fits(hardest.replace(batch_size=int(low))):
                low += 1
        elif dimension.name == "encoder_widths":
            wide = (w for w in dimension.choices if _fits(hardest.replace(encoder_widths=w)))
            dimension = replace(dimension, choices=tuple(wide) or dimension.choices)
        if low != dimension.low or high != dimension.high:
            if not low < high:
                value = getattr(settings, dimension.name)
                raise _no_range(dimension.name, value)
            dimension = _between(dimension.name, low, high)
        fixed[dimension.name] = dimension
    return [fixed[d.name] for d in space]


def _last(widths: tuple[int, ...]) -> int:
    return widths[-1] if widths else 0


def _fits(settings: Settings) -> bool:
    """Whether batches are large enough, and the encoder wide enough, for latent_dim."""
    try:
        check_last_width(settings)
    except HebaeError:
        return False
    return settings.batch_size >= smallest_batch(settings)


def _no_range(name: str, value: Any) -> HebaeError:
    return HebaeError(f"--space {name}: there is no range around {value}; write LOW..HIGH.")


def _default_names(settings: Settings) -> list[str]:
    options = METHODS[settings.method].options.values()
    names = [o.name for o in options if o.is_weight and getattr(settings, o.name) > 0]
    names += ["learning_rate", "latent_dim"]
    if settings.network == "mlp":
        names += ["encoder_widths", "decoder_widths"]
    return names


def _parse(text: str, settings: Settings) -> Dimension:
    name, equals, values = text.partition("=")
    name = _setting_name(name)
    if name not in Settings.model_fields:
        Settings.checked({name: values}, "--space")  # raises, with a suggestion
    if name in _DECIDED:
        raise HebaeError(f"--space {name} cannot be tuned: {_DECIDED[name]}.")
    of_methods = {option for method in METHODS.values() for option in method.options}
    if name in of_methods - METHODS[settings.method].options.keys():
        raise HebaeError(f"--space {name}: --method {settings.method} has no such setting.")
    if not equals:
        return _default(name, settings)
    low, dots, high = values.partition("..")
    if not dots:
        words = [word.strip() for word in values.split(",")]
        found = tuple(dict.fromkeys(parse_value(name, word, "--space") for word in words))
        if len(found) < 2:
            raise HebaeError(f"--space {text}: give two values or more, or a range LOW..HIGH.")
        return Dimension(name, found)
    ends = [parse_value(name, end.strip(), "--space") for end in (low, high)]
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
        raise HebaeError(
            f"--space {text}: {name} is not a number; give values, as in {EXAMPLES['values']}."
        )
    if not ends[0] < ends[1]:
        raise HebaeError(f"--space {text}: LOW must be below HIGH, as in {EXAMPLES['range']}.")
    return _between(name, *ends)


def _setting_name(text: str) -> str:
    return text.strip().removeprefix("--").replace("-", "_")


def _between(name: str, low: float, high: float) -> Dimension:
    """Return a range, on a logarithmic scale if it spans a factor of ten or more."""
    is_log = low > 0 and high >= 10 * low
    return Dimension(name, (), low, high, is_log, _kind(name) is int)


def _kind(name: str) -> Any:
    """Return the type of a setting without None: int, float, bool, tuple or a Literal."""
    annotation = Settings.model_fields[name].annotation
    if get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        annotation = parts[0] if len(parts) == 1 else annotation
    return annotation


def _default(name: str, settings: Settings) -> Dimension:
    """Return the range or choices of a setting by its type, limits and present value."""
    kind, value = _kind(name), getattr(settings, name)
    if get_origin(kind) is Literal:
        return Dimension(name, get_args(kind))
    if kind is bool:
        return Dimension(name, (False, True))
    if name.endswith("_widths") and value:
        scaled = (tuple(max(1, round(f * width)) for width in value) for f in WIDTH_FACTORS)
        return Dimension(name, tuple(dict.fromkeys(scaled)))
    if kind not in (int, float) or not value:
        raise HebaeError(
            f"--space {name}: its present value, {as_text(value)}, gives no range; write "
            f"{name}=LOW..HIGH or {name}=A,B,C."
        )
    options = METHODS[settings.method].options
    is_weight = name in options and options[name].is_weight
    factor = FACTORS["weight" if is_weight else kind.__name__]
    low, high = value / factor, value * factor
    for limit in Settings.model_fields[name].metadata:
        low = max(low, getattr(limit, "ge", low), getattr(limit, "gt", low))
        high = min(high, getattr(limit, "le", high))
        if (below := getattr(limit, "lt", math.inf)) <= high:
            high = below - 0.01 * (below - low)
    if kind is int:
        low, high = math.ceil(low), math.floor(high)
    if not low < high:
        raise _no_range(name, value)
    return _between(name, low, high)
