"""Every method as a scikit-learn estimator: HEBAE, VAE, WAE and so on, and `load`.

The classes are generated, one per file in ``hebae/objectives``. Their parameters are the settings
of the command line (``hebae.config``), with the same names, defaults and checks.
"""

from __future__ import annotations

import inspect
import math
import re
import textwrap
import typing
from dataclasses import field, make_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from hebae.config import DataSettings, ModelSettings, Settings, TrainingSettings
from hebae.deprecation import keep_moved_modules
from hebae.estimator.base import Estimator as Estimator
from hebae.estimator.base import copy_of
from hebae.estimator.reading import named_as_parameters
from hebae.files import expand
from hebae.methods import METHODS, Method
from hebae.objectives import OBJECTIVES
from hebae.run_folder import RunFolder
from hebae.samplers import read_samplers
from hebae.storage import load_model


def load(
    folder: str | Path, *, encoder: nn.Module | None = None, decoder: nn.Module | None = None
) -> Estimator:
    """Read a model that `Estimator.save` or ``hebae train`` wrote, or from the Hugging Face Hub.

    Parameters
    ----------
    folder : str or Path
        A folder; or "hf://owner/name" or "hf://owner/name@revision" (needs hebae[hub]).
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
    if isinstance(folder, str) and folder.startswith("hf://"):
        from hebae.hub import download

        folder = download(folder)
    path = expand(folder)
    with named_as_parameters():
        model, config = load_model(
            path, encoder=copy_of(encoder, "encoder"), decoder=copy_of(decoder, "decoder")
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
    estimator.conditions_, estimator._by_condition = stored.conditions, stored.by_condition
    estimator._origin = path.absolute(), config  # to find the training data
    estimator._own = {f"own_{n}": parameters[n] is not None for n in ("encoder", "decoder")}
    return estimator


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
    Another name of latent_dim, as in scikit-learn's PCA. None: latent_dim is used.
warm_start : bool, default=False
    Whether `fit` continues from the weights of the last fit for another `epochs`, with Adam's
    moments reset. Statistics of the first data, such as means and scales, are kept.
validation_size : int or None, default=0
    Training examples to set aside for the held-out terms of `history_` and for early stopping.
    None: a tenth, unless the data have a validation or test split of their own.
encoder : nn.Module or None, default=None
    Network of your own instead of `network`: maps (m, *shape) to (m, latent_dim + number of
    log-scales), in the precision of `precision`. A copy is trained.
decoder : nn.Module or None, default=None
    Network of your own instead of `network`: maps (m, latent_dim) to (m, *shape). A copy is
    trained. With conditions, their numbers are appended to the code.
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
    Notes on what was decided from the data.
codes_ : ndarray of shape (n, latent_dim) or None
    One draw z ~ q(z | x) per training example, to which `sample` fits a prior.
conditions_ : ndarray of shape (n, conditions) or None
    Conditions of the training examples, as numbers, of a model with conditions.
samplers_ : hebae.priors.Samplers or None
    Samplers that `sample` has fitted so far.
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
keep_moved_modules(__name__)

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[Estimator]: ...
