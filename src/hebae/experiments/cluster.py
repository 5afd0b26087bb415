"""Trainings and measurements as tasks of Ray, on this machine or on a cluster.

A task trains a group of runs, or measures one run. It is the same code as in one process
(`hebae.training.many.train_all`, `hebae.experiments.measure`): it reads settings and data, and
writes into the run folders, which all nodes share. Ray places the tasks, and starts the tasks of a
lost worker again elsewhere. There they find finished runs and the checkpoints of the others, and
the lock of a run folder keeps a worker out that was only believed lost.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from hebae._version import __version__
from hebae.config import Settings
from hebae.data import Dataset, load
from hebae.errors import HebaeError, MissingPackage
from hebae.experiments.settings import ClusterSettings
from hebae.experiments.trained_run import RunResult
from hebae.files import locked, make_folder
from hebae.training import interrupt
from hebae.training.many import Job, Result, Watcher, groups, steps_left, train_all
from hebae.training.session import prepare

RETRIES = 5
"""Times that a task is started again after its worker was lost."""
PATIENCE = 120
"""Seconds that a task waits for a run folder: the lock of a lost node is released after a while."""
GRACE = 60
"""Seconds that cancelled tasks have to save."""
POLL, REPORT_EVERY = 0.5, 2.0
"""Seconds between two looks at the tasks, and between two reports of a task."""
STORE = 100 * 2**20
"""Bytes of the object store of a local cluster; only settings and numbers go through it."""

Report = Callable[[Any], None]
"""Sends a message of a task to the process that started it."""


def _require_possible(settings: ClusterSettings) -> None:
    """Raise a HebaeError if the package is missing, or Ray takes no such settings."""
    cpus, gpus, addresses = settings.ray_cpus, settings.ray_gpus, settings.ray or ()
    if not 0 < cpus < 2**15 or (cpus > 1 and cpus % 1):
        raise HebaeError(f"--ray-cpus is {cpus:g}; it is a whole number, or a share of one CPU.")
    if gpus is not None and not 0 <= gpus <= 1:
        raise HebaeError(f"--ray-gpus is {gpus:g}; a run uses at most one: give 0 to 1.")
    if len(addresses) > 1:
        raise HebaeError(f"--ray takes one address, and got {' '.join(addresses)}.")
    if importlib.util.find_spec("ray") is None:
        raise MissingPackage("--ray needs the package ray: pip install 'hebae[ray]'")


def import_ray() -> Any:
    """Import Ray so that it sends nothing anywhere, and prints nothing."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # of its messages on lost workers
    import ray

    return ray


