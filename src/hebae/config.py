"""The settings of a run: typed, checked one by one, read and written as YAML.

Three groups (data, model, training) in one flat list of names, which are also the keys of a YAML
file and, with dashes, the flags of the command line. Options that only some methods have come from
the methods themselves (``hebae.methods``). Each setting says here whether it may change when a run
is resumed, whether stacked runs may differ in it, and whether it affects results. Settings that can
only be checked together, or with the data, are checked by ``hebae.training.checks``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from hebae import methods
from hebae.deprecation import warn
from hebae.errors import HebaeError, suggestion
from hebae.files import shortened
from hebae.methods import MOST_UNITS, Width, Widths, allowed_values
from hebae.yaml_files import preset_names as preset_names
from hebae.yaml_files import read_mapping, read_preset

METHODS: tuple[str, ...] = tuple(methods.METHODS)
ImageSize = Annotated[tuple[Width, ...], Field(min_length=1, max_length=2)]

if TYPE_CHECKING:
    Method = str
    Likelihood = str
    LoggerName = str
    PriorName = str
else:
    LoggerName = Literal["tensorboard", "wandb", "mlflow"]
    Method = Literal[METHODS]
    PriorName = Literal[methods.PRIORS]
    Likelihood = Literal[("auto", *methods.LIKELIHOODS)]


def _setting(
    default: Any,
    *,
    affects: Literal["results", "rounding", "nothing"] = "results",
    resume: bool = False,
    stack: bool = False,
    **constraints: Any,
) -> Any:
    """Declare a setting: what it affects, whether it may change on resume or differ in a stack.

    "rounding": results differ in their last digits, as between two processors.
    """
    traits: dict[str, Any] = {"affects": affects, "resume": resume, "stack": stack}
    return Field(default=default, json_schema_extra=traits, **constraints)


class _Group(BaseModel):
    # Attribute docstrings become the help of the flags.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataSettings(_Group):
    """Where the examples come from."""

    data: str = _setting("mnist-mini")
    """Name of a data set (see: hebae data list) or path of a file or folder."""
    data_dir: Path | None = _setting(None, affects="nothing", resume=True, stack=True)
    """Folder with the files of named data sets; no other place is searched. By default,
    HEBAE_DATA_DIR and the cache are searched, and files are downloaded where that is allowed."""
    validation_size: int | None = _setting(None, ge=0)
    """Training examples to set aside for validation."""
    train_size: int | None = _setting(None, ge=1)
    """Training examples to use, drawn from those not set aside for validation [default: all]."""
    pixels: bool | None = _setting(None)
    """Whether uint8 values are grey levels from 0 (black) to 255 (white), or plain numbers such as
    counts [default: grey levels if one is above 15]."""
    binarize: Literal["none", "fixed", "dynamic"] = _setting("none")
    """Replace each value in [0, 1] by a random 0 or 1 with that mean. fixed: once; dynamic: draw
    the training examples again in each epoch. The seed decides the draws."""
    image_size: ImageSize | None = _setting(None)
    """Images of a folder or archive: cut the largest centred part of this shape out of each, and
    resize it with a Lanczos filter; one number of pixels for a square, or width and height
    [default: all images must have the same size]."""
    image_mode: Literal["RGB", "L"] | None = _setting(None)
    """Convert images to RGB, or to grey levels (L) [default: all must be the same]."""
    image_background: str | None = _setting(None)
    """Colour that transparent images are placed on: a name or #rrggbb [default: white]."""
    skip_unreadable: bool = _setting(False)
    """Leave out image files that cannot be decoded, and list them."""
    layer: str | None = _setting(None)
    """AnnData: the layer that holds the values, or raw [default: X]."""
    label_column: str | None = _setting(None)
    """Column of a table, or of obs of AnnData, with the labels, which are not trained on."""
    id_column: str | None = _setting(None)
    """Column of a table with the names of the rows [default: a first column without a name, or one
    called id]."""
    column_kinds: tuple[str, ...] = _setting(())
    """What columns of a table are, as NAME=KIND: number, count, category, binary, or exclude
    [default: by a rule, see the how-to guide]."""
    condition: tuple[str, ...] = _setting(())
    """Columns of a table, or of obs of AnnData, that the decoder is given in addition to the code,
    such as a batch: COLUMN[,COLUMN]. They are not features; label stands for the labels.
    For a trained run: NAME=VALUE[,NAME=VALUE] replaces the conditions of the examples."""

    @field_validator("condition", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            return value
        names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
        if texts and not names:
            raise HebaeError(f"--condition {' '.join(texts)} names no column; give COLUMN.")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise HebaeError(f"--condition names {twice} twice; name each column once.")
        return tuple(names)

    @property
    def source(self) -> dict[str, Any]:
        """The arguments of `hebae.data.load`."""
        return {name: getattr(self, name) for name in DataSettings.model_fields}


class _Code(_Group):
    method: Method = _setting("hebae")
    """Training method: how z is drawn, and which penalty is used."""
    latent_dim: int = _setting(20, ge=1, le=MOST_UNITS)
    """Dimensions k of the code z."""


def _method_options() -> dict[str, Any]:
    """Declare the options of all methods, one setting for all methods that share a name."""
    fields: dict[str, Any] = {}
    penalised = [method for method in methods.METHODS.values() if method.options]
    for name in dict.fromkeys(name for method in penalised for name in method.options):
        owners = [method for method in penalised if name in method.options]
        option = owners[0].options[name]
        if any(owner.options[name].source != option.source for owner in owners):
            raise TypeError(f"{name} has another type in {', '.join(o.name for o in owners)}.")
        text = " ".join(re.split(r"(?<=\.)\s+(?=[A-Z])", option.description)[0].split())
        if owners != penalised:
            text = f"{', '.join(owner.display_name for owner in owners)}: {text}"
        others = [o for o in owners if o.options[name].default != option.default]
        if others:
            values = ", ".join(f"{o.options[name].default:g} for {o.display_name}" for o in others)
            text = f"{text} Default {values}."
        fields[name] = (
            option.annotation,
            _setting(option.default, stack=option.is_weight, description=text),
        )
    return fields


if TYPE_CHECKING:

    class _MethodOptions(_Code):
        def __getattr__(self, name: str) -> Any: ...

else:
    _MethodOptions = create_model("_MethodOptions", __base__=_Code, **_method_options())


class ModelSettings(_MethodOptions):
    """What is trained."""

    prior: PriorName = _setting("normal")
    """Prior p(z): normal is N(0, I), the paper's. The others are learned with the model: a mixture
    of normals, vamp (the mixture of the posteriors of pseudo-inputs), or flow (a normalising flow;
    needs hebae[flow]). They take a stochastic method and, for HEBAE, a rate_weight above 0."""
    prior_components: int = _setting(100, ge=1, le=MOST_UNITS)
    """Prior mixture: number of normals; prior vamp: number of pseudo-inputs."""
    prior_flow: Literal["nsf", "maf", "realnvp"] = _setting("nsf")
    """Prior flow: neural splines, masked autoregressive affine maps, or affine couplings."""
    prior_transforms: int = _setting(3, ge=1, le=1000)
    """Prior flow: number of steps."""
    prior_widths: Widths = _setting((128, 128))
    """Prior flow: widths of the hidden layers in each step's network."""
    likelihood: Likelihood = _setting("auto")
    """Likelihood p(x|z). auto chooses it from the data and prints the choice: bernoulli
    for values in [0, 1]; gaussian for other images; for other tables gaussian_columns, binomial
    (0, 1, 2), negative_binomial (counts) or columns (several kinds)."""
    trials: int = _setting(2, ge=1, le=MOST_UNITS)
    """Likelihood binomial: its largest number n, 2 for genotypes."""
    likelihood_scale: Literal["learned", "optimal"] | PositiveFloat = _setting("optimal")
    """Scale of a Gaussian likelihood, or of each column's: a number, learned with the weights, or
    the best one for each batch."""
    network: Literal["mlp", "convolutional"] = _setting("mlp")
    """mlp: fully connected, for any data. convolutional: for images with sides divisible by 16.
    Both as in Appendix B of the paper."""
    encoder_widths: Widths | None = _setting(None)
    """Widths of the encoder's layers, input first [default: the paper's; for tables two layers, of
    width 64 to 512 by the numbers per example and the number of examples]."""
    decoder_widths: Widths | None = _setting(None)
    """Widths of the decoder's layers, code first [default: as for the encoder]."""
    condition_encoder: bool = _setting(False)
    """Give the conditions to the encoder too, not only to the decoder. To encode new examples, you
    then need their conditions."""
    initial_weights: Literal["default", "normal"] = _setting("default")
    """Initial weights: PyTorch's, or drawn from N(0, 0.02^2)."""


class TrainingSettings(_Group):
    """How it is trained."""

    batch_size: int = _setting(128, ge=1, le=2**31)
    """Examples per step; HEBAE with moments "batch" needs more than latent_dim."""
    drop_last: bool | None = _setting(None)
    """Leave out the last, smaller batch of an epoch [default: if the method cannot use it and it is
    under 1 % of the examples; if it is more, its examples are spread over the other batches]."""
    epochs: int = _setting(15, resume=True, ge=1, le=2**31)
    """Passes over the training examples."""
    learning_rate: float | None = _setting(None, stack=True, gt=0, allow_inf_nan=False)
    """Adam's learning rate [default: by the size of an example; 1e-3 for 784 numbers]."""
    schedule: Literal["constant", "exponential", "steps"] = _setting("constant")
    """Learning rate over epochs: constant; exponential: x 0.995 per epoch; steps: divided by 2, 5
    and 10 after epochs 30, 50 and 70."""
    adam_beta1: float = _setting(0.9, ge=0, lt=1)
    """Adam's decay of the gradient's mean."""
    adam_beta2: float = _setting(0.999, ge=0, lt=1)
    """Adam's decay of the gradient's square."""
    reset_optimizer: bool = _setting(False)
    """Reset Adam's moments each epoch, as the released code does."""
    batch_norm: Literal["batch", "frozen"] = _setting("batch")
    """Batch normalisation of the convolutional network: by the statistics of the batch in training,
    or frozen at mean 0 and variance 1 (what the paper's released code appears to do)."""
    gradient_clip: float | None = _setting(None, gt=0)
    """Largest norm of the gradient [default: no limit]."""
    early_stopping: int | None = _setting(None, ge=1)
    """Stop after this many epochs without a better objective on validation examples."""
    seed: int = _setting(0, stack=True, ge=0, lt=2**32)
    """Seed of initial weights, order of examples and noise."""
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting("auto", affects="rounding")
    """Device to train on. Devices round differently: a run resumes on another kind of device only
    if you name it here."""
    devices: int = _setting(1, affects="rounding", ge=1)
    """Number of processes that share each batch, one per device, on each machine."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"] = _setting("32-true")
    """Precision of the arithmetic, as Lightning Fabric names it; auto: 32-true."""
    compile: Literal["auto", "on", "off"] = _setting("auto", affects="rounding")
    """Run a training step as one program: with torch.compile on the CPU, as a CUDA graph on a GPU.
    auto: only on a GPU. It changes how numbers are rounded."""
    checkpoint_every: int = _setting(1, affects="nothing", resume=True, ge=1)
    """Epochs between checkpoints; more if writing them would take over a tenth of the time."""
    log_every: int = _setting(50, affects="nothing", resume=True, stack=True, ge=1)
    """Steps between reports of the terms of the loss."""
    logger: tuple[LoggerName, ...] = _setting((), affects="nothing", resume=True)
    """Send the terms of each epoch to one or more loggers: tensorboard, wandb (Weights & Biases),
    mlflow. Each needs the extra of the same name, such as hebae[wandb]."""
    tensorboard: bool = _setting(False, affects="nothing", resume=True)
    """Deprecated: use --logger tensorboard."""

    @field_validator("logger", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        names = (value,) if isinstance(value, str) else () if value is None else value
        return tuple(dict.fromkeys(names)) if isinstance(names, list | tuple) else names

    @property
    def loggers(self) -> tuple[str, ...]:
        """The loggers, also by the deprecated setting."""
        names: tuple[str, ...] = self.logger
        return tuple(dict.fromkeys([*names, "tensorboard"])) if self.tensorboard else names


class Settings(TrainingSettings, ModelSettings, DataSettings):
    """Everything that decides what a run does."""

    @field_validator("compile", mode="before")
    @classmethod
    def _on_and_off_are_words(cls, value: Any) -> Any:
        # In YAML 1.1 a plain on or off is a truth value.
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @model_validator(mode="before")
    @classmethod
    def _add_defaults_of_the_method(cls, values: Any) -> Any:
        """Fill in defaults that differ between methods that share an option."""
        if not isinstance(values, dict) or values.get("method") not in METHODS:
            return values
        options = methods.METHODS[values["method"]].options
        return {name: option.default for name, option in options.items()} | values

    @classmethod
    def checked(cls, values: Mapping[str, Any], origin: str = "the settings") -> Self:
        """Make settings from values, or raise a `HebaeError` that names `origin` and the key."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise explain(error, origin) from None

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some values changed."""
        return self.checked(self.model_dump() | changes)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run's ``config.yaml``; deprecated, use ``hebae.run_folder.RunFolder.settings``."""
        warn("Settings.read", "use hebae.run_folder.RunFolder(folder).settings()")
        return cls.checked(read_mapping(path), str(path))

    def to_yaml(self) -> str:
        """Every setting, in the order of this file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _names(trait: str, value: object) -> frozenset[str]:
    traits: dict[str, Any] = {n: f.json_schema_extra for n, f in Settings.model_fields.items()}
    return frozenset(name for name, found in traits.items() if found[trait] == value)


MAY_CHANGE_ON_RESUME = _names("resume", True)
"""Settings that may change when a run is resumed: they leave its steps as they are."""
MAY_DIFFER_IN_STACK = _names("stack", True)
"""Settings in which runs that are trained in one stack may differ."""
AFFECT_ROUNDING = _names("affects", "rounding")
"""Settings that change results in their last digits only."""
AFFECT_NOTHING = _names("affects", "nothing")
"""Settings that change no result."""


def resolve(
    preset: str | None = None,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge defaults, preset, configuration file and flags; the later ones take precedence.

    A preset or file may hold, under ``methods``, values for one method alone; they take precedence
    over the other values of the same file.

    Raises
    ------
    HebaeError
        For an unknown preset, key or value, or a file that cannot be read.
    """
    flags = dict(flags or {})
    layers: list[tuple[str, dict[str, Any]]] = []
    if preset is not None:
        layers.append((f"preset {preset}", read_preset(preset)))
    if config is not None:
        layers.append((str(config), read_mapping(config)))
    method = "hebae"
    for origin, values in [*layers, ("the flags", flags)]:
        method = values.get("method", method)
        if method not in METHODS:
            Settings.checked({"method": method}, origin)
    merged: dict[str, Any] = {}
    for origin, values in layers:
        values = dict(values)
        by_method = values.pop("methods", None) or {}
        if not isinstance(by_method, dict) or not all(
            name in METHODS and isinstance(part, dict) for name, part in by_method.items()
        ):
            raise HebaeError(
                f"'methods' in {origin} must map names of methods ({', '.join(METHODS)}) to "
                "settings."
            )
        layer = values | by_method.get(method, {})
        Settings.checked(layer, origin)  # so that an error names the file it is in
        merged |= layer
    return Settings.checked(merged | flags, "the flags")


def explain(error: ValidationError, origin: str) -> HebaeError:
    """Turn a pydantic error into one sentence: the key, what was given, what is allowed."""
    first = error.errors()[0]
    names = [str(part) for part in first["loc"] if part in Settings.model_fields]
    key, given = names[-1] if names else str(first["loc"][0]), first["input"]
    if isinstance(reason := first.get("ctx", {}).get("error"), HebaeError):
        return reason
    if first["type"] == "extra_forbidden":
        return HebaeError(
            f"unknown key {shortened(repr(key))} in {origin}"
            f"{suggestion(key, Settings.model_fields)}; hebae train --help lists all keys."
        )
    is_scale = key == "likelihood_scale"
    allowed = "a number above 0, 'learned' or 'optimal'" if is_scale else allowed_values(first)
    name = f"--{key.replace('_', '-')}" if origin == "the flags" else f"{key} in {origin}"
    return HebaeError(f"{name} is {shortened(repr(given))}; it must be {allowed}.")
