"""Hostile files: a valid load or one clear error, whatever they hold (`hostile` makes them)."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import hostile
import numpy as np
import pytest
from command_line import refused, small

import hebae as package
from hebae import HebaeError
from hebae.data import load
from hebae.files import read_json, require_plain
from hebae.run_folder import RunFolder
from hebae.yaml_files import read_mapping

SEED = 2026
SHORT, LONG, PARTS = 200, 20_000, 4


def test_mutated_files_are_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    found = hostile.run(tmp_path / "files", SEED, 0, SHORT, lambda name: None)
    assert not found["failures"], found["failures"]
    counts = found["counts"].values()
    assert sum(sum(count.values()) for count in counts) == SHORT
    assert sum(count["read"] for count in counts) > SHORT / 20  # mutations that reach the content


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_many_mutated_files_are_read_or_refused(tmp_path, part, count):
    size = LONG // PARTS
    command = [sys.executable, hostile.__file__, tmp_path / "files", SEED, part * size, size]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    last = (tmp_path / "files.log").read_text()
    assert done.returncode == 0, f"it crashed at {last}: {done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    for outcomes in found["counts"].values():
        count("mutated files", **outcomes)
    count("mutated files", faults=len(found["failures"]))
    assert not found["failures"], found["failures"]


# ---- made by hand -------------------------------------------------------------------------------


def npy(header: str, content: bytes = bytes(64)) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


ARRAYS = {
    "header cut short": npy("{'descr': '<f4', 'fort"),
    "2^63 rows": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808, 1)}"),
    "2^40 rows": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4)}"),
    "a truth value as shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 36)}"),
    "negative shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}"),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}", pickle.dumps([1])),
    "code as header": npy("__import__('os').system('touch exploited')"),
    "deep header": npy("(" * 9000),
    "empty": b"",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_lie_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npy").write_bytes(ARRAYS[name])
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("train.npy", ARRAYS[name])
    for suffix in ("npy", "npz"):
        with pytest.raises(HebaeError, match=rf"x\.{suffix}"):
            load(tmp_path / f"x.{suffix}")
    assert not (tmp_path / "exploited").exists()


LETTERS = list(itertools.pairwise("abcdefghijkl"))
YAML = {
    "a date that is none": "seed: 2001-99-99",
    "a tag": "seed: !!int x",
    "code": "seed: !!python/object/apply:os.system [touch exploited]",
    "many digits": f"seed: {'9' * 5000}",
    "sexagesimal": f"seed: 1{':59' * 3000}",
    "hexadecimal": f"seed: 0x{'f' * 9000}",
    "brackets": f"seed: {'[' * 5000}",
    "mappings": f"seed: {'{a: ' * 5000}",
    "laughs": "\n".join(["a: &a [x, x]", *(f"{b}: &{b} [{f'*{a},' * 9}]" for a, b in LETTERS)]),
    "itself": "seed: &a [*a]",
    "a list": "- 1\n- 2",
    "no text": "\x00\x01",
    "keys that are no text": "1: 2",
    "a tag of a date": "seed: !!timestamp abc",
    "a tag of a key": "!!bool x: 1",
    "a key twice": "seed: 0\nmethods:\n  vae: {epochs: 1}\nseed: 1",
    "a key twice, deeper": "methods:\n  vae: {epochs: 1, epochs: 2}",
}


@pytest.mark.parametrize("name", YAML)
def test_settings_that_are_none_are_refused(hebae, tmp_path, name):
    (tmp_path / "c.yaml").write_text(YAML[name])
    refused(hebae("train", "--config", "c.yaml", "--dry-run"), "c.yaml")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(YAML[name])
    result = hebae("show", "run")
    refused(result, "config.yaml")
    assert len(result.err) < 2000
    assert not (tmp_path / "exploited").exists()


def test_json_without_end_is_refused(tmp_path):
    path = tmp_path / "x.json"
    for text in ("[" * 100_000, '{"a":' * 100_000, f'{{"a": {"9" * 5000}}}', '{"a": 1e400', "\x80"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(HebaeError, match=r"x\.json .*restore it"):
            read_json(path, "restore it")
    with pytest.raises(ValueError, match="64 bits"):
        require_plain({"a": 2**64})


def test_the_line_of_a_key_that_is_there_twice_is_named(tmp_path):
    (tmp_path / "c.yaml").write_text("a: &x {b: 1}\nc: *x\nd: [*x, {b: 1}]\n")
    assert read_mapping(tmp_path / "c.yaml")["d"] == [{"b": 1}] * 2
    (tmp_path / "c.yaml").write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(HebaeError, match="line 3 gives a a second time"):
        read_mapping(tmp_path / "c.yaml")


METRICS = ("", "{}", "[]", "null\n", '{"epoch": 1}', '{"epoch": "1", "train": 5}', "{" * 10_000)


def test_show_and_others_take_a_damaged_run_folder(hebae, vectors, tmp_path):
    words = small(encoder_widths=4, decoder_widths=4, latent_dim=2, epochs=1)
    assert hebae("train", "--data", vectors, *words, "--output", "run").status == 0
    metrics = tmp_path / "run" / "metrics.jsonl"
    for text in METRICS:
        metrics.write_text(text)
        refused(hebae("show", "run"), "metrics.jsonl")
    record = {"epoch": 1, "step": 1, "seconds": 0.1, "learning_rate": 0.1}
    record |= {"train": {"objective": 1.0}, "held_out": {"objective": 1.0}}
    other = {name: record[name] for name in record if name != "held_out"}
    metrics.write_text(f"{json.dumps(other)}\n{json.dumps(record)}\n")
    assert "-" in hebae("show", "run").out  # in place of what the first line lacks
    evaluation = tmp_path / "run" / "evaluation.json"
    evaluation.write_text('{"of": 1, "metrics": {"moments": 3}}')
    refused(hebae("evaluate", "run"), "evaluation.json")
    (tmp_path / "run" / "diverged.txt").write_bytes(b"\xff\xfe")
    metrics.unlink()
    refused(hebae("show", "run"), "diverged.txt")


# ---- pipes, sizes and names ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x.h5ad", "x.vcf", "x.zip", "1.png"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    os.mkfifo(folder / name)
    outcome: list[object] = []

    def read() -> None:
        try:
            outcome.append(load(folder if name == "1.png" else folder / name))
        except HebaeError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert outcome, "it waits"
    assert "pipe" in str(outcome[0])


def test_pipes_in_a_run_folder_are_refused(hebae, tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "config.json")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"x")
    refused(hebae("sample", "run"), "config.json", "pipe")
    os.mkfifo(tmp_path / "c.yaml")
    refused(hebae("train", "--config", "c.yaml"), "c.yaml", "pipe")
    for name in ("config.yaml", "resume.pt"):  # none of them is called missing
        os.mkfifo(tmp_path / "run" / name)
    refused(hebae("show", "run"), "config.yaml", "pipe")
    (tmp_path / "run" / "model.safetensors").unlink()
    with pytest.raises(HebaeError, match=r"resume\.pt.*pipe"):
        RunFolder(tmp_path / "run").read_checkpoint()
    os.mkfifo(tmp_path / "run" / "model.safetensors")
    with pytest.raises(HebaeError, match=r"config\.json.*pipe"):
        package.load(tmp_path / "run")


def test_what_decompresses_without_end_is_refused(tmp_path, monkeypatch):
    """Each is a megabyte or less; the limits are those of a machine with 16 MB left."""
    import psutil

    free = psutil.virtual_memory()._replace(available=2**24)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    zeros = gzip.compress(bytes(2**26), 1)
    (tmp_path / "x.csv.gz").write_bytes(zeros)
    header = bytes([0, 0, 8, 3]) + np.array([2**16, 32, 32], ">u4").tobytes()
    (tmp_path / "idx").mkdir()
    idx = gzip.compress(header + bytes(2**26), 1)
    (tmp_path / "idx" / "train-images-idx3-ubyte.gz").write_bytes(idx)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        shape = "{'descr': '|u1', 'fortran_order': False, 'shape': (67108864, 1)}"
        archive.writestr("train.npy", npy(shape, bytes(2**26)))
    for name in ("x.csv.gz", "idx", "x.npz"):
        with pytest.raises(HebaeError, match="GB"):
            load(tmp_path / name)


def test_an_archive_with_a_huge_member_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("hebae.data.image_files.MOST_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", bytes(2**20 + 1))
    header = tarfile.TarInfo("0.png")
    header.size = 2**40
    (tmp_path / "x.tar").write_bytes(header.tobuf() + bytes(4096))
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, 2**40
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(pax.tobuf() + bytes(2**24)))
    for name in ("x.zip", "x.tar", "x.tar.gz"):
        with pytest.raises(HebaeError, match=name):
            load(tmp_path / name)


def test_members_outside_of_an_archive_stay_inside(tmp_path, monkeypatch):
    """Archives are never unpacked: such names are only ids of examples."""
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    png = next(iter(hostile.kinds_of_data()["png"].files.values()))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("../../evil.png", "/evil.png", "c/../../evil.png"):
            archive.writestr(name, png)
    try:
        assert len(load(tmp_path / "x.zip").train) == 1  # what is below ".." is hidden
    except HebaeError as error:
        assert "x.zip" in str(error)
    names = {str(path) for path in tmp_path.parent.rglob("*evil*")}
    assert not names
    assert not Path("/evil.png").exists()


def test_hdf5_takes_nothing_from_other_files(tmp_path):
    """Links into other files, raw files as values, and sizes without values."""
    import h5py

    kind = hostile.kinds_of_data()["h5ad"]
    (tmp_path / "secret").write_bytes(bytes(12 * 5 * 4))
    for case in ("link", "raw", "size"):
        path = tmp_path / f"{case}.h5ad"
        path.write_bytes(kind.files[kind.target])
        with h5py.File(path, "a") as file:
            del file["X"]
            if case == "link":
                file["X"] = h5py.ExternalLink("other.h5", "X")
            elif case == "raw":
                external = [(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("X", (12, 5), "f4", external=external)
            else:
                file.create_dataset("X", (10**9, 10**6), "f4", chunks=(100, 100))
        with pytest.raises(HebaeError, match=r"another file|GB"):
            load(path)


def test_no_other_program_decodes_an_image(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for this content, whatever the file is called."""
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("it was started"))
    stream = io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(stream.getvalue())
    with pytest.raises(HebaeError, match="not of a known format"):
        load(tmp_path / "images")
