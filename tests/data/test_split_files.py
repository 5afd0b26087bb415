import numpy as np
import pytest

from hebae.data.examples import Examples
from hebae.data.split_files import split_on_disk
from hebae.data.splits import draw


@pytest.fixture(params=[np.uint8, np.float32], ids=["uint8", "float32"])
def examples(request, tmp_path, monkeypatch):
    """50 labelled, memory-mapped images, walked over a few at a time."""
    values = np.random.default_rng(0).integers(0, 256, (50, 1, 3, 4)).astype(request.param)
    np.save(tmp_path / "x.npy", values)
    monkeypatch.setattr("hebae.data.examples._BLOCK_BYTES", 7 * values[0].nbytes)
    return Examples(np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(50))


def test_it_is_the_split_that_would_be_made_in_memory(examples):
    positions = draw(50, 11)
    parts = split_on_disk(examples, positions[1], "the data")
    for part, chosen in zip(parts, positions, strict=True):
        np.testing.assert_array_equal(part.values, examples.values[chosen])
        np.testing.assert_array_equal(part.labels, chosen)
        assert isinstance(part.values, np.memmap) and not part.values.flags.writeable


def test_it_is_made_once_for_the_same_data_and_draw(examples, monkeypatch):
    first, _ = split_on_disk(examples, np.array([1, 2]), "the data")
    for fingerprint, drawn in (("other data", [1, 2]), ("the data", [1, 3])):
        other, _ = split_on_disk(examples, np.array(drawn), fingerprint)
        assert other.values.filename != first.values.filename

    def fail(*arguments, **named):
        raise AssertionError("written again")

    monkeypatch.setattr("hebae.data.split_files._write", fail)
    again, _ = split_on_disk(examples, np.array([1, 2]), "the data")
    assert again.values.filename == first.values.filename


def test_labels_are_not_needed(examples):
    kept, drawn = split_on_disk(Examples(examples.values), np.array([0]), "the data")
    assert (len(kept), len(drawn), kept.labels, drawn.labels) == (49, 1, None, None)
