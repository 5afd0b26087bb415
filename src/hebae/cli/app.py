"""What the commands share: the app, its consoles, the groups of flags."""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.status import Status

from hebae._version import __version__
from hebae.config import DataSettings, ModelSettings, TrainingSettings
from hebae.experiments.settings import ClusterSettings
from hebae.yaml_files import preset_names


def _default_text(value: object) -> str | None:
    """Show a default as it would be typed: without brackets and quotes."""
    if value is None or value == ():
        return None
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


app = App(
    name="hebae",
    version=__version__,
    help="Train, compare and evaluate generative autoencoders.",
    # No argument is JSON: a path may begin with a bracket.
    default_parameter=Parameter(
        consume_multiple=1,  # or more, but never none
        negative_iterable=(),
        json_list=False,
        json_dict=False,
        show_default=_default_text,
    ),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
data_app = App(name="data", help="List data sets, download and prepare them.")
app.command(data_app)


def silence(stream: Any) -> None:
    """Print nothing more to a stream whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on without a reader: a command is not worth less for it."""
        silence(self.file)


# Of several processes that train together, only the first prints. Text is printed as it is: a path
# may hold what rich would take for markup or an emoji.
_QUIET = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0"
out = _Console(quiet=_QUIET, markup=False, emoji=False, highlight=False)
err = _Console(quiet=_QUIET, markup=False, emoji=False, highlight=False, stderr=True)


def quiet() -> None:
    """Print nothing from here on: another process does."""
    out.quiet = err.quiet = True


Switch = Parameter(negative=(), show_default=False)


Data = Annotated[DataSettings, Parameter(name="*", group=Group("Data", sort_key=2))]
Model = Annotated[ModelSettings, Parameter(name="*", group=Group("Model", sort_key=3))]
Training = Annotated[TrainingSettings, Parameter(name="*", group=Group("Training", sort_key=4))]


Cluster = Annotated[ClusterSettings, Parameter(name="*", group=Group("Ray", sort_key=5))]


class StartFlags(BaseModel):
    """The flags of every command that trains."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    preset: str | None = Field(
        default=None, description=f"Settings that come with hebae: {', '.join(preset_names())}."
    )
    config: Path | None = None
    """YAML file of settings. Its keys are the flags below, with underscores; the key methods holds
    settings for one method alone."""
    resume: Annotated[bool, Switch] = False
    """Resume what is in --output."""
    overwrite: Annotated[bool, Switch] = False
    """Replace what is in --output."""
    dry_run: Annotated[bool, Switch] = False
    """Load the data, check everything, print the resolved settings and stop."""
    data: Data = DataSettings()
    model: Model = ModelSettings()
    training: Training = TrainingSettings()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that were given as flags, without defaults."""
        groups = self.data, self.model, self.training
        return {name: getattr(group, name) for group in groups for name in group.model_fields_set}


class ExperimentFlags(StartFlags):
    """The same, of commands that train many models."""

    retry_diverged: Annotated[bool, Switch] = False
    """With --resume: also train diverged runs again."""
    cluster: Cluster = ClusterSettings()


Start = Annotated[StartFlags, Parameter(name="*")]
Experiment = Annotated[ExperimentFlags, Parameter(name="*")]


def command() -> str:
    """Return the command line, for the provenance."""
    return shlex.join(["hebae", *sys.argv[1:]])


def working(message: str) -> Status:
    """Show on standard error that a command is busy, with signs that its encoding has."""
    spinner = "dots" if err.encoding.lower().startswith("utf") else "line"
    return err.status(message, spinner=spinner)


def say(text: str, console: Console = out, style: str | None = None) -> None:
    """Print a line without breaking it: paths and commands stay whole for copying."""
    console.print(text, soft_wrap=True, style=style)


def tell(*notes: str) -> None:
    """Print notes to standard error."""
    for note in notes:
        say(wrapped(f"Note: {note}"), err, "dim")


def wrapped(text: str) -> str:
    """Break text into lines for standard error, but never within a path or flag."""
    width = max(20, err.width)
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def say_resumable(*more: str) -> int:
    """Say that an interrupted command was saved, and how to resume it; return its status."""
    from hebae.training.interrupt import exit_status

    words = [word for word in sys.argv[1:] if word not in ("--overwrite", "--resume")]
    say(f"Stopped and saved. Resume with: {shlex.join(['hebae', *words, *more])}", err)
    return exit_status()
