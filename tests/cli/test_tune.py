"""``hebae tune``: trials, their criterion, failures, and how a study is resumed."""

import json
import shutil
import sys

import pytest
import yaml
from command_line import refused, small

optuna = pytest.importorskip("optuna")

from hebae.config import Settings  # noqa: E402
from hebae.experiments import search_space  # noqa: E402
from hebae.experiments import trials as one_trial  # noqa: E402


@pytest.fixture
def study(hebae, vectors):
    """Run hebae tune on small networks."""

    def run(*flags, **changes):
        options = small(epochs=2) if not changes else small(**{"epochs": 2} | changes)
        return hebae("tune", "--data", vectors, *options, "--output", "tuning", *flags)

    return run


def trials(folder):
    journal = optuna.storages.journal
    storage = journal.JournalStorage(journal.JournalFileBackend(str(folder / "journal.log")))
    return optuna.load_study(study_name="hebae", storage=storage).get_trials()


def test_the_best_trial_is_the_one_whose_criterion_is_best(hebae, study, tmp_path):
    flags = ("--method", "vae", "--space", "penalty_weight", "--space", "latent_dim=2..6")
    result = study(*flags, "--trials", 4)
    assert result.status == 0, result.err
    folder = tmp_path / "tuning"
    done = [t for t in trials(folder) if t.state.name == "COMPLETE"]
    assert len(done) == 4
    assert all(0.01 <= t.params["penalty_weight"] <= 100 for t in done)
    assert {t.params["latent_dim"] for t in done} <= {2, 3, 4, 5, 6}
    best = max(done, key=lambda trial: trial.value)
    settings = yaml.safe_load((folder / "best.yaml").read_text())
    assert settings["latent_dim"] == best.params["latent_dim"]
    assert settings["penalty_weight"] == pytest.approx(best.params["penalty_weight"], rel=1e-3)

    run = folder / "runs" / f"trial-{best.number:03}"
    assert hebae("evaluate", run, "--metrics", "elbo", "--split", "validation").status == 0
    stored = json.loads((run / "evaluation.json").read_text())["metrics"]["elbo"][0]
    (elbo,) = [m["value"] for m in stored["measurements"] if m["id"] == "elbo"]
    assert best.value == pytest.approx(elbo, rel=1e-6)  # the bound with weight 1, not the loss

    again = hebae("train", "--config", "tuning/best.yaml", "--output", "run")
    assert again.status == 0, again.err
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 2
    assert f"{best.value:.5g}" in (folder / "tune.csv").read_text()
    page = (folder / "report.html").read_text()
    assert "held-out ELBO" in page and "penalty_weight" in page and "0.01..100" in page


def test_a_trial_that_diverges_is_marked_and_the_study_goes_on(study, tmp_path):
    space = ("--space", "learning_rate=1e30,1e-3", "--space", "latent_dim=2,3")
    result = study("--method", "vae", *space, "--trials", 6)
    assert result.status == 0, result.err
    found = trials(tmp_path / "tuning")
    failed = [t for t in found if t.state.name == "FAIL"]
    assert len(failed) == 2 and len(found) == 4  # each combination once
    for trial in found:
        assert (trial in failed) == (trial.params["learning_rate"] == "1e+30")
    for trial in failed:
        assert "not a finite number" in trial.user_attrs["reason"]
        assert (tmp_path / "tuning" / "runs" / f"trial-{trial.number:03}" / "diverged.txt").exists()
    best = yaml.safe_load((tmp_path / "tuning" / "best.yaml").read_text())
    assert best["learning_rate"] == 1e-3


