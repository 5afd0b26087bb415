"""Genotypes of PLINK 1 (.bed), PLINK 2 (.pgen) and VCF files; .bed files are written as well.

Values are 0, 1 and 2: how many copies of one allele a person has. It is allele 1 (A1) of a .bed
file, and the alternative allele of the other formats; missing calls are masked. Files hold one row
per variant and training needs one per person, so files are transposed in blocks of variants.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.data.cache import cached_folder
from hebae.data.examples import Dataset, Examples
from hebae.data.genotype_files import BLOCK, package, read_bed, read_pgen, read_vcf
from hebae.data.packed import PackedGenotypes, RowFile
from hebae.data.schema import Variants
from hebae.errors import HebaeError

SUFFIXES = (".bed", ".pgen", ".vcf", ".vcf.gz", ".vcf.bgz")
LARGEST_DENSE = 2**27
"""Most calls that are held in memory, with a byte each and one for the mask. Larger data are
transposed once into a file in the cache, with 2 bits per call."""


def is_genotypes(path: Path) -> bool:
    """Whether a file's name has a suffix of genotypes."""
    return path.name.lower().endswith(SUFFIXES)


def load_genotypes(
    path: Path, *, largest_dense: int = LARGEST_DENSE, block: int = BLOCK
) -> Dataset:
    """Read a .bed, .pgen, .vcf or .vcf.gz file: 0, 1 and 2, with missing calls masked.

    More calls than `largest_dense` stay packed in a file of the cache; `block` calls are decoded at
    once.

    Raises
    ------
    HebaeError
        If the file or one that belongs to it is damaged or missing, ids are given twice, or there
        are no calls.
    """
    read = {".bed": read_bed, ".pgen": read_pgen}.get(path.suffix.lower(), read_vcf)
    people, blocks, ids, variants, left_out = read(path, block)
    if not people or not ids:
        raise HebaeError(f"{path} has no {'variants of two alleles' if people else 'samples'}.")
    samples = _sample_ids(people, path)
    names = _variant_ids(ids, variants, path)
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256("\0".join([content, *samples, "", *names]).encode())
    shape = len(samples), len(names)
    values = _values(blocks, shape, content, largest_dense)
    train = Examples(ids=samples, feature_names=names, pixels=False, variants=variants, **values)
    many = f"{left_out:,} variants of {path.name} have more than two alleles and were left out."
    notes = (many,) if left_out else ()
    return Dataset(path.name, train, None, None, digest.hexdigest(), notes)


def _values(
    blocks: Iterable[npt.NDArray[np.uint8]],
    shape: tuple[int, int],
    content: str,
    largest_dense: int,
) -> dict[str, Any]:
    """Put packed blocks of variants side by side: values and mask, one row per person."""
    n, d = shape
    width = -(-d // 4)

    def fill(packed: npt.NDArray[np.uint8]) -> None:
        start = 0
        for block in blocks:
            packed[:, start : start + block.shape[1]] = block
            start += block.shape[1]

    if n * d > largest_dense:

        def build(folder: Path) -> None:
            fill(np.memmap(folder / "packed", np.uint8, "w+", shape=(n, width)))

        folder = cached_folder(f"genotypes/{content[:32]}-{n}-{d}", build)
        source: npt.NDArray[np.uint8] | RowFile = RowFile(folder / "packed", (n, width))
    else:
        source = np.empty((n, width), np.uint8)
        fill(source)
    values = PackedGenotypes(source, d)
    missing = PackedGenotypes(source, d, mask=True)
    if isinstance(source, RowFile):
        return {"values": values, "missing": missing}
    mask = missing[:]
    return {"values": np.ascontiguousarray(values[:]), "missing": mask if mask.any() else None}


def _sample_ids(people: Sequence[tuple[str, str]], path: Path) -> npt.NDArray[np.str_]:
    """Return the ids, with family names where people of different families share an id."""
    names = [name for _, name in people]
    if len(set(names)) < len(names):
        names = [f"{family}_{name}" if family else name for family, name in people]
        _refuse_repeated(names, "samples", path, "give each sample an id of its own")
    return np.array(names, np.str_)


def _variant_ids(ids: Sequence[str], v: Variants, path: Path) -> tuple[str, ...]:
    """Return the ids; position and alleles where a variant has none."""
    described = zip(ids, v.chromosome, v.position, v.allele_2, v.allele_1, strict=True)
    names = [f"{c}:{p}:{ref}:{alt}" if i in (".", "") else i for i, c, p, ref, alt in described]
    advice = "give each an id of its own, as plink2 --set-all-var-ids does, or leave one out"
    _refuse_repeated(names, "variants", path, advice)
    return tuple(names)


def _refuse_repeated(names: Sequence[str], kind: str, path: Path, advice: str) -> None:
    if len(set(names)) < len(names):
        name, count = Counter(names).most_common(1)[0]
        places = [str(place) for place, other in enumerate(names, 1) if other == name]
        raise HebaeError(
            f"{path} has {count} {kind} with the id {name} (numbers {', '.join(places[:5])}): "
            f"{advice}."
        )


def require_variants(examples: Examples, name: str, path: Path) -> None:
    """Refuse a .bed file as output for data called `name` that were not read from genotypes."""
    package("bed_reader", path)
    if examples.variants is None:
        raise HebaeError(
            f"{path} would hold genotypes, but {name} was not read from a .bed, .pgen or VCF file, "
            "so its variants are not known: name a .npy file."
        )


def write_genotypes(examples: Examples, path: Path) -> None:
    """Write people into a .bed file, rounded to 0, 1 and 2: a continuous likelihood has others."""
    names, variants = examples.feature_names, examples.variants
    assert names is not None and variants is not None and examples.ids is not None
    values = np.clip(np.rint(examples.rows(slice(None))), 0, 2)
    write_bed(path, values, examples.ids.tolist(), names, variants)


def write_bed(
    path: Path,
    genotypes: npt.NDArray[Any],
    ids: Sequence[str],
    names: Sequence[str],
    variants: Variants,
) -> None:
    """Write PLINK 1 files: `path`, which ends in .bed, and its .bim and .fam.

    Parameters
    ----------
    path : Path
    genotypes : ndarray, shape (n, d)
        0, 1 and 2, the number of copies of `variants.allele_1`; NaN or negative where missing.
    ids, names : sequence of str
        Ids of the n samples, and names of the d variants.
    variants : Variants
    """
    bed_reader = package("bed_reader", path)
    calls = np.where(genotypes >= 0, genotypes, -127).astype(np.int8)  # false for NaN
    properties = {
        "fid": ids,
        "iid": ids,
        "sid": names,
        "chromosome": variants.chromosome,
        "bp_position": variants.position,
        "allele_1": variants.allele_1,
        "allele_2": variants.allele_2,
    }
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            written = Path(folder) / path.name
            bed_reader.to_bed(written, calls, properties=properties)
            for suffix in (".fam", ".bim", ".bed"):  # whoever finds the .bed finds the others
                written.with_suffix(suffix).replace(path.with_suffix(suffix))
    except OSError as error:
        raise HebaeError(
            f"cannot write {path}: {error.strerror or error}. Free some space, or choose a folder "
            "that you may write to."
        ) from error
