"""pythae (Chadebec, Vincent, Allassonniere 2022): its models and its trainer, on our networks."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contenders import SETTINGS, SQUARED_ERROR, WARM_UP, Contender, Mark
from hebae.building import build
from hebae.model import Autoencoder, to_floats

__all__ = ["ABSENT", "AVAILABLE", "by_pythae", "make_peer", "make_trainer"]

AVAILABLE = importlib.util.find_spec("pythae") is not None
ABSENT = "needs pythae, which `make bench` installs"


def by_pythae(method: str, **optimizer_params: Any) -> Contender:
    """Train pythae's VAE ("vae") or WAE-MMD ("wae") with pythae's own trainer, in one process.

    Left as it comes, but for its logging, which is silenced; its data loader has no workers.
    """

    def stretch(examples: np.ndarray, mark: Mark) -> None:
        from pythae.trainers.training_callbacks import TrainingCallback

        class AtSteps(TrainingCallback):  # type: ignore[misc]
            taken = 0

            def on_train_step_end(self, *arguments: Any, **named: Any) -> None:
                self.taken += 1
                if self.taken in (WARM_UP, WARM_UP + steps):
                    mark()

        steps = len(examples) // SETTINGS.batch_size
        extra = np.resize(examples, (WARM_UP * SETTINGS.batch_size, *examples.shape[1:]))
        values = to_floats(torch.from_numpy(np.concatenate([extra, examples])))
        model = build(_settings(method), examples.shape[1:])
        with make_trainer(
            make_peer(model, method),
            values,
            epochs=1,
            seed=0,
            callbacks=[AtSteps()],
            **optimizer_params,
        ) as trainer:
            trainer.train()

    return stretch


def _settings(method: str) -> Any:
    return SETTINGS.replace(method=method, **(SQUARED_ERROR if method == "wae" else {}))


def make_peer(model: Autoencoder, method: str, penalty_weight: float = 1.0) -> Any:
    """Make pythae's model with our networks and the same objective up to a constant.

    Its VAE's "bce" and its WAE's squared error are summed over pixels as ours are, and its kernels
    have our widths. The weights are shared: training one trains the other.
    """
    from pythae.models import VAE, WAE_MMD, VAEConfig, WAE_MMD_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = model.encoder

        def forward(self, x: Tensor) -> Any:
            output = self.network(x)
            mean, log_scale = output[:, : model.latent_dim], output[:, model.latent_dim :]
            return ModelOutput(embedding=mean, log_covariance=2 * log_scale)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = model.decoder
            self.activation = nn.Sigmoid() if method == "vae" else nn.Identity()

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.activation(self.network(z)))

    shape = {"input_dim": model.input_shape, "latent_dim": model.latent_dim}
    if method == "vae":
        if penalty_weight != 1:
            raise ValueError("pythae's VAE has no weight; its BetaVAE has.")
        return VAE(VAEConfig(**shape, reconstruction_loss="bce"), Encoder(), Decoder())
    # Its default kernel is ours: inverse multiquadratic, seven widths, base variance 1.
    return WAE_MMD(WAE_MMD_Config(**shape, reg_weight=penalty_weight), Encoder(), Decoder())


@contextlib.contextmanager
def make_trainer(
    peer: Any,
    values: Tensor,
    *,
    epochs: int,
    seed: int,
    callbacks: list[Any],
    batch_size: int = SETTINGS.batch_size,
    no_cuda: bool = True,
    **params: Any,
) -> Iterator[Any]:
    """Make pythae's trainer for values (n, *shape) in [0, 1]; its files and prints are dropped."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("pythae"):
            logging.getLogger(name).setLevel(logging.WARNING)
    quiet = contextlib.redirect_stderr(io.StringIO())  # its progress bar
    with tempfile.TemporaryDirectory() as folder, quiet:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            learning_rate=SETTINGS.learning_rate,
            per_device_train_batch_size=batch_size,
            optimizer_params=params or None,
            seed=seed,
            no_cuda=no_cuda,
        )
        dataset = BaseDataset(values, torch.zeros(len(values)))
        yield BaseTrainer(peer, dataset, None, config, callbacks)
