import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hebae.data import idx
from hebae.errors import HebaeError

IMAGES = idx.serialise(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=6)), st.booleans())
def test_what_is_written_is_read(array, compressed):
    raw = idx.serialise(array)
    raw = gzip.compress(raw) if compressed else raw
    read = idx.parse(raw, "file", dimensions=array.ndim)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (gzip.compress(IMAGES, mtime=0)[:-12], "truncated gzip"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + bytes(8), "damaged gzip"),
        (b"", "wrong magic number"),
        (b"\x89PNG and so on", "wrong magic number 0x89504e47.*0x00000803"),
        (idx.serialise(np.zeros(3, np.uint8)), "wrong magic number 0x00000801"),
        (IMAGES[:-1], "23 bytes.*2 x 3 x 4"),
        (IMAGES + b"!", "25 bytes.*2 x 3 x 4"),
        (IMAGES[:10], "0 bytes"),
    ],
)
def test_damage_is_named_with_the_file(raw, words):
    with pytest.raises(HebaeError, match=f"digits.gz.*{words}"):
        idx.parse(raw, "digits.gz", dimensions=3)