@contextmanager
def connected(
    settings: ClusterSettings,
    notify: Callable[[str], None] = lambda note: None,
    *,
    dry_run: bool = False,
) -> Iterator[Cluster | None]:
    """Connect to the cluster that is asked for, while the block lasts; None if none is.

    `notify` receives notes for the user. A dry run does not connect.

    Raises
    ------
    HebaeError
        If Ray is not installed, the address cannot be reached, or no node has what a task needs.
    """
    if settings.ray is None:
        yield None
        return
    _require_possible(settings)
    if dry_run:
        yield None
        return
    ray = import_ray()
    address = settings.ray[0] if settings.ray else os.environ.get("RAY_ADDRESS", "local")
    started = {"include_dashboard": False, "object_store_memory": STORE}
    if address != "local":
        _require_reachable(address)
        started = {}
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **started)
    except (Exception, SystemExit) as error:  # SystemExit: it waited long enough
        if address == "auto":
            raise HebaeError(
                "no Ray cluster runs on this machine; start one with ray start --head, or give "
                "--ray without a value."
            ) from None
        raise HebaeError(
            f"cannot connect to Ray at {address} ({str(error).strip().splitlines()[0]}); start a "
            "cluster with: ray start --head, or give --ray no address to use this machine."
        ) from None
    try:
        yield Cluster(settings, notify)
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    """Raise a HebaeError, within seconds, unless a server that Ray could be answers."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise HebaeError(
            f"--ray is {address!r}; it takes HOST:PORT, as ray start --head prints it, auto for "
            "the cluster on this machine, or nothing to use this machine's cores. To use a cluster "
            "from outside, submit the command with ray job submit."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            # Ray would wait for two minutes: see whether it speaks HTTP/2, as gRPC does.
            empty_settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + empty_settings)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HebaeError(
            f"no Ray cluster can be reached at {address} ({reason}); check that it runs "
            "(ray status), and that its port is open from here."
        ) from None
    if answer[3:4] != b"\x04":  # the type of the frame SETTINGS
        raise HebaeError(
            f"what answers at {address} is no Ray cluster; give the address that ray start --head "
            "prints, by default with port 6379."
        )


class Cluster:
    """Runs functions as tasks of the connected cluster, each with its share of CPUs and GPUs."""

    def __init__(
        self, settings: ClusterSettings, notify: Callable[[str], None] = lambda note: None
    ) -> None:
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.settings, self.notify = settings, notify
        self.interrupted = False
        """Whether a signal stopped the last tasks."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._messages = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self.slots()  # whether there is any

    def gpus(self, device: str = "auto") -> float:
        """Return the share of a GPU that a task on a device has: all of one where there are any."""
        if self.settings.ray_gpus is not None:
            return self.settings.ray_gpus
        return float(device in ("auto", "cuda") and any(n.get("GPU", 0) >= 1 for n in _nodes()))

    def slots(self, device: str = "auto") -> int:
        """Return how many tasks the cluster runs at the same time; a HebaeError if none."""
        shares = {"CPU": self.settings.ray_cpus, "GPU": self.gpus(device)}
        nodes = _nodes()
        count = sum(
            min(int(node.get(name, 0) / share) for name, share in shares.items() if share)
            for node in nodes
        )
        if count == 0:
            largest = {name: max((n.get(name, 0) for n in nodes), default=0) for name in shares}
            raise HebaeError(
                f"a task asks for {shares['CPU']:g} CPUs and {shares['GPU']:g} GPUs, and no node "
                f"of the cluster has as many (at most {largest['CPU']:g} and {largest['GPU']:g}); "
                "change --ray-cpus or --ray-gpus."
            )
        return count

    def run(
        self,
        function: Callable[[Any, Report], Any],
        arguments: Iterable[Any],
        *,
        device: str = "auto",
        at_once: int | None = None,
        watch: Callable[[int, Any], None] = lambda number, message: None,
    ) -> Iterator[tuple[int, Any]]:
        """Call a function with each argument as a task; yield number and result as they end.

        Ctrl-C and the other signals of `hebae.training.interrupt` cancel the tasks, which may save
        and return what they have; what they return is yielded, and `interrupted` is set.

        Parameters
        ----------
        function : callable
            Of a module, with two parameters: the argument, and a function that sends a message to
            `watch`. It is called again if its worker is lost.
        arguments : iterable
            Consumed as tasks are started.
        device : str
            Of the settings; decides on the default share of GPUs.
        at_once : int, optional
            Most tasks that have begun or wait for a node [default: all].
        watch : callable
            Receives the number of a task, in the order of the arguments, and its message.

        Raises
        ------
        HebaeError
            That a task raised, or if a worker was lost too often; the other tasks are cancelled.
        """
        import ray

        cpus, gpus = self.settings.ray_cpus, self.gpus(device)
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_task)
        waiting, pending = enumerate(arguments), {}
        cancelled = 0.0
        with interrupt.deferred() as signals:
            try:
                while True:
                    while not cancelled and (at_once is None or len(pending) < at_once):
                        number, argument = next(waiting, (-1, None))
                        if number < 0:
                            break
                        call = _Call(function, argument, number, max(1, int(cpus)), _variables())
                        pending[task.remote(call, self._messages)] = number
                    if not pending:
                        break
                    done, _ = ray.wait(list(pending), timeout=POLL)
                    for number, message in self._received():
                        watch(number, message)
                    for one in done:
                        number = pending.pop(one)
                        with suppress(ray.exceptions.TaskCancelledError):
                            yield number, _result(one)
                    if signals.agreed() and not cancelled:
                        self.interrupted, cancelled = True, time.monotonic()
                        for one in pending:
                            ray.cancel(one)
                    elif cancelled and time.monotonic() > cancelled + GRACE:
                        break
            finally:
                for one in pending:
                    ray.cancel(one, force=bool(cancelled))

    def _received(self) -> list[tuple[int, Any]]:
        """Return what tasks have reported since the last call."""
        found: list[tuple[int, Any]] = self._messages.get_nowait_batch(self._messages.qsize())
        return found

    def train(self, jobs: Sequence[Job], command: str, watcher: Watcher) -> Iterator[Result]:
        """Train jobs: see `hebae.training.many.train_all`, which it is a `Trainer` for."""
        if not jobs:
            return
        device = jobs[0].prepared.settings.device
        most = -(-len(jobs) // self.slots(device))
        parts = [part for group in groups(jobs) for part in _divided(group, most)]
        for folder in {job.path.parent for job in jobs}:
            make_folder(folder, "--output")
        left = [sum(map(steps_left, part)) for part in parts]
        begun = set()

        def watch(number: int, message: tuple[str, int]) -> None:
            kind, count = message
            if kind == "start":
                if number in begun:
                    self.notify(f"A worker was lost; {_named(parts[number])} started again.")
                begun.add(number)
                watcher.on_spared(left[number] - count)
                left[number] = count
            else:
                left[number] -= count
                (watcher.on_steps if kind == "steps" else watcher.on_spared)(count)

        tasks = [_Training.of(part, command) for part in parts]
        for number, found in self.run(_train, tasks, device=device, watch=watch):
            for job, (state, message) in zip(parts[number], found, strict=True):
                yield Result(job, state, message)


Measure = Callable[..., RunResult]
"""From a result, and a function `progress` that takes messages, to the result with measurements."""


def measure_each(
    calls: Sequence[tuple[RunResult, Measure]],
    progress: Callable[[str], None],
    cluster: Cluster | None = None,
) -> list[RunResult] | None:
    """Measure runs, one after the other or as tasks of a cluster; None if that was interrupted."""
    if cluster is None:
        return [
            measure(run, progress=lambda message, name=run.label: progress(f"{name}: {message}"))
            for run, measure in calls
        ]
    found: dict[int, RunResult] = {
        number: measure(run, progress=progress)  # there is nothing to measure
        for number, (run, measure) in enumerate(calls)
        if run.diverged
    }
    numbers = [number for number in range(len(calls)) if number not in found]
    if not numbers:
        return list(found.values())
    tasks = [_Measuring.of(*calls[number]) for number in numbers]

    def say(name: str, message: str) -> None:
        progress(f"measured {len(found)} of {len(calls)} runs; {name}: {message}")

    def watch(number: int, message: str) -> None:
        say(tasks[number].run.label, message)

    device = calls[numbers[0]][0].evaluation.device
    for number, result in cluster.run(_measure, tasks, device=device, watch=watch):
        run = calls[numbers[number]][0]
        found[numbers[number]] = replace(result, path=run.path, dataset=run.dataset)
        say(run.label, "measured")
    if len(found) < len(calls):
        return None
    return [found[number] for number in range(len(calls))]


def _nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _result(reference: Any) -> Any:
    """Return the result of a task that has ended, or raise its error."""
    import ray
    from ray import exceptions

    try:
        return ray.get(reference)
    except exceptions.TaskCancelledError:
        raise
    except exceptions.RayTaskError as error:
        raise error.cause from None
    except exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise HebaeError(
            f"a worker was lost {RETRIES + 1} times with the same task ({reason}). What is "
            "finished is kept; mend the cause, such as a lack of memory, and use --resume."
        ) from None


def _divided(group: list[Job], most: int) -> Iterator[list[Job]]:
    """Divide a group into parts of equal size, give or take one."""
    parts = -(-len(group) // most)
    for part in range(parts):
        yield group[part * len(group) // parts : (part + 1) * len(group) // parts]


def _named(jobs: Sequence[Job]) -> str:
    return f"its run {jobs[0].label} is" if len(jobs) == 1 else f"its {len(jobs)} runs are"


def _variables() -> dict[str, str]:
    """Return the environment of this process that tasks need, with absolute paths."""
    found = {name: value for name, value in os.environ.items() if name.startswith("HEBAE_")}
    for name in ("HEBAE_CACHE_DIR", "HEBAE_DATA_DIR"):
        if name in found:
            found[name] = str(Path(found[name]).expanduser().absolute())
    return found


# In a worker ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """What a worker needs to call a function."""

    function: Callable[[Any, Report], Any]
    argument: Any
    number: int
    threads: int
    variables: dict[str, str]
    version: str = __version__


@dataclass(frozen=True)
class _Training:
    """Runs that one task trains, without their data."""

    runs: tuple[tuple[str, Settings, Path], ...]
    fingerprint: str
    command: str

    @classmethod
    def of(cls, jobs: Sequence[Job], command: str) -> _Training:
        runs = tuple((job.label, job.prepared.settings, job.path.absolute()) for job in jobs)
        return cls(runs, jobs[0].prepared.dataset.fingerprint, command)


@dataclass(frozen=True)
class _Measuring:
    """A run that one task measures, without its data."""

    run: RunResult
    measure: Measure
    fingerprint: str

    @classmethod
    def of(cls, run: RunResult, measure: Measure) -> _Measuring:
        return cls(_without_data(run), measure, run.dataset.fingerprint)


def _without_data(run: RunResult) -> RunResult:
    return replace(run, path=run.path.absolute(), dataset=None)  # type: ignore[arg-type]


def _task(call: _Call, messages: Any) -> Any:
    from ray.exceptions import RayError

    if call.version != __version__:
        raise HebaeError(
            f"the node {socket.gethostname()} has hebae {__version__}, and the command runs with "
            f"{call.version}; install the same version on all nodes."
        )
    os.environ.update(call.variables)
    torch.set_num_threads(call.threads)

    def report(message: Any) -> None:
        with suppress(RayError):  # whoever shows the progress may be gone
            messages.put_nowait((call.number, message))

    return call.function(call.argument, report)


def _train(task: _Training, report: Report) -> list[tuple[str, str]]:
    """Train the runs that are not finished; return state and message of each."""
    dataset = _dataset(task.runs[0][1], task.fingerprint)
    jobs = []
    for label, settings, path in task.runs:
        _require_shared(path.parent)
        prepared = prepare(settings, dataset)
        prepared.release()
        jobs.append(Job(label, prepared, path))
        if path.is_dir():
            with locked(path, seconds=PATIENCE):
                pass  # the worker that was lost has really ended
    results = train_all(jobs, command=task.command, watcher=_Reporter(report))
    cancelled = interrupt.exit_status() == 130
    if any(result.state == "interrupted" for result in results) and not cancelled:
        os._exit(interrupt.exit_status())  # this node is taken away: another worker resumes
    return [(result.state, result.message) for result in results]


def _measure(task: _Measuring, report: Report) -> RunResult:
    run = task.run
    _require_shared(run.path)
    last = 0.0

    def progress(message: str) -> None:
        nonlocal last
        if time.monotonic() > last + REPORT_EVERY:
            report(message)
            last = time.monotonic()

    run = replace(run, dataset=_dataset(run.settings, task.fingerprint))
    return _without_data(task.measure(run, progress=progress))


def _require_shared(folder: Path) -> None:
    if not folder.is_dir():
        raise HebaeError(
            f"the node {socket.gethostname()} does not have {folder}; --output must be in a folder "
            "that all nodes share."
        )


def _dataset(settings: Settings, fingerprint: str) -> Dataset:
    """Load data, or return those of the last task, if they are those of the command."""
    dataset = _loaded(tuple(settings.source.items()))
    if dataset.fingerprint != fingerprint:
        raise HebaeError(
            f"the data {settings.data} on the node {socket.gethostname()} differ from those where "
            "the command runs; copy them, or name a folder that all nodes share."
        )
    return dataset


@lru_cache(maxsize=2)
def _loaded(source: tuple[tuple[str, Any], ...]) -> Dataset:
    return load(**dict(source))


class _Reporter(Watcher):
    """Reports steps to the process that started the task, every few seconds."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.steps = 0
        self.last = time.monotonic()

    def on_start(self, results: Sequence[Result], waiting: int, steps: int) -> None:
        self.report(("start", steps))

    def on_steps(self, count: int) -> None:
        self.steps += count
        if time.monotonic() > self.last + REPORT_EVERY:
            self._flush()

    def on_spared(self, count: int) -> None:
        self.report(("spared", count))

    def on_end(self) -> None:
        self._flush()

    def _flush(self) -> None:
        if self.steps:
            self.report(("steps", self.steps))
        self.steps, self.last = 0, time.monotonic()
