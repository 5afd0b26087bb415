"""What a trial decides, what it says, and what is refused before training."""

from __future__ import annotations

import pytest
import torch

from hebae.config import Settings
from hebae.data import Dataset
from hebae.errors import HebaeError
from hebae.training import checks, session, trial


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Let a trial come out as told; returns what was tried."""
    tried: list[tuple[Settings, Settings]] = []

    def set_times(first: float | Exception, second: float = 0.0) -> list[tuple[Settings, Settings]]:
        def in_turn(a: Settings, b: Settings, shape: tuple[int, ...]) -> tuple[float, float]:
            tried.append((a, b))
            if isinstance(first, Exception):
                raise first
            return first, second

        monkeypatch.setattr(trial, "_in_turn", in_turn)
        return tried

    return set_times


@pytest.mark.parametrize(
    ("seconds", "chosen", "words"),
    [
        ((0.0179, 0.0098), "bf16-mixed", "precision bf16-mixed: 9.8 ms a step against 17.9 ms"),
        ((0.010, 0.025), "32-true", "precision 32-true: 10 ms a step against 25 ms"),
        ((0.010, 0.0095), "32-true", "with bf16-mixed"),  # not worth the digits
    ],
)
def test_precision_auto_takes_bf16_where_it_is_clearly_faster(  # type: ignore[no-untyped-def]
    settings: Settings, measured, seconds: tuple[float, float], chosen: str, words: str
) -> None:
    tried = measured(*seconds)
    decided, notes = trial.decide(settings.replace(precision="auto"), (12,))
    assert decided.precision == chosen
    assert [(a.precision, b.precision) for a, b in tried] == [("32-true", "bf16-mixed")]
    assert len(notes) == 1
    assert words in notes[0]


def test_a_real_trial_is_shared_by_runs_that_cost_the_same_and_leaves_no_trace(
    settings: Settings, dataset: Dataset
) -> None:
    trial._in_turn.cache_clear()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    auto = settings.replace(precision="auto")
    first = session.prepare(auto, dataset)
    assert torch.equal(torch.rand(2), expected)
    second = session.prepare(auto.replace(seed=5, penalty_weight=3.0, epochs=9), dataset)
    assert trial._in_turn.cache_info().misses == 1
    assert first.settings.precision == second.settings.precision in ("32-true", "bf16-mixed")
    session.prepare(auto.replace(batch_size=16), dataset)
    assert trial._in_turn.cache_info().misses == 2


def test_without_auto_nothing_is_tried_and_compile_is_off_on_the_cpu(  # type: ignore[no-untyped-def]
    settings: Settings, measured
) -> None:
    tried = measured(1.0, 0.1)
    decided, notes = trial.decide(settings, (12,))
    assert (decided.precision, decided.compile, notes, tried) == ("32-true", "off", [], [])


def test_on_a_gpu_a_step_is_captured_where_that_works_and_pays(  # type: ignore[no-untyped-def]
    settings: Settings, measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "device_type", lambda settings: "cuda")
    measured(1.0, 0.5)
    assert trial.decide(settings, (12,))[0].compile == "on"
    measured(1.0, 0.95)
    assert trial.decide(settings, (12,))[0].compile == "off"
    measured(RuntimeError("operation not permitted when stream is capturing\nmore"))
    decided, notes = trial.decide(settings, (12,))
    assert decided.compile == "off"
    assert notes == [
        "compile off: the step cannot be captured (operation not permitted when stream is "
        "capturing)."
    ]
    with pytest.raises(HebaeError, match="--compile on cannot be done here"):
        trial.decide(settings.replace(compile="on"), (12,))


def test_compile_on_needs_a_compiler_and_says_so_before_training(
    settings: Settings, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*arguments: object, **named: object) -> object:
        raise RuntimeError("No working C++ compiler found")

    trial._compile_something.cache_clear()
    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(HebaeError, match=r"No working C\+\+ compiler found.*--compile off"):
        session.prepare(settings.replace(compile="on"), dataset)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"compile": "on", "devices": 2}, "--compile on is for one process"),
        ({"precision": "auto", "devices": 2}, "--precision auto is tried by one process"),
    ],
)
def test_what_one_process_decides_is_refused_for_several(
    settings: Settings, dataset: Dataset, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(HebaeError, match=words):
        session.prepare(settings.replace(**changes), dataset)


@pytest.mark.parametrize(
    ("where", "precision", "words"),
    [("mps", "32-true", "not for mps"), ("cuda", "16-mixed", "use --precision bf16-mixed")],
)
def test_compile_on_is_refused_where_it_cannot_be(
    settings: Settings,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    precision: str,
    words: str,
) -> None:
    monkeypatch.setattr(checks, "device_type", lambda settings: where)
    with pytest.raises(HebaeError, match=words):
        session.prepare(settings.replace(compile="on", precision=precision), dataset)


@pytest.mark.parametrize(("word", "meant"), [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_on_and_off_may_stand_in_yaml_without_quotes(tmp_path, word: str, meant: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "settings.yaml"
    path.write_text(f"compile: {word}\n")
    settings = Settings.read(path)
    assert settings.compile == meant
    path.write_text(settings.to_yaml())
    assert Settings.read(path) == settings


def test_a_network_that_cannot_be_built_is_refused_before_a_trial(
    dataset: Dataset, settings: Settings
) -> None:
    wrong = settings.replace(network="convolutional", precision="auto", encoder_widths=None)
    with pytest.raises(HebaeError, match="takes images"):
        session.prepare(wrong, dataset)
