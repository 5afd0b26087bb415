"""Hostile files: valid ones of every kind that hebae reads, and seeded mutations of them.

As a program, `python hostile.py FOLDER SEED FIRST COUNT`, it reads so many mutated files and prints
one line of JSON; a process of its own, since what it looks for could end it.
"""

from __future__ import annotations

import ast
import faulthandler
import gzip
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from hebae.config import Settings, resolve
from hebae.data import load
from hebae.errors import HebaeError
from hebae.experiments.measure import Record
from hebae.experiments.measurement import Measurement
from hebae.inference import encode
from hebae.run_folder import RunFolder
from hebae.samplers import fitted_samplers, read_samplers
from hebae.storage import load_model
from hebae.training import session
from hebae.training.state import Checkpointer

SECONDS = 20
"""In which every file must be read or refused."""
MEMORY = 2**29
"""Bytes by which reading a file of some kilobytes may raise the largest use of memory."""
MARK = "exploited"
"""Name of the file that code in a mutated file would create."""


class Kind(NamedTuple):
    """A kind of file: the mutated one, in a folder with the files that belong to it."""

    target: str
    files: dict[str, bytes]
    read: Callable[[Path], object]
    """Uses the folder as a command would."""


class Bomb:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARK}",)


# ---- valid files --------------------------------------------------------------------------------


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
    import pandas
    from anndata import AnnData
    from bed_reader import to_bed
    from scipy import sparse

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
    parts = (grey, labels, grey, labels)
    digits = {f"{name}-ubyte.gz": idx(part) for name, part in zip(names, parts, strict=True)}
    frame = pandas.DataFrame(x, columns=list("abcde")).assign(kind=["u", "v", "w"] * 4)
    with tempfile.TemporaryDirectory() as folder:
        calls = rng.integers(0, 3, (12, 5)).astype(np.int8)
        to_bed(Path(folder) / "x.bed", calls)
        genotypes = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    vcf = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
    vcf += "".join(f"1\t{n}\trs{n}\tA\tC\t.\t.\t.\tGT\t0/1\t1|1\n" for n in range(1, 6))
    cells = AnnData(counts, obs=pandas.DataFrame({"batch": list("xy") * 6}, list("abcdefghijkl")))
    cells.var_names = list("vwxyz")

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
    }
    for name in ("bed", "bim", "fam"):
        found[name] = Kind(f"x.{name}", genotypes, _data("x.bed"))
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
    identity = {"weights": "w", "data": "d", "examples": "e"}
    one = Measurement(id="elbo", name="ELBO", value=1.5, counts={"examples": 3}, arrays={"a": [1]})
    Record(folder / "evaluation.json", identity).add("elbo", {"n": 1}, 1, [one], {"a": "b"}, 0.1)
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
        return [f"{one.value:.3g}" for one in found or () if one.value is not None]

    def history(path: Path) -> object:
        numbers = [n for one in RunFolder(path).history() for n in one["train"].values()]
        return [f"{number:.2f}" for number in numbers if number is not None]

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
    }
    return {name: Kind(name, files, read) for name, read in reads.items()}


# ---- mutations ----------------------------------------------------------------------------------

OUTSIDE = ["../../evil.png", "/tmp/evil.png", "a\nb.png", "x/../y.png"]
EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
WORDS = [
    *(b"", b"NaN", b"-1", b"1e999", b"-0", b"null", b"true", b"[]", b"{}", b'"', b"\0", b"\n\n"),
    *(b"9" * 5000, b"[" * 5000, b"{" * 5000, b'[{"a":' * 20000, b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"2001-99-99", b"!!int x", b"!!python/object/apply:os.system [touch exploited]"),
    *(b"&a [*a, *a]", b"../" * 30 + b"etc/passwd", b"a" * 10**5, b"1:59:59" + b":59" * 3000),
    *("\u202e\U0001f600".encode(), b"0x" + b"f" * 6000, b"<<: *a", b"Infinity", b"(True, 36)"),
]


