"""Tables as JSON keeps them, to be written out again as they were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from hebae.report.tables import Measured, Row, Table, Undefined, Value

__all__ = ["from_json", "to_json"]


def to_json(table: Table) -> dict[str, Any]:
    """Return a table as what JSON has: every seed's number is kept."""
    rows = [
        asdict(row) | {"values": [_encoded(v) for v in row.values], "best": list(row.best)}
        for row in table.rows
    ]
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": rows,
        "notes": list(table.notes),
    }


def from_json(stored: Mapping[str, Any]) -> Table:
    """Make the table again."""
    rows = [
        Row(**row | {"values": [_decoded(v) for v in row["values"]], "best": tuple(row["best"])})
        for row in stored["rows"]
    ]
    return Table(stored["title"], stored["columns"], rows, stored["notes"])


def _encoded(value: Value) -> Any:
    if isinstance(value, Measured | Undefined):
        return asdict(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return [_encoded(v) for v in value]
    return float(value) if math.isfinite(value) else None


def _decoded(value: Any) -> Value:
    if isinstance(value, dict):
        return Undefined(**value) if "reason" in value else Measured(**value)
    return value  # type: ignore[no-any-return]
