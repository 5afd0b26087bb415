"""The paper's released code, run from a checkout that the user names.

github.com/ramachandran-lab/HEBAE needs TensorFlow and TensorFlow Probability, which have no place
beside `hebae`: another interpreter runs `released_worker.py`, for as long as the benchmark lasts,
and takes its turns as it is told.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np

from contenders import SETTINGS, Contender, Mark
from hebae.errors import HebaeError

__all__ = ["by_released_code", "find_module"]


def find_module(checkout: Path) -> Path:
    """Find the folder that holds ``MNIST_HEBAE.py``: the checkout, or its ``MNIST`` folder."""
    for folder in (checkout, checkout / "MNIST"):
        if (folder / "MNIST_HEBAE.py").is_file():
            return folder
    raise HebaeError(
        f"--released is {checkout}, which holds no MNIST_HEBAE.py; name a checkout of the paper's "
        "released code."
    )


def by_released_code(checkout: Path, python: str) -> Contender:
    """Train the released HEBAE with its own loop; `python` is an interpreter with TensorFlow."""
    folder = find_module(checkout).resolve()
    command = [python, str(Path(__file__).with_name("released_worker.py")), str(folder)]
    command += [str(SETTINGS.latent_dim), str(SETTINGS.batch_size)]
    # The code is of Keras 2's time.
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
    except OSError as error:
        raise HebaeError(
            f"--released-python is {python}, which cannot be run: {error.strerror}."
        ) from None
    _expect(worker, "ready", folder)

    def stretch(examples: np.ndarray, mark: Mark) -> None:
        assert worker.stdin is not None
        steps = len(examples) // SETTINGS.batch_size
        print(steps, file=worker.stdin, flush=True)
        _expect(worker, "warm", folder)
        mark()
        print("go", file=worker.stdin, flush=True)
        _expect(worker, "done", folder)
        mark()

    return stretch


def _expect(worker: subprocess.Popen[str], word: str, folder: Path) -> None:
    assert worker.stdout is not None
    answer = worker.stdout.readline().strip()
    if answer != word:
        raise HebaeError(
            f"the released code in {folder} could not be run (see above); its interpreter, "
            "--released-python, needs tensorflow, tensorflow-probability and tf-keras."
        )
