"""Install a wheel without extras into an empty environment and use it there.

    python tools/try_wheel.py dist/hebae-0.2.0-py3-none-any.whl

Everything runs in a new folder, so that nothing of the repository is on Python's path.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]

PROGRAM = """
import numpy as np
import hebae

assert "site-packages" in hebae.__file__, hebae.__file__
digits = hebae.data.load("mnist-mini")
model = hebae.HEBAE(latent_dim=4, epochs=1, random_state=0).fit(digits.train.values[:1000])
assert model.transform(digits.test.values[:10]).shape == (10, 4)
assert model.sample(4, sampler="normal").shape == (4, 1, 28, 28)
try:
    hebae.HEBAE(latent_dim=2, epochs=1, rate_weight=1, prior="flow").fit(np.random.rand(100, 5))
except hebae.HebaeError as error:
    assert "pip install 'hebae[flow]'" in str(error), error
else:
    raise AssertionError("the extra flow is installed")
"""
COMMANDS = (
    "--version",
    "data list",
    "train --data-dir . --preset mnist-mini --epochs 1 --output run",
    "show run",
    "sample run --sampler normal --count 4 --output samples.png",
    "encode run --output codes.csv",
)


def main(wheel: Path) -> None:
    """Raise `subprocess.CalledProcessError` if anything fails."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HEBAE", "PYTHON"))}

        def run(program: str, *arguments: str | Path) -> None:
            command = [str(binaries / program), *map(str, arguments)]
            subprocess.run(command, check=True, cwd=folder, env=environment)

        run("pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel.resolve())
        run("python", "-c", PROGRAM)
        for command in COMMANDS:
            run("hebae", *command.split())
        assert (folder / "samples.png").stat().st_size > 1000
        assert len((folder / "codes.csv").read_text().splitlines()) == 12_001
    print(f"{wheel.name}: installed without extras and used")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
