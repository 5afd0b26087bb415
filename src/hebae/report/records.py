"""Records as CSV: for spreadsheets and other programs, in full precision."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

__all__ = ["to_csv"]


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV under a header, one a line; what a record does not have is empty."""
    names = dict.fromkeys(name for record in records for name in record)
    text = StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
