"""``hebae reproduce``: the studies of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators
from rich.text import Text

from hebae.cli.app import Cluster, Switch, app, command, err, say, say_resumable, tell, working
from hebae.experiments.settings import ClusterSettings


@app.command
def reproduce(
    *studies: str,
    budget: Literal["smoke", "small", "full"] = "smoke",
    output: Path | None = None,
    data_dir: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    features: tuple[str, ...] | None = None,
    samples: Annotated[int | None, Parameter(validator=validators.Number(gte=10))] = None,
    train_only: Annotated[bool, Switch] = False,
    cluster: Cluster = ClusterSettings(),  # noqa: B008
) -> int:
    """Reproduce the paper: train its models, draw its figures, and check its statements.

    Runs and measurements that are in --output already are reused, so that an interrupted command
    resumes. Studies share their runs.

    Parameters
    ----------
    studies
        figure1a, figure1b, figure2, figure3, figure4, table, rate, prior, binary, ablations, or
        all.
    budget
        smoke: mnist-mini and synthetic faces with tiny networks; takes a few minutes and checks
        that everything runs. small: MNIST for 12 epochs and CelebA with narrow networks, one to
        three seeds; takes hours on two cores. full: the paper's networks and epochs with five
        seeds; needs a GPU.
    output
        Folder for runs/ and results/ [default: reproduction/BUDGET].
    data_dir
        Folder with data files [env: HEBAE_DATA_DIR].
    device
        Device to train and to measure on.
    features
        Features in which samples of images are compared, as in ``hebae evaluate`` [default: those
        of each study; for CelebA random, and inception and efficientnet-lite0 if they are
        available].
    samples
        Number of samples per sampler, and of test examples to compare with [default: 10000; smoke:
        1000].
    train_only
        Train only. Run the command again without this option to measure and draw.
    """
    from hebae.cli.progress import RunsProgress
    from hebae.experiments.cluster import connected
    from hebae.paper import choose
    from hebae.paper.budgets import BUDGETS
    from hebae.paper.reproduce import reproduce as run

    chosen = choose(studies)
    output = output or Path("reproduction") / budget
    asked = {"features": features, "samples": samples}
    with connected(cluster, tell) as connection, working("loading") as status:

        def show(message: str) -> None:
            if err.is_terminal:
                status.update(Text(message))
            else:
                say(message, err)

        pages = run(
            chosen,
            BUDGETS[budget],
            output,
            command=command(),
            data_dir=data_dir,
            device=device,
            evaluation={name: value for name, value in asked.items() if value is not None},
            train_only=train_only,
            watcher=RunsProgress(err, status),
            tell=tell,
            progress=show,
            cluster=connection,
        )
    if pages is None:
        return say_resumable()
    for page in pages:
        say(f"Results: {page}")
    if pages:
        say(f"Open {pages[0].with_name('report.html')} in a browser.")
    if train_only:
        say(f"Trained: {output / 'runs'}. Run the command without --train-only to measure them.")
    return 0
