"""Every method as a scikit-learn estimator: HEBAE, VAE, WAE and so on, and `load`.

The classes are generated, one per file in ``hebae/objectives``. Their parameters are the settings
of the command line (``hebae.config``), with the same names, defaults and checks.
"""

from __future__ import annotations

import copy
import inspect
import math
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import nn
from torch.utils.data import DataLoader

from hebae import inference
from hebae.config import DataSettings, ModelSettings, Settings, TrainingSettings
from hebae.data import Dataset, Examples
from hebae.data import load as load_data
from hebae.data.alignment import aligned
from hebae.data.arrays import batch_name
from hebae.data.conditions import as_matrix, is_names, with_conditions
from hebae.data.decoding import IMAGE_OPTIONS
from hebae.data.examples import Column, Seen
from hebae.data.loading import options_for
from hebae.data.tables import is_frame
from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.files import expand, make_folder
from hebae.methods import METHODS, SAMPLER_HELP, SAMPLER_NAMES, Method
from hebae.model import Autoencoder
from hebae.objectives import OBJECTIVES
from hebae.priors import NAMES, Prior, Samplers, StandardNormal, check_name, fit_samplers
from hebae.samplers import (
    Stored,
    codes_of,
    read_samplers,
    resolve,
    training_data,
    write_samplers,
)
from hebae.storage import RunFolder, load_model, require_same_architecture, save_model
from hebae.training.batches import ArrayBatches, Batches
from hebae.training.callbacks import Callback, ProgressBar
from hebae.training.checks import complete, smallest_batch
from hebae.training.loader import EMPTY, LoaderBatches, LoaderExamples, read, whole
from hebae.training.loop import make_fabric, train
from hebae.training.population import model_for

Array = npt.NDArray[np.float32]
_UNCONDITIONAL = (
    "condition is given, and the model was fitted without; leave it out, or fit again with it."
)


def _sample_doc(text: str | None) -> str:
    """Fill the samplers into the documentation of `Estimator.sample`."""
    names = ", ".join(f'"{name}"' for name in ("auto", *SAMPLER_NAMES))
    head, _, rest = (text or "").partition(" " * 12 + "SAMPLER_HELP")
    description, end, rest = rest.partition("        random_state")
    filled = textwrap.wrap(SAMPLER_HELP + " " + " ".join(description.split()), 88)
    lines = textwrap.indent("\n".join(filled), " " * 12)
    return head.replace("{SAMPLERS}", f"{{{names}}}") + lines + "\n" + end + rest


