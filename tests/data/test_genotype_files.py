"""Genotype files: what is read of files made on the spot, and what is refused."""

import gzip
import re
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from hebae import data
from hebae.data import genotypes
from hebae.data.alignment import aligned
from hebae.data.examples import blocks
from hebae.data.packed import MISSING, PackedGenotypes, pack
from hebae.data.schema import Seen, Variants
from hebae.errors import HebaeError, MissingPackage
from hebae.training.likelihood import choose_likelihood

pytest.importorskip("bed_reader")

PEOPLE, LOCI = 11, 6
CALLS = np.random.default_rng(0).integers(0, 4, (PEOPLE, LOCI)).astype(np.uint8)
CALLS[0] = MISSING, 0, 1, 2, 2, 1
VARIANTS = Variants(
    np.array(["1", "1", "2", "2", "X", "X"]),
    np.array([5, 9, 2, 4, 8, 10]),
    np.array(list("ACGTAC")),
    np.array(list("GTACGT")),
)
IDS = [f"person{i}" for i in range(PEOPLE)]
NAMES = [f"rs{i}" for i in range(LOCI)]


@pytest.fixture
def bed(tmp_path):
    path = tmp_path / "people.bed"
    values = np.where(CALLS == MISSING, np.nan, CALLS)
    genotypes.write_bed(path, values, IDS, NAMES, VARIANTS)
    return path


def check(dataset, calls=CALLS):
    train = dataset.train
    missing = np.zeros_like(calls, bool) if train.missing is None else train.missing[:]
    np.testing.assert_array_equal(missing, calls == MISSING)
    np.testing.assert_array_equal(train.values[:][~missing], calls[~missing])
    assert train.values[:].max() <= 2
    assert train.values.dtype == np.uint8


def test_bed_files_are_read_as_they_were_written(bed):
    dataset = data.load(bed, validation_size=0)
    check(dataset)
    assert dataset.train.ids.tolist() == IDS
    assert dataset.train.feature_names == tuple(NAMES)
    for found, values in zip(arrays_of(dataset.variants), arrays_of(VARIANTS), strict=True):
        np.testing.assert_array_equal(found, values)
    assert data.load(bed).variants is not None  # after validation examples were set aside
    assert sorted(p.name for p in bed.parent.iterdir()) == [
        "people.bed",
        "people.bim",
        "people.fam",
    ]


def test_calls_of_a_bed_file_count_allele_1(tmp_path):
    # The specification's bits, lowest first: 00 two of allele 1, 01 missing, 10 one, 11 none.
    path = tmp_path / "tiny.bed"
    path.write_bytes(b"\x6c\x1b\x01" + bytes([0b11_10_01_00, 0b11]))
    path.with_suffix(".bim").write_text("1\trs1\t0\t7\tA\tG\n")
    path.with_suffix(".fam").write_text("".join(f"f p{i} 0 0 0 -9\n" for i in range(5)))
    dataset = data.load(path, validation_size=0)
    check(dataset, np.array([[2], [MISSING], [1], [0], [0]], np.uint8))
    assert dataset.variants.allele_1.tolist() == ["A"]


def test_large_files_stay_packed_and_give_the_same_rows(bed):
    dataset = genotypes.load_genotypes(bed, largest_dense=0, block=4 * PEOPLE)  # several blocks
    assert isinstance(dataset.train.values, PackedGenotypes)
    check(dataset)
    rows = np.array([7, 2, 2])
    part = dataset.train[rows]
    assert isinstance(part.values, PackedGenotypes)
    check(type("Part", (), {"train": part}), CALLS[rows])
    assert part.ids.tolist() == ["person7", "person2", "person2"]
    split = data.load(bed)
    assert (len(split.train), len(split.validation)) == (10, 1)
    joined = [row for examples in (split.train, split.validation) for row in examples.values[:]]
    assert len(joined) == PEOPLE
    assert sum(map(len, blocks(split.train.values))) == 10


def copies(variants, order=slice(None)):
    """Variants with room for any text."""
    return Variants(*(values.astype(object)[order].copy() for values in arrays_of(variants)))


def arrays_of(variants):
    return [getattr(variants, field.name) for field in fields(Variants)]


ALLELES = dict(zip(NAMES, zip(VARIANTS.allele_1, VARIANTS.allele_2, strict=True), strict=True))


