"""``evaluation.json``: what is known of a run, each metric written as soon as it is measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hebae._version import __version__
from hebae.errors import HebaeError
from hebae.experiments.evaluation.measurement import Measurement
from hebae.files import write_atomically

__all__ = ["Entry", "Record"]


@dataclass(frozen=True)
class Entry:
    """The measurements of one metric, and what they depend on."""

    settings: dict[str, Any]
    measurements: list[Measurement]
    seconds: float
    version: str = __version__


class Record:
    """The evaluation of one run.

    Parameters
    ----------
    path : Path
        The file, which need not be there yet.
    identity : mapping of str to str
        What model and data the numbers are of. Entries of other weights or data are forgotten.

    Raises
    ------
    HebaeError
        If the file is altered or truncated.
    """

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        self.path = path
        self.identity = dict(identity)
        self.provenance: list[dict[str, str]] = []
        self.entries: dict[str, list[Entry]] = {}
        if path.is_file():
            self._read()

    def find(self, key: str, settings: Mapping[str, Any]) -> Entry | None:
        """Return what was measured under `key` with just these settings by this version."""
        for entry in self.entries.get(key, ()):
            if entry.settings == settings and entry.version == __version__:
                return entry
        return None

    def keep(self, key: str, entry: Entry) -> None:
        """Add an entry, beside those of other settings, and write the file."""
        others = [
            other
            for other in self.entries.get(key, ())
            if other.settings != entry.settings and other.version == entry.version
        ]
        self.entries[key] = [*others, entry]
        self._write()

    def add_provenance(self, origin: Mapping[str, str]) -> None:
        """Note where the numbers that follow come from."""
        self.provenance.append(dict(origin))

    def _read(self) -> None:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            identity = stored["of"]
            provenance = [dict(origin) for origin in stored["provenance"]]
            entries = {
                key: [_entry(values) for values in kept] for key, kept in stored["metrics"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HebaeError(
                f"{self.path} is altered or truncated ({type(error).__name__}); remove it to "
                "evaluate the run anew."
            ) from None
        if identity == self.identity:
            self.provenance, self.entries = provenance, entries

    def _write(self) -> None:
        values = {
            "of": self.identity,
            "metrics": {
                key: [
                    asdict(entry) | {"measurements": [m.to_json() for m in entry.measurements]}
                    for entry in kept
                ]
                for key, kept in self.entries.items()
            },
            "provenance": self.provenance,
        }
        text = json.dumps(values, indent=1, allow_nan=False) + "\n"
        write_atomically(self.path, lambda path: path.write_text(text, encoding="utf-8"))


def _entry(values: Mapping[str, Any]) -> Entry:
    return Entry(
        settings=dict(values["settings"]),
        measurements=[Measurement.from_json(m) for m in values["measurements"]],
        seconds=float(values["seconds"]),
        version=str(values["version"]),
    )
