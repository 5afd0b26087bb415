"""A sweep's axes, the runs that they make, the numbers of each, and the picture of all."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.experiments.measures import Measures
from hebae.experiments.sweep.axes import MOST_RUNS, Axis, as_text, parse
from hebae.experiments.sweep.figure import MOST_LINES, Drawing, draw
from hebae.experiments.sweep.plan import plan, prepare, shared
from hebae.experiments.sweep.results import SweptRun, collect
from hebae.experiments.sweep.tables import flat, tabulate, to_console
from hebae.report.tables import to_csv
from hebae.storage import RunFolder
from hebae.training.many import train_all

# ---- axes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("seed=0..4", "seed", (0, 1, 2, 3, 4)),
        ("seed=7..7", "seed", (7,)),
        ("seed=0..2,9", "seed", (0, 1, 2, 9)),
        ("penalty_weight=0.001, 1,1e3", "penalty_weight", (0.001, 1.0, 1000.0)),
        ("penalty_weight=0..2", "penalty_weight", (0.0, 1.0, 2.0)),
        ("penalty_weight=0,0.01..100:3", "penalty_weight", (0.0, 0.01, 1.0, 100.0)),
        ("latent-dim=2..64:6", "latent_dim", (2, 4, 8, 16, 32, 64)),
        ("--method=vae,wae", "method", ("vae", "wae")),
        ("encoder_widths=16,784x800", "encoder_widths", ((16,), (784, 800))),
        ("learning_rate=none,1e-3", "learning_rate", (None, 0.001)),
        ("drop_last=true,false", "drop_last", (True, False)),
        ("likelihood_scale=0.5,learned", "likelihood_scale", (0.5, "learned")),
    ],
)
def test_what_an_axis_says(text: str, name: str, values: tuple[Any, ...]) -> None:
    (axis,) = parse([text])
    assert axis == Axis(name, values)
    assert [type(value) for value in axis.values] == [type(value) for value in values]


@given(low=st.floats(1e-6, 1e3), ratio=st.floats(1.5, 1e6), count=st.integers(2, 12))
def test_a_spaced_axis_has_even_ratios(low: float, ratio: float, count: int) -> None:
    low, high = float(f"{low:.4g}"), float(f"{low * ratio:.4g}")
    (axis,) = parse([f"penalty_weight={low!r}..{high!r}:{count}"])
    assert len(axis.values) == count
    assert (axis.values[0], axis.values[-1]) == (low, high)
    steps = np.diff(np.log(axis.values))
    np.testing.assert_allclose(steps, math.log(high / low) / (count - 1), atol=2e-3)


@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_is_written(value: float) -> None:
    (axis,) = parse([f"penalty_weight={as_text(value)}"])
    assert axis.values == (value,)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "needs an axis"),
        (["seed"], "not NAME=VALUES"),
        (["=1"], "not NAME=VALUES"),
        (["seed="], "no value"),
        (["seed=1,,2"], "an empty value"),
        (["latent_dims=2"], "did you mean 'latent_dim'"),
        (["data=mnist"], "cannot be an axis.*one loaded data set"),
        (["validation_size=10,20"], "cannot be an axis"),
        (["devices=1,2"], "one device"),
        (["seed=1,1"], "the value 1 twice"),
        (["penalty_weight=0.1,1e-1"], "the value 0.1 twice"),
        (["latent_dim=2..3:6"], "twice"),
        (["seed=0..1", "seed=2..3"], "--grid seed is given twice"),
        (["seed=4..0"], r"write 0\.\.4"),
        (["penalty_weight=0.001,...,1000"], r"0\.001\.\.1000:7"),
        (["penalty_weight=0.1..1"], "is no range"),
        (["penalty_weight=0..1:5"], "from one above 0"),
        (["penalty_weight=1..10:1"], "2 or more"),
        (["penalty_weight=-1"], "penalty_weight in --grid is '-1'; it must be at least 0"),
        (["penalty_weight=nan"], "a finite number"),
        (["latent_dim=2.5"], "a whole number"),
        (["method=gan"], "'hebae', 'vae', 'wae', 'ae'"),
        (["encoder_widths=16xx"], "a whole number"),
        (["seed=0..9999999999999"], "at most 10,000 runs"),
        (["penalty_weight=1..2:99999999999"], "at most 10,000 runs"),
        ([f"seed=0..{MOST_RUNS - 1}", "latent_dim=2,3"], "20,000 combinations"),
    ],
)
def test_what_is_no_axis(texts: list[str], said: str) -> None:
    with pytest.raises(HebaeError, match=said):
        parse(texts)


# ---- plan ---------------------------------------------------------------------------------------


def test_runs_are_the_product_and_named_by_it() -> None:
    runs = plan(parse(["penalty_weight=0.001,1,1000", "seed=0..1"]))
    assert [run.label for run in runs] == [
        f"penalty_weight={weight}-seed={seed}"
        for weight in ("0.001", "1", "1000")
        for seed in (0, 1)
    ]
    assert [(r.settings.penalty_weight, r.settings.seed) for r in runs] == [
        (weight, seed) for weight in (0.001, 1.0, 1000.0) for seed in (0, 1)
    ]


def test_a_method_takes_its_own_values_of_the_preset_unless_an_axis_has_them() -> None:
    by_method = {r.label: r.settings for r in plan(parse(["method=vae,wae"]), "mnist-mini")}
    assert by_method["method=vae"].penalty_weight == 1
    assert by_method["method=wae"].penalty_weight == 10
    runs = plan(parse(["method=vae,wae", "penalty_weight=3,4"]), "mnist-mini")
    assert [run.settings.penalty_weight for run in runs] == [3, 4, 3, 4]


@pytest.mark.parametrize(
    ("axes", "flags", "said"),
    [
        (["latent_dim=2,5"], {"latent_dim": 5}, "leave out --latent-dim, or --grid latent_dim"),
        (["kernel=imq,rbf"], {"method": "vae"}, "--kernel belongs to wae"),
        (["method=vae,ae"], {"kernel": "rbf"}, "--kernel belongs to wae"),
        (["seed=0,1"], {"devices": 2}, "one device"),
        (["seed=0,1"], {"latent_dim": -1}, "--latent-dim is -1"),
        (["encoder_widths=" + "x".join(["100"] * 60)], {}, "fewer axes"),
    ],
)
def test_what_is_no_plan(axes: list[str], flags: dict[str, Any], said: str) -> None:
    with pytest.raises(HebaeError, match=said):
        plan(parse(axes), flags=flags)


def test_a_setting_of_one_method_is_enough() -> None:
    runs = plan(parse(["method=vae,wae", "kernel=imq,rbf"]))
    assert [run.settings.kernel for run in runs] == ["imq", "rbf"] * 2


def test_methods_with_unlike_data_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("methods: {wae: {data: mnist}}\n")
    with pytest.raises(HebaeError, match="unlike settings of data"):
        plan(parse(["method=vae,wae"]), config=config)


def test_a_run_that_could_not_be_trained_is_named(vectors: Path, tmp_path: Path) -> None:
    runs = plan(parse(["latent_dim=2,64"]), flags={"data": str(vectors), "batch_size": 32})
    with pytest.raises(HebaeError, match=r"the run latent_dim=64 cannot be trained: batch_size 32"):
        prepare(runs, tmp_path)


def test_shared_and_own_settings_make_the_whole() -> None:
    runs = plan(parse(["method=vae,wae", "seed=0,1"]), "mnist-mini")
    common, own = shared(run.settings for run in runs)
    for run, rest in zip(runs, own, strict=True):
        assert common | rest == run.settings.model_dump(mode="json")
        assert set(rest) == {"method", "seed", "penalty_weight"}


# ---- numbers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 training vectors of 12 numbers in [0, 1], 40 for validation."""
    path = tmp_path_factory.mktemp("data") / "vectors.npz"
    values = np.random.default_rng(0).random((240, 12), dtype=np.float32)
    np.savez(path, x_train=values[:200], validation=values[200:])
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "vae"},
        {"method": "wae"},
        {"method": "ae", "latent_dim": 1},
        {"early_stopping": 2, "epochs": 30, "learning_rate": 0.03},
    ],
    ids=str,
)
def test_the_numbers_are_of_the_weights_that_were_kept(
    vectors: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Those of the last epoch, or of the best where the training stopped early."""
    flags = {"data": str(vectors), "batch_size": 32, "latent_dim": 3, "epochs": 2, "device": "cpu"}
    flags |= {"encoder_widths": (16,), "decoder_widths": (16,)} | changes
    (run,) = plan(parse(["seed=0"]), flags=flags)
    (job,) = prepare([run], tmp_path)
    (result,) = train_all([job], command="test")
    found = collect(run.values, result).measures
    assert found is not None
    history = RunFolder(job.path).history()
    kept = history[-1]["held_out"]
    if "early_stopping" in changes:
        assert len(history) < 30
        kept = max((record["held_out"] for record in history), key=lambda h: h["objective"])
    objective, reconstruction = kept.pop("objective"), kept.pop("reconstruction")
    assert found.split == "validation"
    assert found.objective == pytest.approx(objective, rel=1e-5)
    assert found.reconstruction == pytest.approx(reconstruction, rel=1e-5)
    assert found.penalty == pytest.approx(kept, rel=1e-5)
    assert found.seconds == history[-1]["seconds"]


# ---- tables and the picture ---------------------------------------------------------------------


def swept(reconstruction: float | None, penalty: float = 1.0, **values: Any) -> SweptRun:
    """Make a run by hand; one that diverged if it has no reconstruction."""
    settings = Settings(**values)
    term = {"hebae": "moments", "vae": "kl", "wae": "mmd"}[settings.method]
    label = "-".join(f"{name}={as_text(value)}" for name, value in values.items())
    if reconstruction is None:
        return SweptRun(label, values, settings, "diverged", "too far", None)
    objective = -reconstruction - penalty
    numbers = (objective, reconstruction, {term: penalty}, None, 0.5, None, 2.0, 1.0, np.eye(2))
    return SweptRun(label, values, settings, "finished", "", Measures("test", *numbers))


def test_csv_has_a_row_a_run_in_full_precision() -> None:
    runs = [
        swept(1 / 3, method="vae", encoder_widths=(16, 8)),
        swept(None, method="hebae", encoder_widths=(16, 8)),
    ]
    first, second = csv.DictReader(to_csv([flat(run) for run in runs]).splitlines())
    assert float(first["reconstruction"]) == 1 / 3
    assert (first["method"], first["encoder_widths"], first["state"]) == ("vae", "16x8", "finished")
    assert (first["penalty_kl"], first["correlation"]) == ("1.0", "")
    assert (second["state"], second["reason"], second["reconstruction"]) == (
        "diverged",
        "too far",
        "",
    )


def test_tables_mark_what_diverged_and_give_the_reason() -> None:
    from rich.console import Console

    runs = [swept(80.25, seed=0), swept(None, seed=1)]
    markdown = tabulate(runs, "title").to_markdown()
    assert "| seed 0 | finished | -81.2 | 80.2 |" in markdown
    assert "| seed 1 | diverged |" in markdown
    assert "seed=1: too far" in markdown
    console = Console(width=80, record=True, file=StringIO())
    console.print(to_console(runs, 80))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["0", "-81.2", "80.2", "1.000", "0.5", "–", "2.0"] in lines
    assert ["1", "diverged", "–", "–", "–", "–", "–"] in lines


@pytest.mark.parametrize("width", [30, 50, 80])
def test_a_narrow_console_gets_fewer_columns_and_no_cut_numbers(width: int) -> None:
    from rich.console import Console

    console = Console(width=width, record=True, file=StringIO())
    runs = [swept(123.45, method=method, seed=0) for method in ("vae", "wae")]
    console.print(to_console(runs, width))
    (line,) = (x.split() for x in console.export_text().splitlines() if x.startswith(" vae"))
    every = ["vae", "0", "-124.5", "123.5", "1.000", "0.5", "–", "2.0"]
    assert line == every[: len(line)]
    assert (len(line) == len(every)) == (width == 80)


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
    drawing = draw(axes, runs)
    assert isinstance(drawing, Drawing)
    reconstruction, penalty = drawing.figure.axes
    (line,) = reconstruction.get_lines()
    assert line.get_xdata().tolist() == [0.01, 1, 100]
    assert line.get_ydata().tolist() == [80, 100, 210]
    (band,) = reconstruction.collections
    edges = band.get_paths()[0].vertices
    assert (edges[:, 1].min(), edges[:, 1].max()) == (70, 220)
    assert reconstruction.get_xscale() == "log"
    assert "moments" in penalty.get_title("left")
    assert "medians over the seeds" in drawing.caption


def test_methods_share_reconstruction_and_never_a_penalty() -> None:
    axes = [axis("method", "hebae", "vae", "wae"), axis("latent_dim", 2, 5, 10)]
    runs = [swept(80, method=m, latent_dim=k) for m in axes[0].values for k in axes[1].values]
    drawing = draw(axes, runs)
    assert isinstance(drawing, Drawing)
    assert [len(panel.get_lines()) for panel in drawing.figure.axes] == [3, 1, 1, 1]
    colours = [line.get_color() for line in drawing.figure.axes[0].get_lines()]
    assert colours == ["#D55E00", "#0072B2", "#009E73"]
    assert drawing.figure.axes[3].get_ylabel() == "no unit"


def test_what_diverged_is_left_out_and_said() -> None:
    axes = [axis("learning_rate", 0.001, 0.01, 10.0)]
    runs = [swept(r, learning_rate=x) for r, x in zip((90, 80, None), axes[0].values, strict=True)]
    drawing = draw(axes, runs)
    assert isinstance(drawing, Drawing)
    assert drawing.figure.axes[0].get_lines()[0].get_xdata().tolist() == [0.001, 0.01]
    assert "1 of 3 runs diverged" in drawing.caption


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ([axis("seed", 0, 1)], [swept(1, seed=s) for s in (0, 1)]), "no axis"),
        (lambda: ([axis("method", "vae")], [swept(1, method="vae")]), "no axis"),
        (
            lambda: ([axis("latent_dim", 2, 3)], [swept(None, latent_dim=k) for k in (2, 3)]),
            "every run diverged",
        ),
        (
            lambda: (
                [axis("latent_dim", *range(1, 18)), axis("batch_size", *range(1, 17))],
                [swept(1, latent_dim=1, batch_size=m) for m in range(1, 17)],
            ),
            f"{MOST_LINES + 1} lines",
        ),
    ],
)
def test_why_there_is_no_picture(
    make: Callable[[], tuple[list[Axis], list[SweptRun]]], said: str
) -> None:
    drawing = draw(*make())
    assert isinstance(drawing, str)
    assert said in drawing