@pytest.mark.parametrize("dense", [True, False])
def test_variants_of_a_model_are_found_and_count_the_same_alleles(bed, dense):
    dataset = genotypes.load_genotypes(bed, **({} if dense else {"largest_dense": 0}))
    order = np.array([4, 0, 5])
    wanted = copies(VARIANTS, order)
    wanted.allele_1[0], wanted.allele_2[0] = ALLELES["rs4"][::-1]  # the other allele is counted
    wanted.chromosome[:2] = "chr23", "0"
    wanted.position[2] = 0  # unknown
    seen = Seen("whole numbers", ("rs4", "unknown id", "rs5"), variants=wanted.texts)
    notes = []
    for examples in (dataset.train, data.load(dataset, validation_size=1).train[:5]):
        rows = [IDS.index(person) for person in examples.ids]
        calls = CALLS[rows][:, order]
        expected = np.column_stack([2 - calls[:, 0].astype(int), calls[:, 1:]])
        expected[calls == MISSING] = MISSING
        found = aligned(
            examples, replace(seen, feature_names=("rs4", "rs0", "rs5")), "x", notes.append
        )
        check(type("Found", (), {"train": found}), expected)
        assert found.feature_names == ("rs4", "rs0", "rs5")
        assert found.variants.position.tolist() == [8, 5, 10]
        assert found.variants.allele_1.tolist() == [ALLELES["rs4"][1], "A", "C"]
    assert notes[0] == (
        "1 of the 3 variants of x count the other allele than in training; their genotypes were "
        "recoded."
    )
    wanted.chromosome[1] = "1"  # now its place and alleles are known, and its id is not needed
    found = aligned(examples, replace(seen, variants=copies(wanted).texts), "x")
    np.testing.assert_array_equal(
        found.rows(slice(None)), [[np.nan if e == 3 else e for e in row] for row in expected]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allele_1": "T", "allele_2": "C"}, "rs1 has the alleles C and T.*and T and C|strand"),
        ({"allele_1": "C", "allele_2": "A"}, r"rs1 has the alleles C and T in x, but C and A in"),
        ({"position": 10}, r"rs1 is at 1:9 in x, but at 1:10 in the training data: .*build"),
        ({"chromosome": "3"}, "rs1 is at 1:9 in x, but at 3:9"),
    ],
)
def test_variants_with_other_places_or_alleles_are_named(bed, changes, message):
    train = data.load(bed).train
    variants = copies(VARIANTS)
    for field, value in changes.items():
        getattr(variants, field)[1] = value
    seen = replace(train.seen, variants=variants.texts)
    if changes == {"allele_1": "T", "allele_2": "C"}:  # of the same two
        assert aligned(train, seen, "x").variants.allele_1[1] == "T"
        return
    with pytest.raises(HebaeError, match=message):
        aligned(train, seen, "x")
    with pytest.raises(HebaeError, match=r"x lacks 2 of the 8 variants .* such as rs9, rs10\."):
        names = (*NAMES, "rs9", "rs10")
        more = (*train.seen.variants, "9 1 A C", "9 2 A C")
        aligned(train, replace(train.seen, feature_names=names, variants=more), "x")


def test_a_model_encodes_a_file_that_counts_other_alleles_alike(hebae, bed, tmp_path):
    assert (
        hebae("train", "--data", bed, "--latent-dim", 2, "--epochs", 1, "--output", "run").status
        == 0
    )
    swapped = tmp_path / "swapped.bed"
    variants = replace(VARIANTS, allele_1=VARIANTS.allele_2, allele_2=VARIANTS.allele_1)
    values = np.where(CALLS == MISSING, np.nan, 2.0 - CALLS)
    genotypes.write_bed(
        swapped,
        values[:, ::-1],
        IDS,
        NAMES[::-1],
        Variants(*(v[::-1] for v in arrays_of(variants))),
    )
    for path, codes in ((bed, "a.npy"), (swapped, "b.npy")):
        result = hebae("encode", "run", "--data", path, "--output", codes)
        assert result.status == 0, result.err
    assert "6 of the 6 variants of swapped.bed count the other allele" in result.out + result.err
    np.testing.assert_allclose(np.load("a.npy"), np.load("b.npy"), rtol=1e-5)
    edit(swapped.with_suffix(".bim"), "rs3", "other")
    result = hebae("encode", "run", "--data", swapped)
    edit(swapped.with_suffix(".bim"), "\t2\t", "\t77\t")
    result = hebae("encode", "run", "--data", swapped)
    assert result.status == 2 and "rs2 is at 2:77" in result.err


