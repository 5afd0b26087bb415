"""What HEBAE, VAE, WAE and AE have in common as estimators of scikit-learn."""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from hebae import inference
from hebae.config import Settings
from hebae.data import Examples
from hebae.data import load as load_data
from hebae.errors import HebaeError
from hebae.estimator.feeding import batches_of, first_batch, seed_of, training_codes
from hebae.files import make_folder
from hebae.model import Autoencoder, build
from hebae.priors import NAMES, Samplers, check_name, fit_samplers
from hebae.samplers import Stored, codes_of, training_values, write_samplers
from hebae.storage import RunFolder, save_model
from hebae.training.callbacks import Callback, ProgressBar
from hebae.training.checks import DataSummary, complete
from hebae.training.loop import HeldOut, make_fabric, train
from hebae.training.session import summary_of

__all__ = ["Estimator", "copied"]

Array = npt.NDArray[np.float32]


@dataclass(eq=False, repr=False)
class Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What the four methods have in common; use `HEBAE`, `VAE`, `WAE` or `AE`.

    Parameters
    ----------
    latent_dim : int
        Dimensions k of the code.
    network : "mlp" or "convolutional"
        Appendix B.1 of the paper, or B.2 for images with sides divisible by 16.
    encoder_widths, decoder_widths : tuple of int, optional
        Widths of the layers, input first; code first. By default (784, 800) and (800, 800) for
        "mlp", (128, 256, 512, 1024) and (1024, 512, 256, 128) for "convolutional".
    initial_weights : "default" or "normal"
        PyTorch's, or N(0, 0.02^2).
    encoder, decoder : nn.Module, optional
        Networks of your own in their place: the encoder maps (m, *shape) to
        (m, latent_dim + number of log-scales), the decoder (m, latent_dim) to (m, *shape). Trained
        copies are made; the modules given stay as they are.
    likelihood : "auto", "bernoulli", "continuous_bernoulli" or "gaussian"
        p(x | z); "auto" takes bernoulli for values in [0, 1] and gaussian for others.
    likelihood_scale : float, "learned" or "optimal"
        Of the Gaussian likelihood.
    batch_size, drop_last, epochs, learning_rate, schedule, gradient_clip, early_stopping
        See ``hebae train --help``. The learning rate is 1e-3 for 784 numbers an example, and chosen
        from their number for others.
    validation_size : int
        Training examples to set aside for the held-out terms of ``history_`` and early stopping.
    device, precision : str
    random_state : int, RandomState or None
        Seed of weights, order and noise; an int makes two fits bit-identical on one CPU.
    verbose : bool
        Whether to show a progress bar.

    Attributes
    ----------
    module_ : Autoencoder
        The trained module, in evaluation mode.
    history_ : list of dict
        Terms of the loss by epoch, in nats an example.
    settings_ : Settings
        Every setting as it was resolved; `notes_` says what was decided from the data.
    codes_ : ndarray, shape (n, latent_dim), or None
        z ~ q(z | x) of the training examples, one draw each, for `sample` to fit to.
    samplers_ : hebae.priors.Samplers or None
        What `sample` has fitted so far.
    n_features_in_ : int
        Numbers of an example.
    """

    latent_dim: int = 20
    _: KW_ONLY
    network: Literal["mlp", "convolutional"] = "mlp"
    encoder_widths: tuple[int, ...] | None = None
    decoder_widths: tuple[int, ...] | None = None
    initial_weights: Literal["default", "normal"] = "default"
    encoder: nn.Module | None = None
    decoder: nn.Module | None = None
    likelihood: Literal["auto", "bernoulli", "continuous_bernoulli", "gaussian"] = "auto"
    likelihood_scale: float | Literal["learned", "optimal"] = "optimal"
    batch_size: int = 128
    drop_last: bool | None = None
    epochs: int = 15
    learning_rate: float | None = None
    schedule: Literal["constant", "exponential", "steps"] = "constant"
    gradient_clip: float | None = None
    early_stopping: int | None = None
    validation_size: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    random_state: int | np.random.RandomState | None = None
    verbose: bool = False

    method: ClassVar[str]

    def fit(self, X: Any, y: Any = None, *, validation: Any = None) -> Self:
        """Train on examples.

        Parameters
        ----------
        X : array, tensor, shape (n, d) or (n, c, h, w); path; or DataLoader
            uint8, or float (in [0, 1] unless the likelihood is Gaussian).
        y : ignored
        validation : like X, optional
            Examples to hold out, in place of `validation_size`.

        Raises
        ------
        HebaeError
            For anything that could not work, before training starts; for a loss that diverges.
        KeyboardInterrupt
            On Ctrl-C, at the end of the step.
        """
        settings = self._settings()
        facts, notes, examples, held = self._examples(X, validation)
        if isinstance(X, torch.utils.data.DataLoader):
            settings = settings.replace(batch_size=len(first_batch(X)))
        self.settings_, decided = complete(settings, facts)
        self.notes_ = [*notes, *decided]
        try:
            model = build(
                self.settings_,
                facts.shape,
                seed=self.settings_.seed,
                encoder=copied(self.encoder),
                decoder=copied(self.decoder),
            )
        except ValueError as error:
            raise HebaeError(str(error)) from None
        fabric = make_fabric(self.settings_)
        held_out = None
        if held is not None and facts.held_out is not None:
            held_batches = batches_of(held.values, self.settings_, fabric.device, held_out=True)
            held_out = HeldOut(facts.held_out, held_batches)
        callbacks: list[Callback] = []
        if self.verbose:
            from rich.console import Console

            callbacks.append(ProgressBar(type(self).__name__, self.epochs, Console(stderr=True)))
        outcome = train(
            model,
            self.settings_,
            batches_of(examples, self.settings_, fabric.device),
            held_out,
            fabric=fabric,
            callbacks=callbacks,
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        self.history_ = outcome.history
        return self._adopt(model, training_codes(model, examples, self.settings_))

    def transform(self, X: Any) -> Array:
        """Encode: posterior means (n, latent_dim), each example for itself."""
        codes: Array = inference.encode(self._model(), self._values(X)).mean
        return codes

    def inverse_transform(self, Z: npt.ArrayLike) -> Array:
        """Decode codes (n, latent_dim) to E[x | z], shape (n, *shape)."""
        z = np.asarray(Z, dtype=np.float32)
        k = self._model().latent_dim
        if z.ndim != 2 or z.shape[1] != k or not len(z):
            raise HebaeError(f"Z has shape {z.shape}; codes must have shape (n, {k}), n above 0.")
        if not np.isfinite(z).all():
            raise HebaeError("Z holds values that are not finite; codes must be finite.")
        return inference.decode(self._model(), z)

    def reconstruct(self, X: Any) -> Array:
        """Encode and decode: E[x | z = mu(x)], shape (n, *shape)."""
        return inference.reconstruct(self._model(), self._values(X))

    def sample(
        self,
        count: int = 64,
        *,
        sampler: Literal["auto", "normal", "fitted-normal", "mixture"] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> Array:
        """Decode draws from a prior: shape (count, *shape).

        Parameters
        ----------
        count : int
        sampler : "auto", "normal", "fitted-normal" or "mixture"
            "normal" is N(0, I), the prior that the paper samples from. The others are fitted to the
            codes of the training examples when they are first asked for, which takes a minute or
            two for 50,000 of them: a normal, or a mixture of normals. "auto" is the one of the
            three under which held-out codes are the most probable; `notes_` says which.
        random_state : int, RandomState or None

        Raises
        ------
        HebaeError
            If `count` or `sampler` is none that there is, or there are no codes to fit to, or fewer
            than 20.
        """
        if count < 1:
            raise HebaeError(f"count is {count}; it must be at least 1.")
        model = self._model()
        check_name(sampler, auto=True)
        prior = None if sampler == "normal" else self._fitted_samplers(sampler)[sampler]
        return inference.sample(model, count, seed_of(random_state), prior)

    def interpolate(self, first: Any, second: Any, steps: int = 10) -> Array:
        """Decode the straight line between the codes of two examples: shape (steps, *shape)."""
        if steps < 2:
            raise HebaeError(f"steps is {steps}; it must be at least 2, for the two ends.")
        begin, end = (self._values(np.asarray(x)[None]) for x in (first, second))
        line: Array = inference.interpolate(self._model(), begin, end, steps)[0]
        return line

    def score_samples(self, X: Any) -> Array:
        """``log p(x | z = mu(x))`` of each example, in nats: shape (n,)."""
        return inference.log_likelihood(self._model(), self._values(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: how well examples are reconstructed, in nats; higher is better.

        Defined for every method, but no bound on log p(x): it does not tell how good samples are.
        """
        return float(self.score_samples(X).mean(dtype=np.float64))

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``config.json`` into a folder, for `hebae.load`.

        ``samplers.safetensors`` holds the codes of the training examples, and what was fitted to
        them. Remove it to give the model away without: the sampler "normal" remains.
        """
        model, path = self._model(), Path(folder)
        if RunFolder(path).is_run:
            raise HebaeError(f"{path} holds a run of the command line; save to another folder.")
        make_folder(path)
        own = {f"own_{n}": getattr(self, n) is not None for n in ("encoder", "decoder")}
        save_model(path, model, self.settings_, own)
        if self.codes_ is None and self.samplers_ is None:
            RunFolder(path).samplers.unlink(missing_ok=True)
        else:
            write_samplers(path, model, Stored(self.samplers_, self.codes_))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    @property
    def _n_features_out(self) -> int:
        return self._model().latent_dim

    def _model(self) -> Autoencoder:
        check_is_fitted(self)
        return self.module_

    def _adopt(
        self, model: Autoencoder, codes: Array | None = None, samplers: Samplers | None = None
    ) -> Self:
        self.module_ = model.eval()
        self.n_features_in_ = int(np.prod(model.input_shape))
        self.codes_, self.samplers_ = codes, samplers
        self._origin: tuple[Path, dict[str, Any]] | None = None  # where it was loaded from
        return self

    def _fitted_samplers(self, name: str) -> Samplers:
        names = NAMES if name == "auto" else (name,)
        if self.samplers_ is None or not set(names) <= set(self.samplers_.by_name):
            if self.codes_ is None:
                self.codes_ = self._codes_of_run()
            self.samplers_ = fit_samplers(self.codes_, self.settings_.seed, names, self.samplers_)
            if name == "auto":
                self.notes_ = [*self.notes_, f"{self.samplers_}."]
        return self.samplers_

    def _codes_of_run(self) -> Array:
        """Codes of a model that was loaded without them, from the data its run was trained on."""
        if self._origin is None:
            raise HebaeError(
                "this model has no training codes to fit a sampler to; fit it again, or take "
                "sampler='normal', which needs none."
            )
        folder, config = self._origin
        return codes_of(self.module_, training_values(folder, config), self.settings_.seed)

    def _settings(self) -> Settings:
        names = {f.name for f in fields(self)} & set(Settings.model_fields)
        values = {name: getattr(self, name) for name in names}
        seed = seed_of(self.random_state)
        return Settings.checked(values | {"method": self.method, "seed": seed}, type(self).__name__)

    def _examples(
        self, X: Any, validation: Any
    ) -> tuple[DataSummary, tuple[str, ...], Any, Examples | None]:
        """DataSummary for the checks, notes for the user, training examples, held-out examples."""
        held = None if validation is None else load_data(validation, validation_size=0).train
        if isinstance(X, torch.utils.data.DataLoader):
            if self.validation_size:
                raise HebaeError(
                    "validation_size cannot be taken from a DataLoader; give fit validation=..."
                )
            facts = summary_of(load_data(first_batch(X), validation_size=0), held)
            count = len(X.dataset) if hasattr(X.dataset, "__len__") and not X.drop_last else None
            return replace(facts, name="the DataLoader", count=count), (), X, held
        dataset = load_data(X, validation_size=self.validation_size if held is None else 0)
        facts = summary_of(dataset, held)
        held = held or (dataset.held_out() or (None, None))[1]
        return facts, dataset.notes, dataset.train.values, held

    def _values(self, X: Any) -> npt.NDArray[np.generic]:
        examples = load_data(X, validation_size=0).train
        expected = self._model().input_shape
        if examples.shape != expected:
            raise HebaeError(
                f"X holds examples of shape {examples.shape}; the model was trained on {expected}."
            )
        low, high = self._model().likelihood.support
        if examples.range[0] < low or examples.range[1] > high:
            raise HebaeError(
                f"X ranges from {examples.range[0]:g} to {examples.range[1]:g}; the model's "
                f"likelihood, {self.settings_.likelihood}, takes values in [{low:g}, {high:g}]."
            )
        return examples.values


def copied(module: nn.Module | None) -> nn.Module | None:
    """Return a copy of a module, which training may change."""
    return copy.deepcopy(module)
