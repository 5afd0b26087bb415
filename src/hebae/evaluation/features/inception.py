"""Features of the Inception network of the FID, with torch-fidelity's weights and preprocessing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hebae.data.cache import cache_dir, download
from hebae.errors import HebaeError
from hebae.evaluation.features.base import FeatureExtractor, Prepared, file_hash
from hebae.files import NOT_A_PICKLE

NAME = "inception-v3-compat"
DIMENSION = 2048
FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
MIRRORS = ("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/",)
FOLDERS = ("", "inception")
VARIABLE = "HEBAE_INCEPTION_WEIGHTS"


def inception_features(
    weights: Path | None = None, *, device: str | torch.device = "cpu"
) -> FeatureExtractor:
    """Return torch-fidelity's "inception-v3-compat": 2,048 features, with its own preprocessing.

    Grey images are repeated in three colours. By convention 2,048 examples are enough for the FID.

    Parameters
    ----------
    weights : Path, optional
        The file ``weights-inception-2015-12-05-6726825d.pth``; default: what the variable
        HEBAE_INCEPTION_WEIGHTS names, or a download. Another file of the same form is accepted, but
        its hash becomes part of the name, since its distances are no FID.
    device : str or torch.device

    Source: Obukhov et al. (2020), "High-fidelity performance metrics for generative models in
    PyTorch".
    """
    network_class = _network_class()
    if weights is None and os.environ.get(VARIABLE):
        weights = Path(os.environ[VARIABLE])
    path = Path(weights).expanduser() if weights is not None else _downloaded()
    fingerprint = file_hash(path)
    network = Prepared(_load(network_class, path).eval(), lambda x: x.expand(-1, 3, -1, -1))
    name = NAME if fingerprint == SHA256 else f"{NAME}-{fingerprint[:8]}"
    return FeatureExtractor(
        network, name, DIMENSION, fingerprint, minimum=DIMENSION, batch_size=32, device=device
    )


def _downloaded() -> Path:
    try:
        return download(NAME, {FILE: SHA256}, MIRRORS, FOLDERS) / FILE
    except HebaeError as error:
        raise HebaeError(
            f"the Inception weights {FILE} (SHA-256 {SHA256}) are missing and could not be "
            f"downloaded from {MIRRORS[0]}; put a copy at {cache_dir() / NAME / FILE}, name it by "
            f"{VARIABLE} or weights=..., or set HEBAE_MIRROR to a server that has it."
        ) from error


def _load(network_class: Any, path: Path) -> nn.Module:
    try:
        # The class reads the file without this check; a file that passes it cannot run code.
        torch.load(path, map_location="cpu", weights_only=True)
        network: nn.Module = network_class(NAME, ["2048"], feature_extractor_weights_path=str(path))
    except NOT_A_PICKLE as error:
        raise HebaeError(
            f"{path} does not hold the weights of {NAME} ({type(error).__name__}); give the file "
            f"{FILE} with SHA-256 {SHA256}."
        ) from None
    return network


def _network_class() -> Any:
    with bare_torch_fidelity():
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    return module.FeatureExtractorInceptionV3


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
