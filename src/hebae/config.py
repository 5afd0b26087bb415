"""The settings of a run: typed, checked one by one, read and written as YAML.

Three groups (data, model, training) in one flat list of names, which are also the keys of a YAML
file and, with dashes, the flags of the command line. What can only be judged together, or with the
data at hand, is checked by ``hebae.training.checks``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    field_validator,
)

from hebae.errors import HebaeError

MOST_UNITS = 2**20  # of a layer or a code: more is a slip, and would not fit into memory

__all__ = [
    "DataSettings",
    "ModelSettings",
    "Settings",
    "TrainingSettings",
    "explain",
    "preset_names",
    "resolve",
]

Method = Literal["hebae", "vae", "wae", "ae"]
METHODS: tuple[str, ...] = get_args(Method)
Width = Annotated[int, Field(ge=1, le=MOST_UNITS)]


class _Group(BaseModel):
    # Attribute docstrings become the help of the flags.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataSettings(_Group):
    """Where the examples come from."""

    data: str = "mnist-mini"
    """Name of a data set (see: hebae data list) or path of a file or folder."""
    data_dir: Path | None = None
    """Folder that holds data files [env: HEBAE_DATA_DIR]."""
    validation_size: int | None = Field(default=None, ge=0)
    """Training examples to set aside for validation."""


class ModelSettings(_Group):
    """What is trained."""

    method: Method = "hebae"
    """How z is drawn and what is penalised."""
    latent_dim: int = Field(default=20, ge=1, le=MOST_UNITS)
    """Dimensions k of the code z."""
    penalty_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight lambda of the method's penalty."""
    rate_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """HEBAE: weight gamma of the rate; 0 is the paper."""
    noise: Literal["cholesky", "diagonal"] = "cholesky"
    """HEBAE: noise shaped by the factor of Sigma, or by its detached diagonal."""
    scale: Literal["vector", "scalar"] = "vector"
    """HEBAE: one sigma a dimension, or one an example."""
    moments: Literal["batch", "running", "shrunk"] = "batch"
    """HEBAE: how beta and Sigma are estimated."""
    moments_decay: float = Field(default=0.9, ge=0, lt=1)
    """HEBAE: share of earlier batches in running moments."""
    kernel: Literal["imq", "rbf"] = "imq"
    """WAE: kernel of the MMD."""
    base_variance: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """WAE: s2 in the kernel's widths."""
    likelihood: Literal["auto", "bernoulli", "continuous_bernoulli", "gaussian"] = "auto"
    """p(x|z); auto: bernoulli for values in [0, 1], else gaussian."""
    likelihood_scale: Literal["learned", "optimal"] | PositiveFloat = "optimal"
    """Gaussian likelihood: its scale, or how it is found."""
    network: Literal["mlp", "convolutional"] = "mlp"
    """Appendix B.1 or B.2 of the paper."""
    encoder_widths: tuple[Width, ...] | None = Field(default=None, min_length=1)
    """Widths of the encoder's layers, input first [default: the paper's]."""
    decoder_widths: tuple[Width, ...] | None = Field(default=None, min_length=1)
    """Widths of the decoder's layers, code first [default: the paper's]."""
    initial_weights: Literal["default", "normal"] = "default"
    """PyTorch's initial weights, or N(0, 0.02^2)."""


