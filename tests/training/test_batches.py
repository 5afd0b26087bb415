"""Batches: every example once an epoch, in an order that only seed and epoch decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hebae.training.batches import ArrayBatches, LoaderBatches


def rows(batches: ArrayBatches, epoch: int, start: int = 0) -> list[list[float]]:
    return [batch[:, 0].tolist() for batch in batches.epoch(epoch, start)]


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
    assert next(batches.epoch(0)).tolist() == [pytest.approx([0, 0.2, 1])]
    assert batches.values.data_ptr() == values.ctypes.data


def test_processes_share_each_batch_without_overlap() -> None:
    values = np.arange(40, dtype=np.float32)[:, None]
    whole = rows(ArrayBatches(values, 8, seed=2), 0)
    shares = [rows(ArrayBatches(values, 8, seed=2, rank=r, processes=2), 0) for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole


def test_in_order_gives_examples_as_they_come_and_a_limited_number_evenly_spread() -> None:
    values = np.arange(10, dtype=np.float32)[:, None]
    batches = ArrayBatches(values, 3)
    assert [b[:, 0].tolist() for b in batches.in_order(6)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    assert [b[:, 0].tolist() for b in batches.in_order(4, limit=5)] == [[0, 2, 4, 6], [8]]


def test_a_loader_gives_tensors_or_the_first_of_a_tuple() -> None:
    x = torch.arange(6, dtype=torch.uint8)[:, None]
    plain = LoaderBatches(torch.utils.data.DataLoader(x, batch_size=4))
    labelled = LoaderBatches(
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x), batch_size=4)
    )
    for batches in (plain, labelled):
        found = torch.cat(list(batches.epoch(0)))
        assert torch.equal(found, x.float() / 255)
        assert len(list(batches.epoch(0, start=1))) == 1
