import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hebae import data
from hebae.errors import HebaeError

CLASSES = ["dogs/1.png", "cats/2.png", "cats/1.png"]


def pack(folder, archive, prefix=""):
    """Pack a folder; the members get a prefix."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
            for path in files:
                target.write(path, prefix + path.relative_to(folder).as_posix())
    else:
        with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as target:
            for path in files:
                target.add(path, prefix + path.relative_to(folder).as_posix())
    return archive


def pixels(path, mode="RGB"):
    array = np.asarray(Image.open(path).convert(mode))
    return array[None] if mode == "L" else array.transpose(2, 0, 1)


def test_class_folders_give_labels_and_file_names_ids(tmp_path, write_images):
    folder = write_images(tmp_path / "pets", CLASSES)
    dataset = data.load(folder)
    assert (dataset.name, dataset.shape) == ("pets", (3, 6, 8))
    assert dataset.train.labels.tolist() == [0, 0, 1]
    assert dataset.train.ids.tolist() == sorted(CLASSES)
    for values, name in zip(dataset.train.values, sorted(CLASSES), strict=True):
        np.testing.assert_array_equal(values, pixels(folder / name))


def test_grey_images_have_one_channel(tmp_path, write_images):
    folder = write_images(tmp_path / "grey", ["a.png", "b.png"], mode="L")
    dataset = data.load(folder)
    assert dataset.shape == (1, 6, 8) and dataset.train.labels is None
    np.testing.assert_array_equal(dataset.train.values[1], pixels(folder / "b.png", "L"))


def test_split_folders_with_classes_within(tmp_path, write_images):
    folder = write_images(
        tmp_path / "pets",
        ["train/b/1.png", "train/c/1.png", "valid/b/1.png", "test/a/1.png", "test/b/1.png"],
    )
    dataset = data.load(folder)
    assert dataset.train.labels.tolist() == [1, 2]
    assert dataset.validation.labels.tolist() == [1]
    assert dataset.test.labels.tolist() == [0, 1]
    assert dataset.notes == ()
    without = data.load(folder, validation_size=0)
    assert without.validation is None and without.fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("training", "validation", "testing"),
        ("Train", "Val", "TEST"),
        ("TRAINING", "VALID", "Test"),
    ],
)
@pytest.mark.parametrize("archived", [False, True])
def test_split_folders_in_any_case(train, validation, test, archived, tmp_path, write_images):
    names = [f"{train}/a/1.png", f"{train}/b/1.png", f"{validation}/b/1.png", f"{test}/a/1.png"]
    source = write_images(tmp_path / "pets", names)
    dataset = data.load(pack(source, tmp_path / "pets.tar", "all/") if archived else source)
    assert [part.ids.tolist() for part in (dataset.train, dataset.validation, dataset.test)] == [
        names[:2],
        names[2:3],
        names[3:],
    ]
    assert dataset.train.labels.tolist() == [0, 1] and dataset.test.labels.tolist() == [0]


def test_folders_within_classes_are_classes(tmp_path, write_images):
    names = ["a/1.png", "a/x/1.png", "a/y/1.png", "b/x/1.png"]
    dataset = data.load(write_images(tmp_path / "pets", names))
    assert dataset.train.labels.tolist() == [0, 1, 2, 3]
    assert dataset.train.label_names == ("a", "a/x", "a/y", "b/x")


@pytest.mark.parametrize("archived", [False, True])
def test_examples_are_in_the_order_of_their_names_as_text(archived, tmp_path, write_images):
    names = ["2.png", "10.png", "a.png", "B.png", "1.png"]
    source = write_images(tmp_path / "pets", names)
    if archived:
        with tarfile.open(tmp_path / "pets.tar", "w") as target:
            for name in names:
                target.add(source / name, name)
    dataset = data.load(tmp_path / "pets.tar" if archived else source, validation_size=2)
    expected = ["1.png", "10.png", "2.png", "B.png", "a.png"]
    assert sorted([*dataset.train.ids, *dataset.validation.ids]) == expected
    for part in (dataset.train, dataset.validation):
        assert part.ids.tolist() == sorted(part.ids)
        for values, name in zip(part.values, part.ids, strict=True):
            np.testing.assert_array_equal(values, pixels(source / name))


@pytest.mark.parametrize("name", ["pets.tar", "pets.tar.gz", "pets.zip"])
@pytest.mark.parametrize("prefix", ["", "./", "all/"])
def test_an_archive_gives_what_its_folder_gives(name, prefix, tmp_path, write_images):
    folder = write_images(tmp_path / "pets", CLASSES)
    (folder / "readme.txt").write_text("not an image")
    (folder / "cats" / "._1.png").write_text("macOS puts these into archives")
    expected, found = data.load(folder), data.load(pack(folder, tmp_path / name, prefix))
    np.testing.assert_array_equal(found.train.values, expected.train.values)
    np.testing.assert_array_equal(found.train.labels, expected.train.labels)
    assert found.fingerprint == expected.fingerprint


def test_a_malicious_tar_writes_nothing_and_links_nowhere(tmp_path, image_bytes, cache):
    archive = tmp_path / "inner" / "bad.tar"
    archive.parent.mkdir()
    content = image_bytes()
    with tarfile.open(archive, "w") as target:
        for name in ("../escaped.png", "/escaped/escaped.png", "good/a.png"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("good/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        target.addfile(link)
    dataset = data.load(archive)
    assert len(dataset.train) == 2  # neither what lies above nor the link
    outside = {path for path in tmp_path.rglob("*") if cache not in (path, *path.parents)}
    assert outside == {archive.parent, archive}
    assert not Path("/escaped").exists()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no image"),
        (["train/a.png", "b.png"], "b.png is outside train/"),
        (["train/a.png", "more/b.png"], "more/b.png is outside train/"),
        (["test/a.png", "valid/b.png"], "test, valid but no train/"),
        (["cats/a.png", "b.png"], "b.png is in none"),
        (["train/cats/a.png", "test/b.png"], "test/b.png is in none"),
        (["Training/a.png", "train/b.png"], "Training and train, which both name the train split"),
        (["pets/train/a.png", "pets/test/b.png"], "a split folder below the top, in pets/test/b"),
        (["cats/TESTING/a.png", "dogs/b.png"], "a split folder below the top, in cats/TESTING/a"),
        (
            ["train/a.png", *(f"{n:02}.png" for n in range(12))],
            r"12 files \(00\.png, .*09\.png and 2 more\) are outside train/",
        ),
        (
            ["cats/a.png", *(f"{n:02}.png" for n in range(11))],
            r"11 files \(00\.png, .*09\.png and 1 more\) are in none",
        ),
    ],
)
def test_folders_that_make_no_layout_are_refused(names, words, tmp_path, write_images):
    folder = write_images(tmp_path / "pets", names)
    folder.mkdir(exist_ok=True)
    with pytest.raises(HebaeError, match=f"pets .*{words}"):
        data.load(folder)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"size": (9, 6)}, "9 x 6 RGB, but a.png, the first, is 8 x 6 RGB"),
        ({"mode": "L"}, "8 x 6 grey, but a.png, the first, is 8 x 6 RGB"),
    ],
)
def test_images_must_be_alike(odd, words, tmp_path, write_images, image_bytes):
    folder = write_images(tmp_path / "pets", ["a.png", "b.png", "d.png"])
    (folder / "c.png").write_bytes(image_bytes(**odd))
    with pytest.raises(HebaeError, match=f"pets/c.png is {words}"):
        data.load(folder)


def test_images_that_cannot_be_decoded_are_named(tmp_path, write_images):
    folder = write_images(tmp_path / "pets", ["a.png", "b.png"])
    whole = (folder / "b.png").read_bytes()
    for content in (b"", b"words", whole[: len(whole) // 2]):
        (folder / "b.png").write_bytes(content)
        with pytest.raises(HebaeError, match=r"pets/b\.png cannot be decoded"):
            data.load(folder)


@pytest.mark.parametrize("name", ["pets.tar", "pets.tar.gz", "pets.zip"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_archives_cut_short_are_refused(name, share, tmp_path, write_images):
    folder = write_images(tmp_path / "pets", CLASSES, size=(60, 60))
    archive = pack(folder, tmp_path / name)
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    with pytest.raises(HebaeError, match=rf"{name} cannot be read"):
        data.load(archive)


def test_a_tar_cut_between_two_members_is_refused(tmp_path, write_images):
    archive = pack(write_images(tmp_path / "pets", CLASSES), tmp_path / "pets.tar")
    with tarfile.open(archive) as whole:
        last = whole.getmembers()[-1].offset
    archive.write_bytes(archive.read_bytes()[:last])
    with pytest.raises(HebaeError, match=r"pets\.tar cannot be read.*its end is missing"):
        data.load(archive)
