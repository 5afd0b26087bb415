"""Functions as tasks of Ray, on this machine or on a cluster (extra ``hebae[ray]``).

Ray places the tasks and gives them their shares of CPUs and GPUs. The task of a worker that is lost
is started again elsewhere, so that a task must find out for itself what was done already.
`hebae.experiments.cluster_runs` trains and measures runs with it.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hebae._version import __version__
from hebae.errors import HebaeError, MissingPackage
from hebae.experiments.settings import ClusterSettings
from hebae.training import interrupt

RETRIES = 5
"""Times that a task is started again after its worker was lost."""
GRACE = 60
"""Seconds that cancelled tasks have to save."""
PASSED_ON = ("HEBAE_", "MLFLOW_", "WANDB_")
"""Environment variables that tasks get."""
POLL = 0.5
"""Seconds between two looks at the tasks."""
STORE = 100 * 2**20
"""Bytes of the object store of a local cluster; only settings and numbers go through it."""

Report = Callable[[Any], None]
"""Sends a message of a task to the process that started it."""


def _require_possible(settings: ClusterSettings) -> None:
    """Raise a HebaeError if the package is missing, or Ray takes no such settings."""
    cpus, gpus, addresses = settings.ray_cpus, settings.ray_gpus, settings.ray or ()
    if not 0 < cpus < 2**15 or (cpus > 1 and cpus % 1):
        raise HebaeError(f"--ray-cpus is {cpus:g}; give a whole number, or a share of one CPU.")
    if gpus is not None and not 0 <= gpus <= 1:
        raise HebaeError(f"--ray-gpus is {gpus:g}; a run uses at most one GPU: give 0 to 1.")
    if len(addresses) > 1:
        raise HebaeError(f"--ray takes one address, but got {' '.join(addresses)}.")
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
    address = settings.ray[0] if settings.ray else os.environ.get("RAY_ADDRESS") or "local"
    started = {"include_dashboard": False, "object_store_memory": STORE}
    if address != "local":
        _require_reachable(address, "--ray" if settings.ray else "RAY_ADDRESS")
        started = {}
    with interrupt.handlers_kept():
        _start(ray, address, started)
    try:
        yield Cluster(settings, notify)
    finally:
        ray.shutdown()


def _start(ray: Any, address: str, started: dict[str, Any]) -> None:
    """Start Ray or connect to it; a HebaeError says why that fails."""
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **started)
    except (Exception, SystemExit) as error:  # SystemExit: it waited long enough
        if address == "auto":
            raise HebaeError(
                "no Ray cluster runs on this machine; start one with ray start --head, or give "
                "--ray without a value."
            ) from None
        reason = str(error).strip().splitlines()[0]
        if address == "local":
            raise HebaeError(
                f"Ray did not start on this machine ({reason}). If the machine is busy, repeat the "
                "command later, or leave out --ray to train in this process."
            ) from None
        advice = ""
        if "RAY_AUTH_MODE" not in os.environ:
            advice = (
                " If ray start enabled tokens there (because ~/.ray/auth_token exists), set the "
                "variable RAY_AUTH_MODE to token."
            )
        raise HebaeError(
            f"cannot connect to Ray at {address} ({reason}); start a cluster with: ray start "
            f"--head, or give --ray without an address to use this machine.{advice}"
        ) from None


def _require_reachable(address: str, name: str) -> None:
    """Raise a HebaeError, within seconds, unless a server that Ray could be answers.

    `name` is that of the flag or variable with the address.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise HebaeError(
            f"{name} is {address!r}; give HOST:PORT, as ray start --head prints it, auto for the "
            "cluster on this machine, or local to use this machine's cores. To use a cluster from "
            "another machine, submit the command with ray job submit."
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
            "(ray status), and that this machine can reach its port."
        ) from None
    if answer[3:4] != b"\x04":  # the type of the frame SETTINGS
        raise HebaeError(
            f"the server at {address} is not a Ray cluster; give the address that ray start --head "
            "prints, by default with port 6379."
        )


class Cluster:
    """Runs functions as tasks of the connected cluster, each with its share of CPUs and GPUs."""

    def __init__(
        self, settings: ClusterSettings, notify: Callable[[str], None] = lambda note: None
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.settings, self.notify = settings, notify
        self.interrupted = False
        """Whether a signal stopped the last tasks."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(num_cpus=0)(_Messages)
        self._messages = actor.options(scheduling_strategy=here, max_restarts=-1).remote()
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
                f"a task needs {shares['CPU']:g} CPUs and {shares['GPU']:g} GPUs, but no node of "
                f"the cluster has that many (at most {largest['CPU']:g} and {largest['GPU']:g}); "
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
            A function of a module, with two parameters: the argument, and a function that sends
            a message to `watch`. It is called again if its worker is lost.
        arguments : iterable
            Consumed as tasks are started.
        device : str
            Device of the settings; decides on the default share of GPUs.
        at_once : int, optional
            Most tasks that have begun or wait for a node [default: all].
        watch : callable
            Receives the number of a task, in the order of the arguments, and its message.

        Raises
        ------
        HebaeError
            If a task raised it, or if a worker was lost too often. Other tasks are cancelled.
        """
        import ray

        cpus, gpus = self.settings.ray_cpus, self.gpus(device)
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_task)
        waiting = enumerate(arguments)
        pending: dict[Any, int] = {}
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
        """Return what tasks have reported since the last call, as far as it is not lost."""
        import ray

        found: list[tuple[int, Any]] = []
        with suppress(ray.exceptions.RayError):  # a signal to all processes ends the actor, too
            found = ray.get(self._messages.take.remote())
        return found


class _Messages:
    """An actor that keeps what tasks report until it is taken."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Any]] = []

    def put(self, number: int, message: Any) -> None:
        self._waiting.append((number, message))

    def take(self) -> list[tuple[int, Any]]:
        taken, self._waiting = self._waiting, []
        return taken


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each node."""
    return [node["Resources"] for node in import_ray().nodes() if node["Alive"]]


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
            f"a worker was lost {RETRIES + 1} times with the same task ({reason}). Finished "
            "runs are kept. Fix the cause, such as a lack of memory, and resume."
        ) from None


def _variables() -> dict[str, str]:
    """Return the environment of this process that tasks need, with absolute paths."""
    found = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    for name in ("HEBAE_CACHE_DIR", "HEBAE_DATA_DIR"):
        if name in found:
            found[name] = str(Path(found[name]).expanduser().absolute())
    return found


@dataclass(frozen=True)
class _Call:
    """What a worker needs to call a function."""

    function: Callable[[Any, Report], Any]
    argument: Any
    number: int
    threads: int
    variables: dict[str, str]
    version: str = __version__


def _task(call: _Call, messages: Any) -> Any:
    import torch
    from ray.exceptions import RayError

    if call.version != __version__:
        raise HebaeError(
            f"the node {socket.gethostname()} has hebae {__version__}, but the command runs with "
            f"{call.version}; install the same version on all nodes."
        )
    os.environ.update(call.variables)
    torch.set_num_threads(call.threads)

    def report(message: Any) -> None:
        with suppress(RayError):  # whoever shows the progress may be gone
            # Not waited for: Ray gives the CPU of a task that waits to another task.
            messages.put.remote(call.number, message)

    return call.function(call.argument, report)
