import io
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from hebae import data
from hebae.data.celeba import PARTITION
from hebae.errors import HebaeError

SPLITS = {"000001.jpg": 0, "000002.jpg": 0, "000003.jpg": 1, "000004.jpg": 2, "000005.jpg": 0}


@pytest.fixture
def official(tmp_path, write_images):
    """A small CelebA in the official layout."""
    folder = tmp_path / "faces"
    write_images(folder / "img_align_celeba", SPLITS, size=(178, 218), file_format="JPEG")
    lines = [f"{name} {split}\n" for name, split in SPLITS.items()]
    (folder / PARTITION).write_text("".join(lines))
    return folder


def zip_images(folder):
    """Put the images of a folder into a zip file in their place."""
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for path in sorted((folder / "img_align_celeba").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
    shutil.rmtree(folder / "img_align_celeba")


def test_official_images_are_cropped_resized_and_split(official, monkeypatch, entry):
    official = official.rename(official.with_name("celeba"))
    monkeypatch.setenv("HEBAE_DATA_DIR", str(official.parent))
    line = entry("celeba")
    assert (line.availability, line.location) == ("data directory", official)
    dataset = data.load("celeba")
    assert data.load("celeba", data_dir=official).fingerprint == dataset.fingerprint
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [3, 1, 1]
    assert (dataset.name, dataset.shape, dataset.notes) == ("celeba", (3, 64, 64), ())
    face = Image.open(official / "img_align_celeba" / "000005.jpg")
    face = face.crop((19, 39, 159, 179)).resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(dataset.train.values[2], np.asarray(face).transpose(2, 0, 1))


def test_zip_and_folder_are_the_same_data(official, forbid_decoding):
    folder = data.load(official)
    zip_images(official)
    archive = data.load(official)
    np.testing.assert_array_equal(archive.train.values, folder.train.values)
    assert archive.fingerprint == folder.fingerprint
    text = (official / PARTITION).read_text()
    (official / PARTITION).write_text(text.replace("000002.jpg 0", "000002.jpg 2"))
    other = data.load(official)  # another partition is another data set
    assert (len(other.train), len(other.test)) == (2, 2)
    assert other.fingerprint != folder.fingerprint
    (official / PARTITION).write_text(text)
    forbid_decoding()
    assert data.load(official).fingerprint == folder.fingerprint


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("000006.jpg 0", "1 images are missing and 0 are not listed, such as 000006.jpg"),
        ("000006.jpg 3", "'000006.jpg 3' in line 6"),
        ("000006.jpg", "'000006.jpg' in line 6"),
    ],
)
def test_a_wrong_partition_is_refused(line, words, official):
    with (official / PARTITION).open("a") as file:
        file.write(line)
    with pytest.raises(HebaeError, match=f"{PARTITION}.*{words}"):
        data.load(official)


def test_a_subset_ready_at_64_pixels(tmp_path, image_bytes):
    names = ["train/1.jpg", "train/4.jpg", "valid/2.jpg", "test/3.jpg"]
    with tarfile.open(tmp_path / "celeba64-subset.tar", "w") as archive:
        for seed, name in enumerate(names):
            content = image_bytes(seed, size=(64, 64), file_format="JPEG")
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    dataset = data.load("celeba", data_dir=tmp_path)
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [2, 1, 1]
    assert dataset.shape == (3, 64, 64)
    assert "subset of CelebA" in dataset.notes[0]
    by_path = data.load(tmp_path / "celeba64-subset.tar")
    assert (by_path.fingerprint, by_path.notes) == (dataset.fingerprint, ())


def test_without_files_the_message_says_what_to_fetch(tmp_path, entry):
    words = f"{PARTITION}.*celeba64-subset.tar"
    with pytest.raises(HebaeError, match=f"celeba was not found.*{words}.*HEBAE_DATA_DIR"):
        data.load("celeba")
    assert entry("celeba").availability == "by hand"
    with pytest.raises(HebaeError, match=f"{tmp_path} does not hold celeba.*{words}"):
        data.load("celeba", data_dir=tmp_path)
    assert entry("celeba", tmp_path).availability == "absent"


@pytest.mark.parametrize("missing", [PARTITION, "img_align_celeba"])
def test_a_named_directory_with_a_part_of_celeba_is_refused(
    missing, official, tmp_path, monkeypatch, entry
):
    shutil.copytree(official, tmp_path / "whole")
    monkeypatch.setenv("HEBAE_DATA_DIR", str(tmp_path / "whole"))
    (official / missing).rename(tmp_path / "away")
    with pytest.raises(HebaeError, match=r"faces holds only a part of celeba"):
        data.load("celeba", data_dir=official)
    assert entry("celeba", official).availability == "incomplete"
    with pytest.raises(HebaeError, match=rf"faces holds only a part of CelebA.*{missing}"):
        data.load(official)
