"""Uploaded examples: checked, read by the same code as the data of training, never executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hebae.config import DataSettings
from hebae.data.examples import Examples
from hebae.data.image_files import SUFFIXES as IMAGES
from hebae.errors import HebaeError
from hebae.explorer.runs import ExploredRun, Shown, choose
from hebae.inference import Conditions

MOST_BYTES = 20 * 2**20
"""Bytes of all files of an upload."""
MOST_EXAMPLES = 100
"""Uploaded examples that are shown: the first ones."""
SINGLE = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".h5ad", ".h5", ".vcf", ".vcf.gz", ".zip")
SETS = ((".bed", ".bim", ".fam"), (".pgen", ".pvar", ".psam"))
"""Files of genotypes that belong together."""

Reader = Callable[[DataSettings], Mapping[str, Examples]]
"""Reads data as those of training were read, and refuses what is unlike them."""


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
        Of examples that have none of their own.

    Raises
    ------
    HebaeError
        If files are too large, of an unknown format, damaged, or unlike the examples of training.
    """
    size = sum(len(content) for _, content in files)
    if size > MOST_BYTES:
        raise HebaeError(
            f"the upload has {size / 2**20:,.1f} MiB, and at most {MOST_BYTES / 2**20:,.0f} MiB "
            "are read; give fewer examples."
        )
    with TemporaryDirectory(prefix="hebae-upload-") as folder:
        path, names = _store(files, Path(folder))
        try:
            options = _image_options(run) if path.is_dir() or path.suffix == ".zip" else {}
            parts = read(DataSettings(data=str(path), **options))
            shown = choose(parts, sum(map(len, parts.values())))
        except HebaeError as error:
            raise HebaeError(_without_folder(str(error), path, folder, names)) from None
        except (MemoryError, OSError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            text = f"{names} cannot be read ({reason}); give another file."
            raise HebaeError(_without_folder(text, path, folder, names)) from None
    given_names = [Path(name).name for name, _ in files]
    if len(given_names) == len(shown.names) and _suffix(given_names[0]) in IMAGES:
        shown = shown._replace(names=given_names)
    examples = shown.examples[:MOST_EXAMPLES]
    if run.condition_columns and examples.conditions is None and conditions is not None:
        conditions = np.repeat(conditions, len(examples), axis=0)
        examples = replace(examples, conditions=conditions, condition_columns=run.condition_columns)
    return Shown(examples, np.array(shown.splits[:MOST_EXAMPLES]), shown.names[:MOST_EXAMPLES])


def _store(files: Sequence[tuple[str, bytes]], folder: Path) -> tuple[Path, str]:
    """Write files under names of our own; return what is to be read, and its name for messages."""
    if not files:
        raise HebaeError("no file was uploaded; choose one.")
    suffixes = [_suffix(name) for name, _ in files]
    label = files[0][0] if len(files) == 1 else f"the upload of {len(files)} files"
    if all(suffix in IMAGES for suffix in suffixes):
        target = folder / "uploaded-images"
        target.mkdir()
        for place, ((name, content), suffix) in enumerate(zip(files, suffixes, strict=True)):
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).stem)[:60]
            (target / f"{place + 1:03d}_{stem}{suffix}").write_bytes(content)
        return target, label
    if len(files) == 1 and suffixes[0] in SINGLE:
        path = folder / f"uploaded{suffixes[0]}"
        path.write_bytes(files[0][1])
        return path, label
    if tuple(sorted(suffixes)) in {tuple(sorted(kinds)) for kinds in SETS}:
        for (_, content), suffix in zip(files, suffixes, strict=True):
            (folder / f"uploaded{suffix}").write_bytes(content)
        return next(folder / f"uploaded{kinds[0]}" for kinds in SETS if kinds[0] in suffixes), label
    raise HebaeError(
        f"{label} has a format that cannot be uploaded; give images, one file that ends in "
        f"{', '.join(SINGLE)}, or {' or '.join(' with '.join(kinds) for kinds in SETS)}."
    )


def _suffix(name: str) -> str:
    lower = name.lower()
    return ".vcf.gz" if lower.endswith(".vcf.gz") else Path(lower).suffix


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


def _without_folder(text: str, path: Path, folder: str, names: str) -> str:
    """Name the uploaded file in a message, not where it was stored."""
    text = text.replace(str(path), names).replace(folder, names)
    return text.replace(path.name, names)