def test_a_study_is_resumed_in_the_trial_that_was_interrupted(study, tmp_path, monkeypatch):
    flags = ("--method", "vae", "--space", "penalty_weight=0.1..10", "--trials")
    run, calls = one_trial.session.run, []

    def interrupted(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == 4:  # in the second stage of the second trial
            raise KeyboardInterrupt
        return run(*arguments, **keywords)

    monkeypatch.setattr(one_trial.session, "run", interrupted)
    assert study(*flags, 3).status == 130
    before = trials(tmp_path / "tuning")
    assert [t.state.name for t in before] == ["COMPLETE", "RUNNING"]
    refused(study(*flags, 3), "--resume continues it")
    other = ("--method", "vae", "--space", "penalty_weight=0.1..20", "--trials", 3)
    refused(study(*other, "--resume"), "whose space is", "0.1..20")
    refused(study(*flags, 3, "--resume", epochs=3), "epochs 2", "3 was requested")
    assert study(*flags, 3, "--resume").status == 0
    after = trials(tmp_path / "tuning")
    assert [t.state.name for t in after] == ["COMPLETE"] * 3
    assert [t.params for t in after[:2]] == [t.params for t in before]
    assert len(calls) == 7  # two stages for each trial, and the one that was interrupted again
    assert study(*flags, 4, "--resume").status == 0
    assert len(trials(tmp_path / "tuning")) == 4


def test_trials_below_the_median_are_pruned(study, tmp_path, monkeypatch):
    values = iter([5.0, 6.0] * 5 + [1.0])
    monkeypatch.setattr(one_trial, "_measure", lambda *arguments: next(values))
    result = study("--method", "vae", "--space", "penalty_weight", "--trials", 6)
    assert result.status == 0, result.err
    assert [t.state.name for t in trials(tmp_path / "tuning")] == ["COMPLETE"] * 5 + ["PRUNED"]
    assert "1, pruned" in result.out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--space", "penalty_wieght"), ("penalty_wieght", "penalty_weight")),
        (("--space", "seed=0,1"), ("seed", "chance")),
        (("--space", "data=a,b"), ("data", "same data")),
        (("--space", "method"), ("one study per method",)),
        (("--space", "latent_dim=5..2"), ("LOW must be below HIGH",)),
        (("--space", "latent_dim=2"), ("two values",)),
        (
            ("--space", "batch_size=60,3"),
            ("--space batch_size", "cannot be trained: batch_size is 3"),
        ),
        (("--space", "encoder_widths=8,2"), ("last of --encoder-widths is 2",)),
        (("--space", "rate_weight"), ("rate_weight=LOW..HIGH",)),
        (("--space", "kernel"), ("hebae has no such setting",)),
        (("--space", "likelihood"), ("between likelihoods", "frechet")),
        (("--space", "latent_dim", "--space", "latent-dim=2,3"), ("twice",)),
        (("--method", "ae", "--objective", "elbo"), ("deterministic", "iwae")),
        (("--validation-size", 1), ("validation-size 2",)),
        (("--trials", 0), ("--trials", "at least 1")),
        (("--timeout", 0), ("--timeout", "above 0")),
    ],
)
def test_what_cannot_be_tuned_is_refused(study, tmp_path, flags, parts):
    refused(study(*flags), *parts)
    assert not (tmp_path / "tuning").exists()


def test_only_the_values_that_trials_have_must_be_possible(study):
    # 20 latent dimensions, the default, would need a larger batch; no trial has them.
    options = {"latent_dim": 20, "batch_size": 12}
    result = study("--space", "latent_dim=2,3", "--dry-run", **options)
    assert result.status == 0, result.err
    refused(study("--space", "latent_dim=40,2", "--dry-run", **options), "latent_dim 40")


def test_each_combination_of_a_small_space_is_tried_once(study, tmp_path):
    space = ("--method", "wae", "--space", "kernel", "--space", "latent_dim=2..3")
    assert study(*space, "--trials", 2, epochs=1).status == 0
    assert study(*space, "--trials", 10, "--resume", epochs=1).status == 0
    done = trials(tmp_path / "tuning")
    assert {trial.state.name for trial in done} <= {"COMPLETE", "PRUNED"}
    tried = [tuple(sorted(trial.params.items())) for trial in done]
    assert len(set(tried)) == 4 and len(tried) <= 5  # the first two may be equal


@pytest.mark.parametrize("journal", ['{"garbage', '{"op_code": 77}\n'])
def test_a_damaged_journal_is_named(study, tmp_path, journal):
    flags = ("--method", "ae", "--space", "latent_dim=2,3", "--trials", 1)
    assert study(*flags, epochs=1).status == 0
    (tmp_path / "tuning" / "journal.log").write_text(journal)
    refused(study(*flags, "--resume", epochs=1), "journal.log", "--overwrite")


def altered(lines, name, value):
    """The journal with another value for what one of its lines says."""
    found = [json.loads(line) for line in lines]
    which = next(line for line in reversed(found) if name in line)
    which[name] = value
    return "".join(f"{json.dumps(line)}\n" for line in found)


