"""What the tests of feature extractors share."""

from __future__ import annotations

import numpy as np
import pytest

from hebae.data import Dataset, Examples
from hebae.data.examples import fingerprint
from hebae.errors import HebaeError


def dataset_of(values, test=None):
    splits = {"train": Examples(values)} | ({} if test is None else {"test": Examples(test)})
    return Dataset("toy", splits["train"], None, splits.get("test"), fingerprint(splits))


def images(n=40, shape=(1, 8, 9), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def is_refused(sentence, kind=HebaeError):
    return pytest.raises(kind, match=sentence)
