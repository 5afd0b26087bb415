"""Several processes of one training: who starts them, and what ends them.

``hebae train --devices N`` starts itself N times and watches over these processes (`supervise`).
torchrun, SLURM and whatever else Lightning Fabric knows start processes themselves.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import IO

from hebae.errors import HebaeError, PeerError
from hebae.training.interrupt import SIGNALS

SUPERVISOR = "HEBAE_SUPERVISOR"
"""Environment variable with the process id of the one that watches over this one."""
GRACE = 10.0
"""Seconds that the others have to end by themselves once one has failed, and again after SIGTERM.
"""


def is_supervised() -> bool:
    """Whether `supervise` has started this process."""
    return SUPERVISOR in os.environ


def rank() -> int:
    """Return the number of this process among those of a training, as its starter tells it."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return int(next((os.environ[name] for name in names if name in os.environ), 0))


def are_started(devices: int) -> bool:
    """Whether the processes have been started, by torchrun, SLURM or `supervise`.

    Raises
    ------
    HebaeError
        If their number is not the given one.
    """
    if "LOCAL_RANK" in os.environ:
        found = os.environ.get("LOCAL_WORLD_SIZE")
        if found is not None and int(found) != devices:
            raise HebaeError(
                f"torchrun starts {found} process(es) on each machine, but --devices is {devices}; "
                f"give --devices {found}, or --nproc-per-node {devices} to torchrun."
            )
        return True
    marks = ("SLURM_", "LSB_", "OMPI_", "PMI_")
    if devices == 1 or not any(name.startswith(marks) for name in os.environ):
        return False
    from lightning_fabric.plugins.environments.lsf import LSFEnvironment
    from lightning_fabric.plugins.environments.mpi import MPIEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    if not SLURMEnvironment.detect():
        return MPIEnvironment.detect() or LSFEnvironment.detect()
    found = os.environ.get("SLURM_NTASKS_PER_NODE")
    if found != str(devices):
        raise HebaeError(
            f"--devices is {devices}, but SLURM has --ntasks-per-node={found}; give both the same "
            "number."
        )
    return True