def test_a_journal_whose_values_are_none_is_refused(study, tmp_path):
    flags = ("--space", "learning_rate=0.001,0.002", "--trials", 2)
    assert study(*flags).status == 0
    journal = tmp_path / "tuning" / "journal.log"
    lines = journal.read_text().splitlines()
    without = [line for line in lines if '"intermediate_value":' not in line]
    for text in (
        altered(lines, "values", ["abc"]),
        altered(lines, "values", None),
        altered(lines, "intermediate_value", "abc"),
        altered(lines, "intermediate_value", float("nan")),
        "".join(f"{line}\n" for line in without),
    ):
        journal.write_text(text)
        refused(study("--resume", *flags), "journal.log", "altered or truncated")
    journal.write_text("".join(f"{line}\n" for line in lines))
    assert study("--resume", *flags).status == 0


def test_a_full_disk_ends_the_study_and_no_trial(study, tmp_path, monkeypatch):
    flags = ("--space", "learning_rate=0.001,0.002", "--trials", 2)
    usage = shutil.disk_usage
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=100))
        refused(study(*flags), "disk", "free some space")
    assert [trial.state.name for trial in trials(tmp_path / "tuning")] == ["RUNNING", "WAITING"]
    result = study("--resume", *flags)
    assert result.status == 0, result.err
    assert all(trial.state.name == "COMPLETE" for trial in trials(tmp_path / "tuning"))


def test_optuna_is_named_where_it_is_missing(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused(study("--trials", 1), "pip install 'hebae[tune]'")


def test_the_criterion_follows_from_the_method(study):
    for method, more, wanted in (
        ("vae", (), "elbo"),
        ("hebae", (), "iwae"),
        ("hebae", ("--rate-weight", 1), "elbo"),
        ("wae", (), "iwae"),
    ):
        result = study("--method", method, *more, "--dry-run")
        assert f"objective: {wanted}" in result.out
        assert "penalty_weight: " in result.out and "learning_rate: " in result.out


def test_default_ranges_follow_from_type_value_and_limits():
    settings = Settings(
        method="vae", latent_dim=20, learning_rate=1e-3, encoder_widths=(64, 32), batch_size=16
    )

    def of(name):
        (dimension,) = search_space.parse_space([name], settings)
        return dimension

    assert (of("penalty_weight").low, of("penalty_weight").high) == (0.01, 100)
    assert (of("latent_dim").low, of("latent_dim").high) == (5, 80)
    assert of("encoder_widths").choices == ((32, 16), (64, 32), (128, 64))
    assert of("adam_beta1").high < 1
    assert of("reset_optimizer").choices == (False, True)
    assert of("schedule").choices == ("constant", "exponential", "steps")
    assert of("batch_size").whole and of("batch_size").text == "4..64"
    hebae = Settings(method="hebae", latent_dim=10, batch_size=16)
    (latent,) = search_space.parse_space(["latent_dim"], hebae)
    assert latent.high == 15  # HEBAE needs more examples per batch than dimensions
    (batch,) = search_space.parse_space(["batch_size"], hebae)
    assert batch.low == 11
    latent, batch = search_space.parse_space(["latent_dim", "batch_size"], hebae)
    assert (latent.high, batch.low) == (15, 16)
    latent, batch = search_space.parse_space(["latent_dim=4..12", "batch_size"], hebae)
    assert (latent.high, batch.low) == (12, 13)
    narrow = hebae.replace(encoder_widths=(64, 16), batch_size=64)
    widths, latent = search_space.parse_space(["encoder_widths", "latent_dim"], narrow)
    assert (widths.choices, latent.high) == (((64, 16), (128, 32)), 16)


@pytest.mark.long
def test_trials_run_on_ray(study, tmp_path):
    pytest.importorskip("ray")
    space = ("--space", "learning_rate=1e-3,1e30", "--space", "penalty_weight")
    result = study("--method", "vae", *space, "--trials", 5, "--ray")
    assert result.status == 0, result.err
    found = trials(tmp_path / "tuning")
    assert len(found) == 5
    for trial in found:
        diverges = trial.params["learning_rate"] == "1e+30"
        assert trial.state.name == ("FAIL" if diverges else "COMPLETE")
        run = tmp_path / "tuning" / "runs" / f"trial-{trial.number:03}"
        assert (run / ("diverged.txt" if diverges else "model.safetensors")).exists()
    done = [trial for trial in found if trial.state.name == "COMPLETE"]
    best = yaml.safe_load((tmp_path / "tuning" / "best.yaml").read_text())
    wanted = max(done, key=lambda trial: trial.value).params["penalty_weight"]
    assert best["penalty_weight"] == pytest.approx(wanted, rel=1e-3)
