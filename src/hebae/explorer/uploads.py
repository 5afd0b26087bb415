"""Uploaded examples: checked, read by the same code as the data of training, never executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import numpy as np

from hebae.config import DataSettings
from hebae.data.examples import Examples
from hebae.data.image_files import SUFFIXES as IMAGES
from hebae.errors import HebaeError
from hebae.explorer.runs import ExploredRun, Shown, choose
from hebae.files import most_unpacked
from hebae.inference import Conditions

MOST_BYTES = 20 * 2**20
"""Bytes of all files of an upload."""
MOST_UNPACKED = 256 * 2**20
"""Bytes that an upload may take in memory: a small compressed file can hold terabytes."""
MOST_EXAMPLES = 100
"""Uploaded examples that are shown: the first ones."""
DOUBLE = (".vcf.gz", ".tar.gz")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Of images."""
SINGLE = (
    *(".npy", ".npz", ".csv", ".tsv", ".parquet", ".h5ad", ".h5", ".vcf", ".vcf.gz"),
    *ARCHIVES,
)
SETS = ((".bed", ".bim", ".fam"), (".pgen", ".pvar", ".psam"))
"""Files of genotypes that belong together."""


class Reader(Protocol):
    """Reads data as those of training were read, and refuses what is unlike them."""

    def __call__(
        self, settings: DataSettings, notify: Callable[[str], None]
    ) -> Mapping[str, Examples]:
        """Return the examples by split; `notify` receives how they were changed."""


def read_upload(
    run: ExploredRun,
    read: Reader,
    files: Sequence[tuple[str, bytes]],
    conditions: Conditions = None,
) -> Shown:
    """Return the examples in uploaded files, by name and content.

    Parameters
    ----------
    run : ExploredRun
    read : callable
    files : sequence of (str, bytes)
        Images, or one file of any other format, or the files of genotypes that belong together.
    conditions : ndarray, shape (1, p), optional
        Conditions of examples that have none of their own.

    Raises
    ------
    HebaeError
        If files are too large, of an unknown format, damaged, or unlike the examples of training.
    """
    size = sum(len(content) for _, content in files)
    if size > MOST_BYTES:
        raise HebaeError(
            f"the upload has {size / 2**20:,.1f} MiB, but at most {MOST_BYTES / 2**20:,.0f} MiB "
            "are allowed; upload fewer examples."
        )
    notes: list[str] = []
    with TemporaryDirectory(prefix="hebae-upload-") as folder:
        stored = _store(files, Path(folder))
        archive = stored.path.is_dir() or stored.path.name.endswith(ARCHIVES)
        limit = most_unpacked.set(MOST_UNPACKED)
        try:
            options = _image_options(run) if archive else {}
            parts = read(DataSettings(data=str(stored.path), **options), notes.append)
            shown = choose(parts, MOST_EXAMPLES, seed=None)
        except HebaeError as error:
            raise HebaeError(stored.named(str(error))) from None
        except (MemoryError, OSError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            text = f"{stored.path} cannot be read ({reason}); give another file."
            raise HebaeError(stored.named(text)) from None
        finally:
            most_unpacked.reset(limit)
    given_names = [Path(name).name for name, _ in files]
    if len(given_names) == shown.total and _suffix(given_names[0]) in IMAGES:
        shown = shown._replace(names=given_names[:MOST_EXAMPLES])
    examples = shown.examples
    if run.condition_columns and examples.conditions is None and conditions is not None:
        conditions = np.repeat(conditions, len(examples), axis=0)
        examples = replace(examples, conditions=conditions, condition_columns=run.condition_columns)
    return Shown(
        examples,
        shown.splits,
        shown.names,
        shown.total,
        tuple(dict.fromkeys(map(stored.named, notes))),
    )


class _Stored(NamedTuple):
    """Uploaded files on the disk, under names of our own."""

    path: Path
    """What is to be read."""
    names: dict[str, str]
    """Names of the user by ours, the longest of ours first."""

    def named(self, text: str) -> str:
        """Return a message with the names of the user."""
        for ours, theirs in self.names.items():
            text = text.replace(ours, theirs)
        return text


def _store(files: Sequence[tuple[str, bytes]], folder: Path) -> _Stored:
    if not files:
        raise HebaeError("no file was uploaded; choose one.")
    suffixes = [_suffix(name) for name, _ in files]
    label = f"the upload of {len(files)} files"
    if len(files) == 1:
        label = Path(files[0][0]).name or "the file"
    if all(suffix in IMAGES for suffix in suffixes):
        path = folder / "uploaded-images"
        names = [f"{place:03d}{suffix}" for place, suffix in enumerate(suffixes)]
    elif len(files) == 1 and suffixes[0] in SINGLE:
        path = folder / f"uploaded{suffixes[0]}"
        names = [path.name]
    elif tuple(sorted(suffixes)) in {tuple(sorted(kinds)) for kinds in SETS}:
        path = next(folder / f"uploaded{kinds[0]}" for kinds in SETS if kinds[0] in suffixes)
        names = [f"uploaded{suffix}" for suffix in suffixes]
    else:
        raise HebaeError(
            f"{label} has a format that cannot be uploaded; give images, one file that ends in "
            f"{', '.join(SINGLE)}, or {' or '.join(' with '.join(kinds) for kinds in SETS)}."
        )
    home = path if path.name == "uploaded-images" else folder
    home.mkdir(exist_ok=True)
    known = {str(path): label} if home == folder else {}
    for ours, (theirs, content) in zip(names, files, strict=True):
        (home / ours).write_bytes(content)
        known |= {str(home / ours): Path(theirs).name, ours: Path(theirs).name}
    return _Stored(path, known | {str(path): label, str(folder): label, path.name: label})


def _suffix(name: str) -> str:
    lower = name.lower()
    return next((end for end in DOUBLE if lower.endswith(end)), Path(lower).suffix)


def _image_options(run: ExploredRun) -> dict[str, Any]:
    """Say how images of any size become those of the model."""
    if len(run.model.input_shape) != 3:
        raise HebaeError(
            f"the model takes rows of {run.model.input_shape[0]} numbers, not images; give a table "
            "or an array."
        )
    channels, height, width = run.model.input_shape
    mode = {1: "L", 3: "RGB"}.get(channels)
    return {"image_size": (width, height)} | ({} if mode is None else {"image_mode": mode})
