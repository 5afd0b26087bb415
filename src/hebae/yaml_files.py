"""YAML files of settings: read with limits, since anyone may have written them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hebae.errors import HebaeError, suggestion
from hebae.files import MOST_LEVELS, read_text, require_plain, why

MOST_YAML = 2**20
"""Bytes of the largest file of settings."""
PRESETS = Path(__file__).parent / "presets"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(file.stem for file in PRESETS.glob("*.yaml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset; a HebaeError if there is none of this name."""
    if name not in (names := preset_names()):
        raise HebaeError(
            f"unknown preset {name!r}{suggestion(name, names)}; allowed are {', '.join(names)}."
        )
    return read_mapping(PRESETS / f"{name}.yaml")


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file; raise a HebaeError if it cannot be read."""
    remedy = "write one 'key: value' per line"
    text = read_text(path, MOST_YAML)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):  # a parser's time is quadratic in the depth
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_LEVELS:
                raise ValueError("it is nested too deeply")
        _require_unique(yaml.compose(text, Loader=_Loader))
        values = require_plain(yaml.load(text, Loader=_Loader), MOST_YAML)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise HebaeError(f"{path} is not valid YAML{line}; {remedy}.") from None
    except Exception as error:  # of many kinds: of tags, dates and numbers that are none
        raise HebaeError(f"{path} is not valid YAML ({why(error)}); {remedy}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise HebaeError(f"{path} must hold 'key: value' lines; {remedy}.")
    return values


def _require_unique(root: yaml.Node | None) -> None:
    """Raise a ValueError if a mapping has a key twice, of which YAML's reader takes the last."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        keys = set()
        for key, value in node.value:
            name = (key.tag, str(key.value))
            if isinstance(key, yaml.ScalarNode) and name in keys:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line} gives {key.value} a second time")
            keys.add(name)
            waiting.append(value)
