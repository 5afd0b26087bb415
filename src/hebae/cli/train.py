"""``hebae train``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from hebae.cli.app import Start, StartFlags, app, command, err, out, quiet, say, tell, working
from hebae.config import Settings, resolve
from hebae.errors import HebaeError


@app.command
def train(*, output: Path | None = None, start: Start = StartFlags()) -> int:  # noqa: B008
    """Train one model and save it in a run folder.

    Flags take precedence over the configuration file, the file over the preset, the preset over the
    defaults. A resumed run gives exactly the result of a run that was never interrupted.

    Exit status: 0; 2 for an error; 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP, each
    with a checkpoint; 1 if one of several processes was killed.

    Parameters
    ----------
    output
        Run folder to create [default: runs/DATA-METHOD-kK-seedS].
    """
    from hebae.training import processes

    flags = start.settings
    processes.follow_supervisor()
    if start.resume:
        if output is None:
            raise HebaeError("--resume needs --output, the run folder to resume.")
        if start.preset or start.config or start.overwrite:
            raise HebaeError(
                "--resume takes the settings of the run; leave out --preset, --config and "
                "--overwrite."
            )
        settings = _settings_of(output).replace(**flags)
    else:
        settings = resolve(start.preset, start.config, flags)
    devices = settings.devices
    if not start.dry_run and not processes.are_started(devices) and devices > 1:
        processes.require_shareable(settings.batch_size, devices)
        if settings.device != "cpu":
            from hebae.training.machine import check_machine

            check_machine(settings)
        again = _resume(output or _default_output(settings))
        status, message = processes.supervise(devices, sys.argv[1:], again)
        if message:
            say(message, err)
        return status

    # torch is imported here, which a process that supervises others on the CPU need not wait for.
    from hebae.run_folder import RunFolder
    from hebae.training import session
    from hebae.training.callbacks import ProgressBar
    from hebae.training.checks import require_relevant
    from hebae.training.interrupt import exit_status

    if devices > 1 and not start.dry_run and processes.rank():
        quiet()
    if start.resume:
        assert output is not None
        prepared = session.resume(output, flags)
    else:
        require_relevant(flags, [settings])
        if output is not None and not start.dry_run:
            RunFolder(output).require_free(overwrite=start.overwrite)
        prepared = session.prepare(settings)
    settings = prepared.settings
    tell(*prepared.notes)
    if start.dry_run:
        out.print(settings.to_yaml(), end="", soft_wrap=True)
        return 0
    output = output or _default_output(settings)
    outcome = session.run(
        prepared,
        output,
        command=command(),
        overwrite=start.overwrite,
        resuming=start.resume,
        callbacks=lambda settings: [ProgressBar(settings.method, settings.epochs, err)],
        machines=processes.machines(devices),
    )
    if outcome.interrupted:
        say(f"Stopped and saved. Resume with: {_resume(output)}", err)
        return exit_status()
    if processes.rank() and devices > 1:  # the first process does the rest
        return 0
    if prepared.model.objective.penalty_floor(settings.batch_size, settings.latent_dim):
        from hebae.experiments.measure import whiteness_warning

        if warning := whiteness_warning(output, prepared.dataset, settings.device):
            tell(warning)
    say(f"Trained {outcome.steps:,} steps in {outcome.seconds:.1f} s: {output}")
    from hebae.experiments.report import report_run

    with working("writing the report"):
        report_run(output, prepared.dataset, figures=False)
    say(f"Open {output / 'report.html'} in a browser, or: hebae show {shlex.quote(str(output))}")
    return 0


def _settings_of(output: Path) -> Settings:
    from hebae.run_folder import RunFolder

    return RunFolder(output).settings()


def _resume(output: Path) -> str:
    return shlex.join(["hebae", "train", "--resume", "--output", str(output)])


def _default_output(settings: Settings) -> Path:
    name = f"{Path(settings.data).stem}-{settings.method}"
    return Path("runs") / f"{name}-k{settings.latent_dim}-seed{settings.seed}"