def test_packed_rows_behave_like_those_of_an_array():
    calls = np.random.default_rng(1).integers(0, 4, (6, 9)).astype(np.uint8)
    packed = pack(calls)
    assert packed.shape == (6, 3)
    values, missing = (PackedGenotypes(packed, 9, mask=mask) for mask in (False, True))
    assert (values.shape, values.nbytes, missing.dtype) == ((6, 9), 54, np.bool_)
    for index in (slice(1, 4), np.array([5, 0]), 3, np.arange(6) % 2 == 0):
        np.testing.assert_array_equal(missing[index], calls[index] == MISSING)
        np.testing.assert_array_equal(values[index], np.where(calls == MISSING, 0, calls)[index])
        if not isinstance(index, int):
            np.testing.assert_array_equal(values.select(index)[:], values[index])


def test_genotypes_are_binomial_even_if_no_variant_is_homozygous(bed):
    genotypes.write_bed(bed, CALLS % 2, IDS, NAMES, VARIANTS)
    train = data.load(bed).train
    assert choose_likelihood(train, [], "people") == ("binomial", "the data are genotypes")


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new, 1))


def last_line(path):
    return path.read_text().splitlines(keepends=True)[-1]


BAD_BED = {
    "without .bim": (
        lambda p: p.with_suffix(".bim").unlink(),
        r"needs people\.bim \(or people\.bim\.zst\) beside it",
    ),
    "without .fam": (
        lambda p: p.with_suffix(".fam").unlink(),
        r"needs people\.fam \(or .*beside it",
    ),
    "fewer samples": (
        lambda p: edit(p.with_suffix(".fam"), p.with_suffix(".fam").read_text()[:100], ""),
        r"21 bytes, but \d samples in people\.fam and 6 variants in people\.bim take 15",
    ),
    "one sample less": (
        lambda p: edit(p.with_suffix(".fam"), last_line(p.with_suffix(".fam")), ""),
        r"calls of more samples than the 10 in people\.fam",
    ),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-1]), r"20 bytes, but 11 samples"),
    "intervals": (lambda p: p.write_text("chr1\t5\t9\n"), "genome intervals"),
    "sample twice": (
        lambda p: edit(p.with_suffix(".fam"), "person3 person3", "person2 person2"),
        r"2 samples with the id person2_person2 \(numbers 3, 4\)",
    ),
    "variant twice": (
        lambda p: edit(p.with_suffix(".bim"), "rs4", "rs1"),
        r"2 variants with the id rs1 \(numbers 2, 5\).*plink2 --set-all-var-ids",
    ),
    "damaged .bim": (lambda p: edit(p.with_suffix(".bim"), "\tC\tT", ""), r"line 2, has 4 of 6"),
    "position": (lambda p: edit(p.with_suffix(".bim"), "\t9\t", "\tx\t"), "not a whole number"),
}


@pytest.mark.parametrize(("spoil", "words"), BAD_BED.values(), ids=BAD_BED)
def test_bad_bed_files_are_refused_in_one_sentence(bed, spoil, words):
    edit(bed.with_suffix(".fam"), "\t", " ")
    bed.with_suffix(".fam").write_text(bed.with_suffix(".fam").read_text().replace("\t", " "))
    spoil(bed)
    with pytest.raises(HebaeError, match=words):
        data.load(bed)


def test_people_who_share_an_id_are_named_with_their_family(bed):
    fam = bed.with_suffix(".fam")
    fam.write_text("".join(f"family{i} 1 0 0 0 -9\n" for i in range(PEOPLE)))
    assert data.load(bed, validation_size=0).train.ids[2] == "family2_1"


VCF = """##fileformat=VCFv4.2
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO    	FORMAT	a	b	c
1	10	rs1	A	G	.	PASS	.	GT	0|0	0/1	1|1
1	20	.	C	T,G	.	PASS	.	GT	0|0	0/2	1|1
1	30	.	C	T	.	PASS	.	DP:GT:GQ	3:./.:9	3:1|0:9	3:.|1:9
X	40	rs4	C	<DEL>	.	PASS	.	GT:GQ	1	0	.:3

"""


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz"])
def test_vcf_files_count_the_alternative_allele(tmp_path, suffix):
    path = tmp_path / f"birds{suffix}"
    path.write_bytes(gzip.compress(VCF.encode()) if suffix == ".vcf.gz" else VCF.encode())
    dataset = data.load(path)
    check(dataset, np.array([[0, 3, 2], [1, 1, 0], [2, 3, 3]], np.uint8))
    assert dataset.train.ids.tolist() == ["a", "b", "c"]
    assert dataset.train.feature_names == ("rs1", "1:30:C:T", "rs4")
    assert dataset.variants.position.tolist() == [10, 30, 40]
    assert dataset.notes == (
        f"1 variants of {path.name} have more than two alleles and were left out.",
    )


