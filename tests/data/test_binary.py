"""Binary images: files of fixed ones, and draws from grey ones."""

import io
import json
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from command_line import small
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csr_matrix

from hebae import data
from hebae.data.binary import FILES
from hebae.data.matlab import read_matrix
from hebae.errors import HebaeError
from hebae.training.batches import RedrawnBatches

COUNTS = {"train": 5, "validation": 2, "test": 3}


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return {split: generator.integers(0, 2, (n, 784), np.uint8) for split, n in COUNTS.items()}


@pytest.fixture
def write(tmp_path):
    def files(images, suffix):
        for split, rows in images.items():
            path = tmp_path / FILES[suffix][split]
            if suffix == ".mat":
                savemat(path, {"X": rows})
            else:
                np.savetxt(path, rows, fmt="%d")
        return tmp_path

    return files


@pytest.mark.parametrize("suffix", FILES)
def test_both_formats_hold_the_same_images(suffix, images, write):
    dataset = data.load(write(images, suffix))
    for split, rows in images.items():
        examples = getattr(dataset, split)
        np.testing.assert_array_equal(examples.values, rows.reshape(-1, 1, 28, 28) * 255)
        assert examples.values.dtype == np.uint8
        assert examples.labels is None


def test_the_original_files(data_dir):
    dataset = data.load("binarized-mnist", data_dir=data_dir)
    assert len(dataset.train) == 50_000
    assert len(dataset.validation) == len(dataset.test) == 10_000
    grey = data.load("mnist", data_dir=data_dir).train.values
    # The same digits, in another order: about as many white pixels as the grey ones have light.
    assert abs((dataset.train.values / 255.0).mean() - (grey / 255.0).mean()) < 1e-3


def test_a_part_under_the_name_is_refused(images, write):
    with pytest.raises(HebaeError, match=r"50000.*path"):
        data.load("binarized-mnist", data_dir=write(images, ".mat"))


@pytest.mark.parametrize("suffix", FILES)
def test_grey_values_are_refused_with_their_place(suffix, images, write):
    images["validation"][1, 9] = 7
    with pytest.raises(HebaeError, match=r"valid.*holds 7 in row 2, column 10.*--binarize"):
        data.load(write(images, suffix))


@pytest.mark.parametrize(
    "content", ["", "0 1 0\n", "0 1\n0\n", "zero one\n"], ids=["empty", "short", "ragged", "words"]
)
def test_damaged_text_is_named(content, images, write):
    folder = write(images, ".amat")
    (folder / FILES[".amat"]["test"]).write_text(content)
    with pytest.raises(HebaeError, match=r"binarized_mnist_test.amat.*784"):
        data.load(folder)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"\0" * 200], ids=len)
def test_a_damaged_matlab_file_is_named(content, images, write):
    folder = write(images, ".mat")
    (folder / FILES[".mat"]["train"]).write_bytes(content)
    with pytest.raises(HebaeError, match=r"binarized_mnist_train.mat.*784"):
        data.load(folder)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8", "i8"])
@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_are_read_as_scipy_writes_them(dtype, compressed, tmp_path):
    numbers = np.random.default_rng(0).integers(0, 2, (3, 784)).astype(dtype)
    other = {"Y": numbers[:2], "words": "words"}
    savemat(tmp_path / "a.mat", other | {"X": numbers}, do_compression=compressed)
    np.testing.assert_array_equal(read_matrix(tmp_path / "a.mat", "X"), numbers)
    with pytest.raises(ValueError, match="no matrix Z"):
        read_matrix(tmp_path / "a.mat", "Z")


@pytest.mark.parametrize(
    "value", [{"a": 1}, "words", np.array([1, 2j]), csr_matrix(np.eye(2))], ids=repr
)
def test_what_is_no_matrix_of_numbers_is_refused(value, tmp_path):
    savemat(tmp_path / "a.mat", {"X": value})
    with pytest.raises(ValueError, match="not a matrix of real numbers"):
        read_matrix(tmp_path / "a.mat", "X")


@given(st.data())
def test_damaged_matlab_files_raise_errors_of_parsers(draw):
    stream = io.BytesIO()
    savemat(stream, {"X": np.ones((2, 5))}, do_compression=draw.draw(st.booleans()))
    content = bytearray(stream.getvalue())
    for place in draw.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = draw.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder, suppress(ValueError, struct.error, zlib.error, HebaeError):
        path = Path(folder) / "a.mat"
        path.write_bytes(content[: draw.draw(st.integers(0, len(content)))])
        assert read_matrix(path, "X").size >= 0


def test_a_missing_file_makes_the_name_incomplete(images, write):
    folder = write(images, ".amat")
    (folder / FILES[".amat"]["test"]).unlink()
    with pytest.raises(HebaeError, match="only a part of binarized-mnist"):
        data.load("binarized-mnist", data_dir=folder)


