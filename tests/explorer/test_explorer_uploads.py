"""Uploads to the explorer: read as the data of training, or refused by a sentence."""

import gzip
import io
import re
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from hebae.errors import HebaeError
from hebae.explorer import uploads


def png(size=(20, 30), mode="RGB"):
    content = io.BytesIO()
    Image.new(mode, size, "white").save(content, "PNG")
    return content.getvalue()


def npy(array):
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def test_uploaded_images_become_those_of_the_model(opened):
    run, read = opened["images"]
    for files in ([("a.png", png())], [("a.png", png()), ("b.PNG", png((64, 8), "L"))]):
        shown = uploads.read_upload(run, read, files)
        assert shown.examples.values.shape == (len(files), 3, 8, 8)
        assert shown.examples.values.min() == 255
        assert run.encode(shown.examples).shape == (len(files), 3)


def test_how_an_upload_was_changed_is_said_on_the_page(opened, capsys):
    run, read = opened["images"]
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    said = uploads.read_upload(run, read, [("moving.gif", content.getvalue())]).received
    assert said.startswith("1 uploaded example: the original")
    assert "only the first is used: moving.gif" in said
    assert capsys.readouterr().err == ""
    many = npy(np.zeros((130, 3, 8, 8), np.uint8))
    shown = uploads.read_upload(run, read, [("many.npy", many)])
    assert shown.received.startswith("130 uploaded examples: the first 100 are used")


def test_an_uploaded_table_is_coded_as_in_training(opened):
    run, read = opened["table"]
    content = b"id,height,colour,site\nnew,50,green,south\n"
    shown = uploads.read_upload(run, read, [("new.csv", content)])
    assert shown.names == ["new"]
    assert shown.examples.conditions.tolist() == [[1.0]]
    # Without the condition, that of the page is taken.
    content = b"id,height,colour\nnew,50,green\n"
    given = np.array([[0.0]], np.float32)
    shown = uploads.read_upload(run, read, [("new.csv", content)], given)
    assert shown.examples.conditions.tolist() == [[0.0]]


MEGABYTES = bytes(3 * 2**20)
"""More than the tests below allow, and a few kilobytes when compressed."""


def archive(kind):
    """An archive with an image of 3 MiB."""
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.bmp", MEGABYTES)
    else:
        with tarfile.open(fileobj=content, mode="w:gz") as file:
            member = tarfile.TarInfo("a.bmp")
            member.size = len(MEGABYTES)
            file.addfile(member, io.BytesIO(MEGABYTES))
    return content.getvalue()


def npz():
    content = io.BytesIO()
    np.savez_compressed(content, x_train=np.frombuffer(MEGABYTES, np.uint8).reshape(-1, 3, 8, 8))
    return content.getvalue()


def parquet():
    """10,000 times one text of 1,000 letters."""
    pandas = pytest.importorskip("pandas")
    content = io.BytesIO()
    pandas.DataFrame({"height": ["x" * 1000] * 10_000}).to_parquet(content)
    return content.getvalue()


def h5ad():
    h5py = pytest.importorskip("h5py")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("X", shape=(1000, 1000), dtype="f4", chunks=True, compression="gzip")
    return content.getvalue()


SMALL_BUT_LARGE = {
    "npz": ("images", "a.npz", npz),
    "zip": ("images", "a.zip", lambda: archive("zip")),
    "tar": ("images", "a.tar.gz", lambda: archive("tar")),
    "png": ("images", "a.png", lambda: png((1000, 1000), "L")),
    "parquet": ("table", "a.parquet", parquet),
    "h5ad": ("images", "a.h5ad", h5ad),
    "short rows": (
        "table",
        "a.csv",
        lambda: ",".join(map(str, range(1, 999))).encode() + b",x" + b"\n1" * 1000,
    ),
    "many columns": ("table", "a.csv", lambda: b"," * 5000),
    "long ids": (
        "table",
        "a.csv",
        lambda: (
            b"id,height\n" + b"x" * 5000 + b",1\n" + b"".join(b"%d,2\n" % row for row in range(99))
        ),
    ),
    "vcf": ("images", "a.vcf.gz", lambda: gzip.compress(b"##\n" * 2**20)),
}


@pytest.mark.parametrize("kind", SMALL_BUT_LARGE)
def test_a_small_file_that_becomes_large_is_refused(opened, kind, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_UNPACKED", 2**20)
    name, file, content = SMALL_BUT_LARGE[kind]
    run, read = opened[name]
    content = content()
    assert len(content) < 50_000
    with pytest.raises(HebaeError, match=rf"^{file}.* at most 1 MiB are allowed") as refusal:
        uploads.read_upload(run, read, [(file, content)])
    assert not re.search(r"hebae-upload-|uploaded[-.]\w", str(refusal.value))


BAD = {
    "no image": ("images", [("a.png", b"nothing")], "^a.png cannot"),
    "one of two images": ("images", [("a.png", png()), ("b.png", b"")], "^b.png"),
    "a cut image": ("images", [("a.png", png()[:-30])], "a.png"),
    "another format": ("images", [("a.exe", b"MZ")], "cannot be uploaded"),
    "no suffix": ("images", [("a", b"")], "cannot be uploaded"),
    "a mixture": ("images", [("a.png", png()), ("b.csv", b"x\n1\n")], "cannot be uploaded"),
    "objects": ("images", [("a.npy", npy(np.array([{}, []], object)))], "a.npy"),
    "another shape": ("images", [("a.npy", npy(np.zeros((2, 5, 5), np.uint8)))], "^a.npy .*shape"),
    "nothing": ("images", [], "no file"),
    "too large": ("images", [("a.png", bytes(uploads.MOST_BYTES + 1))], "at most 20 MiB"),
    "an image for a table": ("table", [("a.png", png())], "not images"),
    "a lacking column": ("table", [("a.csv", b"id,colour\na,red\n")], "height"),
    "an unknown category": (
        "table",
        [("my/a.csv", b"height,colour,site\n1,blue,north\n")],
        "^a.csv holds 'blue'",
    ),
    "no rows": ("table", [("a.csv", b"height,colour,site\n")], "a.csv"),
    "genotypes in part": ("table", [("a.bed", b"l\x1b\x01")], "with .bim"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_upload_is_refused_by_a_sentence(opened, kind):
    name, files, message = BAD[kind]
    run, read = opened[name]
    with pytest.raises(HebaeError, match=message) as refusal:
        uploads.read_upload(run, read, files)
    # Where it was stored means nothing to a user.
    assert not re.search(r"hebae-upload-|uploaded[-.]\w", str(refusal.value))
