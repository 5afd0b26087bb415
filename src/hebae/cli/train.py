"""``hebae train``."""

from __future__ import annotations

import shlex
from pathlib import Path

from hebae.cli.app import Start, StartFlags, app, command, err, out, say, tell
from hebae.config import resolve
from hebae.errors import HebaeError


@app.command
def train(*, output: Path | None = None, start: Start = StartFlags()) -> int:  # noqa: B008
    """Train one model and save it in a run folder.

    Flags take precedence over the configuration file, the file over the preset, the preset over the
    defaults. A resumed run gives exactly the result of a run that was never interrupted.

    Parameters
    ----------
    output
        Run folder to create [default: runs/DATA-METHOD-kK-seedS].
    """
    from hebae.storage import RunFolder
    from hebae.training import session
    from hebae.training.callbacks import ProgressBar
    from hebae.training.checks import require_relevant

    flags = start.settings
    if start.resume:
        if output is None:
            raise HebaeError("--resume needs --output, the run folder to resume.")
        if start.preset or start.config or start.overwrite:
            raise HebaeError(
                "--resume takes the settings of the run; leave out --preset, --config and "
                "--overwrite."
            )
        prepared = session.resume(output, flags)
    else:
        settings = resolve(start.preset, start.config, flags)
        require_relevant(flags, [settings])
        if output is not None and not start.dry_run:
            RunFolder(output).require_free(overwrite=start.overwrite)
        prepared = session.prepare(settings)
    settings = prepared.settings
    tell(*prepared.notes)
    if start.dry_run:
        out.print(settings.to_yaml(), end="", soft_wrap=True)
        return 0
    if output is None:
        name = f"{Path(settings.data).stem}-{settings.method}"
        output = Path("runs") / f"{name}-k{settings.latent_dim}-seed{settings.seed}"
    outcome = session.run(
        prepared,
        output,
        command=command(),
        overwrite=start.overwrite,
        resuming=start.resume,
        callbacks=lambda settings: [ProgressBar(settings.method, settings.epochs, err)],
    )
    if outcome.interrupted:
        again = shlex.join(["hebae", "train", "--resume", "--output", str(output)])
        say(f"Stopped and saved. Resume with: {again}", err)
        return 130
    if prepared.model.objective.penalty_floor(settings.batch_size, settings.latent_dim):
        from hebae.experiments.measure import whiteness_warning

        if warning := whiteness_warning(output, prepared.dataset, settings.device):
            tell(warning)
    say(f"Trained {outcome.steps:,} steps in {outcome.seconds:.1f} s: {output}")
    say(f"View it with: hebae show {shlex.quote(str(output))}")
    return 0
