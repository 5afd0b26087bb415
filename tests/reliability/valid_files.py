"""Valid files of every kind that hebae reads, and how a command uses them."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hebae import hub
from hebae.config import Settings, resolve
from hebae.data import load
from hebae.experiments import trials
from hebae.experiments.measure import Record
from hebae.experiments.measurement import Measurement
from hebae.experiments.runner import ExperimentFolder
from hebae.experiments.search_space import parse_space
from hebae.files import sha256_of
from hebae.inference import encode
from hebae.run_folder import RunFolder
from hebae.samplers import fitted_samplers, read_samplers
from hebae.storage import load_model
from hebae.training import session
from hebae.training.state import Checkpointer


class Kind(NamedTuple):
    """A kind of file: the mutated one, in a folder with the files that belong to it."""

    target: str
    files: dict[str, bytes]
    read: Callable[[Path], object]
    """Uses the folder as a command would."""


def _data(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        dataset = load(folder / name if name else folder)
        return dataset.train.rows(slice(0, 4)), dataset.notes

    return read


def _bytes(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write(path)
        return path.read_bytes()


def kinds_of_data() -> dict[str, Kind]:
    """Return small valid files of each format."""
    import h5py
    import pandas
    import zstandard
    from anndata import AnnData
    from bed_reader import to_bed
    from pgenlib import PgenWriter
    from scipy import sparse
    from scipy.io import mmwrite, savemat

    rng = np.random.default_rng(0)
    x = rng.random((12, 5), dtype=np.float32)
    pixels = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    counts = sparse.csr_matrix(rng.poisson(0.5, (12, 5)).astype(np.float32))

    def image(number: int, form: str) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels[number]).save(stream, form)
        return stream.getvalue()

    images = {f"{number}.png": image(number, "png") for number in range(3)}

    def tar(mode: str) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            with tarfile.open(path, mode) as archive:
                for name, content in images.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))

        return write

    def zipped(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in images.items():
                archive.writestr(name, content)

    def idx(array: np.ndarray) -> bytes:
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        return gzip.compress(header + array.tobytes())

    grey, labels = pixels[..., 0], np.arange(6, dtype=np.uint8)
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    arrays = (grey, labels, grey, labels)
    digits = {f"{name}-ubyte.gz": idx(part) for name, part in zip(names, arrays, strict=True)}
    frame = pandas.DataFrame(x, columns=list("abcde")).assign(kind=["u", "v", "w"] * 4)
    with tempfile.TemporaryDirectory() as folder:
        calls = rng.integers(0, 3, (12, 5)).astype(np.int8)
        to_bed(Path(folder) / "x.bed", calls)
        genotypes = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pgen"
        with PgenWriter(bytes(path), 12, variant_ct=5) as writer:
            for row in calls.T:
                writer.append_biallelic(np.ascontiguousarray(row))
        pvar = "#CHROM\tPOS\tID\tREF\tALT\n"
        pvar += "".join(f"1\t{n}\trs{n}\tA\tC\n" for n in range(1, 6))
        psam = "#IID\tSEX\n" + "".join(f"p{n}\tNA\n" for n in range(12))
        plink2 = {"x.pgen": path.read_bytes(), "x.psam": psam.encode()}
        plink2["x.pvar.zst"] = zstandard.compress(pvar.encode())
    vcf = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
    vcf += "".join(f"1\t{n}\trs{n}\tA\tC\t.\t.\t.\tGT\t0/1\t1|1\n" for n in range(1, 6))
    cells = AnnData(counts, obs=pandas.DataFrame({"batch": list("xy") * 6}, list("abcdefghijkl")))
    cells.var_names = list("vwxyz")

    genes = [f"ENS{n}\t{name}\tGene Expression" for n, name in enumerate("vwxyz")]
    barcodes = [f"cell{n}" for n in range(12)]
    parts = {
        "matrix.mtx.gz": _bytes(lambda path: mmwrite(path, counts.T.tocoo()), ".mtx"),
        "features.tsv.gz": "\n".join(genes).encode(),
        "barcodes.tsv.gz": "\n".join(barcodes).encode(),
    }
    cell_ranger = {name: gzip.compress(content) for name, content in parts.items()}

    def hdf5(path: Path) -> None:
        columns = counts.T.tocsc()
        with h5py.File(path, "w") as written:
            group = written.create_group("matrix")
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(columns, name)
            group["shape"] = columns.shape
            group["barcodes"] = [name.encode() for name in barcodes]
            for place, name in enumerate(("id", "name", "feature_type")):
                group[f"features/{name}"] = [gene.split("\t")[place].encode() for gene in genes]

    binary = _bytes(lambda path: savemat(path, {"X": rng.integers(0, 2, (4, 784))}), ".mat")
    binary_names = [f"binarized_mnist_{split}.mat" for split in ("train", "valid", "test")]

    def file(suffix: str, content: bytes) -> Kind:
        return Kind(f"x{suffix}", {f"x{suffix}": content}, _data(f"x{suffix}"))

    found = {
        "npy": file(".npy", _bytes(lambda path: np.save(path, x), ".npy")),
        "npz": file(".npz", _bytes(lambda p: np.savez(p, x_train=x, x_test=x), ".npz")),
        "sparse": file(".npz", _bytes(lambda p: sparse.save_npz(p, counts), ".npz")),
        "csv": file(".csv", frame.to_csv(index=False).encode()),
        "csv.gz": file(".csv.gz", gzip.compress(frame.to_csv(index=False).encode())),
        "parquet": file(".parquet", frame.to_parquet()),
        "h5ad": file(".h5ad", _bytes(cells.write_h5ad, ".h5ad")),
        "vcf": file(".vcf", vcf.encode()),
        "tar": file(".tar", _bytes(tar("w"), ".tar")),
        "tar.gz": file(".tar.gz", _bytes(tar("w:gz"), ".tar.gz")),
        "zip": file(".zip", _bytes(zipped, ".zip")),
        "idx": Kind(f"{names[0]}-ubyte.gz", digits, _data("")),
        "labels": Kind(f"{names[1]}-ubyte.gz", digits, _data("")),
        "mat": Kind(binary_names[0], dict.fromkeys(binary_names, binary), _data("")),
        "10x.h5": file(".h5", _bytes(hdf5, ".h5")),
    }
    for name in cell_ranger:
        found[name] = Kind(name, cell_ranger, _data(""))
    for name in ("bed", "bim", "fam"):
        found[name] = Kind(f"x.{name}", genotypes, _data("x.bed"))
    for name in ("pgen", "psam", "pvar.zst"):
        found[name] = Kind(f"x.{name}", plink2, _data("x.pgen"))
    for form in ("png", "jpeg", "gif", "bmp", "tiff", "webp"):
        target = f"7.{form}"
        found[form] = Kind(target, images | {target: image(4, form)}, _data(""))
    return found


def kinds_of_runs(folder: Path) -> dict[str, Kind]:
    """Train a tiny model into `folder`; return the files of its run, each with all others."""
    dataset = load(np.random.default_rng(0).random((64, 6)).astype(np.float32))
    settings = Settings(
        method="vae", latent_dim=2, encoder_widths=(4,), decoder_widths=(4,), batch_size=32,
        epochs=2, device="cpu", early_stopping=1,
    )  # fmt: skip
    prepared = session.prepare(settings, dataset)
    session.run(prepared, folder)
    model, _ = load_model(folder)
    fitted_samplers(folder, model, lambda: dataset.train, names=("mixture",))
    identity = {"weights": sha256_of(folder / "model.safetensors"), "data": "d", "examples": "e"}
    one = Measurement(id="elbo", name="ELBO", value=1.5, counts={"examples": 3}, arrays={"a": [1]})
    Record(folder / "evaluation.json", identity).add("elbo", {"n": 1}, 1, [one], {"a": "b"}, 0.1)
    board = ExperimentFolder(folder, "leaderboard", {"budget": "small"})
    planned = {label: prepared.settings.replace(seed=seed) for seed, label in enumerate("ab")}
    board.write_mark({}, planned)
    study = trials.Study(
        prepared.settings, dataset, parse_space(["latent_dim=2,3"], settings), "elbo"
    )
    of_optuna = trials.open_study(study, folder)
    for value in (1.5, -2.5):
        trial = of_optuna.ask()
        study.space[0].suggest(trial)
        trial.report(value, 2)
        of_optuna.tell(trial, value)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}

    def reload(path: Path) -> object:
        loaded, _ = load_model(path)
        return encode(loaded, dataset.train)

    def resume(path: Path) -> object:
        run = RunFolder(path)
        checkpointer = Checkpointer(run, dataset.fingerprint, prepared.settings, True)
        checkpointer.check(prepared.model)
        longer = session.prepare(prepared.settings.replace(epochs=3), dataset)
        return session.run(longer, path, resuming=True)

    def measurements(path: Path) -> object:
        found = Record(path / "evaluation.json", identity).find("elbo", {"n": 1}, 1)
        return [format(one.value, one.format) for one in found or () if one.value is not None]

    def repository(path: Path) -> object:
        (path / "hub").mkdir()
        return hub.prepare_repository(path, path / "hub", "owner/name")

    def history(path: Path) -> object:
        numbers = [n for one in RunFolder(path).history() for n in one["train"].values()]
        return [f"{number:.2f}" for number in numbers if number is not None]

    def tuned(path: Path) -> object:
        return [
            (f"{one.value:.4g}", {k: f"{v:.3g}" for k, v in one.intermediate_values.items()})
            for one in trials.open_study(study, path).get_trials(deepcopy=False)
            if one.state.name == "COMPLETE"
        ]

    reads: dict[str, Callable[[Path], object]] = {
        "model.safetensors": reload,
        "config.json": reload,
        "config.yaml": lambda path: (
            RunFolder(path).settings().to_yaml(),
            resolve(config=path / "config.yaml"),
        ),
        "metrics.jsonl": history,
        "evaluation.json": measurements,
        "resume.pt": resume,
        "samplers.safetensors": lambda path: read_samplers(path, model),
        "provenance.json": lambda path: RunFolder(path).origins(),
        "leaderboard.json": lambda path: ExperimentFolder(path, "leaderboard").require_same(
            planned
        ),
        trials.JOURNAL: tuned,
    }
    found = {name: Kind(name, files, read) for name, read in reads.items()}
    for name in ("config.json", "evaluation.json", "provenance.json"):
        found[f"{name} for the Hub"] = Kind(name, files, repository)
    return found