@dataclass(eq=False, repr=False, kw_only=True)
class Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
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
        codes_: Array | None
        samplers_: Samplers | None
        feature_names_in_: npt.NDArray[Any]
        module_: Autoencoder
        history_: list[dict[str, Any]]
        _origin: tuple[Path, dict[str, Any]] | None
        _own: dict[str, bool]

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
            What the decoder is given beside the code, such as a batch or a class. Names of columns
            of X (or of ``X.obs``), which are then no features; "label" for the labels of a data
            set; or values: one per example, in a data frame or dict if there are several.
        validation_condition : array, data frame or dict, optional
            Of the examples of `validation`, where `condition` holds values.

        Returns
        -------
        self
            If training fails or is interrupted, the estimator stays as it was before the call.

        Raises
        ------
        HebaeError
            If the examples or parameters are invalid, before training starts; or if it diverges.
        ValueError, TypeError
            From scikit-learn's checks of arrays and of the names of columns.
        KeyboardInterrupt
            On Ctrl-C, at the end of the training step.
        """
        with _named_as_parameters():
            before = self if self.warm_start and hasattr(self, "module_") else None
            settings = self._settings(before)
            like = None if before is None else (before.module_.seen, before.module_.input_shape)
            checked = copy.copy(self)  # gets the names and number of the features
            examples: Any
            if isinstance(X, DataLoader):
                if condition is not None:
                    raise HebaeError(
                        "condition is given, and a DataLoader gives examples without conditions; "
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
                        "warm_start goes on with a model that has conditions; give condition."
                    )
                before._require_alike(dataset.train, "X")
            own = {name: _copy(getattr(self, name), name) for name in ("encoder", "decoder")}
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
            outcome = train(
                model,
                settings,
                batches,
                held_batches,
                fabric=fabric,
                callbacks=callbacks,
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
        self._own = {f"own_{name}": module is not None for name, module in own.items()}
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Array:
        """Fit to X, with the keyword arguments of `fit`, and encode it."""
        condition = fit_params.get("condition")
        self.fit(X, y, **fit_params)
        # Columns of X, by name, are found in X again.
        needed = self.condition_encoder and not is_names(condition)
        return self.transform(X, condition if needed else None)

    def transform(self, X: Any, condition: Any = None) -> Array:
        """Encode examples: posterior means, shape (n, latent_dim).

        Examples of a DataLoader are in its own order, here and in the other methods.

        Parameters
        ----------
        X : like that of `fit`
        condition : one value, array of shape (n,), data frame or dict, optional
            Of a model that was fitted with conditions, unless X holds them under the names that
            `fit` was given. Only a model with `condition_encoder` needs them here.
        """
        return self._over_examples(X, condition, lambda *pair: inference.encode(*pair).mean)

    def inverse_transform(self, Z: Any, condition: Any = None) -> Array:
        """Decode codes (n, latent_dim): E[x | z], shape (n, *shape).

        `condition` is one value for all codes or one for each, if the model has conditions.
        """
        model = self._model()
        z = checks.finite(Z, "Z", ("n", model.latent_dim))
        return inference.decode(model, z.astype(np.float32), self._conditions(condition, len(z)))

    def reconstruct(self, X: Any, condition: Any = None) -> Array:
        """Encode and decode examples: E[x | z = mu(x)], shape (n, *shape).

        With another `condition` than that of the examples, such as ``{"batch": "a"}``, the result
        is counterfactual: what they would be in batch a. Conditions that it does not name stay as
        X has them.
        """
        known = self._known_conditions(condition)

        def decode(model: Autoencoder, examples: Examples) -> Array:
            if condition is None:
                return inference.reconstruct(model, examples)
            other = with_conditions(examples, condition, known)
            return inference.reconstruct(model, examples, other.conditions)

        return self._over_examples(X, None, decode)

    def impute(self, X: Any, condition: Any = None) -> Array:
        """Fill missing numbers (NaN, masked): X with E[x | z = mu(x)] in their place.

        Shape (n, *shape), in the units of the data; grey levels are in [0, 1]. A missing category
        is the most probable one. `condition` is as in `score_samples`.
        """
        return self._over_examples(X, condition, inference.impute)

    def sample(
        self,
        count: int = 64,
        *,
        condition: Any = None,
        sampler: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> Array:
        """Decode draws from a prior.

        Parameters
        ----------
        count : int, default=64
        condition : one value, array of shape (count,), data frame or dict, optional
            Of a model that was fitted with conditions, such as ``{"digit": 3}``. None draws
            conditions too, with the frequencies that they had in training.
        sampler : {SAMPLERS}, default="auto"
            SAMPLER_HELP Samplers other than "normal" and "prior" are fitted to the codes of the
            training examples when first used, which takes up to two minutes for 50,000 examples.
            "auto" adds a sentence to `notes_`.
        random_state : int, RandomState or None, default=None
            Seed of the draws.

        Returns
        -------
        ndarray of shape (count, *shape)

        Raises
        ------
        HebaeError
            If a parameter is invalid, fewer than 20 codes are known to fit a sampler to, or a
            package is missing.
        """
        checks.counts(count=count)
        model = self._model()
        with _named_as_parameters():
            check_name(sampler, others=("prior", "auto"))
            chosen = resolve(sampler, model)
            prior: Prior = model.prior
            if chosen == "normal":
                prior = StandardNormal(model.latent_dim)
            elif chosen != "prior":
                prior = self._fitted_samplers(chosen)[chosen]
            conditions = self._conditions(condition, count)
            return inference.sample(model, count, _seed(random_state), prior, conditions)

    sample.__doc__ = _sample_doc(sample.__doc__)

    def interpolate(self, first: Any, second: Any, steps: int = 10, condition: Any = None) -> Array:
        """Decode the straight line between the codes of two examples: shape (steps, *shape).

        `condition` holds one value for the whole line, if the model has conditions.
        """
        checks.counts(2, steps=steps)
        model = self._model()
        pair = {"first": first, "second": second}
        with _named_as_parameters():
            begin, end = (
                self._examples(checks.as_array(x, name)[None], name, condition)
                for name, x in pair.items()
            )
            line: Array = inference.interpolate(model, begin, end, steps)[0]
        return line

    def score_samples(self, X: Any, condition: Any = None) -> Array:
        """Return ``log p(x | z = mu(x))`` of each example, in nats: shape (n,).

        `condition` is as in `transform`; every model with conditions needs them here.
        """
        return self._over_examples(X, condition, inference.log_likelihood)

    def score(self, X: Any, y: Any = None, condition: Any = None) -> float:
        """Return the mean of `score_samples`, in nats per example: higher is better.

        It measures reconstruction. It is not a bound on log p(x) and says nothing about samples.
        """
        return float(self.score_samples(X, condition).mean(dtype=np.float64))

    def save(self, folder: str | Path) -> None:
        """Write the fitted model into a folder, for `hebae.load`.

        The folder gets ``model.safetensors``, ``config.json`` and ``samplers.safetensors``. The
        last one holds the codes of the training examples and the samplers fitted to them; remove it
        to share the model without them, and only the sampler "normal" is left.
        """
        model, path = self._model(), expand(folder)
        if RunFolder(path).is_run:
            raise HebaeError(f"{path} holds a run of the command line; save to another folder.")
        make_folder(path)
        try:
            # Together or not at all: another model's weights may not meet these settings.
            with TemporaryDirectory(dir=path, prefix=".", suffix=".tmp") as temporary:
                save_model(Path(temporary), model, self.settings_, self._own)
                if self.codes_ is None and self.samplers_ is None:
                    RunFolder(path).samplers.unlink(missing_ok=True)
                else:
                    stored = Stored(self.samplers_, self.codes_)
                    write_samplers(Path(temporary), model, stored)
                for file in Path(temporary).iterdir():
                    file.replace(path / file.name)
        except OSError as error:
            raise HebaeError(
                f"cannot write to {path}: {error.strerror or error}. Choose a folder that you may "
                "write to."
            ) from error

    def _name_features(self, names: Sequence[str] | None) -> None:
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)

    @property
    def _n_features_out(self) -> int:
        return self._model().latent_dim

    def _model(self) -> Autoencoder:
        check_is_fitted(self)
        return self.module_

    def _fitted_samplers(self, name: str) -> Samplers:
        names = NAMES if name == "auto" else (name,)
        if self.samplers_ is None or not set(names) <= set(self.samplers_.by_name):
            if self.codes_ is None:  # of a model that was loaded without them
                if self._origin is None:
                    raise HebaeError(
                        "this model has no training codes to fit a sampler to; fit it again, or "
                        "choose sampler='normal', which needs none."
                    )
                values = training_data(*self._origin).train
                self.codes_ = codes_of(self.module_, values, self.settings_.seed)
            self.samplers_ = fit_samplers(self.codes_, self.settings_.seed, names, self.samplers_)
            if name == "auto":
                self.notes_ = [*self.notes_, f"{self.samplers_}."]
        return self.samplers_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

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
        seed = _seed(self.random_state)
        return Settings.checked(values | {"method": self.method, "seed": seed}, type(self).__name__)

    def _read(
        self,
        X: Any,
        name: str = "X",
        *,
        like: tuple[Seen | None, tuple[int, ...]] | None = None,
        validation_size: int | None = 0,
        condition: Any = None,
    ) -> Dataset:
        """Load examples, after scikit-learn's checks of arrays and of the names of columns.

        `like` is what training has seen, and the shape of an example; None if this is training.
        """
        if isinstance(X, DataLoader):  # of held-out examples
            X = whole(X, _pixels(None if like is None else like[0]))
        seen, shape = like or (None, ())
        learned = None if seen is None else seen.conditions
        if condition is not None and like is not None and learned is None:
            raise HebaeError(_UNCONDITIONAL)
        if is_frame(X) or _is_array(X):  # other sources are read by the names of training
            features = X
            if is_frame(X):
                named = (condition,) if isinstance(condition, str) else condition
                names = learned.names if learned else named if is_names(named) else ()
                kept = () if seen is None else seen.feature_names or ()
                drop = [c for c in X.columns if str(c) in names and str(c) not in kept]
                features = X.drop(columns=drop) if hasattr(X, "iloc") else X.drop(drop)
            validate_data(
                self, features, reset=like is None, skip_check_array=True, ensure_2d=False
            )
        elif like is None:
            self._name_features(None)
        given = () if isinstance(X, Examples | Dataset) else tuple(getattr(X, "shape", ()))
        if len(shape) == 3 and given == shape and given[0] > 1:
            raise HebaeError(f"{name} is one example, of shape {shape}; give {name}[None].")
        if len(given) == 3 and shape == (1, *given[1:]):
            X = X[:, None]  # grey images; in training, 3 or 4 of them could be one in colour
        least = 2 if like is None else 1
        rules: dict[str, Any] = {
            "accept_sparse": "csr",
            "allow_nd": True,
            "ensure_all_finite": False,
            "ensure_min_samples": least,
            "estimator": self,
            "input_name": name,
        }
        if _is_array(X):
            checked = check_array(np.ma.getdata(X) if np.ma.is_masked(X) else X, **rules)
            X = np.ma.array(checked, mask=np.ma.getmask(X)) if np.ma.is_masked(X) else checked
        elif is_frame(X) and len(given) == 2:
            is_complex = any("complex" in str(dtype) for dtype in X.dtypes)
            if given[0] < least or not given[1] or is_complex:  # to be refused
                check_array(np.empty(given, complex if is_complex else float), **rules)
        options: dict[str, Any] = {}
        if seen is not None:
            options = {n: getattr(seen, n) for n in ("pixels", "columns", "feature_names")}
        if like is not None and isinstance(X, str | Path) and hasattr(self, "settings_"):
            # A new file is read as that of training was: the layer, the size of images ...
            names = {*IMAGE_OPTIONS, "layer", "label_column", "id_column"} & options_for(str(X))
            chosen = {n: getattr(self.settings_, n) for n in names}
            options |= {n: value for n, value in chosen.items() if value is not None}
        if learned is not None:
            options["condition_columns"] = learned.columns
        given = () if condition is None else condition
        dataset = load_data(X, validation_size=validation_size, condition=given, **options)
        if seen is None:
            return dataset
        parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
        found = {n: part and aligned(part, seen, name) for n, part in parts.items()}
        return replace(dataset, **found)  # type: ignore[arg-type]

    def _examples(self, X: Any, name: str = "X", condition: Any = None) -> Examples:
        """Load examples that must be like those of training."""
        model = self._model()
        like = model.seen, model.input_shape
        examples = self._read(X, name, like=like, condition=condition).train
        return self._require_alike(examples, name)

    def _known_conditions(self, condition: Any) -> tuple[Column, ...] | None:
        """Return the conditions of the model; refuse a `condition` if it has none."""
        seen = self._model().seen
        learned = None if seen is None else seen.conditions
        if learned is None and condition is not None:
            raise HebaeError(_UNCONDITIONAL)
        return None if learned is None else learned.columns

    def _conditions(self, condition: Any, count: int) -> Array | None:
        """Return the conditions that a user gave for `count` codes, as numbers."""
        known = self._known_conditions(condition)
        return None if condition is None else as_matrix(condition, count, known)[0]

    def _require_alike(self, examples: Examples, name: str) -> Examples:
        model = self._model()
        if examples.shape != model.input_shape:
            if len(examples.shape) == len(model.input_shape) == 1:  # in scikit-learn's words
                raise HebaeError(
                    f"{name} has {examples.shape[0]} features, but {type(self).__name__} is "
                    f"expecting {model.input_shape[0]} features as input."
                )
            raise HebaeError(
                f"{name} holds examples of shape {examples.shape}; the model was trained on "
                f"{model.input_shape}."
            )
        inference.require_alike(model, examples, name)
        return examples

    def _over_examples(
        self, X: Any, condition: Any, function: Callable[[Autoencoder, Examples], Array]
    ) -> Array:
        """Apply a function to examples, or to the batches of a DataLoader, one after the other."""
        model = self._model()
        with _named_as_parameters():
            if not isinstance(X, DataLoader):
                return function(model, self._examples(X, condition=condition))
            results = []
            for name, part in read(X, _pixels(model.seen)):
                part = self._require_alike(part, name)
                if condition is not None:
                    part = with_conditions(part, condition, self._known_conditions(condition))
                results.append(function(model, part))
            if not results:
                raise HebaeError(EMPTY)
            return np.concatenate(results)

    def _all_batches(self, loader: DataLoader[Any], seen: Seen | None) -> Dataset:
        """Pass once over a loader: what is chosen for the data follows from all of its batches."""
        if self.validation_size:
            raise HebaeError(
                f"validation_size is {self.validation_size}, but examples of a DataLoader cannot "
                "be set aside; give fit validation=... instead."
            )
        examples = LoaderExamples.of(loader, _pixels(seen))
        return Dataset("the DataLoader", examples, None, None, "")


def _is_array(X: Any) -> bool:
    """Whether scikit-learn's checks apply: not to paths, tensors, data frames, images, Examples."""
    if isinstance(X, list):
        return not (X and type(X[0]).__module__.startswith("PIL."))
    if isinstance(X, torch.Tensor) or is_frame(X) or hasattr(X, "select"):
        return False
    return sparse.issparse(X) or hasattr(X, "__array__") or isinstance(X, tuple | int | float)


