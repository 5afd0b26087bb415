"""The section "On a GPU" of the report, from ``gpu.json``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hebae.methods import METHODS

__all__ = ["gpu_section"]

NOT_MEASURED = """\
Not measured yet: no GPU was at hand. `python benchmarks/gpu.py` measures everything below in at
most 8 minutes on one card, writes `gpu.json`, and `python benchmarks/report.py` adds it here."""

TEXT = """\
Measured by `python benchmarks/gpu.py` ([how](../../../benchmarks/README.md)) on one {card}, driver
{driver}, PyTorch {torch}, at commit {commit} ({date}). B.1 and B.2 are the networks of Appendix B
of the paper: the fully connected one for MNIST with batch size 128, and the convolutional one for
64 x 64 faces, in bf16. Step times are those of `hebae train`, median over epochs, with the step
captured in a CUDA graph unless stated otherwise. Trainings use the presets, with one checkpoint at
the end; their times include building the model, held-out passes and writing files. "Share" is the
share of the card's measured bf16 rate that the network's own operations reach. The plain PyTorch
loop is the same network, loss and fused Adam without anything else."""

MISSED = """\
Why targets are missed: a captured step of B.1 is a sequence of small kernels (table above), each of
which takes some microseconds whatever it computes. 100 epochs of MNIST in 10 s allow 0.21 ms per
step. Fused Adam alone takes about 0.07 ms, because PyTorch's kernel gives each block 65,536 numbers
and so uses a third of the multiprocessors. Stacked models fill the card better. The first training
of a process, here HEBAE's on MNIST, also waits for CUDA's libraries to start. The convolutional
step at m = 100 spends more than a fifth of its time on Adam and batch normalisation, which are
bound by memory and not by matrix products; `torch.compile` fuses part of that."""

DIVERGENCE = """\
HEBAE and B.2: with batch normalisation by batch statistics, as in the preset `celeba`, HEBAE with
the paper's objective diverges at full width. On this card it stopped at step 9 on random pixels and
at step 165 on CelebA; on a CPU in float32 the largest log-scale reached 31 within nine steps. The
objective has no upper bound on the noise scale. If one example's scale becomes large, batch
normalisation in the decoder makes all other examples small, which lowers the loss, and the scale
grows until it overflows. Narrow networks did not show this. The CelebA models above were therefore
trained with `--batch-norm frozen`, all methods alike. The rate term (`--rate-weight 1`) bounds the
noise: at half width it was stable with batch statistics too, for the nine steps that we tried. The
few epochs that fit into the time are no result about CelebA; they show that training and evaluation
work on the card."""

VALUES = {
    "elbo": "ELBO",
    "reconstruction.squared_error": "squared error",
    "frechet.normal": "Frechet, N(0, I)",
    "frechet.mixture": "Frechet, mixture",
    "frechet.reconstructions": "Frechet, reconstructions",
}
"""Measurements of a trained model that are shown."""

Cases = dict[str, Any]
Rows = list[list[str]]


def gpu_section(folder: Path) -> list[str]:
    """Return the parts of the section: paragraphs and, as lists of rows, tables."""
    path = folder / "gpu.json"
    heading = "## On a GPU\n"
    if not path.is_file():
        return [heading, paragraph(NOT_MEASURED)]
    record = json.loads(path.read_text(encoding="utf-8"))
    parts = {name: part["cases"] for name, part in record["parts"].items()}
    measured = {
        name: {case: result for case, result in cases.items() if "error" not in result}
        for name, cases in parts.items()
    }
    ceilings, steps = measured.get("ceilings", {}), measured.get("steps", {})
    text = TEXT.format(**record)
    if record["tiny"]:
        text = f"**A trial at tiny size: the numbers mean nothing.** {text}"
    sections = [heading, paragraph(text)]
    sections += table(["", "measured", "target", ""], _targets(measured))
    sections += table(["What the card can do", ""], _ceilings(ceilings))
    sections += table(
        ["Training step", "ms", "examples per second", "share"],
        [
            _step(name, case)
            for name, case in sorted((steps | measured.get("compile", {})).items())
            if "ms_per_step" in case
        ],
    )
    sections += table(
        ["Stacked training", "ms per step of all", "s per epoch of all", "one by one / stacked"],
        [_stack(name, case, steps) for name, case in measured.get("grid", {}).items()],
    )
    sections += table(
        ["Captured step", "kernels", "ms of kernels"],
        [
            [
                _displayed(name.removesuffix(", kernels")),
                f"{case['kernels_per_step']:.0f}",
                number(case["device_ms_per_step"]),
            ]
            for name, case in steps.items()
            if name.startswith("B.1") and "kernels_per_step" in case
        ],
    )
    for name, title in (("mnist", "MNIST"), ("celeba", "CelebA, 64 x 64, subset")):
        columns = ["epochs", "s", "s in steps", *VALUES.values()]
        sections += table([title, *columns], _trainings(measured.get(name, {})))
    sections += [paragraph(MISSED), paragraph(DIVERGENCE)]
    tests = measured.get("tests", {}).get("tests/cuda")
    if tests:
        sections.append(f"Tests that compare CUDA with the CPU: {tests['summary'].strip('= ')}.\n")
    missing = [
        f"{_displayed(case)} ({_reason(result['error'])})"
        for cases in parts.values()
        for case, result in cases.items()
        if "error" in result
    ]
    if missing:
        sections.append("Not measured: " + "; ".join(missing) + ".\n")
    return [*sections, "All numbers: [gpu.json](gpu.json).\n"]


def _targets(measured: dict[str, Cases]) -> Rows:
    steps, rows = measured.get("steps", {}), []

    def add(what: str, value: float | None, unit: str, bound: float, at_least: bool) -> None:
        target = f"at {'least' if at_least else 'most'} {bound:g}{unit}"
        if value is None:
            rows.append([what, "not measured", target, ""])
            return
        met = value >= bound if at_least else value <= bound
        rows.append([what, f"{number(value)}{unit}", target, "met" if met else "**missed**"])

    for method in ("hebae", "vae", "wae"):
        training = measured.get("mnist", {}).get(f"{method}, training", {})
        name = METHODS[method].display_name
        add(f"MNIST, 100 epochs, {name}", training.get("wall"), " s", 10, False)
    grid = next((c for n, c in measured.get("grid", {}).items() if "hebae" in n), None)
    minutes = grid and grid["seconds_per_epoch"] / 64 * 360 * 100 / 60
    add("Figure 1a at full budget, from 64 stacked models", minutes, " min", 10, False)
    for m in (100, 512):
        name = f"B.2, m = {m}, "
        times = {n: c for n, c in steps.items() if n.startswith(name)}
        ours = [c for n, c in times.items() if n.removeprefix(name).startswith("vae, ")]
        ours = [c for c in ours if c.get("share_of_bf16_rate")]
        best = min(ours, key=lambda case: case["ms_per_step"], default=None)
        share = best and 100 * best["share_of_bf16_rate"]
        add(f"B.2, m = {m}: share of the card's bf16 rate", share, " %", 40, True)
        peer = times.get(f"{name}pythae's VAE")
        ratio = peer["ms_per_step"] / best["ms_per_step"] if peer and best else None
        add(f"B.2, m = {m}: step, pythae / hebae", ratio, " x", 3, True)
    evaluation = measured.get("mnist", {}).get("hebae, all metrics but AIS", {})
    add("Evaluation of one model, all metrics but AIS", evaluation.get("wall"), " s", 30, False)
    return rows


def _ceilings(cases: Cases) -> Rows:
    rows = [
        [f"{name.removeprefix('product, ')} matrix product", f"{case['tflops']:,.0f} TFLOP/s"]
        for name, case in cases.items()
        if "tflops" in case
    ]
    if "copy" in cases:
        rate = cases["copy"]["gb_per_second"]
        rows.append(["copy, bytes read and written", f"{rate:,.0f} GB/s"])
    if "launch" in cases:
        rows.append(["launch of a kernel", f"{cases['launch']['microseconds']:.1f} µs"])
    return rows


def _step(name: str, case: Cases) -> list[str]:
    m = int(name.split("m = ")[1].split(",")[0]) if "m = " in name else 128
    share = case.get("share_of_bf16_rate")
    rate = f"{1e3 * m / case['ms_per_step']:,.0f}"
    shown = f"{100 * share:.0f} %" if share else ""
    return [_displayed(name), number(case["ms_per_step"]), rate, shown]


def _stack(name: str, case: Cases, steps: Cases) -> list[str]:
    count, _, method = name.partition(" models, ")
    alone = steps.get(f"B.1, {method}, CUDA graph")
    gain = f"{int(count) * alone['ms_per_step'] / case['ms_per_step']:.1f} x" if alone else ""
    times = [number(case["ms_per_step"]), number(case["seconds_per_epoch"])]
    return [f"{_displayed(name)} (B.1)", *times, gain]


def _displayed(name: str) -> str:
    """Write the methods in the name of a case as people write them."""
    parts = name.split(", ")
    return ", ".join(METHODS[p].display_name if p in METHODS else p for p in parts)


def _reason(error: str) -> str:
    """Return the first statement of an error message."""
    message = error.strip().splitlines()[-1].split("Error: ", 1)[-1]
    return message.split(" (")[0].split("; ")[0].removesuffix(".")


def _trainings(cases: Cases) -> Rows:
    rows = []
    for name, case in cases.items():
        method, _, kind = name.partition(", ")
        if kind != "training":
            continue
        values = cases.get(f"{method}, evaluation", {}).get("values", {})
        shown = [number(values[key][0]) if key in values else "" for key in VALUES]
        wall = number(case["wall"]) if case["wall"] else ""
        times = [str(case["epochs"]), wall, number(case["seconds_in_steps"])]
        name, _, variant = method.partition(" ")
        rows.append([f"{METHODS[name].display_name} {variant}".strip(), *times, *shown])
    return rows


def number(value: float) -> str:
    """Write a number with about three digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def paragraph(text: str) -> str:
    """Wrap a paragraph at 120 columns."""
    return (
        textwrap.fill(
            " ".join(text.split()), width=120, break_long_words=False, break_on_hyphens=False
        )
        + "\n"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table as the one entry of a list; none without rows."""
    if not rows:
        return []
    first, *others = columns
    lines = [[first, *others], [":--", *["--:"] * len(others)], *rows]
    return ["\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"]
