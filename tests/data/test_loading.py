import numpy as np
import pytest

from hebae import data
from hebae.data.loading import data_set_name, located
from hebae.data.synthetic_faces import draw_faces
from hebae.errors import HebaeError


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "minst",
            "minst is neither.*did you mean 'mnist'[?].*mnist-mini, mnist, .*fashion-mnist, celeba",
        ),
        ("fashionmnist", "did you mean 'fashion-mnist'[?]"),
        ("zzz", r"celeba, synthetic-faces\."),
        ("no/such/folder", "no/such/folder is neither a file or folder"),
        ("~nosuchuser/x", "~nosuchuser/x begins with ~, but the home folder is not known"),
        ("a" * 300, "a{99}… cannot be looked up"),
    ],
)
def test_unknown_names_are_refused_with_a_suggestion(name, words):
    with pytest.raises(HebaeError, match=words):
        data.load(name)


def test_a_data_directory_that_is_missing_is_refused_with_its_origin(tmp_path, monkeypatch):
    for directory in (tmp_path / "nowhere", "~nosuchuser/x", "a" * 300):
        with pytest.raises(HebaeError, match=rf"The data directory {directory} \(--data-dir\)"):
            data.load("mnist", data_dir=directory)
    monkeypatch.setenv("HEBAE_DATA_DIR", str(tmp_path / "gone"))
    with pytest.raises(HebaeError, match=r"gone \(HEBAE_DATA_DIR\)"):
        data.catalogue()


def test_a_data_directory_for_data_without_a_name_is_refused(tmp_path):
    rows = np.random.default_rng(0).random((40, 3), np.float32)
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(HebaeError, match=r"--data-dir is .*rows.npy: it is for .*mnist"):
        data.load(tmp_path / "rows.npy", data_dir=tmp_path)
    # As stored by 0.1.0, where it had no effect; and as stored for data that are elsewhere now.
    for moved in (None, str(tmp_path / "rows.npy")):
        stored = {"data": str(tmp_path / "rows.npy"), "data_dir": tmp_path}
        stored |= {"data": "mnist"} if moved else {}
        assert len(data.load(**located(stored, moved)).train) == 36
    assert located({"data": "mnist", "data_dir": tmp_path})["data_dir"] == tmp_path


def test_every_name_in_the_catalogue_is_described():
    lines = data.catalogue()
    assert [line.name for line in lines] == [
        "mnist-mini",
        "mnist",
        "binarized-mnist",
        "fashion-mnist",
        "celeba",
        "synthetic-faces",
    ]
    assert all(line.description and line.licence and line.counts for line in lines)


def test_the_former_name_of_synthetic_faces_is_accepted_with_a_warning():
    with pytest.warns(FutureWarning, match="made-faces is now called synthetic-faces"):
        old = data.load("made-faces")
    assert old.fingerprint == data.load("synthetic-faces").fingerprint
    with pytest.warns(FutureWarning):
        assert data_set_name("made-faces") == "synthetic-faces"  # what a run folder stores
    assert data_set_name("./mnist") is None


def test_synthetic_faces_are_the_same_each_time_and_no_two_are_alike():
    dataset = data.load("synthetic-faces")
    images = np.concatenate([dataset.train.values, dataset.test.values])
    assert np.array_equal(images, draw_faces(2500, np.random.default_rng(0)))
    assert (images.shape, images.dtype) == ((2500, 3, 12, 12), np.uint8)
    assert len(np.unique(images.reshape(2500, -1), axis=0)) == 2500
    assert (len(dataset.train), dataset.validation, dataset.train.labels) == (2000, None, None)
    (line,) = [source for source in data.catalogue() if source.name == "synthetic-faces"]
    assert (line.shape, sum(line.counts.values())) == (dataset.shape, 2500)
