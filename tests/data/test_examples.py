import numpy as np
import pytest

from hebae.data import Dataset, Examples
from hebae.data.examples import blocks, fingerprint
from hebae.errors import HebaeError


def test_uint8_stands_for_the_unit_interval_whatever_it_holds():
    examples = Examples(np.full((3, 1, 2, 2), 7, np.uint8))
    assert examples.range == (0.0, 1.0)
    assert (len(examples), examples.shape) == (3, (1, 2, 2))


def test_range_of_floats_is_found_over_several_blocks(monkeypatch):
    monkeypatch.setattr("hebae.data.examples._BLOCK_BYTES", 64)
    values = np.zeros((50, 4), np.float32)
    values[0, 1], values[49, 3] = -2.5, 9.0
    assert len(list(blocks(values))) > 10
    assert Examples(values).range == (-2.5, 9.0)


def test_blocks_cover_every_row_once(monkeypatch):
    monkeypatch.setattr("hebae.data.examples._BLOCK_BYTES", 100)
    values = np.arange(51, dtype=np.float32).reshape(17, 3)
    np.testing.assert_array_equal(np.concatenate(list(blocks(values))), values)


@pytest.mark.parametrize(
    ("values", "labels", "words"),
    [
        (np.zeros((3, 2)), None, "float64"),
        (np.zeros((3, 2, 2), np.uint8), None, r"\(3, 2, 2\)"),
        (np.zeros((0, 2), np.uint8), None, r"\(0, 2\)"),
        (np.zeros((3, 2), np.uint8), np.zeros(2, np.int64), r"shape \(2,\)"),
        (np.zeros((3, 2), np.uint8), np.zeros(3, np.int32), "int32"),
    ],
)
def test_examples_that_no_model_could_read_are_refused(values, labels, words):
    with pytest.raises(HebaeError, match=words):
        Examples(values, labels)


def test_splits_of_different_shape_are_refused():
    train, test = (Examples(np.zeros((3, width), np.uint8)) for width in (4, 5))
    with pytest.raises(HebaeError, match=r"table: .*test split.*\(5,\).*\(4,\)"):
        Dataset("table", train, None, test, "")


def test_held_out_prefers_validation_then_test():
    part = Examples(np.zeros((3, 2), np.uint8))
    other = Examples(np.ones((3, 2), np.uint8))
    assert Dataset("a", part, other, part, "").held_out() == ("validation", other)
    assert Dataset("a", part, None, other, "").held_out() == ("test", other)
    assert Dataset("a", part, None, None, "").held_out() is None


def test_fingerprint_depends_on_content_and_not_on_memory_layout():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    labels = np.arange(4)
    reference = fingerprint({"train": Examples(values, labels)})
    assert reference == fingerprint({"train": Examples(np.asfortranarray(values), labels)})
    others = [
        {"train": Examples(values)},
        {"test": Examples(values, labels)},
        {"train": Examples(values + 1, labels)},
        {"train": Examples(values, labels[::-1].copy())},
        {"train": Examples(values.reshape(3, 4))},
    ]
    assert len({reference, *map(fingerprint, others)}) == 6
