"""The methods with their options, the names of likelihoods and priors, without importing torch.

A method is a file in ``objectives/`` and a line in the list in ``objectives/__init__.py``. Its
dataclass says everything else: the flags of the command line, the parameters of the estimator,
names, units and colours in tables and figures follow from it. Likelihoods are listed in
``likelihoods/__init__.py``, samplers in ``priors/choice.py``. The files are parsed, not imported,
since importing torch takes seconds and ``hebae --help`` should not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from inspect import cleandoc
from itertools import pairwise
from typing import Annotated, Any, Literal  # noqa: F401, in annotations of options

from pydantic import Field

MOST_UNITS = 2**20  # of a layer or a code: a larger number is a typing error

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Weight of a penalty term. Runs that differ in weights alone can be stacked."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Width = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Option:
    """A setting that only some methods have: a field of the method's dataclass."""

    name: str
    annotation: Any
    """Its type, with constraints, as pydantic reads it."""
    source: str
    """The same as source code."""
    default: Any
    description: str

    @property
    def is_weight(self) -> bool:
        """Whether it weights a penalty term."""
        return self.source == "Weight"


@dataclass(frozen=True)
class Method:
    """What can be known of a method without importing torch."""

    name: str
    """As in ``--method``."""
    class_name: str
    """Name of the class of the objective and of the estimator."""
    description: str
    """The docstring of the class."""
    display_name: str
    colour: str
    marker: str
    units: Mapping[str, str]
    stochastic: bool
    adversarial: bool
    options: Mapping[str, Option]

    def unit(self, term: str) -> str:
        """Return the unit of a penalty term."""
        return self.units.get(term, "nats")


def allowed_values(error: Mapping[str, Any]) -> str:
    """Say which values are allowed, given the details of a pydantic error."""
    context = error.get("ctx", {})
    messages = {  # ours where pydantic's wording is a programmer's
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
        "tuple_type": "a list of values",
        "literal_error": f"one of {str(context.get('expected')).replace(' or ', ', ')}",
    }
    return messages.get(error["type"], str(error["msg"]))


def _parse(path: str) -> ast.Module:
    return ast.parse((resources.files("hebae") / path).read_text("utf-8"))


def _read_method(name: str, class_name: str) -> Method:
    module = _parse(f"objectives/{name.replace('-', '_')}.py")
    body = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == class_name)
    constants = _constants(body)
    return Method(
        name=name,
        class_name=class_name,
        description=ast.get_docstring(body) or "",
        display_name=constants["display_name"],
        colour=constants["colour"],
        marker=constants["marker"],
        units=constants.get("units", {}),
        stochastic=constants["stochastic"],
        adversarial=constants.get("adversarial", False),
        options={option.name: option for option in _options(body)},
    )


def _constants(node: ast.Module | ast.ClassDef) -> dict[str, Any]:
    """Values of assignments that are literals: class variables and lists, not options."""
    found = {}
    for part in node.body:
        match part:
            case ast.Assign(targets=[ast.Name(name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(name), annotation=ast.Name("ClassVar"), value=value):
                pass
            case _:
                continue
        with suppress(ValueError):
            found[name] = ast.literal_eval(value or ast.Constant(None))
    return found


def _options(body: ast.ClassDef) -> Iterator[Option]:
    for part, following in pairwise([*body.body, ast.Pass()]):
        if not (isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)):
            continue
        source = ast.unparse(part.annotation)
        if part.value is None or source == "ClassVar":
            continue
        match following:
            case ast.Expr(ast.Constant(str(text))):
                description = cleandoc(text)
            case _:
                description = ""
        kind, default = eval(source, globals()), ast.literal_eval(part.value)
        yield Option(part.target.id, kind, source, default, description)


METHODS: dict[str, Method] = {
    name: _read_method(name, class_name)
    for name, class_name in _constants(_parse("objectives/__init__.py"))["METHODS"].items()
}
"""Every method by its name."""


@dataclass(frozen=True)
class Sampler:
    """What can be known of a sampler without importing torch."""

    display_name: str
    summary: str
    """What it is, as a clause."""
    automatic: bool
    """Whether "auto" considers it."""


def _read_sampler(place: str) -> Sampler:
    file, class_name = place.split(".")
    body = _parse(f"priors/{file}.py").body
    node = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == class_name)
    constants = _constants(node)
    return Sampler(
        constants["display_name"], constants["summary"], constants.get("automatic", False)
    )


SAMPLERS: dict[str, Sampler] = {
    name: _read_sampler(place)
    for name, place in _constants(_parse("priors/choice.py"))["SAMPLERS"].items()
}
"""Every sampler that is fitted to codes, by its name, simple ones first."""

AUTOMATIC = tuple(name for name, sampler in SAMPLERS.items() if sampler.automatic)
"""Samplers that "auto" chooses from."""

OWN = Sampler("own prior", "the model's own p(z), which need not be fitted", False)
"""The sampler "prior"."""

SAMPLER_NAMES = (*SAMPLERS, "prior")

SAMPLER_HELP = "; ".join(f"{n}: {s.summary}" for n, s in (SAMPLERS | {"prior": OWN}).items()) + (
    ". auto: the model's own prior if it was learned with the model, otherwise the one of "
    f"{', '.join(AUTOMATIC)} whose draws are most like held-out codes."
)
"""The help of ``--sampler``."""

LIKELIHOODS = tuple(_constants(_parse("likelihoods/__init__.py"))["CLASSES"])
"""Names of the likelihoods."""

PRIORS = ("normal", *_constants(_parse("priors/__init__.py"))["LEARNED"])
"""Names of the priors that a model can have."""
