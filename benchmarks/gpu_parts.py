"""The parts of ``gpu.py``: each case is a function that returns numbers for the JSON file.

``python -m gpu_parts PART OUTPUT WORK OPTIONS`` measures one part; ``gpu.py`` calls it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import with_pythae
from contenders.bare import BareHEBAE, run_epoch
from gpu import RESTART, read_record, write_record
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hebae.building import build
from hebae.cli import main as hebae
from hebae.config import Settings, resolve
from hebae.data import Dataset, load
from hebae.model import Autoencoder, to_floats
from hebae.run_folder import RunFolder
from hebae.training.many import Job, train_all
from hebae.training.session import prepare, run

ROOT = Path(__file__).parents[1]
METHODS = ("hebae", "vae", "wae")
Result = dict[str, Any]


class Bench:
    """Runs cases and writes their results, or why they failed, to the JSON file."""

    def __init__(
        self,
        part: str,
        output: Path,
        work: Path,
        *,
        limit: float = 1e9,
        device: str = "cuda",
        quick: bool = False,
        tiny: bool = False,
        again: bool = False,
    ) -> None:
        self.part, self.output, self.work = part, output, work
        self.deadline = time.monotonic() + limit
        self.device = torch.device(device)
        self.quick, self.tiny, self.again = quick, tiny, again
        self.graph = "on" if self.device.type == "cuda" else "off"
        self.work.mkdir(parents=True, exist_ok=True)

    @property
    def left(self) -> float:
        """Seconds that are left for the part."""
        return self.deadline - time.monotonic()

    def case(self, name: str, measure: Callable[[], Result], seconds: float = 5) -> Result | None:
        """Measure a case that takes about `seconds`, unless the file has it already.

        Returns
        -------
        dict or None
            None if it failed or there is no time for it.
        """
        record = read_record(self.output)
        part = record["parts"].setdefault(self.part, {"cases": {}})
        known: Result | None = part["cases"].get(name)
        if known is not None and not known.get("late") and not ("error" in known and self.again):
            return None if "error" in known else known
        if not self.tiny and self.left < seconds:
            result: Result = {"error": f"no time: {self.left:.0f} s left", "late": True}
        else:
            part["running"] = name
            write_record(self.output, record)
            begin = time.perf_counter()
            try:
                result = measure()
            except Exception:
                result = {"error": "".join(traceback.format_exc().splitlines(keepends=True)[-12:])}
            result["case_seconds"] = round(time.perf_counter() - begin, 2)
            result["commit"] = record.get("commit", "")
        record = read_record(self.output)
        part = record["parts"][self.part]
        part.pop("running", None)
        part["cases"][name] = result
        write_record(self.output, record)
        print(f"{self.part}: {name}: {json.dumps(result)[:300]}", flush=True)
        if "error" in result and not self._is_usable():
            sys.exit(RESTART)
        return None if "error" in result else result

    def _is_usable(self) -> bool:
        try:
            torch.zeros(1, device=self.device).add_(1)
            self.wait()
        except RuntimeError:
            return False
        return True

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, function: Callable[[], object], rounds: int, warm_up: int = 3) -> float:
        """Median time of a call, measured by the device."""
        for _ in range(warm_up):
            function()
        self.wait()
        times = []
        for _ in range(rounds):
            if self.device.type == "cuda":
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                function()
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end))
            else:
                started = time.perf_counter()
                function()
                times.append(1e3 * (time.perf_counter() - started))
        return statistics.median(times)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Make a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            yield Path(name)

    def describe(self) -> None:
        """Record the card, versions and commit."""
        record = read_record(self.output)
        on_cuda = self.device.type == "cuda"
        record |= {
            "card": torch.cuda.get_device_name() if on_cuda else "none (CPU)",
            "driver": _driver() if on_cuda else "",
            "cuda": torch.version.cuda or "",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }
        record["tiny"] = self.tiny
        record.setdefault("commit", _commit())
        part = record["parts"].setdefault(self.part, {"cases": {}})
        part |= {name: record[name] for name in ("card", "commit", "date")}
        write_record(self.output, record)


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


# Part by part


def ceilings(bench: Bench) -> None:
    """Measure what the card can do: matrix products, copies, launches."""
    size = 256 if bench.tiny else 8192
    for name, dtype, mode in (
        ("bf16", torch.bfloat16, "high"),
        ("tf32", torch.float32, "high"),
        ("float32", torch.float32, "highest"),
        ("float64", torch.float64, "highest"),
    ):
        bench.case(f"product, {name}", lambda d=dtype, m=mode: _product_rate(bench, size, d, m))
    bench.case("copy", lambda: _copy_rate(bench, 2**20 if bench.tiny else 2**32))
    bench.case("launch", lambda: _launch_time(bench))


def _product_rate(bench: Bench, size: int, dtype: torch.dtype, mode: str) -> Result:
    torch.set_float32_matmul_precision(mode)
    a, b = torch.randn(2, size, size, device=bench.device, dtype=dtype)
    rounds = 10 if dtype != torch.float64 else 3
    milliseconds = bench.milliseconds(lambda: a @ b, rounds)
    return {"size": size, "tflops": 2e-9 * size**3 / milliseconds}


def _copy_rate(bench: Bench, size: int) -> Result:
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    milliseconds = bench.milliseconds(lambda: target.copy_(source), 10)
    return {"bytes": size, "gb_per_second": 2e-6 * size / milliseconds}


def _launch_time(bench: Bench, count: int = 1000) -> Result:
    x = torch.zeros(1, device=bench.device)

    def launch() -> None:
        for _ in range(count):
            x.add_(1)

    return {"microseconds": 1e3 * bench.milliseconds(launch, 5) / count}


def tests(bench: Bench) -> None:
    """Run the tests that compare CUDA with the CPU."""
    bench.case("tests/cuda", lambda: _run_tests(bench), seconds=30)


def _run_tests(bench: Bench) -> Result:
    command = [sys.executable, "-m", "pytest", "tests/cuda", "-q", "-p", "no:cacheprovider"]
    command += ["--durations=5", "--tb=short"]
    if bench.tiny:
        command += ["-k", "mmd"]
    environment = {"HEBAE_TEST_DEVICE": bench.device.type}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=None if bench.tiny else bench.left - 2,
    )
    lines = done.stdout.splitlines()
    print(done.stdout[-9000:], done.stderr[-2000:], flush=True)
    return {
        "status": done.returncode,
        "summary": lines[-1] if lines else "",
        "failed": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
        "output": "" if done.returncode == 0 else "\n".join(lines[-400:]),
    }


def _environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def steps(bench: Bench) -> None:
    """Time training steps: Appendix B.1 and, in bf16, Appendix B.2, and other loops."""
    torch.set_float32_matmul_precision("high")
    digits, faces = digits_of(bench), {m: faces_of(bench, m) for m in (100, 512)}

    def face_step(m: int, method: str, fastest: bool) -> None:
        name = f"B.2, m = {m}, {method}, {'fastest convolutions' if fastest else 'default'}"
        settings = celeba_settings(bench, method, batch_size=m)
        bench.case(name, lambda: _face_steps(bench, settings, faces[m], fastest), 8)

    def bare_face_step(m: int, how: str, half: bool) -> None:
        settings = celeba_settings(bench, "vae", batch_size=m)
        bench.case(
            f"B.2, m = {m}, plain PyTorch loop, {how}",
            lambda: _bare_face_steps(bench, settings, faces[m], half),
            8,
        )

    def peer(name: str, settings: Settings, dataset: Dataset, method: str) -> None:
        if with_pythae.AVAILABLE:
            bench.case(name, lambda: pythae_steps(bench, settings, dataset, method), 12)

    for method in METHODS:
        for graph in (bench.graph,) if bench.quick and method != "hebae" else ("off", bench.graph):
            name = f"B.1, {method}, {'CUDA graph' if graph == 'on' else 'step by step'}"
            settings = mnist_settings(
                bench, method, compile=graph, epochs=4 if graph == "on" else 2
            )
            bench.case(name, lambda s=settings: step_times(bench, s, digits))
    bench.case("B.1, plain PyTorch loop", lambda: _bare_steps(bench, digits))
    for fastest in (False, True):
        face_step(100, "vae", fastest)
    few = random_images(bench, 2 if bench.tiny else 60, 128, (1, 28, 28))
    for method in METHODS:
        settings = mnist_settings(bench, method)
        bench.case(f"B.1, {method}, kernels", lambda s=settings: profile(bench, s, few))
    vae_settings = celeba_settings(bench, "vae", batch_size=100)
    bench.case("B.2, m = 100, vae, kernels", lambda: profile(bench, vae_settings, faces[100]), 8)
    if bench.quick:
        return
    for fastest in (False, True):
        face_step(512, "vae", fastest)
    for m in faces:
        peer(
            f"B.2, m = {m}, pythae's VAE",
            celeba_settings(bench, "vae", batch_size=m),
            faces[m],
            "vae",
        )
        bare_face_step(m, "float32", half=False)
        bare_face_step(m, "bf16", half=True)
        face_step(m, "hebae", True)
    for method in ("vae", "wae"):
        peer(f"B.1, pythae's {method.upper()}", mnist_settings(bench, method), digits, method)


def compile_steps(bench: Bench) -> None:
    """Time steps of plain loops with `torch.compile`, which takes long to compile."""
    torch.set_float32_matmul_precision("high")
    settings = celeba_settings(bench, "vae", batch_size=512)
    bench.case(
        "B.2, m = 512, plain PyTorch loop, bf16, torch.compile",
        lambda: _bare_face_steps(bench, settings, faces_of(bench, 512), half=True, compiled=True),
        40,
    )
    bench.case(
        "B.1, plain PyTorch loop, torch.compile",
        lambda: _bare_steps(bench, digits_of(bench), compiled=True),
        35,
    )


def digits_of(bench: Bench) -> Dataset:
    """Make as many images as MNIST has, of its size."""
    return random_images(bench, 2 if bench.tiny else 469, 128, (1, 28, 28))


def faces_of(bench: Bench, m: int) -> Dataset:
    """Make images of CelebA's size for a few steps."""
    return random_images(bench, 2 if bench.tiny else 8, m, (3, 64, 64))