def _pixels(seen: Seen | None) -> bool | None:
    return None if seen is None else seen.pixels


def _require_trainable(model: Autoencoder, examples: Examples, name: str) -> None:
    inference.require_alike(model, examples, name, strict=True)
    if model.likelihood.filling is None and examples.summary.missing:
        raise HebaeError(
            f"{name} has {examples.summary.missing} missing values (NaN), and all images were "
            "complete when training began; replace the missing values."
        )


def _continue_from(before: Autoencoder, model: Autoencoder) -> None:
    """Take the weights of a model over into a new one, with what it learned from its data."""
    state = before.state_dict()
    try:
        require_same_architecture(model, state, Path("the fitted model"))
    except HebaeError as error:
        raise HebaeError(
            "warm_start goes on with the fitted model, and parameters that decide its "
            f"architecture were changed ({error}); set warm_start=False, or set them back."
        ) from None
    model.load_state_dict(state)
    model.seen, model.conditions = before.seen, copy.deepcopy(before.conditions)


def load(
    folder: str | Path, *, encoder: nn.Module | None = None, decoder: nn.Module | None = None
) -> Estimator:
    """Read a model that `Estimator.save` or ``hebae train`` wrote.

    Parameters
    ----------
    folder : str or Path
    encoder, decoder : nn.Module, optional
        For a model with networks of your own: modules of the same architecture.

    Returns
    -------
    HEBAE, VAE or another estimator
        Fitted; its parameters are the settings of the folder.

    Raises
    ------
    HebaeError
        If the folder holds no model, or one that is truncated, altered or of another architecture.
    """
    path = expand(folder)
    with _named_as_parameters():
        model, config = load_model(
            path, encoder=_copy(encoder, "encoder"), decoder=_copy(decoder, "decoder")
        )
        values = {name: config[name] for name in Settings.model_fields if name in config}
        settings = Settings.checked(values, f"{path}/config.json")
        cls = ESTIMATORS[settings.method]
        names = {*cls._get_param_names()} & {*Settings.model_fields}
        parameters: dict[str, Any] = {name: getattr(settings, name) for name in names}
        parameters |= {"encoder": encoder, "decoder": decoder, "random_state": settings.seed}
        estimator = cls(**parameters)
        stored = read_samplers(path, model)
    estimator.module_, estimator.settings_, estimator.notes_ = model, settings, []
    estimator.history_ = RunFolder(path).history()
    estimator.n_features_in_ = math.prod(model.input_shape)
    estimator._name_features(None if model.seen is None else model.seen.feature_names)
    estimator.codes_, estimator.samplers_ = stored.codes, stored.samplers
    estimator._origin = path.absolute(), config  # to find the training data
    estimator._own = {f"own_{n}": parameters[n] is not None for n in ("encoder", "decoder")}
    return estimator


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