BAD_VCF = {
    "no GT": (
        "GT\t0|0\t0/1\t1|1\n1",
        "PL\t0\t0\t0\n1",
        "line 4, has no genotypes: its FORMAT is PL",
    ),
    "no samples": (VCF[VCF.index("\tFORMAT\t") :], "\n", "has no samples"),
    "no header": ("#CHROM", "CHROM", "no line that begins with #CHROM"),
    "short line": ("\t0/1\t1|1\n", "\n", "line 4, has 10 columns and the header 12"),
    "polyploid": ("0/1", "0/1/1", r"line 4: 0/1/1 is not a genotype"),
    "allele 2": ("0/1", "0/2", "line 4: 0/2 is not a genotype"),
    "sample twice": ("\ta\tb", "\ta\ta", r"2 samples with the id a \(numbers 1, 2\)"),
    "position": ("\t10\t", "\tten\t", "not a whole number"),
    "one kind": ("\tG\t", "\tG,C\t", None),
}


@pytest.mark.parametrize(("old", "new", "words"), BAD_VCF.values(), ids=BAD_VCF)
def test_bad_vcf_files_are_refused_in_one_sentence(tmp_path, old, new, words):
    path = tmp_path / "birds.vcf"
    path.write_text(VCF.replace(old, new, 1))
    if words is None:
        assert "2 variants" in data.load(path).notes[0]
        return
    with pytest.raises(HebaeError, match=words):
        data.load(path)


def test_a_truncated_compressed_file_is_refused(tmp_path):
    path = tmp_path / "birds.vcf.gz"
    path.write_bytes(gzip.compress(VCF.encode())[:-30])
    with pytest.raises(HebaeError, match="damaged, truncated"):
        data.load(path)


def test_pgen_files_count_the_alternative_allele(tmp_path):
    pgenlib = pytest.importorskip("pgenlib")
    path = tmp_path / "people.pgen"
    with pgenlib.PgenWriter(str(path).encode(), PEOPLE, variant_ct=LOCI) as writer:
        for column in CALLS.T:
            writer.append_biallelic(np.where(column == MISSING, -9, column).astype(np.int8))
    rows = zip(VARIANTS.chromosome, VARIANTS.position, NAMES, strict=True)
    body = "".join(f"{c}\t{p}\t{name}\tG\tA\n" for c, p, name in rows)
    path.with_suffix(".pvar").write_text(f"##x\n#CHROM\tPOS\tID\tREF\tALT\n{body}")
    psam = path.with_suffix(".psam")
    psam.write_text("#FID\tIID\tSEX\n" + "".join(f"f\t{name}\t1\n" for name in IDS))
    dataset = data.load(path, validation_size=0)
    check(dataset)
    assert dataset.train.ids.tolist() == IDS
    assert dataset.variants.allele_1.tolist() == ["A"] * LOCI
    zstandard = pytest.importorskip("zstandard")
    pvar = path.with_suffix(".pvar")
    compressed = tmp_path / "people.pvar.zst"
    text = pvar.read_bytes()
    compressed.write_bytes(zstandard.compress(text))  # as plink2 --make-pgen vzs does
    pvar.unlink()
    assert data.load(path).variants.texts == dataset.variants.texts
    compressed.write_bytes(zstandard.compress(text[:40]) + zstandard.compress(text[40:]))
    assert data.load(path).train.feature_names == tuple(NAMES)
    compressed.write_bytes(zstandard.compress(text)[:-9] + b"no zstd!!")
    with pytest.raises(HebaeError, match=r"people\.pvar\.zst cannot be read|belong together"):
        data.load(path)
    pvar.write_bytes(text)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(HebaeError, match=r"people\.pgen cannot be read"):
        data.load(path)
    path.write_bytes(content)
    edit(psam, "f\tperson1\t1\n", "")
    with pytest.raises(HebaeError, match=r"10 samples in people\.psam and 6 variants"):
        data.load(path)
    edit(psam, "#FID\tIID", "FID\tIID")
    with pytest.raises(HebaeError, match="no header that begins with #FID or #IID"):
        data.load(path)
    psam.unlink()
    with pytest.raises(HebaeError, match=r"needs people\.psam .*beside it"):
        data.load(path)


def test_without_the_extra_the_message_says_what_to_install(bed, monkeypatch):
    monkeypatch.setitem(sys.modules, "bed_reader", None)
    with pytest.raises(MissingPackage, match=re.escape("pip install 'hebae[genomics]'")):
        data.load(bed)
