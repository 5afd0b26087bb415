"""TensorBoard, Weights & Biases and MLflow, by their own clients, without a network."""

import json
import sys
import time

import numpy as np
import pytest
from command_line import SMALL, refused, small

from hebae import VAE, HebaeError


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def history(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def scalars(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: {event.step: event.value for event in events.Scalars(name)}
        for name in events.Tags()["scalars"]
    }


def test_tensorboard_has_the_numbers_of_the_run_also_after_it_was_resumed(hebae, vectors, tmp_path):
    train = ("train", "--logger", "tensorboard", "--output", "run")
    result = hebae(*train, "--data", vectors, *SMALL)
    assert result.status == 0, result.err
    assert hebae("train", "--resume", "--epochs", 4, "--output", "run").status == 0
    found = scalars(tmp_path / "run" / "tensorboard")
    records = history(tmp_path / "run")
    assert len(records) == 4
    for part in ("train", "held_out"):
        for name in records[0][part]:
            values = {record["epoch"]: record[part][name] for record in records}
            assert found[f"{part}/{name}"] == pytest.approx(values, rel=1e-6)


def test_the_deprecated_flag_still_writes_tensorboard_files_and_names_the_new_one(
    hebae, vectors, tmp_path
):
    result = hebae("train", "--data", vectors, *SMALL, "--tensorboard", "--output", "run")
    assert "deprecated: use --logger tensorboard" in " ".join(result.err.split())
    assert scalars(tmp_path / "run" / "tensorboard")


def test_a_resumed_run_continues_its_run_of_wandb(hebae, vectors, tmp_path):
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    assert (
        hebae("train", "--data", vectors, *SMALL, "--logger", "wandb", "--output", run).status == 0
    )
    key = json.loads((run / "loggers.json").read_text())["wandb"]
    time.sleep(1)  # wandb names its folders by the second
    assert hebae("train", "--resume", "--epochs", 3, "--output", "run").status == 0
    assert json.loads((run / "loggers.json").read_text())["wandb"] == key
    files = sorted((run / "wandb").glob(f"offline-run-*/run-{key}.wandb"))
    assert len(files) == 2
    for file in files:
        content = file.read_bytes()
        assert b"held_out/reconstruction" in content and b"finished" in content


def test_each_run_of_a_sweep_is_a_run_of_wandb_in_one_group(hebae, vectors, tmp_path):
    pytest.importorskip("wandb")
    flags = (*small(epochs=1), "--logger", "wandb", "--output", "weights")
    result = hebae("sweep", "--data", vectors, "--grid", "seed=0,1", *flags)
    assert result.status == 0, result.err
    for seed in (0, 1):
        (file,) = tmp_path.glob(f"weights/runs/seed={seed}/wandb/offline-run-*/run-*.wandb")
        content = file.read_bytes()
        assert f"seed={seed}".encode() in content and b"weights" in content


@pytest.mark.long
def test_mlflow_keeps_the_runs_of_a_comparison_together_and_how_each_ended(
    hebae, vectors, tmp_path, monkeypatch
):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # as if it were not set
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    flags = ("--methods", "ae", "vae", *small(epochs=2), "--logger", "mlflow", "--output", "both")
    assert hebae("compare", "--data", vectors, *flags).status == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/both/mlflow.db")
    experiment = client.get_experiment_by_name("both")
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert {*runs} == {"ae-seed0", "vae-seed0"}
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.params["latent_dim"] == "3"
        logged = client.get_metric_history(run.info.run_id, "train/reconstruction")
        records = history(tmp_path / "both" / "runs" / name)
        assert [point.value for point in logged] == [r["train"]["reconstruction"] for r in records]

    # Its URL would take ? for a query and %41 for an A.
    alone = ("train", "--data", vectors, "--logger", "mlflow", "--output", "od?d %41 #/run")
    assert hebae(*alone, *small(learning_rate=1e30)).status == 2  # it diverges
    (database,) = tmp_path.glob("od?d %41 #/run/mlflow.db")
    database.rename(tmp_path / "plain.db")
    assert {path.name for path in tmp_path.iterdir()} >= {"od?d %41 #", "plain.db", "both"}
    assert not [*tmp_path.glob("od"), *tmp_path.glob("od%3F*")]
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/plain.db")
    experiment = client.get_experiment_by_name("hebae")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "diverged")


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_client_is_found_before_training(hebae, vectors, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    flags = ("--data", vectors, *SMALL, "--logger", name)
    refused(hebae("train", *flags, "--output", "run"), f"pip install 'hebae[{name}]'")
    assert not (tmp_path / "run").exists()
    with pytest.raises(HebaeError, match="pip install"):
        VAE(2, logger=name, epochs=1).fit(np.load(vectors))


def test_wandb_without_an_account_is_refused_before_training(hebae, vectors, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    result = hebae("train", "--data", vectors, *SMALL, "--logger", "wandb", "--output", "run")
    refused(result, "wandb login", "WANDB_MODE=offline")
    assert not (tmp_path / "run").exists()


def test_a_logger_that_fails_in_training_does_not_stop_it(hebae, vectors, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from hebae.training.loggers import TensorBoard

    def fail(*arguments):
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(TensorBoard, "write", fail)
    flags = (*SMALL, "--logger", "tensorboard", "--output", "run")
    with pytest.warns(UserWarning, match="the server is gone.*training continues") as warned:
        assert hebae("train", "--data", vectors, *flags).status == 0
    assert len([w for w in warned if "gone" in str(w.message)]) == 1
    assert len(history(tmp_path / "run")) == 2


def test_an_estimator_logs_too(vectors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X = np.load(vectors)
    VAE(2, logger="tensorboard", encoder_widths=(8,), decoder_widths=(8,), epochs=2).fit(X)
    (folder,) = (tmp_path / "runs").iterdir()
    assert {*scalars(folder)["train/reconstruction"]} == {1, 2}