def mutate(content: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Change one thing in a file, or up to four."""
    for _ in range(1 if rng.random() < 0.6 else int(rng.integers(2, 5))):
        content = _change(bytearray(content), others, rng)
    return content


def _change(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytes:
    size = max(1, len(content))
    # Half of the changes are near the beginning, where most formats say what follows.
    place = int(rng.integers(0, min(size, 200) if rng.random() < 0.5 else size))
    length = int(rng.integers(1, 2 + size // 4))
    match int(rng.integers(0, 11)):
        case 0 | 1 if content:
            content[place] ^= 1 << int(rng.integers(0, 8))
        case 2:
            content[place : place + length] = rng.bytes(min(length, 64))
        case 3 | 4:
            width = int(rng.choice([1, 2, 4, 8]))
            value = EXTREMES[int(rng.integers(0, len(EXTREMES)))] % 2 ** (8 * width)
            order = "little" if rng.random() < 0.5 else "big"
            content[place : place + width] = value.to_bytes(width, order)
        case 5:
            del content[place:]
        case 6:
            del content[place : place + length]
        case 7:
            content[place:place] = content[:length]
        case 8:
            content[place:place] = WORDS[int(rng.integers(0, len(WORDS)))]
        case 9:  # in place of a number or word, where the file is text
            tokens = list(re.finditer(rb"[\w.+-]+", bytes(content[:20_000])))
            if tokens:
                begin, end = tokens[int(rng.integers(0, len(tokens)))].span()
                content[begin:end] = WORDS[int(rng.integers(0, len(WORDS)))]
        case 10:
            other = others[int(rng.integers(0, len(others)))]
            content[place:] = other[min(place, len(other)) :]
    return bytes(content)


def mutated_members(content: bytes, rng: np.random.Generator) -> bytes:
    """Change what is in a zip file, so that its checksums are right and its content is not."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    chosen, stream = int(rng.integers(0, len(members))), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as new:
        for number, (info, part) in enumerate(members):
            name = info.filename
            if number == chosen:
                part = mutate(part, [part], rng)
                if rng.random() < 0.1:
                    name = str(
                        rng.choice(["../../evil.png", "/tmp/evil.png", "a\nb.png", "x/../y"])
                    )
            new.writestr(name, part, info.compress_type)
    return stream.getvalue()


def mutated_state(content: bytes, rng: np.random.Generator) -> bytes:
    """Put values of other kinds into a checkpoint, now and then code."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    values: list[Any] = [None, -1, 2**62, 1e308, "x", [], {}, [None], torch.zeros(0), (1, 2)]
    values += [torch.zeros(1).expand(2**40), torch.full((3,), float("nan")), Bomb(), float("nan")]
    part: Any = state
    while True:
        keys = list(part) if isinstance(part, dict) else range(len(part))
        key = keys[int(rng.integers(0, len(keys)))]
        inner = part[key]
        deeper = isinstance(inner, dict | list) and len(inner) > 0
        if not deeper or rng.random() < 0.3:
            part[key] = values[int(rng.integers(0, len(values)))]
            break
        part = inner
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def hostile(kind: Kind, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Return a mutated file of a kind."""
    content = kind.files[kind.target]
    if content[:4] == b"PK\3\4" and rng.random() < 0.6:
        is_state = kind.target == "resume.pt" and rng.random() < 0.7
        return (mutated_state if is_state else mutated_members)(content, rng)
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.6:
        return gzip.compress(mutate(gzip.decompress(content), others, rng), 1)
    return mutate(content, others, rng)


# ---- the harness --------------------------------------------------------------------------------


class TookTooLong(BaseException):
    """Not an Exception, so that no reader takes it for a damaged file."""


def attempt(kind: Kind, content: bytes, folder: Path) -> str:
    """Read a file in a new folder: "read", "refused", or what must not happen."""
    sandbox = folder / "sandbox"
    shutil.rmtree(sandbox, ignore_errors=True)
    sandbox.mkdir(parents=True)
    for name, other in kind.files.items():
        (sandbox / name).write_bytes(content if name == kind.target else other)

    def stop(*_: object) -> None:
        raise TookTooLong

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(sandbox)
        outcome = "read"
    except HebaeError as error:
        text = str(error)
        outcome = "refused" if 10 < len(text) < 3000 and "Traceback" not in text else f"says {text}"
    except TookTooLong:
        outcome = "hangs"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > MEMORY:
        outcome = f"takes {grown / 1e6:,.0f} MB"
    if list(folder.rglob(MARK)) or Path(MARK).exists():
        outcome = "runs code"
    foreign = {path.name for path in folder.iterdir()} - {"sandbox", "cache", "run"}
    if foreign or Path("/tmp/evil.png").exists():
        outcome = "writes outside of its folder"
    return outcome


def run(
    folder: Path, seed: int, first: int, count: int, log: Callable[[str], object]
) -> dict[str, Any]:
    """Read mutated files number `first` to `first + count - 1`, of all kinds in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HEBAE_CACHE_DIR"] = str(folder / "cache")
    os.chdir(folder)
    shutil.rmtree(folder / "run", ignore_errors=True)
    kinds = kinds_of_data() | kinds_of_runs(folder / "run")
    names = list(kinds)
    everything = [kind.files[kind.target] for kind in kinds.values()]
    for name, kind in kinds.items():
        outcome = attempt(kind, kind.files[kind.target], folder)
        assert outcome == "read", f"{name} unchanged: {outcome}"
    counts: dict[str, dict[str, int]] = {name: {"read": 0, "refused": 0} for name in names}
    failures = []
    started = time.monotonic()
    for number in range(first, first + count):
        name = names[number % len(names)]
        rng = np.random.default_rng([seed, number])
        log(f"{number} {name}")
        outcome = attempt(kinds[name], hostile(kinds[name], rng, everything), folder)
        if outcome in counts[name]:
            counts[name][outcome] += 1
        else:
            failures.append([number, name, outcome])
        if number % 200 == 0:
            shutil.rmtree(folder / "cache", ignore_errors=True)
    seconds = round(time.monotonic() - started, 1)
    return {"counts": counts, "failures": failures, "seconds": seconds}


if __name__ == "__main__":
    faulthandler.enable()
    place = Path(sys.argv[1]).absolute()
    numbers = [ast.literal_eval(word) for word in sys.argv[2:5]]
    place.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.log").open("w") as progress:

        def note(text: str) -> None:
            progress.seek(0)
            progress.write(text + "\n")
            progress.truncate()
            progress.flush()

        print(json.dumps(run(place, *numbers, note)))
