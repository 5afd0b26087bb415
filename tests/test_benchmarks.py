"""The benchmark runs, and its yardstick does the same work; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from hebae.autoencoder import build

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(*flags):
    command = [
        sys.executable,
        str(BENCHMARKS / "step.py"),
        "--steps",
        "2",
        "--threads",
        "1",
        *flags,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_it_times_every_contender_and_writes_what_it_read(tmp_path):
    output = tmp_path / "results.json"
    printed = run("--rounds", "2", "--output", str(output))
    results = json.loads(output.read_text())
    assert "Ratios within a round" in printed
    assert {"bare", "hebae", "vae", "wae", "ae"} <= set(results["per_step"])
    for readings in results["per_step"].values():
        assert len(readings) == 2
        assert all(reading["wall"] > 0 for reading in readings)
    targets = {(r["name"], r["reference"]): r["target"] for r in results["ratios"]}
    assert targets["hebae", "bare"] == 1.03
    assert targets["hebae", "vae"] == 1.15
    assert {"machine", "threads", "versions", "commit", "command"} <= set(results)


def test_it_breaks_a_step_down_by_operator():
    assert "aten::addmm" in run("--profile")


def test_the_bare_loop_computes_what_hebae_does(monkeypatch):
    """Same weights, same batch, same noise: same loss and gradients, so the comparison is fair."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bare import BareHEBAE
    from contenders import SETTINGS

    model = build(SETTINGS, (1, 28, 28)).double()
    yardstick = BareHEBAE(SETTINGS.latent_dim).double()
    with torch.no_grad():
        for ours, its in zip(model.parameters(), yardstick.parameters(), strict=True):
            its.copy_(ours)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SETTINGS.batch_size, 1, 28, 28, generator=generator, dtype=torch.float64)
    epsilon = torch.randn(len(x), SETTINGS.latent_dim, generator=generator, dtype=torch.float64)
    expected = model(x, epsilon).loss
    actual = yardstick(x.flatten(1), epsilon)
    expected.backward()
    actual.backward()
    torch.testing.assert_close(actual, expected)
    for ours, its in zip(model.parameters(), yardstick.parameters(), strict=True):
        torch.testing.assert_close(its.grad, ours.grad)
