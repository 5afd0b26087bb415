"""What all tests share: shapes checked at run time, hypothesis profiles, oracles, batches."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
from collections import Counter, defaultdict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hypothesis
import jaxtyping
import numpy as np
import pytest
import torch
from command_line import SMALL, Command, Result

CHECKED = (
    "hebae.building",
    "hebae.model",
    "hebae.evaluation.hamiltonian",
    "hebae.gaussian",
    "hebae.kernels",
    "hebae.likelihoods",
    "hebae.networks",
    "hebae.objectives",
)
# Before hebae is imported. An int passes for a float, as PEP 484 has it.
jaxtyping.install_import_hook(
    CHECKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

# The same examples on every run in CI; new ones at every run elsewhere.
hypothesis.settings.register_profile(
    "hebae", deadline=None, max_examples=25, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("hebae")

# Tests send it, and nohup leaves it ignored, here and in the processes that they start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

DATA_DIR = os.environ.get("HEBAE_DATA_DIR")
ORACLES = Path(__file__).parent / "oracles"
TOOLS = Path(__file__).parents[1] / "tools"
ORACLE_SIZES = [(8, 2), (32, 5), (128, 20), (100, 64)]


@pytest.fixture
def count(record_property):
    """A function that adds numbers to a line of the summary at the end of the tests."""
    return lambda line, **numbers: record_property("counted", [line, numbers])


def pytest_terminal_summary(terminalreporter):
    """Print what the tests counted, added up over tests and processes."""
    lines = defaultdict(Counter)
    for report in (r for reports in terminalreporter.stats.values() for r in reports):
        for name, value in getattr(report, "user_properties", ()):
            if name == "counted" and report.when == "call":
                lines[value[0]].update(value[1])
    if lines:
        terminalreporter.section("counted")
    for line, numbers in lines.items():
        shown = ", ".join(f"{number:,} {name}" for name, number in numbers.items())
        terminalreporter.write_line(f"{line}: {shown}")


@pytest.fixture
def data_dir():
    """The folder of the original data files, which only some machines have."""
    if DATA_DIR is None:
        pytest.skip("HEBAE_DATA_DIR is not set, so there are no original data files")
    return Path(DATA_DIR)


class Oracle:
    """Inputs in one precision, and what independent code makes of them in float64."""

    def __init__(self, values, dtype):
        self.values = values
        self.dtype = dtype

    def __getitem__(self, name):
        return torch.tensor(self.values[name], dtype=self.dtype)

    def check(self, name, actual):
        """Hold a result to its value: 1e-10 an element in float64, 1e-4 by the norm in float32."""
        assert actual.dtype == self.dtype
        expected = torch.tensor(self.values[name], dtype=torch.float64)
        assert actual.shape == expected.shape
        error = (actual.detach().double() - expected).abs()
        size = expected.square().mean().sqrt()
        if self.dtype == torch.float64:
            assert (error <= 1e-10 * torch.maximum(expected.abs(), size)).all(), error.max()
        else:
            assert error.square().mean().sqrt() <= 1e-4 * size


@pytest.fixture(scope="session")
def oracle_cases():
    cases = json.loads((ORACLES / "objectives.json").read_text())["objectives"]
    return {(case["m"], case["k"]): case for case in cases}


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture(params=ORACLE_SIZES, ids=lambda size: f"m{size[0]}-k{size[1]}")
def oracle(request, oracle_cases, dtype):
    """Each case of ``oracles/objectives.json`` in both precisions."""
    return Oracle(oracle_cases[request.param], dtype)


@pytest.fixture(scope="session")
def batch():
    """Make (mean, log_scale, epsilon) as an encoder might: correlated codes, away from zero."""

    def make(m, k, seed=0, scale="vector", dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        mixing = torch.eye(k, dtype=torch.float64) + 0.3 * normal(k, k)
        mean = normal(m, k) @ mixing + normal(k)
        log_scale = 0.5 * normal(m, k if scale == "vector" else 1) - 0.5
        return tuple(x.to(dtype) for x in (mean, log_scale, normal(m, k)))

    return make


@pytest.fixture
def hebae(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    """Run the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    from hebae.cli import main

    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A file of 300 vectors of 12 numbers in [0, 1]."""
    path = tmp_path / "vectors.npy"
    np.save(path, np.random.default_rng(0).random((300, 12), dtype=np.float32))
    return path


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    """A file of 200 training and 40 test images of 16 x 16 grey levels."""
    generator = np.random.default_rng(0)
    train, test = (generator.integers(0, 256, (n, 1, 16, 16), dtype=np.uint8) for n in (200, 40))
    np.savez(tmp_path / "images.npz", x_train=train, x_test=test)
    return tmp_path / "images.npz"


@pytest.fixture
def trained(hebae: Command, vectors: Path, tmp_path: Path) -> Path:
    """The folder of a run on these vectors, named run."""
    assert hebae("train", "--data", vectors.name, *SMALL, "--output", "run").status == 0
    return tmp_path / "run"


@pytest.fixture
def serve():
    """Serve folders over HTTP on this machine; gives the address and the paths asked for."""
    servers = []

    def start(folder):
        asked = []

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self):
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def tool():
    """A function that returns the module tools/NAME.py."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"tools_{name}", TOOLS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # its data classes look it up
        spec.loader.exec_module(module)
        return module

    return load