def _copy(module: nn.Module | None, name: str) -> nn.Module | None:
    """Return a copy for training; in float32, which precision "64-true" makes float64."""
    try:
        return None if module is None else copy.deepcopy(module).float()
    except (AttributeError, RuntimeError, TypeError) as error:
        raise HebaeError(f"{name} must be an nn.Module that can be copied: {error}.") from None


def _seed(random_state: Any) -> int:
    """Return a seed from an int, RandomState or None, as scikit-learn does."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31))
    checks.counts(0, random_state=random_state)
    checks.require(random_state < 2**32, "random_state", random_state, "below 2**32")
    return int(random_state)


@contextmanager
def _named_as_parameters() -> Iterator[None]:
    """Replace flags of the command line in error messages by Python's parameters."""
    try:
        yield
    except HebaeError as error:
        flag = r"--([a-z]+(?:-[a-z]+)*)"
        text = re.sub(r"--no-(\w+)", r"--\1=False", str(error))
        message = re.sub(flag, lambda match: match[1].replace("-", "_"), text)
        flags = {name.replace("-", "_") for name in re.findall(flag, text)}
        arguments = DataSettings.model_fields.keys() - {"validation_size", "condition"}
        names = ", ".join(sorted(flags & arguments))
        if names:
            message += f" ({names}: arguments of hebae.data.load; give fit what that returns.)"
        error.args = (message,)
        raise


