"""Match the features of new examples to those of training; count the same alleles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.data.columns import listed
from hebae.data.examples import Examples
from hebae.data.packed import PackedGenotypes
from hebae.data.schema import Seen, Variants
from hebae.errors import HebaeError

_UNKNOWN = ("0", ".", "")
"""What stands for a chromosome, position or allele that is not known."""
_CHROMOSOMES = {"23": "X", "24": "Y", "25": "XY", "26": "MT", "M": "MT"}
"""Numbers of PLINK, and other names."""

Places = npt.NDArray[np.intp]


def aligned(
    examples: Examples, seen: Seen, name: str, notify: Callable[[str], object] = lambda note: None
) -> Examples:
    """Return the features that a model was trained on, in the order of training.

    Features are matched by name. Variants of genotypes are also compared by chromosome, position
    and alleles: a variant that counts the other allele is recoded, and a variant without a known
    id is matched by position and alleles. Examples without feature names are returned unchanged.

    Parameters
    ----------
    examples : Examples
    seen : Seen
    name : str
        Name of the examples, for messages.
    notify : callable, optional
        Called with a sentence if alleles were exchanged.

    Raises
    ------
    HebaeError
        If features are missing, categories are coded differently, or variants differ in position
        or alleles.
    """
    wanted, given = seen.feature_names, examples.feature_names
    if wanted is None or given is None:
        return examples
    exchanged = np.zeros(len(wanted), bool)
    if seen.variants is not None and examples.variants is not None:
        places, exchanged = _find_variants(examples, seen, name)
    elif wanted == given:
        places = np.arange(len(wanted))
    else:
        position = {feature: place for place, feature in enumerate(given)}
        absent = [feature for feature in wanted if feature not in position]
        _refuse_absent(absent, len(wanted), "features", name)
        places = np.array([position[feature] for feature in wanted], np.intp)
    if len(places) != len(given) or (places != np.arange(len(given))).any() or exchanged.any():
        examples = _take(examples, places, exchanged, wanted)
    if exchanged.any():
        notify(
            f"{int(exchanged.sum()):,} of the {len(wanted):,} variants of {name} count the other "
            "allele than in training; their genotypes were recoded."
        )
    for new, old in zip(examples.columns or (), seen.columns or (), strict=False):
        if (new.kind, new.categories) != (old.kind, old.categories):
            raise HebaeError(
                f"column {old.name!r} of {name} is coded as {_coding(new)}, but was coded as "
                f"{_coding(old)} in training. Pass the table itself instead of Examples: it is "
                "then coded as in training."
            )
    return examples


def _coding(column: Any) -> str:
    return f"{column.kind} {listed(column.categories)}".strip()


def _refuse_absent(absent: Sequence[str], count: int, kind: str, name: str) -> None:
    if absent:
        raise HebaeError(
            f"{name} lacks {len(absent):,} of the {count:,} {kind} that the model was trained on, "
            f"such as {', '.join(absent[:5])}. Add them; leave values that are not known missing."
        )


def _take(
    examples: Examples, places: Places, exchanged: npt.NDArray[np.bool_], names: tuple[str, ...]
) -> Examples:
    """Select features; of genotypes, count the other allele of those that are `exchanged`."""
    values, missing = examples.values, examples.missing
    if isinstance(values, PackedGenotypes):
        values = values.with_columns(places, exchanged)
        missing = missing.with_columns(places, exchanged)
    else:
        values = values[:, places]
        missing = None if missing is None else missing[:, places]
        if exchanged.any():
            values[:, exchanged] = 2 - values[:, exchanged]
    v = examples.variants
    if v is not None:
        taken = Variants(*(getattr(v, field.name)[places] for field in fields(Variants)))
        one, two = taken.allele_1, taken.allele_2
        v = replace(
            taken,
            allele_1=np.where(exchanged, two, one),
            allele_2=np.where(exchanged, one, two),
        )
    columns = examples.columns and tuple(examples.columns[place] for place in places)
    return replace(
        examples, values=values, missing=missing, feature_names=names, variants=v, columns=columns
    )


def _find_variants(
    examples: Examples, seen: Seen, name: str
) -> tuple[Places, npt.NDArray[np.bool_]]:
    """Return the place of each variant of training, and whether its alleles are exchanged."""
    assert seen.variants is not None and seen.feature_names is not None
    assert examples.variants is not None and examples.feature_names is not None
    given = [text.split(" ") for text in examples.variants.texts]
    by_id = {id: place for place, id in enumerate(examples.feature_names)}
    by_content = {_content(variant): place for place, variant in enumerate(given)}
    places, exchanged, absent = [], [], []
    moved: list[tuple[str, list[str], list[str]]] = []
    others: list[tuple[str, list[str], list[str]]] = []
    for id, text in zip(seen.feature_names, seen.variants, strict=True):
        old = text.split(" ")
        place = by_id.get(id, by_content.get(_content(old)))
        if place is None:
            absent.append(id)
            continue
        new = given[place]
        chromosomes = [_chromosome(variant[0]) for variant in (old, new)]
        if not (_agree(*chromosomes) and _agree(old[1], new[1])):
            moved.append((id, old, new))
        same = _agree(old[2], new[2]) and _agree(old[3], new[3])
        if not same and not (_agree(old[2], new[3]) and _agree(old[3], new[2])):
            others.append((id, old, new))
        places.append(place)
        exchanged.append(not same)
    _refuse_absent(absent, len(seen.feature_names), "variants", name)
    if others:
        id, old, new = others[0]
        raise HebaeError(
            f"variant {id} has the alleles {new[2]} and {new[3]} in {name}, but {old[2]} and "
            f"{old[3]} in the training data{_more(others)}: bring both to the same strand and "
            "alleles, for instance with plink --flip."
        )
    if moved:
        id, old, new = moved[0]
        raise HebaeError(
            f"variant {id} is at {new[0]}:{new[1]} in {name}, but at {old[0]}:{old[1]} in the "
            f"training data{_more(moved)}: use positions of the same genome build, or 0 where a "
            "position is not known."
        )
    return np.array(places, np.intp), np.array(exchanged, bool)


def _more(found: Sequence[Any]) -> str:
    return f" (and {len(found) - 1:,} more variants differ)" if len(found) > 1 else ""


def _agree(one: str, two: str) -> bool:
    """Whether two chromosomes, positions or alleles are the same as far as they are known."""
    return one in _UNKNOWN or two in _UNKNOWN or one.upper() == two.upper()


def _chromosome(name: str) -> str:
    short = name.upper().removeprefix("CHR")
    return _CHROMOSOMES.get(short, short)


def _content(variant: Sequence[str]) -> tuple[str, str, frozenset[str]]:
    chromosome, position, one, two = variant
    return _chromosome(chromosome), position, frozenset((one.upper(), two.upper()))
