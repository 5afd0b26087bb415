import mmap
import threading

import numpy as np
import pytest
import torch

from hebae.training import batches as prefetch
from hebae.training.batches import ArrayBatches, map_of, read_ahead

needs_advice = pytest.mark.skipif(
    not hasattr(mmap.mmap, "madvise"), reason="this system takes no advice on maps"
)
VIEWS = {
    "whole": lambda x: x,
    "with a channel": lambda x: x[:, None, 0],
    "from row 5": lambda x: x[5:],
    "every other row": lambda x: x[1::2],
    "a corner": lambda x: x[:, :, 1:3, 2:],
    "channels first": lambda x: x.transpose(0, 3, 1, 2),
    "as an array": lambda x: np.asarray(x)[3:],
}


@pytest.fixture(params=[np.uint8, np.float32], ids=["uint8", "float32"])
def mapped(request, tmp_path):
    """A map of 60 random images in a file."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.integers(0, 256, (60, 3, 4, 5)).astype(request.param))
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.fixture
def advice(monkeypatch):
    """Length and content of each stretch of a map that the system is told of."""
    told = []

    def record(whole, first, length):
        assert first % mmap.PAGESIZE == 0
        told.append((length, whole.base[first : first + length]))
        really(whole, first, length)

    really = prefetch._will_need
    monkeypatch.setattr(prefetch, "_will_need", record)
    return told


def background_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("hebae")]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_map_gives_the_batches_of_its_copy_bit_for_bit(view, mapped):
    values = VIEWS[view](mapped)
    assert map_of(values) is not None
    ours = ArrayBatches(values, 8, seed=3)
    theirs = ArrayBatches(np.array(values), 8, seed=3)
    for epoch, start in ((0, 0), (1, 2)):
        pairs = zip(ours.epoch(epoch, start), theirs.epoch(epoch, start), strict=True)
        assert all(torch.equal(a, b) and a.is_contiguous() for a, b in pairs)
    for limit in (None, 13):
        pairs = zip(ours.in_order(7, limit), theirs.in_order(7, limit), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_what_lies_in_memory_is_no_map_and_needs_no_thread(mapped):
    for values in (np.array(mapped), mapped[[1, 2]], np.frombuffer(b"12", np.uint8)):
        assert map_of(values) is None
        assert all(not background_threads() for _ in ArrayBatches(values, 2).epoch(0))
    assert map_of(mapped[3:, :, 1:]) is mapped


@needs_advice
@pytest.mark.parametrize("view", ["whole", "from row 5", "every other row", "as an array"])
def test_the_system_is_told_where_in_the_file_the_rows_lie(view, mapped, advice):
    values = VIEWS[view](mapped)
    indices = [np.array([7, 0, 15, 3]), np.array([9])]
    for rows, batch in zip(read_ahead(values, indices), indices, strict=True):
        np.testing.assert_array_equal(rows.numpy(), values[batch])
    assert len(advice) == 5
    for (length, content), row in zip(advice, (0, 3, 7, 15, 9), strict=True):
        expected = values[row].tobytes()
        assert len(content) == length < len(expected) + mmap.PAGESIZE
        assert content.endswith(expected)


def test_without_advice_the_same_rows_are_read(mapped, monkeypatch):
    class Map:
        """A type without madvise, as Python has on Windows."""

    monkeypatch.setattr(mmap, "mmap", Map)
    [found] = read_ahead(mapped, [np.array([3, 1])])
    np.testing.assert_array_equal(found.numpy(), mapped[[3, 1]])


def test_an_error_in_the_background_reaches_the_caller_in_its_place(mapped):
    rows = read_ahead(mapped, [np.array([1]), np.array([60]), np.array([2])])
    next(rows)
    with pytest.raises(IndexError, match="60 is out of bounds"):
        next(rows)
    assert background_threads() == []


@pytest.mark.parametrize("end", ["break", "error", "exhausted"])
def test_no_thread_is_left(end, mapped):
    def train():
        for number, _ in enumerate(ArrayBatches(mapped, 4).epoch(0)):
            assert len(background_threads()) == 1
            if number == 3 and end == "break":
                break
            if number == 3 and end == "error":
                raise FloatingPointError("diverged")

    if end == "error":
        with pytest.raises(FloatingPointError):
            train()
    else:
        train()
    assert background_threads() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_batches_that_come_to_cuda_from_the_host_are_the_same(mapped, monkeypatch):
    resident = ArrayBatches(np.array(mapped), 8, seed=1, device="cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    for values in (mapped, np.array(mapped)):
        streamed = ArrayBatches(values, 8, seed=1, device="cuda")
        assert (resident.values.device.type, streamed.values.device.type) == ("cuda", "cpu")
        for a, b in zip(resident.epoch(0), streamed.epoch(0), strict=True):
            assert a.device == b.device and torch.equal(a, b)
