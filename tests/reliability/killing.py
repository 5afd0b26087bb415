"""Kill trainings at random and at aimed moments, resume them, and compare with a whole one.

A program of its own, `python killing.py FOLDER SEED KILLS`: it imports hebae once and forks a
process for each training, so that a training takes a fraction of a second. It prints one line of
JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from hebae.cli import main
from hebae.folders import LOCK_FILES
from hebae.training import session  # noqa: F401  imported before the forks, with torch

WORDS = ["train", "--data", "vectors.npy", "--epochs", "12", "--encoder-widths", "16"]
WORDS += ["--decoder-widths", "16", "--latent-dim", "3", "--batch-size", "32", "--device", "cpu"]
LEFT = "was left before one began in it"


def start(words: list[str], log: Path, kill_at: int | None = None) -> int:
    """Fork a process that runs the command line; it kills itself at a rename, if one is aimed at.

    Even numbers stand for before the rename, odd ones for after it.
    """
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        if kill_at is not None:
            replace, count = Path.replace, [0]

            def deadly(path: Path, target: Any) -> Path:
                if count[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                done = replace(path, target)
                if count[0] + 1 == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                count[0] += 2
                return done

            Path.replace = deadly  # type: ignore[method-assign, assignment]
        main(words)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(folder: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the weights, and the history without its times."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"]
    return (folder / "model.safetensors").read_bytes(), records


def campaign(folder: Path, seed: int, kills: int) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    rng = np.random.default_rng(seed)
    np.save("vectors.npy", np.random.default_rng(0).random((300, 12), dtype=np.float32))
    log = Path("log")
    begun = time.monotonic()
    assert wait(start([*WORDS, "--output", "whole"], log)) == 0, log.read_text()
    seconds, whole = time.monotonic() - begun, outcome(Path("whole"))
    done, problems, run = 0, [], 0
    while done < kills:
        output = Path(f"run{run}")
        run += 1
        left = int(rng.integers(1, 5))  # kills of this training
        resume = False
        while True:
            words = ["train", "--resume", "--output", str(output)]
            words = words if resume else [*WORDS, "--output", str(output)]
            if left and rng.random() < 0.4:
                status = wait(start(words, log, int(rng.integers(0, 24))))
            else:
                child = start(words, log)
                if left:
                    time.sleep(float(rng.uniform(0, 1.1 * seconds)))
                    os.kill(child, signal.SIGKILL)
                status = wait(child)
            killed = status == -signal.SIGKILL
            done, left = done + killed, left - killed
            text = " ".join(log.read_text().split())
            if "Traceback" in text:
                problems.append(f"{output}: {text[-500:]}")
                break
            if killed:
                resume = True
            elif status == 0 or "is finished after" in text:
                if outcome(output) != whole:
                    problems.append(f"{output} differs from the whole run")
                break
            elif LEFT in text or "there is no folder" in text:
                resume = False
            else:
                problems.append(f"{output}: status {status}: {text[-500:]}")
                break
        print(output, done, problems[-1:], file=sys.stderr, flush=True)
        names = {path.name for path in output.iterdir()} - {*LOCK_FILES}
        if extra := names - {path.name for path in Path("whole").iterdir()}:
            problems.append(f"{output} keeps {extra}")
    return {"kills": done, "runs": run, "problems": problems, "seconds_of_a_run": seconds}


if __name__ == "__main__":
    print(json.dumps(campaign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
