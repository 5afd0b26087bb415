"""Uploads to the explorer: read as the data of training, or refused by a sentence."""

import io
import re

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