# ---- one class per method ------------------------------------------------------------------------

NOT_PARAMETERS = {
    "method",  # is the class
    "seed",  # is random_state
    *(DataSettings.model_fields.keys() - {"validation_size"}),  # describe the argument of fit
    "devices",  # starts the program once more per device, which a notebook cannot do
    "checkpoint_every",  # concerns a run folder, which fit does not write
    "tensorboard",
}
"""Settings of the command line that the estimators do not have, and why."""

DOCUMENTATION = """\
{description}

Parameters
----------
{parameters}
n_components : int or None, default=None
    Another name of latent_dim, as in scikit-learn's PCA. None: latent_dim holds.
warm_start : bool, default=False
    Whether `fit` goes on from the weights of the last fit, for another `epochs`, with new moments
    of Adam. What was learned from the first data, such as means and scales, stays.
validation_size : int or None, default=0
    Training examples to set aside for the held-out terms of `history_` and for early stopping.
    None: a tenth, unless the data have a validation or test split of their own.
encoder : nn.Module or None, default=None
    Network of your own instead of `network`: maps (m, *shape) to (m, latent_dim + number of
    log-scales), in the precision of `precision`. A copy is trained.
decoder : nn.Module or None, default=None
    Network of your own instead of `network`: maps (m, latent_dim) to (m, *shape). A copy is
    trained.
random_state : int or RandomState or None, default=None
    Seed of weights, order of examples and noise. With an int, two fits on one CPU with the same
    number of threads are bit-identical. None draws the seed from NumPy's global generator, as
    everywhere in scikit-learn.
verbose : bool, default=False
    Whether to show a progress bar on standard error.

Attributes
----------
module_ : hebae.model.Autoencoder
    The trained PyTorch module, in evaluation mode.
history_ : list of dict
    Terms of the loss, one record per epoch, in nats per example where they have a unit.
settings_ : hebae.config.Settings
    All settings as resolved for these data.
notes_ : list of str
    What was decided from the data.
codes_ : ndarray of shape (n, latent_dim) or None
    One draw z ~ q(z | x) per training example, to which `sample` fits a prior.
samplers_ : hebae.priors.Samplers or None
    What `sample` has fitted so far.
n_features_in_ : int
    Numbers per example.
feature_names_in_ : ndarray of str
    Names of the columns, of data that have them; new data frames must have the same ones, in the
    same order.

Examples
--------
>>> import numpy as np
>>> from hebae import {name}
>>> X = np.random.default_rng(0).random((200, 12))
>>> model = {name}(latent_dim=2, epochs=2, random_state=0).fit(X)
>>> model.transform(X).shape
(200, 2)
>>> model.sample(5).shape
(5, 12)
"""


