"""The numbers, tables and figure of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from hebae.config import Settings
from hebae.experiments.measurement import measured, value_of
from hebae.experiments.plan import Axis, as_text, parse_axes, plan_grid, prepare
from hebae.experiments.runner import summarise, train_runs
from hebae.experiments.sweep import MOST_LINES, draw, flat, tabulate_runs
from hebae.experiments.trained_run import RunResult
from hebae.report.lines import line_grid
from hebae.run_folder import RunFolder


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "wae"},
        {"method": "ae", "latent_dim": 1},
        {"early_stopping": 2, "epochs": 30, "learning_rate": 0.03},
    ],
    ids=str,
)
def test_the_numbers_are_those_of_the_weights_that_were_kept(
    vectors: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """They agree with the last epoch, or with the best one after early stopping."""
    flags = {"data": str(vectors), "batch_size": 32, "latent_dim": 3, "epochs": 2, "device": "cpu"}
    flags |= {"encoder_widths": (16,), "decoder_widths": (16,)} | changes
    planned = plan_grid(parse_axes(["seed=0"]), flags=flags)
    results = train_runs(planned, prepare(planned, tmp_path), command="test")
    assert results is not None
    found = summarise(results[0], progress=lambda message: None)
    history = RunFolder(found.path).history()
    kept = history[-1]["held_out"]
    if "early_stopping" in changes:
        assert len(history) < 30
        kept = max((record["held_out"] for record in history), key=lambda h: h["objective"])
    numbers = flat(found)
    assert numbers["split"] == "validation"
    assert numbers["objective"] == pytest.approx(kept.pop("objective"), rel=1e-5)
    assert numbers["reconstruction"] == pytest.approx(kept.pop("reconstruction"), rel=1e-5)
    for name, value in kept.items():
        assert numbers[f"penalty_{name}"] == pytest.approx(value, rel=1e-5)
    assert value_of(found.measurements, "training.seconds") == history[-1]["seconds"]


def swept(reconstruction: float | None, penalty: float = 1.0, **values: Any) -> RunResult:
    """Make a result by hand; of a run that diverged if it has no reconstruction."""
    settings = Settings(**values)
    term = {"hebae": "moments", "vae": "kl", "wae": "mmd"}[settings.method]
    label = "-".join(f"{name}={as_text(value)}" for name, value in values.items())
    result = RunResult(label, settings, values, path=Path(label), dataset=None)
    if reconstruction is None:
        return replace(result, reason="too far")
    measurements = [
        measured("objective", -reconstruction - penalty),
        measured("objective.reconstruction", reconstruction),
        measured(
            f"objective.penalty.{term}",
            penalty,
            words={"term": term},
            unit="" if term == "mmd" else "nats",
        ),
        measured("moments.median_sigma", 0.5),
        measured("training.seconds", 2.0),
    ]
    return replace(result, measurements=measurements)


def drawn(axes: list[Axis], runs: list[RunResult]) -> tuple[Figure, str]:
    drawing = draw(axes, runs)
    assert not isinstance(drawing, str)
    panels, _, caption = drawing
    return line_grid([[panel] for panel in panels]), caption


def test_tables_mark_what_diverged_and_give_the_reason() -> None:
    runs = [swept(80.25, method="vae", seed=0), swept(None, method="vae", seed=1)]
    markdown = tabulate_runs(runs, "title").to_markdown()
    assert "| vae, 0 | -81.25 | 80.2 |" in markdown
    assert "| vae, 1 | diverged | – |" in markdown
    assert "method=vae-seed=1: too far" in markdown


def axis(name: str, *values: Any) -> Axis:
    return Axis(name, values)


def test_a_line_is_the_median_over_seeds_in_a_band() -> None:
    axes = [axis("penalty_weight", 1.0, 0.01, 100.0), axis("seed", 0, 1, 2)]
    numbers = {0.01: (70, 90, 80), 1.0: (100, 101, 99), 100.0: (200, 220, 210)}
    runs = [
        swept(numbers[weight][seed], penalty_weight=weight, seed=seed)
        for weight in axes[0].values
        for seed in axes[1].values
    ]
    figure, caption = drawn(axes, runs)
    reconstruction, penalty = figure.axes
    (line,) = reconstruction.get_lines()
    assert line.get_xdata().tolist() == [0.01, 1, 100]
    assert line.get_ydata().tolist() == [80, 100, 210]
    (band,) = reconstruction.collections
    edges = band.get_paths()[0].vertices
    assert (edges[:, 1].min(), edges[:, 1].max()) == (70, 220)
    assert reconstruction.get_xscale() == "log"
    assert "moments" in penalty.get_title("left")
    assert "medians over the seeds" in caption


def test_methods_share_reconstruction_and_never_a_penalty() -> None:
    axes = [axis("method", "hebae", "vae", "wae"), axis("latent_dim", 2, 5, 10)]
    runs = [swept(80, method=m, latent_dim=k) for m in axes[0].values for k in axes[1].values]
    figure, _ = drawn(axes, runs)
    assert [len(panel.get_lines()) for panel in figure.axes] == [3, 1, 1, 1]
    colours = [line.get_color() for line in figure.axes[0].get_lines()]
    assert colours == ["#D55E00", "#0072B2", "#009E73"]
    assert figure.axes[3].get_ylabel() == "no unit"


def test_what_diverged_is_left_out_and_said() -> None:
    axes = [axis("learning_rate", 0.001, 0.01, 10.0)]
    runs = [swept(r, learning_rate=x) for r, x in zip((90, 80, None), axes[0].values, strict=True)]
    figure, caption = drawn(axes, runs)
    assert figure.axes[0].get_lines()[0].get_xdata().tolist() == [0.001, 0.01]
    assert "1 of 3 runs diverged" in caption


def test_why_there_is_no_figure() -> None:
    seeds, methods = axis("seed", 0, 1), axis("method", "vae")
    assert "only the seed" in draw([seeds], [swept(1, seed=seed) for seed in (0, 1)])
    assert "only the seed" in draw([methods], [swept(1, method="vae")])
    failed = [swept(None, latent_dim=k) for k in (2, 3)]
    assert "every run diverged" in draw([axis("latent_dim", 2, 3)], failed)
    sizes = range(1, MOST_LINES + 2)
    axes = [axis("latent_dim", *range(1, 18)), axis("batch_size", *sizes)]
    many = [swept(1, latent_dim=1, batch_size=size) for size in sizes]
    assert f"{MOST_LINES + 1} lines" in draw(axes, many)