def random_images(bench: Bench, steps: int, m: int, shape: tuple[int, ...]) -> Dataset:
    """Make images of random pixels for `steps` steps of batch size m, without held-out examples."""
    if bench.tiny:
        m, shape = 32, (shape[0], 16, 16)
    values = np.random.default_rng(0).integers(0, 256, (steps * m, *shape), dtype=np.uint8)
    return load(values, validation_size=0)


def mnist_settings(bench: Bench, method: str, **changes: Any) -> Settings:
    """Return the settings of the preset mnist: Appendix B.1."""
    flags: dict[str, Any] = {"method": method, "epochs": 4, "checkpoint_every": 1000}
    flags |= {"device": bench.device.type, "compile": bench.graph}
    if bench.tiny:
        flags |= {"encoder_widths": (16,), "decoder_widths": (16,), "latent_dim": 3}
        flags |= {"batch_size": 32, "epochs": 2, "data": "mnist-mini"}
    return resolve("mnist", flags=flags | changes)


def celeba_settings(bench: Bench, method: str, **changes: Any) -> Settings:
    """Return the settings of the preset celeba, in bf16: Appendix B.2."""
    flags: dict[str, Any] = {"method": method, "epochs": 4, "checkpoint_every": 1000}
    flags |= {"device": bench.device.type, "compile": bench.graph, "precision": "bf16-mixed"}
    flags |= changes
    if bench.tiny:
        flags |= {"encoder_widths": (8, 8), "decoder_widths": (8, 8), "latent_dim": 3}
        flags |= {"batch_size": 32, "epochs": 2}
    return resolve("celeba", flags=flags)