def _estimator(method: Method) -> type[Estimator]:
    """Generate the class of a method: a dataclass of its parameters, documented in full."""
    of_methods = {name for other in METHODS.values() for name in other.options}
    settings = ModelSettings.model_fields | TrainingSettings.model_fields
    parameters: dict[str, Any] = {"latent_dim": settings["latent_dim"], **method.options}
    left_out = NOT_PARAMETERS | of_methods
    parameters |= {name: setting for name, setting in settings.items() if name not in left_out}
    constrained = SimpleNamespace(__annotations__={n: p.annotation for n, p in parameters.items()})
    annotations = typing.get_type_hints(constrained)  # without the limits on values
    fields, lines = [], []
    for name, parameter in parameters.items():
        annotation, default = annotations[name], parameter.default
        fields.append((name, annotation, field(default=default, kw_only=name != "latent_dim")))
        text = re.sub(
            r"\s*\[default: ([^]]*)\]\.?", r"; by default \1.", parameter.description or ""
        )
        kind = _type_text(annotation)
        if len(kind) > 80:
            text, kind = f"{text} One of {kind.strip('{}')}.", "str"
        lines.append(f"{name} : {kind}, default={default!r}")
        lines += textwrap.wrap(text, 92, initial_indent="    ", subsequent_indent="    ")
    docstring = DOCUMENTATION.format(
        name=method.class_name,
        description=f"{inspect.getdoc(inspect.getmodule(OBJECTIVES[method.name]))}\n\n"
        f"{method.description}",
        parameters="\n".join(lines),
    )
    namespace = {"method": method.name, "__doc__": docstring, "__module__": __name__}
    return make_dataclass(
        method.class_name, fields, bases=(Estimator,), namespace=namespace, eq=False, repr=False
    )


def _type_text(annotation: Any) -> str:
    """Type as in the documentation of scikit-learn."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is Literal:
        return "{" + ", ".join(map(repr, parts)) + "}"
    if typing.get_origin(annotation) is tuple:
        return f"tuple of {_type_text(parts[0])}"
    if parts:
        return " or ".join(map(_type_text, parts))
    return "None" if annotation is type(None) else annotation.__name__


ESTIMATORS = {name: _estimator(method) for name, method in METHODS.items()}
"""The classes by the name of the method."""

globals().update({cls.__name__: cls for cls in ESTIMATORS.values()})

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[Estimator]: ...
