"""Batches: every example once an epoch, in an order that only seed and epoch decide."""

from __future__ import annotations

import mmap
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hebae.data.examples import Examples, map_of
from hebae.data.schema import Column
from hebae.training import batches
from hebae.training.batches import (
    ArrayBatches,
    RedrawnBatches,
    batch_sizes,
    read_ahead,
)
from hebae.training.loader import LoaderBatches


def rows(batches: ArrayBatches, epoch: int, start: int = 0) -> list[list[float]]:
    return [x[:, 0].tolist() for x, _ in batches.epoch(epoch, start)]


@given(st.integers(1, 60), st.integers(1, 25), st.integers(0, 5), st.booleans())
def test_an_epoch_holds_every_example_once(
    count: int, batch_size: int, epoch: int, drop_last: bool
) -> None:
    values = np.arange(count, dtype=np.float32)[:, None]
    batches = ArrayBatches(values, batch_size, drop_last=drop_last)
    found = rows(batches, epoch)
    assert len(found) == batches.steps_per_epoch
    flat = sorted(v for batch in found for v in batch)
    if drop_last:
        assert all(len(batch) == batch_size for batch in found)
        assert len(set(flat)) == len(flat) == count - count % batch_size
    else:
        assert flat == list(range(count))


@given(st.integers(1, 500), st.integers(1, 60))
def test_a_remainder_is_spread_evenly_over_the_other_batches(count: int, batch_size: int) -> None:
    values = np.arange(count, dtype=np.float32)[:, None]
    found = rows(ArrayBatches(values, batch_size, drop_last=None), 0)
    sizes = [len(batch) for batch in found]
    assert sizes == batch_sizes(count, batch_size, None)
    assert sorted(v for batch in found for v in batch) == list(range(count))
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == max(1, count // batch_size)


def test_the_order_depends_on_seed_and_epoch_and_a_start_skips_batches() -> None:
    values = np.arange(50, dtype=np.float32)[:, None]
    batches = ArrayBatches(values, 8, seed=3)
    assert rows(batches, 0) == rows(ArrayBatches(values, 8, seed=3), 0)
    assert rows(batches, 0) != rows(batches, 1)
    assert rows(batches, 0) != rows(ArrayBatches(values, 8, seed=4), 0)
    assert rows(batches, 1, start=4) == rows(batches, 1)[4:]


def test_bytes_stand_for_the_unit_interval_and_are_not_copied() -> None:
    values = np.array([[0, 51, 255]], dtype=np.uint8)
    batches = ArrayBatches(values, 1)
    assert next(batches.epoch(0)).x.tolist() == [pytest.approx([0, 0.2, 1])]
    assert batches._resident.data_ptr() == values.ctypes.data


def test_processes_share_each_batch_without_overlap() -> None:
    values = np.arange(40, dtype=np.float32)[:, None]
    whole = rows(ArrayBatches(values, 8, seed=2), 0)
    shares = [rows(ArrayBatches(values, 8, seed=2, rank=r, processes=2), 0) for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole


def test_in_order_gives_examples_as_they_come_and_a_limited_number_evenly_spread() -> None:
    values = np.arange(10, dtype=np.float32)[:, None]
    batches = ArrayBatches(values, 3)
    assert [x[:, 0].tolist() for x, _ in batches.in_order(6)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    assert [x[:, 0].tolist() for x, _ in batches.in_order(4, limit=5)] == [[0, 2, 4, 6], [8]]


def test_a_loader_gives_tensors_or_the_first_of_a_tuple() -> None:
    x = torch.arange(6, dtype=torch.uint8)[:, None]
    plain = LoaderBatches(torch.utils.data.DataLoader(x, batch_size=4))
    labelled = LoaderBatches(
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x), batch_size=4)
    )
    for source in (plain, labelled):
        found = torch.cat([x for x, _ in source.epoch(0)])
        assert torch.equal(found, x.float() / 255)
        assert len(list(source.epoch(0, start=1))) == 1


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

    really = batches._will_need
    monkeypatch.setattr(batches, "_will_need", record)
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
        assert all(torch.equal(a, b) and a.is_contiguous() for (a, _), (b, _) in pairs)
    for limit in (None, 13):
        pairs = zip(ours.in_order(7, limit), theirs.in_order(7, limit), strict=True)
        assert all(torch.equal(a, b) for (a, _), (b, _) in pairs)


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
        for (a, _), (b, _) in zip(resident.epoch(0), streamed.epoch(0), strict=True):
            assert a.device == b.device and torch.equal(a, b)


@pytest.mark.parametrize("way", ["in memory", "streamed", "stacked", "redrawn"])
def test_conditions_go_with_their_examples(way):
    values = np.arange(37, dtype=np.float32)[:, None]
    examples = Examples(
        values,
        missing=np.zeros((37, 1), bool) if way == "streamed" else None,
        conditions=10 * values,
        condition_columns=(Column("age", "number"),),
    )
    seed = [3, 4, 3] if way == "stacked" else 3
    if way == "redrawn":  # what is drawn no longer tells the example
        plain = ArrayBatches(examples, 8, seed=3)
        drawn = RedrawnBatches(examples, 8, drawn=examples, seed=3)
        pairs = zip(plain.epoch(1), drawn.epoch(1), strict=True)
        assert all(torch.equal(a.condition, b.condition) for a, b in pairs)
        return
    source = ArrayBatches(examples, 8, seed=seed)
    for taken in (source.epoch(0), source.epoch(1, 2), source.in_order(10, 20)):
        assert all(torch.equal(condition, 10 * x) for x, condition in taken)
    assert next(ArrayBatches(values, 8).epoch(0)).condition is None
