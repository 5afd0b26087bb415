import numpy as np
import pytest
import torch

from hebae import data
from hebae.data.arrays import from_batch
from hebae.errors import HebaeError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), np.uint8)


@pytest.mark.parametrize(
    ("given", "shape"),
    [(IMAGES, (3, 4, 6)), (IMAGES[:, 0], (1, 4, 6)), (IMAGES[:, 0, 0], (6,)), (IMAGES[:1], None)],
)
def test_uint8_is_taken_as_it_is(given, shape):
    dataset = data.load(given)
    assert dataset.shape == (shape or (3, 4, 6))
    assert np.shares_memory(dataset.train.values, given)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.bool_, ">f4"])
def test_floats_and_truth_values_become_float32(kind):
    given = (IMAGES > 99).astype(kind)
    dataset = data.load(given)
    assert dataset.train.values.dtype == np.float32
    np.testing.assert_array_equal(dataset.train.values, given.astype(np.float32))
    assert dataset.train.range == (0.0, 1.0)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float64, torch.bfloat16, torch.bool])
def test_tensors_are_read_as_arrays_are(kind):
    tensor = torch.from_numpy((IMAGES > 99).astype(np.uint8)).to(kind)
    if tensor.is_floating_point():
        tensor.requires_grad_()
    dataset = data.load(tensor)
    expected = np.uint8 if kind == torch.uint8 else np.float32
    assert (dataset.name, dataset.train.values.dtype) == ("tensor", expected)
    np.testing.assert_array_equal(dataset.train.values, IMAGES > 99)


@pytest.mark.filterwarnings("ignore:.*quantized tensor:UserWarning")
def test_tensors_with_gradients_views_and_quantised_values_are_read():
    values = torch.rand(6, 3)
    subclass = torch.nn.Parameter(values)
    doubled = (2 * subclass).view(6, 3)  # not a leaf
    conjugate = torch.complex(values, values).conj()
    quantised = torch.quantize_per_tensor(values, 0.5, 0, torch.quint8)
    for tensor, expected in (
        (subclass, values),
        (doubled, 2 * values),
        (conjugate.imag, -values),  # stored with a "negative" flag
        (quantised, quantised.dequantize()),
        (values.expand(2, 6, 3), values.expand(2, 6, 3)[:, None]),
    ):
        loaded = data.load(tensor, validation_size=0).train.values
        np.testing.assert_array_equal(loaded, expected.numpy())


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.eye(3).to_sparse(), r"layout torch\.sparse_coo.*to_dense"),
        (lambda: torch.eye(3).to_sparse_csr(), r"layout torch\.sparse_csr.*to_dense"),
        (lambda: torch.empty(3, 2, device="meta"), "device meta.*stores values"),
        (lambda: torch.ones(3, 2, dtype=torch.complex64).conj(), "complex64"),
    ],
)
def test_tensors_without_real_numbers_are_refused(make, words):
    with pytest.raises(HebaeError, match=words):
        data.load(make())


def test_examples_and_data_sets_pass_through():
    examples = data.Examples(IMAGES)
    dataset = data.load(examples)
    assert dataset.train is examples and dataset.held_out() is None
    assert data.load(dataset) is dataset


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((4, 2), complex), "complex128"),
        (np.array([[{}], [1]]), "object"),
        (np.zeros((0, 2)), r"\(0, 2\)"),
        (np.zeros(4), r"\(4,\)"),
        (np.zeros((1, 1, 1, 1, 1)), r"allowed are \(n, d\), \(n, h, w\) and \(n, c, h, w\)"),
        (np.zeros((4, 28, 28, 3)), "channels last: transpose"),
        ([[1.0, 2.0], [3.0]], "type list cannot be converted to an array"),
        ([["a", 1.0]], "<U32, but only real numbers"),
        ([torch.ones(2, requires_grad=True)], "type list cannot be converted"),
        ([], r"\(0,\)"),
        (None, "type NoneType"),
    ],
)
def test_other_arrays_are_refused(given, words):
    with pytest.raises(HebaeError, match=words):
        data.load(given)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((20, 8, 9, 1), r"\(20, 8, 9, 1\), with the 1 channels last.*transpose\(0, 3, 1, 2\)"),
        ((20, 8, 9, 2), "with the 2 channels last"),
        ((20, 8, 9, 3), "with the 3 channels last"),
        ((20, 8, 9, 4), "with the 4 channels last"),
        (
            (3, 8, 9),
            r"one image of 3 channels, or 3 grey images. Reshape one image to \(1, 3, 8, 9\)",
        ),
        ((4, 8, 9), r"one image of 4 channels.* grey images to \(4, 1, 8, 9\)"),
        ((8, 9, 3), r"one image with its 3 channels last.* Reshape one image to \(1, 3, 8, 9\)"),
        ((8, 9, 4), r"or 8 images 4 pixels wide.*\(8, 36\)"),
    ],
)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_channels_elsewhere_than_second_are_refused(shape, words, kind):
    with pytest.raises(HebaeError, match=words):
        data.load(np.ones(shape, kind))