class TrainingSettings(_Group):
    """How it is trained."""

    batch_size: int = Field(default=128, ge=1, le=2**31)
    """Examples a step; HEBAE needs more than latent_dim."""
    drop_last: bool | None = None
    """Leave out the last, smaller batch of an epoch [default: if the method cannot use it and it is
    under 1 % of the examples]."""
    epochs: int = Field(default=15, ge=1, le=2**31)
    """Passes over the training examples."""
    learning_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Adam's step size [default: 1e-3 at 784 numbers an example, by size for others]."""
    schedule: Literal["constant", "exponential", "steps"] = "constant"
    """Step size over epochs: the same; x 0.995 each; or /2, /5, /10 after 30, 50, 70."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Adam's decay of the gradient's mean."""
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    """Adam's decay of the gradient's square."""
    reset_optimizer: bool = False
    """Make Adam anew each epoch, as the released code does."""
    batch_norm: Literal["batch", "frozen"] = "batch"
    """Convolutional network: normalise by the batch in training, or never, by statistics that stay
    0 and 1, as the released code probably does."""
    gradient_clip: float | None = Field(default=None, gt=0)
    """Largest norm of the gradient [default: no limit]."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after so many epochs without a better objective on validation examples."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of weights, order and noise."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    devices: int = Field(default=1, ge=1)
    """Processes that share each batch, one a device."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    """Of the arithmetic, as Lightning Fabric names it; auto: bf16-mixed where a trial on this
    machine shows it to be faster than 32-true."""
    compile: Literal["auto", "on", "off"] = "auto"
    """The step as one program: by torch.compile on the CPU, in a CUDA graph on a GPU; auto: off on
    the CPU, and on a GPU where a trial shows it to be faster."""
    checkpoint_every: int = Field(default=1, ge=1)
    """Epochs between checkpoints."""
    log_every: int = Field(default=50, ge=1)
    """Steps between looks at the terms of the loss."""
    tensorboard: bool = False
    """Write TensorBoard files beneath the run."""


class Settings(TrainingSettings, ModelSettings, DataSettings):
    """Everything that decides what a run does."""

    @field_validator("compile", mode="before")
    @classmethod
    def _on_and_off_are_words(cls, value: Any) -> Any:
        # In YAML 1.1 a plain on or off is a truth value.
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @classmethod
    def checked(cls, values: Mapping[str, Any], origin: str = "the settings") -> Self:
        """Make settings, or raise a one-sentence error that names `origin` and the bad key."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise explain(error, origin) from None

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some values changed."""
        return self.checked(self.model_dump() | changes)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run's ``config.yaml``."""
        return cls.checked(_read_mapping(path, path.read_text), str(path))

    def to_yaml(self) -> str:
        """Every setting, in the order of this file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def resolve(
    preset: str | None = None,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Lay defaults, preset, configuration file and flags over one another, the last on top.

    A preset or file may hold, under ``methods``, values for one method alone; they go over the
    other values of the same file.

    Raises
    ------
    HebaeError
        For an unknown preset, key or value, or a file that cannot be read.
    """
    flags = dict(flags or {})
    layers: list[tuple[str, dict[str, Any]]] = []
    if preset is not None:
        layers.append((f"preset {preset}", _read_preset(preset)))
    if config is not None:
        layers.append((str(config), _read_mapping(config, config.read_text)))
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


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("hebae") / "presets"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def _read_preset(name: str) -> dict[str, Any]:
    names = preset_names()
    if name not in names:
        raise HebaeError(
            f"unknown preset {name!r}{_suggestion(name, names)}; allowed are {', '.join(names)}."
        )
    file = resources.files("hebae") / "presets" / f"{name}.yaml"
    return _read_mapping(Path(f"{name}.yaml"), file.read_text)


def _read_mapping(path: Path, read: Any) -> dict[str, Any]:
    try:
        values = yaml.safe_load(read(encoding="utf-8"))
    except OSError as error:
        raise HebaeError(f"cannot read settings from {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise HebaeError(
            f"{path} is not valid YAML{line}; write one 'key: value' a line."
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise HebaeError(f"{path} must hold 'key: value' lines, not a {type(values).__name__}.")
    return values


def explain(error: ValidationError, origin: str) -> HebaeError:
    """One sentence from a pydantic error: the key, what was given, what is allowed."""
    first = error.errors()[0]
    key, given = str(first["loc"][0]), first["input"]
    context = first.get("ctx", {})
    if first["type"] == "extra_forbidden":
        return HebaeError(
            f"unknown key {key!r} in {origin}{_suggestion(key, Settings.model_fields)}; "
            "hebae train --help lists all keys."
        )
    kinds = {  # pydantic's wording where it is clear, ours where it is a programmer's
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "int_type": "a whole number",
        "float_parsing": "a number",
        "float_type": "a number",
        "bool_parsing": "true or false",
        "finite_number": "a finite number",
        "greater_than_equal": f"at least {context.get('ge')}",
        "greater_than": f"above {context.get('gt')}",
        "less_than": f"below {context.get('lt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "too_short": "one number or more",
        "string_type": "a word",
        "tuple_type": "one whole number or more",
        "literal_error": f"one of {str(context.get('expected')).replace(' or ', ', ')}",
    }
    if key == "likelihood_scale":
        allowed = "a number above 0, 'learned' or 'optimal'"
    else:
        allowed = kinds.get(first["type"], first["msg"])
    flag = "--" + key.replace("_", "-")
    name = f"{flag}" if origin == "the flags" else f"{key} in {origin}"
    return HebaeError(f"{name} is {given!r}; it must be {allowed}.")


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
