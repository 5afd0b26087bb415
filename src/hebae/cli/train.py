"""``hebae train`` and ``hebae compare``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hebae.cli.app import Data, Model, Switch, Training, app, command, given, out, say, tell, told
from hebae.config import (
    DataSettings,
    Method,
    ModelSettings,
    Settings,
    TrainingSettings,
    resolve,
)
from hebae.errors import HebaeError

if TYPE_CHECKING:
    from hebae.training.callbacks import Callback


@app.command
def train(
    *,
    preset: str | None = None,
    config: Path | None = None,
    output: Path | None = None,
    resume: Annotated[bool, Switch] = False,
    overwrite: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    data: Data = DataSettings(),  # noqa: B008
    model: Model = ModelSettings(),  # noqa: B008
    training: Training = TrainingSettings(),  # noqa: B008
) -> int:
    """Train one model into a run folder.

    Flags take precedence over the configuration file, the file over the preset, the preset over the
    defaults.

    Parameters
    ----------
    preset
        Settings that come with hebae: mnist-mini, mnist, mnist-rate, celeba, mnist-released,
        celeba-released.
    config
        YAML file of settings; its keys are the flags below, with underscores.
    output
        Run folder to create [default: runs/DATA-METHOD-kK-seedS].
    resume
        Resume the run in --output, exactly as if it had never stopped.
    overwrite
        Replace the run in --output.
    dry_run
        Load the data, check everything, print the resolved settings and stop.
    """
    from hebae.storage import RunFolder
    from hebae.training import session
    from hebae.training.checks import require_relevant

    flags = given(data, model, training)
    if resume:
        if output is None:
            raise HebaeError("--resume needs --output, the run folder to resume.")
        if preset or config or overwrite:
            raise HebaeError(
                "--resume takes the settings of the run; leave out --preset, --config and "
                "--overwrite."
            )
        prepared = session.resume(output, flags)
    else:
        settings = resolve(preset, config, flags)
        require_relevant(flags, [settings.method])
        if output is not None and not dry_run:
            RunFolder(output).require_free(overwrite=overwrite)
        prepared = session.prepare(settings)
        output = output or _default_output(prepared.settings)
    tell(prepared.notes)
    if dry_run:
        out.print(prepared.settings.to_yaml(), end="", soft_wrap=True)
        return 0
    outcome = session.run(
        prepared,
        output,
        command=command(),
        overwrite=overwrite,
        resuming=resume,
        callbacks=lambda settings: [_progress(settings)],
    )
    if outcome.interrupted:
        again = shlex.join(["hebae", "train", "--resume", "--output", str(output)])
        say(f"Stopped and saved. Resume with: {again}", told)
        return 130
    say(f"Trained {outcome.steps:,} steps in {outcome.seconds:.1f} s: {output}")
    say(f"View it with: hebae show {shlex.quote(str(output))}")
    return 0


@app.command
def compare(
    *,
    methods: tuple[Method, ...] = ("hebae", "vae", "wae"),
    seeds: tuple[int, ...] | None = None,
    preset: str | None = None,
    config: Path | None = None,
    output: Path = Path("comparison"),
    resume: Annotated[bool, Switch] = False,
    overwrite: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    data: Data = DataSettings(),  # noqa: B008
    model: Model = ModelSettings(),  # noqa: B008
    training: Training = TrainingSettings(),  # noqa: B008
) -> int:
    """Train several methods on the same data, budget and seeds; draw and tabulate them.

    Parameters
    ----------
    methods
        What to compare, in the order of the table.
    seeds
        One training a method and seed [default: --seed].
    preset
        Settings that come with hebae: mnist-mini, mnist, mnist-rate, celeba, mnist-released,
        celeba-released.
    config
        YAML file of settings; values for one method stand under methods.
    output
        Folder for the runs, figures, table and report.html.
    resume
        Go on with the comparison in --output; finished runs are kept.
    overwrite
        Replace the comparison in --output.
    dry_run
        Check everything, print the settings of each method and stop.
    """
    from hebae.experiments import comparison
    from hebae.training.checks import require_relevant

    flags = given(data, model, training)
    if resume and overwrite:
        raise HebaeError("--resume keeps the comparison and --overwrite replaces it; give one.")
    if not methods or len(set(methods)) < len(methods):
        raise HebaeError("--methods takes one or more names, each once: hebae vae wae ae.")
    if seeds is not None and not seeds:
        raise HebaeError("--seeds takes one or more whole numbers.")
    if "method" in flags:
        raise HebaeError("compare takes --methods, several names, in place of --method.")
    require_relevant(flags, methods)
    runs = comparison.plan(
        {m: resolve(preset, config, flags | {"method": m}) for m in methods}, seeds
    )
    prepared = comparison.prepare(runs, told=tell)
    if dry_run:
        for run in prepared:
            say(f"# {run.label}")
            out.print(run.prepared.settings.to_yaml(), soft_wrap=True)
        return 0
    table = comparison.run(
        prepared,
        output,
        resume=resume,
        overwrite=overwrite,
        command=command(),
        callbacks=lambda settings: [_progress(settings)],
    )
    if table is None:
        words = [word for word in sys.argv[1:] if word not in ("--overwrite", "--resume")]
        go_on = shlex.join(["hebae", *words, "--resume"])
        say(f"Stopped and saved. Go on with: {go_on}", told)
        return 130
    out.print(table)
    say(f"\nFigures, table and runs: {output}")
    say(f"Open {output / 'report.html'} in a browser.")
    return 0


def _progress(settings: Settings) -> Callback:
    from hebae.training.callbacks import ProgressBar

    return ProgressBar(settings.method, settings.epochs, told)


def _default_output(settings: Settings) -> Path:
    name = Path(settings.data).stem
    return Path("runs") / f"{name}-{settings.method}-k{settings.latent_dim}-seed{settings.seed}"
