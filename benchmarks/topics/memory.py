"""Peak memory, each case in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from contenders import SETTINGS, make_examples, with_pythae
from results import Curve, Effort, Panel, Result, Table
from rich.progress import track

TEXT = """\
Peak memory of a process (VmHWM on Linux) minus its memory after the imports, for 20 training steps
with the networks of Appendix B.1, or for one mutual information over N examples (N^2 pairs). The
examples are included. Each case runs in its own process. The weights with their gradients and
Adam's moments take {weights:.0f} MiB."""

STEPS = 20
BATCH_SIZES = (128, 512, 2048)
SIDES = (28, 56, 112)
EXAMPLES = (2_500, 5_000, 10_000)

BENCHMARKS = Path(__file__).parents[1]


def measure(effort: Effort) -> Result:
    """Start a process for each case."""
    cases = {"HEBAE": ("hebae", 128, 28), "plain PyTorch loop": ("bare", 128, 28)}
    if with_pythae.AVAILABLE:
        cases["pythae: VAE"] = ("pythae", 128, 28)
    examples = [100, 200] if effort.smoke else list(EXAMPLES)
    batch_sizes = [("hebae", m, 28) for m in effort.few(BATCH_SIZES)]
    sides = [("hebae", 128, side) for side in effort.few(SIDES)]
    information = [("information", n, 28) for n in examples]
    distinct = list(dict.fromkeys([*cases.values(), *batch_sizes, *sides, *information]))
    peaks = {case: peak(*case) for case in track(distinct, "memory", transient=True)}

    def curve(label: str, sizes: Sequence[int], wanted: Sequence[tuple[str, int, int]]) -> Curve:
        return Curve(label, sizes, [peaks[case] for case in wanted])

    return Result(
        title="Memory",
        text=TEXT.format(weights=_weights()),
        tables=[
            Table(
                "Training, batch 128, 28 x 28",
                ["", "MiB"],
                [[name, f"{peaks[case]:.0f}"] for name, case in cases.items()],
            )
        ],
        panels=[
            Panel(
                "Batch size",
                "examples m",
                "MiB",
                [curve("HEBAE training", [m for _, m, _ in batch_sizes], batch_sizes)],
            ),
            Panel(
                "Image size",
                "pixels a side",
                "MiB",
                [curve("HEBAE training", [side for *_, side in sides], sides)],
            ),
            Panel(
                "Mutual information",
                "examples N",
                "MiB",
                [curve("N x N pairs", examples, information)],
            ),
        ],
    )


def _weights() -> float:
    from hebae.building import build

    count = sum(p.numel() for p in build(SETTINGS, (1, 28, 28)).parameters())
    return count * 4 * 4 / 2**20


def peak(kind: str, size: int, side: int) -> float:
    """Run a case in a new process and return its peak MiB minus that of its imports."""
    code = f"from topics.memory import child; child({kind!r}, {size}, {side})"
    paths = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(run.stdout)


def child(kind: str, size: int, side: int) -> None:
    """Run a case and print its peak memory."""
    import lightning_fabric  # noqa: F401  # `hebae` imports it when training starts
    from contenders.bare import by_bare_loop
    from contenders.ours import by_hebae

    from hebae.building import build
    from hebae.evaluation import mutual_information

    if kind == "pythae":
        import pythae.models
        import pythae.trainers  # noqa: F401
    before = _resident("VmRSS")
    if kind == "information":
        model = build(SETTINGS, (1, side, side)).eval()
        mutual_information(model, make_examples(1, size, side))
    else:
        contenders = {"hebae": by_hebae("hebae", batch_size=size), "bare": by_bare_loop()}
        contender = with_pythae.by_pythae("vae") if kind == "pythae" else contenders[kind]
        contender(make_examples(STEPS, size, side), lambda: None)
    print(_resident("VmHWM") - before)


def _resident(field: str) -> float:
    """Memory of this process in MiB: now (VmRSS) or at its peak (VmHWM)."""
    # Not getrusage, whose maximum a process inherits from the one that started it.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}; memory is measured on Linux alone.")