def test_the_last_batch_of_a_loader_may_hold_3_grey_images():
    assert from_batch(torch.ones(3, 8, 9), 2).shape == (1, 8, 9)
    with pytest.raises(HebaeError, match="one image of 3 channels"):
        from_batch(torch.ones(3, 8, 9), 1)


class Frame:
    """What NumPy asks of a data frame."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_lists_and_data_frames_are_read_as_arrays_are():
    table = np.random.default_rng(1).normal(size=(12, 3))
    expected = data.load(table)
    for given in (table.tolist(), list(table), Frame(table)):
        assert data.load(given).fingerprint == expected.fingerprint
    assert data.load(Frame(IMAGES)).train.values is IMAGES
    with pytest.raises(HebaeError, match="object, but only real numbers"):
        data.load(Frame(np.array([["a", 1.0]], object)))


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_what_torch_cannot_stride_over_is_copied(kind):
    packed = np.zeros(4, [("flag", "u1"), ("row", kind, (3,))])["row"]
    images = IMAGES.astype(kind)
    for given in (images[::-1], images[:, ::-1], images[..., ::-1], images[:, :, ::-2], packed):
        values = data.load(given).train.values
        np.testing.assert_array_equal(torch.from_numpy(values).numpy(), given)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_whole_numbers_are_no_grey_levels(convert):
    whole = np.arange(60).reshape(20, 3)
    train = data.load(convert(whole), validation_size=0).train
    assert train.pixels is False and train.values.dtype == np.float32
    np.testing.assert_array_equal(train.values, whole)


def test_masked_values_and_nan_are_missing():
    values = np.arange(60.0).reshape(20, 3)
    for given in (np.ma.masked_less(values, 3), np.where(values < 3, np.nan, values)):
        rows = data.load(given, validation_size=0).train.rows(slice(None))
        np.testing.assert_array_equal(np.isnan(rows), values < 3)
        np.testing.assert_array_equal(rows[1:], values[1:])


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, 1e300, -3e38])
def test_values_that_are_not_finite_are_counted_and_placed(wrong):
    given = np.zeros((20, 300_000))  # several blocks
    given[7, 2] = given[7, 3] = given[19, 0] = wrong
    with pytest.raises(HebaeError, match=r"holds 3 value.*1e\+18.*index \(7, 2\).*scale them"):
        data.load(given)
    assert data.load(np.array([[1e18, -1e18]])).train.range == pytest.approx((-1e18, 1e18))


TABLE = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def test_npy_is_memory_mapped_read_only_and_gives_what_the_array_gives(tmp_path):
    path = tmp_path / "images.npy"
    images = np.arange(400, dtype=np.uint8).reshape(20, 4, 5)
    np.save(path, images)
    from_file, from_memory = (data.load(x, validation_size=0) for x in (str(path), images))
    values = from_file.train.values
    assert isinstance(values, np.memmap) and not values.flags.writeable
    np.testing.assert_array_equal(values, from_memory.train.values)
    assert from_file.fingerprint == from_memory.fingerprint


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train", "train_labels", "test", "test_labels"),
        ("X", "labels", "test", "y_test"),
    ],
)
def test_npz_by_the_names_in_use(keys, tmp_path):
    path = tmp_path / "table.npz"
    labels = np.arange(20, dtype=np.uint8)
    np.savez(path, **dict(zip(keys, (TABLE, labels, TABLE[:5], labels[:5]), strict=True)))
    dataset = data.load(path)
    assert (len(dataset.train), dataset.validation, len(dataset.test)) == (20, None, 5)
    assert dataset.train.labels.dtype == np.int64
    np.testing.assert_array_equal(dataset.test.labels, labels[:5])
    np.savez_compressed(path, anything=TABLE)  # an only array may have any name
    np.testing.assert_array_equal(data.load(path, validation_size=0).train.values, TABLE)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"train": TABLE, "weights": TABLE}, r"train, weights.*Allowed.*x_train.*y_train"),
        ({"test": TABLE, "y": np.arange(20)}, r"test, y"),
        ({"train": TABLE, "y_test": np.arange(20)}, "train, y_test"),
        ({"train": TABLE, "X": TABLE}, "both train and X"),
        ({"train": TABLE, "test": TABLE[:, :2]}, "test split"),
        ({"train": TABLE, "y": np.arange(19)}, r"labels.*\(19,\)"),
        ({"train": TABLE, "y": np.array(["a"] * 20)}, "labels.*must be int64.*<U1"),
        ({"train": np.array([[None]])}, "not as Python objects"),
        ({}, "the training split is required"),
    ],
)
def test_other_npz_files_are_refused_by_name(arrays, words, tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, **arrays)
    with pytest.raises(HebaeError, match=rf"table\.npz.*{words}"):
        data.load(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", ["pickled", "cut short", "text", "empty"])
def test_damaged_array_files_are_refused_by_name(suffix, content, tmp_path):
    path = tmp_path / f"table{suffix}"
    array = np.array([[{}]]) if content == "pickled" else TABLE
    (np.save if suffix == ".npy" else np.savez)(path, array)
    if content == "cut short":
        path.write_bytes(path.read_bytes()[:-40])
    elif content != "pickled":
        path.write_bytes(b"words" if content == "text" else b"")
    with pytest.raises(HebaeError, match=rf"table\{suffix} cannot be read"):
        data.load(path)
