"""Readers of files with genotypes: PLINK 1 (.bed, .bim, .fam), PLINK 2 (.pgen, ...) and VCF."""

from __future__ import annotations

import gzip
import importlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hebae.data.packed import MISSING, pack
from hebae.data.schema import Variants
from hebae.errors import HebaeError, MissingPackage
from hebae.files import decompressed, reading, require_allowed, require_memory

BLOCK = 2**25
"""Calls that are decoded at once while a file is read."""
_LONGEST = 2**28
"""Letters of the longest line that is read."""
_ANY = 2**63
"""Bytes of a decompressed file, which is read line by line."""

Calls = npt.NDArray[np.uint8]


class Content(NamedTuple):
    """What a format's reader gives; one entry per variant of two alleles."""

    people: Sequence[tuple[str, str]]
    """Family (or "") and id of each sample."""
    blocks: Iterable[Calls]
    """Packed calls of consecutive variants, one row per person."""
    ids: Sequence[str]
    variants: Variants
    left_out: int = 0
    """Number of variants with more than two alleles."""


def package(name: str, path: Path) -> Any:
    """Import a package of the extra ``genomics``, which the file at `path` needs."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPackage(
            f"{path} needs the package {name.replace('_', '-')}: pip install 'hebae[genomics]'."
        ) from None


# PLINK 1 ----------------------------------------------------------------------------------------


def read_bed(path: Path, block: int = BLOCK) -> Content:
    """Read a .bed file with its .bim and .fam; calls count allele 1."""
    bed_reader = package("bed_reader", path)
    fam, bim = (_companion(path, suffix) for suffix in (".fam", ".bim"))
    samples, rows = _fields(fam, 6), _fields(bim, 6)
    n, d = len(samples), len(rows)
    size, expected = path.stat().st_size, 3 + d * -(-n // 4)
    with path.open("rb") as file:
        magic = file.read(3)
    if magic != b"\x6c\x1b\x01":
        raise HebaeError(
            f"{path} does not begin like a PLINK 1 .bed file with one row per variant: write it "
            "with plink --make-bed. A .bed file of genome intervals holds no genotypes."
        )
    if size != expected:
        raise HebaeError(
            f"{path} has {size:,} bytes, but {n:,} samples in {fam.name} and {d:,} variants in "
            f"{bim.name} take {expected:,}: the three files do not belong together, or one is "
            "truncated."
        )

    if n % 4:
        _require_padding(path, n, d, fam)

    def blocks() -> Iterator[Calls]:
        with bed_reader.open_bed(path, iid_count=n, sid_count=d, skip_format_check=True) as file:
            for start, stop in _spans(d, n, block):
                calls = file.read(np.s_[:, start:stop], dtype="int8", order="C")
                yield np.where(calls < 0, MISSING, calls).astype(np.uint8)

    chromosome, ids, _, position, allele_1, allele_2 = zip(*rows, strict=True) if rows else [()] * 6
    variants = Variants(
        _text(chromosome), _positions(position, bim), _text(allele_1), _text(allele_2)
    )
    people = [(family, name) for family, name, *_ in samples]
    return Content(people, map(pack, blocks()), ids, variants)


def _require_padding(path: Path, n: int, d: int, fam: Path) -> None:
    """Refuse calls behind the last sample's: the size does not show up to three more samples."""
    width = -(-n // 4)
    at_once = max(1, BLOCK // width)
    with path.open("rb") as file:
        file.seek(3)
        for start in range(0, d, at_once):
            part = np.frombuffer(file.read(width * min(at_once, d - start)), np.uint8)
            if (part[width - 1 :: width] >> 2 * (n % 4)).any():
                raise HebaeError(
                    f"{path} holds calls of more samples than the {n:,} in {fam.name}: the files "
                    "do not belong together."
                )


# PLINK 2 ----------------------------------------------------------------------------------------


def read_pgen(path: Path, block: int = BLOCK) -> Content:
    """Read a .pgen file with its .pvar and .psam; calls count the alternative allele."""
    pgenlib = package("pgenlib", path)
    psam, pvar = (_companion(path, suffix) for suffix in (".psam", ".pvar"))
    people = _columns(psam, ("#FID", "#IID"), ("IID",))
    table = _columns(pvar, ("#CHROM",), ("CHROM", "POS", "ID", "REF", "ALT"))
    names = people["IID"]
    n, total = len(names), len(table["ID"])
    alleles = np.array([2 + text.count(",") for text in table["ALT"]])
    kept = np.flatnonzero(alleles == 2).astype(np.uint32)
    require_memory(len(kept) * n // 4, str(path))  # of a few bytes, if nearly all calls are equal
    try:
        file = pgenlib.PgenReader(
            str(path).encode(),
            raw_sample_ct=n,
            variant_ct=total,
            allele_idx_offsets=np.concatenate([[0], alleles.cumsum()]).astype(np.uintp),
        )
    except (RuntimeError, OSError, ValueError) as error:
        reason = error.args[0].decode().strip() if isinstance(error.args[0], bytes) else error
        raise HebaeError(
            f"{path} cannot be read with {n:,} samples in {psam.name} and {total:,} variants in "
            f"{pvar.name} ({reason}): the three files must belong together."
        ) from None

    def blocks() -> Iterator[Calls]:
        for start, stop in _spans(len(kept), n, block):
            calls = np.empty((stop - start, n), np.int8)
            try:
                file.read_list(kept[start:stop], calls)
            except (RuntimeError, OSError, ValueError) as error:
                raise HebaeError(
                    f"{path} cannot be read ({error}): it is damaged or truncated."
                ) from None
            yield np.where(calls < 0, MISSING, calls).astype(np.uint8).T
        file.close()

    chosen = {name: [column[i] for i in kept] for name, column in table.items()}
    variants = Variants(
        _text(chosen["CHROM"]),
        _positions(chosen["POS"], pvar),
        _text(chosen["ALT"]),
        _text(chosen["REF"]),
    )
    samples = [*zip(people.get("FID") or [""] * n, names, strict=True)]
    return Content(samples, map(pack, blocks()), chosen["ID"], variants, total - len(kept))


# VCF --------------------------------------------------------------------------------------------


class _GenotypeTexts(dict[str, int]):
    """The number of alternative alleles in each text of GT, such as 0|1 or ./., seen so far."""

    def __missing__(self, text: str) -> int:
        alleles = text.replace("|", "/").split("/")
        if not 1 <= len(alleles) <= 2 or not set(alleles) <= {"0", "1", "."}:
            raise ValueError(f"{text} is not a genotype of one or two alleles 0 and 1")
        count = MISSING if "." in alleles else sum(map(int, alleles)) * 2 // len(alleles)
        self[text] = count
        return count


def read_vcf(path: Path, block: int = BLOCK) -> Content:
    """Read a VCF file; calls count the alternative allele, haploid ones twice.

    cyvcf2 is not used, since it refuses headers that others accept.
    """
    lines = enumerate(_lines(path), 1)
    header: list[str] = []
    for _, line in lines:
        if not line.startswith("##"):
            header = line.rstrip("\r\n").split("\t")
            break
    if [name.strip() for name in header[:9]][:1] != ["#CHROM"]:
        raise HebaeError(f"{path} has no line that begins with #CHROM: it is not a VCF file.")
    if len(header) < 10:
        raise HebaeError(
            f"{path} has no samples: a VCF file with the column FORMAT and one column per sample, "
            "with genotypes (GT), is needed."
        )
    names = [name.strip() for name in header[9:]]
    kept: list[tuple[str, str, str, str, str]] = []
    left_out = 0

    def blocks() -> Iterator[Calls]:
        nonlocal left_out
        codes = _GenotypeTexts()
        size = max(4, block // len(names) // 4 * 4)
        rows: list[Calls] = []
        for number, line in lines:
            fields = line.rstrip("\r\n").split("\t")
            if fields == [""]:
                continue
            if len(fields) != len(header):
                raise HebaeError(
                    f"{path}, line {number}, has {len(fields)} columns and the header "
                    f"{len(header)}: the file is damaged or truncated."
                )
            chromosome, position, id, reference, alternative = fields[:5]
            if "," in alternative:
                left_out += 1
                continue
            parts = fields[8].split(":")
            if "GT" not in parts:
                raise HebaeError(
                    f"{path}, line {number}, has no genotypes: its FORMAT is {fields[8]}, without "
                    "GT. Call genotypes first, for instance from likelihoods (PL) with bcftools "
                    "+tag2tag."
                )
            calls = fields[9:]
            if len(parts) > 1:
                place = parts.index("GT")
                calls = [call.split(":", place + 1)[place] for call in calls]
            try:
                rows.append(np.fromiter(map(codes.__getitem__, calls), np.uint8, len(calls)))
            except (ValueError, IndexError) as error:
                raise HebaeError(f"{path}, line {number}: {error}.") from None
            kept.append((id, chromosome, position, alternative, reference))
            if len(rows) == size:
                yield np.stack(rows, axis=1)
                rows.clear()
        if rows:
            yield np.stack(rows, axis=1)

    packed = [*map(pack, blocks())]  # the variants are known when the file was read
    columns = zip(*kept, strict=True) if kept else [()] * 5
    ids, chromosome, position, allele_1, allele_2 = columns
    variants = Variants(
        _text(chromosome), _positions(position, path), _text(allele_1), _text(allele_2)
    )
    return Content([("", name) for name in names], packed, ids, variants, left_out)


# Text files -------------------------------------------------------------------------------------


def _companion(path: Path, suffix: str) -> Path:
    """Return the file with the samples or variants, which may be compressed by plink2."""
    file = path.with_suffix(suffix)
    packed = path.with_suffix(f"{suffix}.zst")
    if not file.is_file() and packed.is_file():
        return packed
    if not file.is_file():
        raise HebaeError(
            f"{path} needs {file.name} (or {packed.name}) beside it, which does not exist: copy it "
            "there."
        )
    return file


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, which may be compressed by gzip, bgzip or zstd."""
    with reading(path, "it is damaged, truncated or of another format"):
        with path.open("rb") as raw:
            begin = raw.read(4)
        binary: Any
        if begin[:2] == b"\x1f\x8b":
            binary = decompressed(gzip.open(path), path, _ANY)  # type: ignore[arg-type]  # noqa: SIM115
        elif begin == b"\x28\xb5\x2f\xfd":
            zstandard = package("zstandard", path)
            # A truncated file just ends: the number of lines is compared with the calls.
            reader = zstandard.ZstdDecompressor().stream_reader
            stream = reader(path.open("rb"), read_across_frames=True, closefd=True)
            binary = decompressed(stream, path, _ANY)
        else:
            binary = path.open("rb")
        with io.TextIOWrapper(binary, encoding="utf-8") as file:
            number = 0
            while line := file.readline(_LONGEST):
                number += 1
                require_allowed(400 * number, str(path))  # what is kept of a variant or a person
                if len(line) == _LONGEST:
                    raise ValueError(f"a line has more than {_LONGEST:,} letters")
                yield line


def _fields(path: Path, least: int) -> list[list[str]]:
    """Return the fields of each line that is not empty, separated by white space."""
    rows = []
    for number, line in enumerate(_lines(path), 1):
        if fields := line.split():
            if len(fields) < least:
                raise HebaeError(
                    f"{path}, line {number}, has {len(fields)} of {least} columns: the file is "
                    "damaged or of another format."
                )
            rows.append(fields[:least])
    return rows


def _columns(path: Path, begins: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the columns of a PLINK 2 table by name."""
    header: list[str] = []
    rows = []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not header and fields and fields[0] in begins:
            header = [name.lstrip("#") for name in fields]
        elif not header and not line.startswith("##"):
            raise HebaeError(
                f"{path} has no header that begins with {' or '.join(begins)}: write it with "
                "plink2 --make-pgen."
            )
        elif header and fields:
            if len(fields) < len(header):
                raise HebaeError(
                    f"{path}, line {number}, has {len(fields)} of {len(header)} columns: the file "
                    "is damaged."
                )
            rows.append(fields)
    missing = [name for name in needed if name not in header]
    if missing or not rows:
        raise HebaeError(
            f"{path} has {'no column ' + ', '.join(missing) if missing else 'no rows'}: write it "
            "with plink2 --make-pgen."
        )
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def _spans(count: int, people: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of variants, each a multiple of 4 long except the last."""
    size = max(4, block // max(1, people) // 4 * 4)
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _positions(texts: Sequence[str], path: Path) -> npt.NDArray[np.int64]:
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError) as error:
        raise HebaeError(
            f"{path} has a position that is not a whole number ({error}): correct it."
        ) from None


def _text(texts: Sequence[str]) -> npt.NDArray[np.str_]:
    return np.array(texts, np.str_)
