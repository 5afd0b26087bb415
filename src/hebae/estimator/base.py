"""Fitting: the base class of the estimators."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from hebae import inference, new_examples
from hebae.config import Settings
from hebae.data import Examples
from hebae.data.arrays import batch_name
from hebae.data.conditions import is_names
from hebae.data.tables import is_frame
from hebae.errors import HebaeError
from hebae.estimator.fitted import Fitted
from hebae.estimator.reading import Array, named_as_parameters, seed_of
from hebae.evaluation import checks
from hebae.model import Autoencoder
from hebae.samplers import (
    codes_of,
)
from hebae.storage import require_same_architecture
from hebae.training.batches import ArrayBatches, Batches
from hebae.training.callbacks import Callback, ProgressBar
from hebae.training.checks import complete, smallest_batch
from hebae.training.loader import LoaderBatches
from hebae.training.loggers import Origin, open_loggers
from hebae.training.loop import train
from hebae.training.machine import make_fabric
from hebae.training.population import model_for


@dataclass(eq=False, repr=False, kw_only=True)
class Estimator(Fitted):
    """Base class of the estimators."""

    n_components: int | None = None
    warm_start: bool = False
    validation_size: int | None = 0
    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: bool = False

    method: ClassVar[str]

    if TYPE_CHECKING:  # the subclasses have all parameters one by one
        history_: list[dict[str, Any]]

        def __init__(self, latent_dim: int = 20, **parameters: Any) -> None: ...

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        validation: Any = None,
        condition: Any = None,
        validation_condition: Any = None,
    ) -> Self:
        """Train on examples.

        Parameters
        ----------
        X : array of shape (n, d) or (n, c, h, w), data frame, tensor, path, or DataLoader
            Sparse arrays stay sparse until they are in a batch. NaN, None in a data frame and
            masked entries are missing values.
            A DataLoader is passed over once before training, to see what its numbers are.
        y : ignored
        validation : like X, optional
            Held-out examples, instead of `validation_size`.
        condition : str, tuple of str, array of shape (n,), data frame or dict, optional
            What the decoder is given in addition to the code, such as a batch or a class. Names of
            columns of X (or of ``X.obs``), which are then not features; "label" for the labels of
            a data set; or values: one per example, in a data frame or dict if there are several.
        validation_condition : array, data frame or dict, optional
            Conditions of the examples in `validation`, where `condition` holds values.

        Returns
        -------
        self
            If training fails or is interrupted, the estimator stays as it was before the call.

        Raises
        ------
        HebaeError
            If the examples or parameters are invalid, before training starts; or if it diverges.
        ValueError, TypeError
            Raised by scikit-learn's checks of arrays and of the names of columns.
        KeyboardInterrupt
            On Ctrl-C, at the end of the training step.
        """
        with named_as_parameters():
            before = self if self.warm_start and hasattr(self, "module_") else None
            settings = self._settings(before)
            like = None if before is None else (before.module_.seen, before.module_.input_shape)
            checked = copy.copy(self)  # gets the names and number of the features
            examples: Any
            if isinstance(X, DataLoader):
                if condition is not None:
                    raise HebaeError(
                        "condition is given, but a DataLoader gives examples without conditions; "
                        "give X as an array, data frame, torch Dataset or path."
                    )
                checked._name_features(None)
                dataset = self._all_batches(X, like and like[0])
                settings = settings.replace(batch_size=len(dataset.train))
                source: Any = X.dataset
                is_counted = isinstance(source, Sized) and X.batch_size and not X.drop_last
                count = len(source) if is_counted else None
                name, examples = "the DataLoader", X
            else:
                size = self.validation_size if validation is None else 0
                dataset = checked._read(X, like=like, validation_size=size, condition=condition)
                name, examples, count = dataset.name, dataset.train, len(dataset.train)
            held = dataset.held_out()
            if validation is not None:
                train_like = dataset.train.seen, dataset.shape
                part = checked._read(
                    validation, "validation", like=train_like, condition=validation_condition
                )
                held = "validation", part.train
            if before is not None:
                if before.module_.conditions is not None and dataset.train.conditions is None:
                    raise HebaeError(
                        "warm_start continues a model that has conditions; give condition."
                    )
                before._require_alike(dataset.train, "X")
            own = {name: copy_of(getattr(self, name), name) for name in ("encoder", "decoder")}
            needed = smallest_batch(settings, *own.values())
            if isinstance(X, DataLoader) and len(dataset.train) < needed:
                raise HebaeError(
                    f"{batch_name(1)} has {len(dataset.train)} examples, and {type(self).__name__} "
                    f"needs at least {needed}; give the DataLoader a larger batch_size."
                )
            settings, decided = complete(
                settings, dataset.train, held, name=name, count=count, **own
            )
            fabric = make_fabric(settings)
            model = model_for(settings, dataset.train, **own)
            history = []
            if before is not None:
                _continue_from(before.module_, model)
                history = before.history_
            dtype = torch.float64 if settings.precision == "64-true" else torch.float32
            # Further epochs are in other orders.
            order = (settings.seed + len(history)) % 2**32
            options: Any = {"seed": order, "device": fabric.device, "dtype": dtype}
            size = settings.batch_size
            batches: Batches
            if isinstance(X, DataLoader):
                batches = LoaderBatches(
                    X,
                    like=dataset.train,
                    check=partial(_require_trainable, model),
                    smallest=needed,
                    drop_below=size if settings.drop_last else 1,
                    **options,
                )
                if before is None and model.likelihood.filling is not None:
                    model.likelihood.incomplete = True  # as a batch of a later epoch may be
            else:
                batches = ArrayBatches(examples, size, drop_last=settings.drop_last, **options)
            held_batches = None
            if held is not None:
                held_batches = held[0], ArrayBatches(held[1], size, **options)
            callbacks: list[Callback] = []
            if self.verbose:
                console = Console(stderr=True)
                callbacks.append(ProgressBar(type(self).__name__, self.epochs, console))
            with open_loggers(Origin(settings, type(self).__name__)) as loggers:
                outcome = train(
                    model,
                    settings,
                    batches,
                    held_batches,
                    fabric=fabric,
                    callbacks=[*callbacks, *loggers],
                    is_new=before is None,
                )
                if outcome.interrupted:
                    raise KeyboardInterrupt
            codes = _training_codes(model.eval(), examples, batches, settings)
        # Only now, when nothing can fail any more.
        self.module_, self.settings_ = model, settings
        self.history_ = [*history, *_renumbered(outcome.history, history[-1:])]
        self.notes_ = [*dataset.notes, *decided]
        self.n_features_in_ = math.prod(model.input_shape)
        names = None if is_frame(X) else dataset.train.feature_names
        self._name_features(getattr(checked, "feature_names_in_", names))
        self.codes_, self.samplers_, self._origin = codes, None, None
        self.conditions_, self._by_condition = dataset.train.conditions, {}
        self._own = {f"own_{name}": module is not None for name, module in own.items()}
        return self

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> Self:
        """Read a model from the Hugging Face Hub; needs hebae[hub].

        Parameters
        ----------
        name : str or Path
            Repository on the Hub, as owner/name, or a folder.
        revision : str, optional
            Branch, tag or commit.
        local_files_only : bool, default=False
            Whether to use only the local cache, without the network.
        encoder, decoder : nn.Module, optional
            See `hebae.load`.

        Raises
        ------
        HebaeError
            If there is no such model, it is damaged, or of another method.
        """
        from hebae.estimator import load
        from hebae.hub import download

        if not isinstance(name, str | Path):
            raise HebaeError(f"name is {name!r}; give owner/name on the Hub, or a folder.")
        if Path(name).is_dir():
            folder = Path(name)
        else:
            folder = download(str(name), revision=revision, offline=local_files_only)
        model = load(folder, encoder=encoder, decoder=decoder)
        if not isinstance(model, cls):
            raise HebaeError(
                f"{name} holds a model of the class {type(model).__name__}; read it with "
                f"hebae.{type(model).__name__}.from_pretrained."
            )
        return model

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Array:
        """Fit to X, with the keyword arguments of `fit`, and encode it."""
        condition = fit_params.get("condition")
        self.fit(X, y, **fit_params)
        # Columns of X, by name, are found in X again.
        needed = self.condition_encoder and not is_names(condition)
        return self.transform(X, condition if needed else None)

    def _settings(self, before: Estimator | None) -> Settings:
        """Return the settings; where training goes on, what was decided for its first data."""
        names = self.get_params(deep=False).keys() & Settings.model_fields.keys()
        values = {name: getattr(self, name) for name in names}
        # Grids of parameters are often NumPy arrays.
        values = {n: v.item() if isinstance(v, np.generic) else v for n, v in values.items()}
        if self.n_components is not None:
            checks.counts(1, n_components=self.n_components)
            if self.latent_dim not in (type(self).latent_dim, self.n_components):
                raise HebaeError(
                    f"n_components is {self.n_components} and latent_dim {self.latent_dim}, which "
                    "are two names of one parameter; set one of them."
                )
            values["latent_dim"] = int(self.n_components)
        if before is not None:
            for name in ("likelihood", "encoder_widths", "decoder_widths"):
                if values[name] in (None, "auto"):
                    values[name] = getattr(before.settings_, name)
        seed = seed_of(self.random_state)
        return Settings.checked(values | {"method": self.method, "seed": seed}, type(self).__name__)


def _require_trainable(model: Autoencoder, examples: Examples, name: str) -> None:
    new_examples.require_alike(model, examples, name, strict=True)
    if model.likelihood.filling is None and examples.summary.missing:
        raise HebaeError(
            f"{name} has {examples.summary.missing} missing values (NaN), but the model was first "
            "trained on complete images; replace the missing values."
        )


def _continue_from(before: Autoencoder, model: Autoencoder) -> None:
    """Take the weights of a model over into a new one, with what it learned from its data."""
    state = before.state_dict()
    try:
        require_same_architecture(model, state, Path("the fitted model"))
    except HebaeError as error:
        raise HebaeError(
            "warm_start continues the fitted model, but parameters that determine its "
            f"architecture were changed ({error}); set warm_start=False, or set them back."
        ) from None
    model.load_state_dict(state)
    model.seen, model.conditions = before.seen, copy.deepcopy(before.conditions)


def _training_codes(
    model: Autoencoder, examples: Any, batches: Batches, settings: Settings
) -> Array:
    """One code z ~ q(z | x) of each training example; a loader is iterated once more."""
    if not isinstance(examples, DataLoader):
        return codes_of(model, examples, settings.seed)
    epoch = batches.epoch(settings.epochs)
    arrays = (x.detach().cpu().numpy() for x, _ in epoch)
    encoded = zip(*(inference.encode(model, x) for x in arrays), strict=True)
    parts: Any = (None if part[0] is None else np.concatenate(part) for part in encoded)
    return inference.draw(model, inference.Codes(*parts), settings.seed)


def _renumbered(
    records: list[dict[str, Any]], last: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Count epochs, steps and seconds on from the last record before."""
    counts = ("epoch", "step", "seconds")
    for record in records:
        yield record | {name: record[name] + old[name] for old in last for name in counts}


def copy_of(module: nn.Module | None, name: str) -> nn.Module | None:
    """Return a copy for training; in float32, which precision "64-true" makes float64."""
    try:
        return None if module is None else copy.deepcopy(module).float()
    except (AttributeError, RuntimeError, TypeError) as error:
        raise HebaeError(f"{name} must be an nn.Module that can be copied: {error}.") from None