def test_a_draw_has_the_grey_values_as_its_mean():
    """2,000 draws of each value: standard deviation at most .5 / sqrt(2000), held to five."""
    levels = np.linspace(0, 255, 16).astype(np.uint8)
    grey = np.repeat(levels[None], 2000, axis=0)
    drawn = data.load(grey, validation_size=0, binarize="fixed").train.values
    assert set(np.unique(drawn)) == {0, 255}
    np.testing.assert_allclose((drawn / 255).mean(0), levels / 255, atol=2.5 / np.sqrt(2000))
    assert not drawn[:, 0].any() and drawn[:, -1].all()
    as_floats = data.load((grey / 255).astype(np.float32), validation_size=0, binarize="fixed")
    np.testing.assert_allclose(
        (as_floats.train.values / 255).mean(0), levels / 255, atol=2.5 / np.sqrt(2000)
    )


def test_held_out_examples_are_drawn_once():
    first, second = (data.load("mnist-mini", binarize=how) for how in ("fixed", "dynamic"))
    np.testing.assert_array_equal(first.test.values, second.test.values)
    assert second.redrawn and not first.redrawn
    assert second.pictures.test.values.max() == 255
    assert len(np.unique(second.pictures.test.values)) > 2
    assert first.fingerprint == data.load("mnist-mini").fingerprint


def test_values_that_are_no_probabilities_are_refused(hebae, tmp_path):
    np.save(tmp_path / "wide.npy", np.linspace(-1, 3, 600, dtype=np.float32).reshape(100, 6))
    status, _, err = hebae("train", "--data", "wide.npy", "--binarize", "dynamic", "--dry-run")
    assert status == 2
    assert all(fact in " ".join(err.split()) for fact in ("[0, 1]", "-1 to 3", "--binarize none"))
    status, _, err = hebae("train", "--binarize", "grey", "--dry-run")
    assert status == 2
    assert "dynamic" in err


def grey_batches(seed=0, **options):
    grey = np.random.default_rng(1).random((37, 6), dtype=np.float32)
    return RedrawnBatches(grey, 10, drawn=np.zeros_like(grey), seed=seed, **options)


def examples(batches):
    return [x for x, _ in batches]


def test_every_epoch_draws_anew_and_a_seed_draws_the_same():
    batches = grey_batches(3)
    first, second = (torch.cat(examples(batches.epoch(e))) for e in (0, 1))
    assert set(first.unique().tolist()) == {0, 1}
    assert first.sum(0).tolist() != second.sum(0).tolist()
    assert torch.equal(first, torch.cat(examples(grey_batches(3).epoch(0))))
    assert torch.equal(torch.cat(examples(batches.epoch(1, 2))), second[20:])
    assert not any(x.any() for x in examples(batches.in_order(8)))


def test_a_stack_and_several_processes_draw_what_one_draws():
    alone = [examples(grey_batches(seed).epoch(2)) for seed in (5, 6)]
    stacked = examples(grey_batches([5, 6, 5]).epoch(2))
    for step, x in enumerate(stacked):
        for member, seed in enumerate((0, 1, 0)):
            assert torch.equal(x[member], alone[seed][step])
    shares = [examples(grey_batches(5, rank=r, processes=2).epoch(2)) for r in (0, 1)]
    for whole, *halves in zip(alone[0], *shares, strict=True):
        joined = torch.cat(halves)
        assert torch.equal(joined, whole[: len(joined)])


def test_a_run_resumes_exactly_and_is_measured_on_drawn_images(hebae, tmp_path):
    np.savez(
        tmp_path / "grey.npz",
        x_train=np.random.default_rng(0).integers(0, 256, (200, 1, 8, 8), np.uint8),
        x_test=np.random.default_rng(1).integers(0, 256, (40, 1, 8, 8), np.uint8),
    )
    common = ("--data", "grey.npz", "--binarize", "dynamic")
    assert hebae("train", *common, *small(epochs=3), "--output", "whole").status == 0
    assert hebae("train", *common, *small(epochs=1), "--output", "parts").status == 0
    resumed = hebae("train", "--resume", "--epochs", "3", "--output", "parts")
    assert resumed.status == 0, resumed.err
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "parts")]
    assert weights[0] == weights[1]
    history = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").open()]
    assert len(history) == 3
    assert hebae("evaluate", "whole", "--metrics", "moments,elbo").status == 0
    assert hebae("sample", "whole", "--sampler", "mixture", "--count", "4").status == 0
    other = hebae("train", "--data", "grey.npz", *small(), "--output", "grey")
    assert other.status == 0
    status, _, err = hebae("evaluate", "whole", "grey", "--metrics", "moments")
    assert status == 2
    assert "binarize" in err