def machines(devices: int) -> int:
    """Return on how many machines the processes of a training have been started."""
    if "LOCAL_RANK" in os.environ:
        return max(1, int(os.environ.get("WORLD_SIZE", devices)) // devices)
    return int(os.environ.get("SLURM_NNODES", 1)) if devices > 1 else 1


def require_shareable(batch_size: int, devices: int) -> None:
    """Raise a HebaeError if there is no example of a batch for each process."""
    if batch_size < devices:
        raise HebaeError(
            f"batch_size {batch_size} cannot be shared by {devices} devices; use a larger batch or "
            "fewer devices."
        )


@contextmanager
def peers(count: int) -> Iterator[None]:
    """Raise a `PeerError` where the connection to the other processes is lost."""
    try:
        yield
    except (HebaeError, OSError, MemoryError) as error:
        error.of_one_process = count > 1  # type: ignore[union-attr]
        raise
    except RuntimeError as error:
        import torch

        words = ("gloo", "nccl", "connection", "socket")
        lost = isinstance(error, torch.distributed.DistError)
        lost = lost or any(word in str(error).lower() for word in words)
        if count == 1 or not lost:
            raise
        raise PeerError(
            "another process of the training has ended, so this one has ended too. The last "
            "checkpoint is kept: continue with --resume."
        ) from error


def follow_supervisor() -> None:
    """End, after a checkpoint, if the process that watches over this one has ended."""
    if not is_supervised():
        return
    parent = int(os.environ[SUPERVISOR])

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * GRACE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


def supervise(count: int, words: list[str], again: str, grace: float = GRACE) -> tuple[int, str]:
    """Run ``hebae`` in `count` processes that train together; wait for them.

    The processes are in a session of their own, so that a signal reaches each of them once, from
    here. If one fails, the others are ended.

    Parameters
    ----------
    count : int
    words : list of str
        The arguments of the command line.
    again : str
        Command that resumes the training.
    grace : float
        Seconds that the others have to end by themselves, and again after SIGTERM.

    Returns
    -------
    status : int
        Exit status for the command.
    message : str
        Message to print, unless a process has printed it.

    Raises
    ------
    HebaeError
        If the processes cannot be started.
    """
    environment = os.environ | {
        SUPERVISOR: str(os.getpid()),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(count),
    }
    # Each process would otherwise take all cores.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    received: list[int] = []  # signals, which `_wait` sends on
    processes: list[subprocess.Popen[bytes]] = []
    errors: list[IO[bytes] | None] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    with ExitStack() as stack:
        # As in `interrupt.deferred`. A signal that is handled here is not ignored by the processes.
        for kind in SIGNALS:
            if kind == signal.SIGINT or signal.getsignal(kind) is not signal.SIG_IGN:
                stack.callback(signal.signal, kind, signal.signal(kind, receive))
        try:
            while len(processes) < count and not received:
                file: IO[bytes] | None = None
                if processes:  # the first one prints
                    file = stack.enter_context(TemporaryFile())
                process = subprocess.Popen(
                    _command(words),
                    env=environment | {"LOCAL_RANK": str(len(processes))},
                    stdout=None if file is None else subprocess.DEVNULL,
                    stderr=file,
                    start_new_session=True,
                )
                processes.append(process)
                errors.append(file)
        except OSError as error:
            _kill(processes)
            raise HebaeError(
                f"--devices is {count}, but only {len(processes)} processes could be started "
                f"({error.strerror or error}). Use fewer --devices."
            ) from error
        if len(processes) < count:  # none of them trains before all are there
            _kill(processes)
            return 128 + received[0], ""
        ended = _wait(processes, received, grace)
        if received:
            # Ctrl-C aborts a process that is importing torch.
            stopped = {-received[0], 128 + received[0], -signal.SIGABRT}
            if stopped.intersection(ended.values()):
                return 128 + received[0], ""
        # The first process has printed what there is, unless it was killed or left alone.
        if ended[0] >= 0 and ended[0] != PeerError.status:
            return ended[0], ""
        for number, status in ended.items():
            if status < 0:
                name = signal.Signals(-status).name
                return 1, (
                    f"Error: process {number + 1} of {count} was ended by {name}, so the others "
                    f"were ended too. The last checkpoint is kept. Resume with: {again}"
                )
        for number, status in ended.items():
            if status not in (0, PeerError.status):
                file = errors[number]
                assert file is not None
                file.seek(0)
                return status, file.read().decode(errors="replace").strip()
    return 1, f"Error: the processes lost their connection. Resume with: {again}"


def _command(words: list[str]) -> list[str]:
    # Not from the present folder, where a file may have the name of a module.
    safely = [] if Path(__file__).parents[2] == Path.cwd() else ["-P"]
    return [sys.executable, *safely, "-m", "hebae", *words]


def _kill(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def _wait(
    processes: list[subprocess.Popen[bytes]], received: list[int], grace: float
) -> dict[int, int]:
    """Wait for all processes; end those that outlive a failed one, or a second Ctrl-C.

    Each signal that is received, also before, is sent to all.

    Returns the exit statuses in the order of ending. Processes that are ended here count as lost.
    """
    ended: dict[int, int] = {}
    deadline, ending, sent = None, 0, 0
    stopped = {0, *(128 + number for number in SIGNALS)}  # the others may still be saving
    while len(ended) < len(processes):
        while sent < len(received):
            for process in processes:
                process.send_signal(received[sent])
            sent += 1
        for number, process in enumerate(processes):
            if number not in ended and process.poll() is not None:
                killed = ending and process.returncode < 0
                ended[number] = PeerError.status if killed else process.returncode
        failed = not stopped.issuperset(ended.values()) or received.count(signal.SIGINT) > 1
        if deadline is None and failed:
            deadline = time.monotonic() + grace
        if deadline is not None and time.monotonic() > deadline:
            ending, deadline = ending + 1, time.monotonic() + grace
            for number, process in enumerate(processes):
                if number not in ended:
                    process.send_signal(signal.SIGTERM if ending == 1 else signal.SIGKILL)
        time.sleep(0.05)
    return ended


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])
