"""What a fitted estimator does: codes, reconstructions, samples and scores; saving it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from hebae import inference
from hebae.by_condition import (
    ByCondition,
    are_fitted,
    by_name,
    categories_of,
    fit_by_condition,
    too_few,
)
from hebae.data import Examples
from hebae.data.conditions import with_conditions
from hebae.errors import HebaeError
from hebae.estimator.reading import Array, Reading, named_as_parameters, seed_of
from hebae.evaluation import checks
from hebae.files import expand, make_folder
from hebae.methods import SAMPLER_HELP, SAMPLER_NAMES
from hebae.model import Autoencoder
from hebae.priors import NAMES, Prior, Samplers, StandardNormal, check_name, fit_samplers
from hebae.run_folder import RunFolder
from hebae.samplers import (
    Key,
    Stored,
    codes_of,
    resolve,
    training_data,
    write_samplers,
)
from hebae.storage import save_model

DRAWN = "Conditions of samples are drawn with their frequencies in training, unless given."


def _sample_doc(text: str | None) -> str:
    """Fill the samplers into the documentation of `Estimator.sample`."""
    names = ", ".join(f'"{name}"' for name in ("auto", *SAMPLER_NAMES))
    head, _, rest = (text or "").partition(" " * 12 + "SAMPLER_HELP")
    description, end, rest = rest.partition("        random_state")
    filled = textwrap.wrap(SAMPLER_HELP + " " + " ".join(description.split()), 88)
    lines = textwrap.indent("\n".join(filled), " " * 12)
    return head.replace("{SAMPLERS}", f"{{{names}}}") + lines + "\n" + end + rest


class Fitted(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Reading):
    """The methods of a fitted estimator."""

    if TYPE_CHECKING:
        codes_: Array | None
        conditions_: Array | None
        _by_condition: Mapping[Key, Samplers]
        samplers_: Samplers | None
        notes_: list[str]
        _origin: tuple[Path, dict[str, Any]] | None
        _own: dict[str, bool]

    def transform(self, X: Any, condition: Any = None) -> Array:
        """Encode examples: posterior means, shape (n, latent_dim).

        Examples of a DataLoader are in its own order, here and in the other methods.

        Parameters
        ----------
        X : like that of `fit`
        condition : one value, array of shape (n,), data frame or dict, optional
            Needed for a model that was fitted with conditions, unless X holds them under the names
            that `fit` was given. Only a model with `condition_encoder` needs them here.
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
            For a model that was fitted with conditions, such as ``{"digit": 3}``. None draws
            conditions too, with the frequencies that they had in training, and adds a sentence to
            `notes_`. Samplers other than "normal" and "prior" are then fitted to the codes of the
            training examples with the same categories, where there are enough.
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
        with named_as_parameters():
            check_name(sampler, others=("prior", "auto"))
            chosen = resolve(sampler, model)
            conditions, seed = self._conditions(condition, count), seed_of(random_state)
            if conditions is None and model.conditions is not None:
                conditions = inference.draw_conditions(model, count, seed)
                self._note(DRAWN)
            prior: inference.DrawsCodes = model.prior
            if chosen == "normal":
                prior = StandardNormal(model.latent_dim)
            elif chosen != "prior":
                fitted = self._fitted_samplers(chosen)[chosen]
                prior = fitted
                if conditions is not None:
                    prior = self._sampler_by_condition(fitted, chosen, conditions)
            return inference.sample(model, count, seed, prior, conditions)

    sample.__doc__ = _sample_doc(sample.__doc__)

    def interpolate(self, first: Any, second: Any, steps: int = 10, condition: Any = None) -> Array:
        """Decode the straight line between the codes of two examples: shape (steps, *shape).

        `condition` holds one value for the whole line, if the model has conditions.
        """
        checks.counts(2, steps=steps)
        model = self._model()
        pair = {"first": first, "second": second}
        with named_as_parameters():
            begin, end = (
                self._examples(checks.as_array(x, name)[None], name, condition)
                for name, x in pair.items()
            )
            line: Array = inference.interpolate(model, begin, end, steps)[0]
        return line

    def score_samples(self, X: Any, condition: Any = None) -> Array:
        """Return ``log p(x | z = mu(x))`` of each example, in nats: shape (n,).

        Unusual examples have low scores: compare with a quantile of the scores of held-out ones.
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
        last one holds the codes of the training examples and the samplers fitted to them. To share
        the model without them, remove it: only the samplers "normal" and "prior" can then be used.
        """
        model, path = self._model(), expand(folder)
        if RunFolder(path).is_run:
            raise HebaeError(f"{path} holds a run of the command line; save to another folder.")
        make_folder(path)
        try:
            # Together or not at all: another model's weights may not meet these settings.
            with TemporaryDirectory(dir=path, prefix=".", suffix=".tmp") as temporary:
                save_model(Path(temporary), model, self.settings_, self._own)
                if self.codes_ is None and self.samplers_ is None and not self._by_condition:
                    RunFolder(path).samplers.unlink(missing_ok=True)
                else:
                    stored = Stored(
                        self.samplers_, self.codes_, self.conditions_, self._by_condition
                    )
                    write_samplers(Path(temporary), model, stored)
                for file in Path(temporary).iterdir():
                    file.replace(path / file.name)
        except OSError as error:
            raise HebaeError(
                f"cannot write to {path}: {error.strerror or error}. Choose a folder that you may "
                "write to."
            ) from error

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = False,
        revision: str | None = None,
        license: str | None = None,
    ) -> str:
        """Send the model to the Hugging Face Hub, with a model card; needs hebae[hub].

        Neither training examples nor their codes are sent.

        Parameters
        ----------
        name : str
            Repository on the Hub, as owner/name. It is created if it does not exist.
        private : bool, default=False
            Whether the repository is private if it is created.
        revision : str, optional
            Branch to write to; by default main.
        license : str, optional
            Licence to name in the model card, as an identifier of the Hub such as "mit".

        Returns
        -------
        str
            Address of the repository.
        """
        from hebae.hub import push

        self._model()
        options: Any = {"private": private, "revision": revision, "license": license}
        options |= {part: getattr(self, part) for part in ("encoder", "decoder")}
        if self._origin is not None:  # with its history and evaluation
            return push(self._origin[0], name, **options)
        with TemporaryDirectory() as temporary:
            self.save(temporary)
            return push(Path(temporary), name, **options)

    def export(self, folder: str | Path, format: Literal["onnx", "torch"] = "onnx") -> None:
        """Write the encoder and the decoder as files that run without hebae.

        The files take any number of examples. They are written only if their outputs agree with
        those of the model to 1e-5.

        Parameters
        ----------
        folder : str or Path
            Folder for the two files and ``export.json``, which describes inputs and outputs.
        format : {"onnx", "torch"}, default="onnx"
            ONNX (needs hebae[onnx]), or ``.pt2`` files, which `torch.export.load` reads.
        """
        from hebae.exporting import export_model

        export_model(self._model(), expand(folder), format=format, facts={"method": self.method})

    @property
    def _n_features_out(self) -> int:
        return self._model().latent_dim

    def _fitted_samplers(self, name: str) -> Samplers:
        names = NAMES if name == "auto" else (name,)
        if self.samplers_ is None or not set(names) <= set(self.samplers_.by_name):
            codes, _ = self._training_codes()
            self.samplers_ = fit_samplers(codes, self.settings_.seed, names, self.samplers_)
            if name == "auto":
                self._note(f"{self.samplers_}.")
        return self.samplers_

    def _training_codes(self) -> tuple[Array, Array | None]:
        """Return codes and conditions of the training examples; made again if not kept."""
        if self.codes_ is None:  # of a model that was loaded without them
            if self._origin is None:
                raise HebaeError(
                    "this model has no training codes to fit a sampler to; fit it again, or "
                    "choose sampler='normal', which needs none."
                )
            values = training_data(*self._origin).train
            self.codes_ = codes_of(self.module_, values, self.settings_.seed)
            self.conditions_ = values.conditions
        return self.codes_, self.conditions_

    def _sampler_by_condition(self, rest: Prior, name: str, conditions: Array) -> ByCondition:
        """Return what draws the codes of each category from a sampler fitted to its own."""
        model, names = self.module_, NAMES if name == "auto" else (name,)
        asked = categories_of(model, conditions)
        if not are_fitted(asked, names, self._by_condition):
            codes, given = self._training_codes()
            assert given is not None
            known, seed = self._by_condition, self.settings_.seed
            trained = categories_of(model, given)
            self._by_condition = fit_by_condition(codes, trained, asked, names, known, seed)
        note = too_few(model, asked, self._by_condition)
        if note is not None:
            self._note(f"{note[0].upper()}{note[1:]}")
        return ByCondition(rest, by_name(self._by_condition, name), asked)

    def _note(self, note: str) -> None:
        if note not in self.notes_:
            self.notes_ = [*self.notes_, note]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
