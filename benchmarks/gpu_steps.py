"""Training steps on a GPU: times, profiles, grids, other programs."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import numpy as np
import torch
from contenders import with_pythae
from contenders.bare import BareHEBAE, run_epoch
from gpu import read_record
from gpu_bench import METHODS, Bench, Result
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hebae.building import build
from hebae.config import Settings, resolve
from hebae.data import Dataset, load
from hebae.model import Autoencoder, to_floats
from hebae.run_folder import RunFolder
from hebae.training.many import Job, train_all
from hebae.training.session import prepare, run


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
