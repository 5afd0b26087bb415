"""The record of an epoch, a line of ``metrics.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["named"]


def named(terms: Mapping[str, float | None]) -> dict[str, float | None]:
    """Terms for a record: the loss, negated, is what the paper plots as the objective."""
    loss = terms["loss"]
    rest = {name: value for name, value in terms.items() if name != "loss"}
    return {"objective": None if loss is None else -loss, **rest}
