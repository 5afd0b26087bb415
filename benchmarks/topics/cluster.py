"""The same runs as tasks of Ray with one worker and with two, and in one process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from contenders import SETTINGS
from results import Aim, Effort, Result
from turns import paired, take_turns

from hebae.data import load
from hebae.experiments.cluster import Cluster, Report, import_ray
from hebae.experiments.cluster_runs import train_on
from hebae.experiments.settings import ClusterSettings
from hebae.training.many import Job, train_all, train_in_turn
from hebae.training.session import prepare

RUNS, EPOCHS = 16, 2
STORE = 80 * 2**20
PAUSE = 1.0
"""Seconds for which each worker is kept busy, so that all are started."""

TEXT = """\
{runs} runs of HEBAE (Appendix B.1, which is not stacked on a CPU) on mnist-mini, {epochs} epochs
each, one thread per worker. The clock starts when the cluster has started and the workers have
imported torch and hebae, which is measured apart; loading data, checkpoints and run folders are
part of the time. The ratio needs a core for each worker, and one that is free of other work."""


def measure(effort: Effort) -> Result:
    """Train all runs with 0 (no Ray), 1 and 2 workers in turn."""
    runs, epochs = (2, 1) if effort.smoke else (RUNS, EPOCHS)
    dataset = load("mnist-mini")
    settings = SETTINGS.replace(data="mnist-mini", epochs=epochs, method="hebae")
    prepared = [prepare(settings.replace(seed=seed), dataset) for seed in range(runs)]
    starts: list[float] = []
    imports: list[float] = []

    def with_workers(count: int) -> Callable[[], float]:
        def run() -> float:
            with (
                tempfile.TemporaryDirectory() as folder,
                connected(count, starts, imports) as cluster,
            ):
                train = train_in_turn if cluster is None else partial(train_on, cluster)
                jobs = [
                    Job(f"seed={seed}", one, Path(folder) / "runs" / f"seed={seed}")
                    for seed, one in enumerate(prepared)
                ]
                begin = time.perf_counter()
                results = train_all(jobs, command="benchmarks/run.py", train=train)
                seconds = time.perf_counter() - begin
            if any(result.state != "finished" for result in results):
                raise KeyboardInterrupt
            return seconds

        return run

    names = {"in one process": 0, "Ray, 1 worker": 1, "Ray, 2 workers": 2}
    contenders = {name: with_workers(count) for name, count in names.items()}
    readings = take_turns(contenders, effort.share(0.15), "runs as tasks of Ray")
    what = f"{runs} runs: "
    return Result(
        title="Runs as tasks of Ray",
        text=TEXT.format(runs=runs, epochs=epochs),
        aims=[
            Aim(
                what + "1 worker / 2 workers",
                "x",
                paired(readings, "Ray, 1 worker", "Ray, 2 workers"),
                at_least=1.8,
            ),
            Aim(
                what + "in one process / 1 worker",
                "x",
                paired(readings, "in one process", "Ray, 1 worker"),
            ),
            *(
                Aim(f"{what}per run, {name}", "s", [one / runs for one in readings[name]])
                for name in names
            ),
            Aim("starting a cluster on this machine", "s", starts),
            Aim("importing torch and hebae in its workers", "s", imports),
        ],
        readings=readings,
        readings_title="for all runs",
    )


@contextmanager
def connected(workers: int, starts: list[float], imports: list[float]) -> Iterator[Cluster | None]:
    """Start a cluster of so many CPUs, with a warm worker for each; none for 0.

    The seconds that the start and the imports of the workers take are appended.
    """
    if not workers:
        yield None
        return
    begin = time.perf_counter()
    ray = import_ray()
    ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=STORE,
             log_to_driver=False, logging_level="ERROR")  # fmt: skip
    try:
        cluster = Cluster(ClusterSettings(ray=()))
        starts.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        list(cluster.run(_warm_up, range(workers)))
        imports.append(time.perf_counter() - begin - PAUSE)
        yield cluster
    finally:
        ray.shutdown()


def _warm_up(argument: int, report: Report) -> None:
    import hebae.experiments.cluster_runs  # noqa: F401

    time.sleep(PAUSE)  # or one worker would do for both
