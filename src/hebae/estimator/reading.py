"""What an estimator is given: examples, conditions and seeds, read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch.utils.data import DataLoader

from hebae import new_examples
from hebae.config import DataSettings, Settings
from hebae.data import Dataset, Examples
from hebae.data import load as load_data
from hebae.data.alignment import aligned
from hebae.data.conditions import as_matrix, is_names, with_conditions
from hebae.data.decoding import IMAGE_OPTIONS
from hebae.data.loading import options_for
from hebae.data.schema import Column, Seen
from hebae.data.tables import is_frame
from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.model import Autoencoder
from hebae.training.loader import EMPTY, LoaderExamples, read, whole

Array = npt.NDArray[np.float32]
_UNCONDITIONAL = (
    "condition is given, but the model was fitted without conditions; leave it out, or fit again "
    "with it."
)


class Reading(BaseEstimator):
    """Reads examples as `hebae.data.load` does, after the checks of scikit-learn."""

    if TYPE_CHECKING:
        feature_names_in_: npt.NDArray[Any]
        module_: Autoencoder
        settings_: Settings
        validation_size: int | None

    def _model(self) -> Autoencoder:
        check_is_fitted(self)
        return self.module_

    def _name_features(self, names: Sequence[str] | None) -> None:
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)

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
            X = whole(X, pixels_of(None if like is None else like[0]))
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
                f"{name} holds examples of shape {examples.shape}, but the model was trained on "
                f"examples of shape {model.input_shape}."
            )
        new_examples.require_alike(model, examples, name)
        return examples

    def _over_examples(
        self, X: Any, condition: Any, function: Callable[[Autoencoder, Examples], Array]
    ) -> Array:
        """Apply a function to examples, or to the batches of a DataLoader, one after the other."""
        model = self._model()
        with named_as_parameters():
            if not isinstance(X, DataLoader):
                return function(model, self._examples(X, condition=condition))
            results = []
            for name, part in read(X, pixels_of(model.seen)):
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
        examples = LoaderExamples.of(loader, pixels_of(seen))
        return Dataset("the DataLoader", examples, None, None, "")


def _is_array(X: Any) -> bool:
    """Whether scikit-learn's checks apply: not to paths, tensors, data frames, images, Examples."""
    if isinstance(X, list):
        return not (X and type(X[0]).__module__.startswith("PIL."))
    if isinstance(X, torch.Tensor) or is_frame(X) or hasattr(X, "select"):
        return False
    return sparse.issparse(X) or hasattr(X, "__array__") or isinstance(X, tuple | int | float)


def pixels_of(seen: Seen | None) -> bool | None:
    """Return what `Examples.pixels` must be, where that is known."""
    return None if seen is None else seen.pixels


def seed_of(random_state: Any) -> int:
    """Return a seed from an int, RandomState or None, as scikit-learn does."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31))
    checks.counts(0, random_state=random_state)
    checks.require(random_state < 2**32, "random_state", random_state, "below 2**32")
    return int(random_state)


@contextmanager
def named_as_parameters() -> Iterator[None]:
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
            message += f" ({names}: arguments of hebae.data.load; pass its result to fit.)"
        error.args = (message,)
        raise
