"""MNIST, Fashion-MNIST, and mnist-mini, the part of MNIST that comes with the package."""

from __future__ import annotations

from pathlib import Path

from hebae.data.examples import Dataset
from hebae.data.idx import NAMES, IdxSource, load_idx_folder
from hebae.data.source import DataDirectory, NamedSource

_SHAPE = (1, 28, 28)


class _MnistMini(NamedSource):
    def load(self, directory: DataDirectory) -> Dataset:
        """Read the files in the package."""
        return load_idx_folder(Path(__file__).with_name("mnist_mini"), name=self.name)


MNIST_MINI = _MnistMini(
    name="mnist-mini",
    description="The first images of MNIST, in the package",
    licence="CC BY-SA 3.0",  # see mnist_mini/LICENSE.md
    shape=_SHAPE,
    counts={"train": 10_000, "test": 2_000},
    validation_is_last=True,
)
MNIST = IdxSource(
    name="mnist",
    description="Handwritten digits, grey",
    licence="CC BY-SA 3.0",
    shape=_SHAPE,
    counts={"train": 60_000, "test": 10_000},
    folders=("", "mnist"),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256={
        NAMES[0]: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        NAMES[1]: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        NAMES[2]: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        NAMES[3]: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    description="Articles of clothing, grey",
    licence="MIT (Zalando SE)",
    shape=_SHAPE,
    counts={"train": 60_000, "test": 10_000},
    folders=("fashion", "fashion-mnist"),
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    sha256={
        NAMES[0]: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        NAMES[1]: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        NAMES[2]: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        NAMES[3]: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
