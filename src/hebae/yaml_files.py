"""YAML files of settings: read with limits, since anyone may have written them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hebae.errors import HebaeError
from hebae.files import MOST_LEVELS, read_text, require_plain, why

MOST_YAML = 2**20
"""Bytes of the largest file of settings."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        values = require_plain(yaml.load(text, Loader=_Loader), MOST_YAML)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise HebaeError(f"{path} is not valid YAML{line}; {remedy}.") from None
    # Of texts that look like a date or number and are none, and of brackets within brackets.
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise HebaeError(f"{path} is not valid YAML ({why(error)}); {remedy}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise HebaeError(f"{path} must hold 'key: value' lines; {remedy}.")
    return values