def step_times(bench: Bench, settings: Settings, dataset: Dataset) -> Result:
    """Milliseconds per step of `hebae train`, for each epoch but the first."""
    with bench.folder() as folder:
        run(prepare(settings, dataset), folder / "run")
        history = RunFolder(folder / "run").history()
    times = [
        1e3 * (after["seconds"] - before["seconds"]) / (after["step"] - before["step"])
        for before, after in itertools.pairwise(history)
    ]
    return {"ms_per_step": statistics.median(times), "epochs": times}


def profile(bench: Bench, settings: Settings, dataset: Dataset) -> Result:
    """Count and time the kernels of a short training, per step."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if bench.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with bench.folder() as folder, profile(activities=activities) as profiler:
        steps = run(prepare(settings.replace(epochs=2), dataset), folder / "run").steps
        bench.wait()
    device_type = torch.autograd.DeviceType.CUDA
    kernels = [e for e in profiler.key_averages() if e.device_type == device_type]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    return {
        "steps": steps,
        "kernels_per_step": sum(event.count for event in kernels) / steps,
        "device_ms_per_step": sum(e.self_device_time_total for e in kernels) / 1e3 / steps,
        "longest": [
            [e.key[:90], round(e.self_device_time_total / steps, 2), round(e.count / steps, 2)]
            for e in kernels[:15]
        ],
        "longest_columns": ["kernel", "microseconds per step", "launches per step"],
    }


def _bare_steps(bench: Bench, dataset: Dataset, compiled: bool = False) -> Result:
    """Time the HEBAE step of Appendix B.1 in plain PyTorch."""
    examples = torch.from_numpy(np.array(dataset.train.values)).flatten(1).to(bench.device)
    if bench.tiny:  # the bare model is made for 784 numbers
        examples = examples[:, :196].repeat(1, 4)
    model = BareHEBAE(20).to(bench.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    step = _compiled(bench, model) if compiled else model
    times = []
    for _ in range(2 if bench.tiny else 4):
        bench.wait()
        begin = time.perf_counter()
        run_epoch(step, optimizer, examples, 32 if bench.tiny else 128)
        bench.wait()
        times.append(time.perf_counter() - begin)
    count = len(examples) / (32 if bench.tiny else 128)
    return {"ms_per_step": 1e3 * statistics.median(times[1:]) / count}


def _compiled(bench: Bench, model: torch.nn.Module) -> Any:
    return torch.compile(model, backend="eager" if bench.tiny else "inductor")


def _face_steps(bench: Bench, settings: Settings, dataset: Dataset, benchmark: bool) -> Result:
    """Time a convolutional step of `hebae train`; give its share of the bf16 rate."""
    torch.backends.cudnn.benchmark = benchmark
    try:
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        result = step_times(bench, settings, dataset)
    finally:
        torch.backends.cudnn.benchmark = False
    if bench.device.type == "cuda":
        result["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return result | _utilisation(bench, settings, dataset, result["ms_per_step"])


def _utilisation(bench: Bench, settings: Settings, dataset: Dataset, ms: float) -> Result:
    """Floating-point operations of a step, and the share of the measured bf16 rate."""
    model = build(settings, dataset.shape).to(bench.device)
    x, noise = _batch(model, settings.batch_size, bench.device)
    with FlopCounterMode(display=False) as counter:
        model(x, noise).loss.backward()
    operations = counter.get_total_flops()
    record = read_record(bench.output)
    rate = record["parts"].get("ceilings", {}).get("cases", {}).get("product, bf16", {})
    share = None
    if "tflops" in rate:
        share = operations / (1e-3 * ms) / (1e12 * rate["tflops"])
    return {"gflop_per_step": operations / 1e9, "share_of_bf16_rate": share}


def _batch(model: Autoencoder, m: int, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    x = torch.rand(m, *model.input_shape, device=device)
    shapes = model.noise_shapes(m).items()
    return x, {name: torch.randn(shape, device=device) for name, shape in shapes}


def _bare_face_steps(
    bench: Bench, settings: Settings, dataset: Dataset, half: bool, compiled: bool = False
) -> Result:
    """Time the same network, loss and fused Adam in a plain loop."""
    model = build(settings, dataset.shape).to(bench.device)
    if half:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    forward = _compiled(bench, model) if compiled else model
    examples = torch.from_numpy(np.array(dataset.train.values)).to(bench.device)

    def epoch() -> None:
        order = torch.randperm(len(examples), device=bench.device)
        for rows in order.split(settings.batch_size):
            x = to_floats(examples.index_select(0, rows))
            noise = {
                name: torch.randn(shape, device=bench.device)
                for name, shape in model.noise_shapes(len(x)).items()
            }
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=half):
                loss = forward(x, noise).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    count = len(examples) / settings.batch_size
    ms = bench.milliseconds(epoch, 1 if bench.tiny else 3, warm_up=1) / count
    return {"ms_per_step": ms} | _utilisation(bench, settings, dataset, ms)


def pythae_steps(bench: Bench, settings: Settings, dataset: Dataset, method: str) -> Result:
    """Time a step by pythae's own trainer on our network; its data loader has no workers."""
    from pythae.trainers.training_callbacks import TrainingCallback

    marks: list[tuple[int, float]] = []

    class AtSteps(TrainingCallback):  # type: ignore[misc]
        taken = 0

        def on_train_step_end(self, *arguments: Any, **named: Any) -> None:
            self.taken += 1
            if self.taken in (first, last):
                bench.wait()
                marks.append((self.taken, time.perf_counter()))

    values = to_floats(torch.from_numpy(np.array(dataset.train.values)))
    count = -(-len(values) // settings.batch_size)
    epochs = 2 if count < 20 else 1
    first, last = max(1, count * epochs // 3), count * epochs
    model = build(settings, dataset.shape)
    with with_pythae.make_trainer(
        with_pythae.make_peer(model, method),
        values,
        epochs=epochs,
        seed=0,
        callbacks=[AtSteps()],
        batch_size=settings.batch_size,
        no_cuda=bench.device.type == "cpu",
    ) as trainer:
        trainer.train()
    (start, begin), (end, done) = marks
    return {"ms_per_step": 1e3 * (done - begin) / (end - start)}


def grid(bench: Bench) -> None:
    """Train 64 models of Appendix B.1 that differ in seed and penalty weight, stacked."""
    count = 3 if bench.tiny else 64
    digits = digits_of(bench)
    for method in ("hebae",) if bench.quick else METHODS:
        name = f"{count} models, {method}"
        bench.case(name, lambda m=method: _grid(bench, m, count, digits), 12)


def _grid(bench: Bench, method: str, count: int, dataset: Dataset) -> Result:
    weights = np.geomspace(0.1, 10, 8)
    with bench.folder() as folder:
        jobs = []
        for number in range(count):
            settings = mnist_settings(
                bench, method, seed=number // 8, penalty_weight=float(weights[number % 8]), epochs=2
            )
            jobs.append(Job(str(number), prepare(settings, dataset), folder / str(number)))
        begin = time.perf_counter()
        results = train_all(jobs, command="python benchmarks/gpu.py")
        wall = time.perf_counter() - begin
        histories = [RunFolder(job.path).history() for job in jobs]
    states = {result.state for result in results}
    if states != {"finished"}:
        raise RuntimeError(f"not all finished: {states}")
    steps = histories[0][-1]["step"] - histories[0][0]["step"]
    seconds = sum(history[-1]["seconds"] - history[0]["seconds"] for history in histories)
    return {"seconds_per_epoch": seconds, "ms_per_step": 1e3 * seconds / steps, "wall": wall}


def mnist(bench: Bench) -> None:
    """Train on MNIST with the preset, then evaluate on the device."""
    dataset = load("mnist-mini" if bench.tiny else "mnist")
    for method in METHODS:
        settings = mnist_settings(bench, method, epochs=2 if bench.tiny else 100)
        folder = f"mnist-{method}"
        bench.case(
            f"{method}, training", lambda s=settings, f=folder: _train(bench, s, dataset, f), 20
        )
    for method in METHODS:
        bench.case(f"{method}, evaluation", lambda m=method: _evaluate(bench, f"mnist-{m}"), 15)
    if not bench.tiny:
        bench.case("hebae, all metrics but AIS", lambda: _evaluate(bench, "mnist-hebae", True), 20)


FACES: dict[str, dict[str, Any]] = {
    "hebae": {"method": "hebae"},
    "vae": {"method": "vae"},
    "wae": {"method": "wae"},
    "hebae with rate": {"method": "hebae", "rate_weight": 1.0},
}
"""Models that are trained on CelebA.

Batch normalisation is frozen for all of them. With statistics of the batch the paper's HEBAE
diverges at full width: nothing in its objective bounds the noise, and one example with large noise
makes all others small after normalisation.
"""


def celeba(bench: Bench) -> None:
    """Train on CelebA with the preset, for as many of its epochs as time allows, and evaluate."""
    source: dict[str, Any] = {"batch_norm": "frozen"}
    if bench.tiny:
        path = bench.work / "images.npy"
        np.save(path, random_images(bench, 4, 32, (3, 16, 16)).train.values)
        dataset = load(path, validation_size=32)
        source |= {"data": str(path), "validation_size": 32}
    else:
        dataset = load("celeba")
    source["epochs"] = 2 if bench.tiny else _affordable_epochs(bench, dataset)
    for name, changes in FACES.items():
        folder = f"celeba-{name.replace(' ', '-')}"
        settings = celeba_settings(bench, **(source | changes))
        bench.case(f"{name}, training", lambda s=settings, f=folder: _train(bench, s, dataset, f))
        bench.case(f"{name}, evaluation", lambda f=folder: _evaluate(bench, f))
    bench.case("pictures", lambda: _pictures(bench, dataset))


SECONDS_OF_EVALUATION = 12
"""Time reserved per model; the rest of the part's time is for training."""


def _affordable_epochs(bench: Bench, dataset: Dataset) -> int:
    """Return the number of epochs, at most 70, that fit for all models."""
    settings = celeba_settings(bench, "vae", epochs=3, batch_norm="frozen")
    known = bench.case("time of an epoch", lambda: _time_of_epoch(bench, settings, dataset))
    if known is None:
        raise RuntimeError("an epoch could not be timed")
    left = bench.left - len(FACES) * SECONDS_OF_EVALUATION
    return max(2, min(70, int(left / len(FACES) / known["seconds"])))


def _time_of_epoch(bench: Bench, settings: Settings, dataset: Dataset) -> Result:
    with bench.folder() as folder:
        # The first training of a process also starts the device's libraries.
        run(prepare(settings.replace(epochs=1), dataset), folder / "first")
        begin = time.perf_counter()
        outcome = run(prepare(settings, dataset), folder / "run")
        wall = time.perf_counter() - begin
        history = RunFolder(folder / "run").history()
    first, last = history[0], history[-1]
    steps = (last["seconds"] - first["seconds"]) / (len(history) - 1)
    held_out = (wall - outcome.seconds) / settings.epochs
    return {"seconds": steps + held_out, "steps": steps, "held_out_and_rest": held_out}


def _train(bench: Bench, settings: Settings, dataset: Dataset, name: str) -> Result:
    folder = bench.work / name
    if not RunFolder(folder).is_finished:
        begin = time.perf_counter()
        run(prepare(settings, dataset), folder, overwrite=True)
        bench.wait()
        wall: float | None = time.perf_counter() - begin
    else:
        wall = None
    history = RunFolder(folder).history()
    last = history[-1]
    return {
        "epochs": last["epoch"],
        "steps": last["step"],
        "wall": wall,
        "seconds_in_steps": last["seconds"],
        "train": last["train"],
        "held_out": last.get("held_out"),
        "curve": [record.get("held_out", record["train"])["objective"] for record in history],
    }


def _evaluate(bench: Bench, name: str, everything: bool = False) -> Result:
    """Run `hebae evaluate --device` for bounds, reconstructions and samples, or for all but AIS."""
    from hebae.experiments.metrics import METRICS

    metrics = ["reconstruction", "elbo", "frechet"]
    if everything:
        metrics = [metric for metric in METRICS if metric != "ais"]
    features = "classifier" if name.startswith("mnist") else "random"
    folder = bench.work / name
    arguments = ["evaluate", str(folder), "--device", bench.device.type, "--metrics", *metrics]
    arguments += ["--features", "pixels" if bench.tiny else features]
    if bench.tiny:
        arguments += ["--samples", "20", "--samplers", "normal", "--allow-rank-deficient"]
    elif not everything:
        arguments += ["--samplers", "normal", "mixture"]
    begin = time.perf_counter()
    _run_hebae(arguments)
    wall = time.perf_counter() - begin
    entries = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["metrics"]
    return {
        "wall": wall,
        "seconds": {key: entry[-1]["seconds"] for key, entry in entries.items()},
        "values": {
            one["id"]: [one["value"], one.get("standard_error")]
            for entry in entries.values()
            for one in entry[-1]["measurements"]
            if one.get("value") is not None
        },
    }


def _run_hebae(arguments: list[str]) -> None:
    """Run a command of `hebae` in this process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            hebae(arguments)
        except SystemExit as end:
            status = end.code
    if status:
        text = printed.getvalue()[-1500:]
        raise RuntimeError(f"hebae {' '.join(arguments)} ended with {status}: {text}")


def _pictures(bench: Bench, dataset: Dataset) -> Result:
    """Draw samples from N(0, I) and reconstructions of each method, beside the JSON file."""
    from PIL import Image

    from hebae import inference
    from hebae.storage import load_model

    (examples,) = (part for part in (dataset.test or dataset.validation,) if part is not None)
    rows = []
    folders = [bench.work / f"celeba-{name.replace(' ', '-')}" for name in FACES]
    finished = [folder for folder in folders if RunFolder(folder).is_finished]
    for folder in finished:
        model, _ = load_model(folder)
        model.to(bench.device)
        rows += [
            inference.sample(model, 16, seed=0),
            np.asarray(examples.values[:16]) / 255,
            inference.reconstruct(model, examples.values[:16]),
        ]
    tiles = (255 * np.clip(np.stack(rows), 0, 1)).round().astype(np.uint8)
    count, columns, _, height, width = tiles.shape
    mosaic = tiles.transpose(0, 3, 1, 4, 2).reshape(count * height, columns * width, -1)
    path = bench.output.with_suffix(".png")
    Image.fromarray(mosaic.squeeze()).save(path)
    names = ", ".join(folder.name for folder in finished)
    return {"rows": f"samples, test images and reconstructions of {names}"}


PARTS = {
    "ceilings": ceilings,
    "tests": tests,
    "steps": steps,
    "grid": grid,
    "mnist": mnist,
    "celeba": celeba,
    "compile": compile_steps,
}


def main() -> None:
    part, output, work, options = sys.argv[1:]
    bench = Bench(part, Path(output), Path(work), **json.loads(options))
    bench.describe()
    PARTS[part](bench)


if __name__ == "__main__":
    main()
