"""``hebae evaluate`` as its users meet it: on small runs, through the real command line."""

import hashlib
import html
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import in_a_process, refused, small

from hebae.cli import main

FLAGS = small(encoder_widths=24, decoder_widths=24, epochs=3)
TINY = small(encoder_widths=8, decoder_widths=8, epochs=1)
QUICK = {"samples": 100, "iwae_samples": 20, "iwae_examples": 10}
QUICK |= {"ais_temperatures": 8, "ais_chains": 2, "ais_examples": 10}
QUICK_FLAGS = [word for n, v in QUICK.items() for word in (f"--{n.replace('_', '-')}", v)]
RUNS = {"hebae": 0, "vae": 0, "vae-again": 1, "ae": 0}


def blobs(count, seed):
    """8 x 8 images of a bright spot in one of three places, which is the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    rows, columns = np.mgrid[0:8, 0:8]
    centre = 1.5 + 2 * labels + rng.normal(0, 0.3, count)
    distance = (rows - centre[:, None, None]) ** 2 + (columns - 3.5) ** 2
    values = 255 * np.exp(-distance / 4) * rng.uniform(0.7, 1, (count, 1, 1))
    return values.astype(np.uint8)[:, None], labels.astype(np.uint8)


def run_quietly(*words):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    assert stopped.value.code == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data and four finished runs of them."""
    folder = tmp_path_factory.mktemp("trained")
    (x, y), (x_test, y_test) = blobs(400, 0), blobs(160, 1)
    np.savez(folder / "blobs.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    for name, seed in RUNS.items():
        words = ["train", "--data", folder / "blobs.npz", *FLAGS, "--method", name.split("-")[0]]
        run_quietly(*words, "--seed", seed, "--output", folder / name)
    return folder


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """A folder with two of these runs, and all metrics of them in out."""
    folder = tmp_path_factory.mktemp("evaluated")
    runs = [shutil.copytree(trained / name, folder / name) for name in ("hebae", "ae")]
    flags = (*QUICK_FLAGS, "--features", "pixels", "--extrapolate", "--output", folder / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEBAE_CACHE_DIR", str(folder / "cache"))
        run_quietly("evaluate", *runs, "--metrics", "all", *flags)
    return folder


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of these runs, and a cache, of the test's own."""
    for name in RUNS:
        shutil.copytree(trained / name, tmp_path / name)
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def stored(run):
    return json.loads((run / "evaluation.json").read_text())


def measurements(run):
    """The latest of each id."""
    entries = [entry for entries in stored(run)["metrics"].values() for entry in entries]
    return {m["id"]: m for entry in entries for m in entry["measurements"]}


def test_all_metrics_are_stored_with_each_run(evaluated):
    """Numbers with errors, counts and provenance, or the reason why there is none; figures."""
    for method in ("hebae", "ae"):
        for (entry,) in stored(evaluated / method)["metrics"].values():
            assert entry["seconds"] >= 0
            assert entry["version"] >= 1
            assert entry["provenance"]["command"].startswith("hebae")
            assert entry["settings"]["evaluation_seed"] == 0
        found = measurements(evaluated / method)
        bound = found["ais"]
        assert bound["standard_error"] > 0
        assert bound["counts"] == {"examples": 10, "temperatures": 8, "chains": 2}
        for sampler in ("normal", "fitted-normal", "mixture"):
            assert found[f"frechet.{sampler}"]["value"] >= 0
            assert found[f"frechet.{sampler}"]["counts"] == {"samples": 100, "reference": 100}
            assert found[f"copying.{sampler}"]["value"] > 0
            assert found[f"frechet_extrapolated.{sampler}"]["standard_error"] > 0
        assert found["labels.logistic_regression"]["value"] > 0.5
        assert all(np.isfinite(m["value"]) for m in found.values() if m["value"] is not None)
        figures = {path.name for path in (evaluated / method / "figures").iterdir()}
        assert figures >= {"annealing.png", "code-histograms.png", "dimensions.png"}
    assert measurements(evaluated / "ae")["elbo"]["value"] is None
    assert "deterministic" in measurements(evaluated / "ae")["elbo"]["undefined"]
    assert measurements(evaluated / "hebae")["elbo"]["value"] < 0


def test_the_output_shows_the_runs_side_by_side(evaluated):
    out = evaluated / "out"
    files = {path.name for path in out.iterdir() if path.name[0] != "."}
    texts = {f"evaluation{end}" for end in (".csv", ".md", "-table.json")}
    assert files == {*texts, "figures", "report.html"}
    page = html.unescape((out / "report.html").read_text())
    assert len(list((out / "figures").iterdir())) == 7
    assert page.count('<img class="figure') == 4  # the others are drawn in the page
    before_the_fold = page.partition("<details")[0]
    assert 3 < before_the_fold.count('scope="row"') <= 8  # of about 80 rows
    assert page.count('scope="row"') > 60
    # What is particular to a run is shown with its name.
    for label, name in {"HEBAE": "hebae", "AE": "ae"}.items():
        kurtosis = measurements(evaluated / name)["normality.mardia_kurtosis.z"]
        assert f"{label}: {kurtosis['detail']}" in page
    assert page.count("sampler auto chose") == 2
    # Codes that are not white are pointed out; the AE does not claim that its codes are.
    table = (out / "evaluation.md").read_text()
    assert "HEBAE: the codes of the test examples are not white" in table
    assert "--batch-size" in table
    assert "\nAE: the codes" not in table
    for part in ("Bounds on log p(x)", "Samples and", "Latent code", "undefined"):
        assert part in table


def test_what_is_measured_is_kept_and_only_the_rest_measured(hebae, runs, monkeypatch):
    """Also after a stop, which loses the metric under way alone."""
    from hebae.evaluation import information

    def interrupt(*arguments, **others):
        raise KeyboardInterrupt

    names = ("evaluate", "vae", "--metrics", "elbo", "moments", "information")
    with monkeypatch.context() as patch:
        patch.setattr(information, "mutual_information", interrupt)
        assert hebae(*names).status == 130
    kept = stored(runs / "vae")["metrics"]
    assert set(kept) == {"elbo", "moments"}
    assert hebae("evaluate", "vae", "--metrics", "elbo,information").status == 0
    after = stored(runs / "vae")["metrics"]
    assert set(after) == {"elbo", "moments", "information"}
    assert {key: after[key] for key in kept} == kept
    before = (runs / "vae" / "evaluation.json").read_bytes()
    assert hebae(*names).status == 0
    assert (runs / "vae" / "evaluation.json").read_bytes() == before


def test_seeds_share_a_column_when_asked_to(hebae, runs):
    arguments = ("evaluate", "hebae", "vae", "vae-again", "--metrics", "elbo", "--output", "out")
    assert hebae(*arguments).status == 0
    path = runs / "out" / "evaluation-table.json"
    table = json.loads(path.read_text())["table"]
    assert [cell["column"] for cell in table][:3] == ["HEBAE", "vae", "vae-again"]
    assert hebae(*arguments, "--pool-seeds").status == 0
    table = json.loads(path.read_text())["table"]
    assert [cell["column"] for cell in table][:2] == ["HEBAE", "VAE"]
    each = [measurements(runs / run)["elbo"]["value"] for run in ("vae", "vae-again")]
    pooled = table[1]
    assert (pooled["minimum"], pooled["maximum"]) == (min(each), max(each))
    assert pooled["seeds"] == 2


def test_fast_trains_nothing_and_a_classifier_is_kept_with_its_accuracy(hebae, runs):
    assert hebae("evaluate", "hebae", "--samples", 100).status == 0
    names = set(measurements(runs / "hebae"))
    assert "frechet.fitted-normal" in names
    assert not any("mixture" in name for name in names)
    result = hebae("evaluate", "hebae", "--metrics", "frechet", "--samples", 150)
    assert result.status == 0
    assert "features of classifier" in " ".join(result.err.split())
    metrics = stored(runs / "hebae")["metrics"]
    ((entry,),) = [entries for key, entries in metrics.items() if "classifier" in key]
    assert 0.5 < entry["settings"]["accuracy"] <= 1
    assert len(entry["settings"]["fingerprint"]) == 64


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("vae", "--metrics", "elbow"), ("'elbow'", "did you mean 'elbo'", "fast", "iwae")),
        (("vae", "--metrics", ","), ("names none", "fast")),
        (("vae", "--features"), ("--features has no value",)),
        (("vae", "--samplers"), ("--samplers has no value", "fitted-normal")),
        ((), ("run folder",)),
        (("stopped",), ("stopped is still training", "--resume --output stopped")),
        (("broken",), ("broken/diverged.txt",)),
        (("vae", "vae"), ("named twice",)),
        (("nowhere",), ("no folder nowhere",)),
        (("vae", "--split", "validation"), ("no validation split", "--split train or test")),
        (("vae", "--samples", "60"), ("at least 65", "--samples is 60", "--allow-rank-deficient")),
        (("vae", "--features", "flow"), ("'flow'", "classifier", "inception")),
        (("vae", "--metrics", "iwae", "--iwae-examples", "1"), ("iwae-examples", "at least 2")),
        (("vae", "--features", "inception", "--weights", "no.pth"), ("no.pth",)),
        (("vae", "--weights", "no.pth"), ("no.pth", "--features inception")),
        (("vae", "--ais-chains", "0", "--metrics", "ais"), ("ais-chains", "0")),
        (("vae", "--output", "vae/config.yaml"), ("is a file",)),
        (("vae", "--output", "hebae"), ("files of another kind",)),
    ],
)
def test_mistakes_are_refused_before_anything_is_measured(hebae, runs, arguments, parts):
    shutil.copytree(runs / "vae", runs / "stopped")
    (runs / "stopped" / "model.safetensors").unlink()
    shutil.copytree(runs / "stopped", runs / "broken")
    (runs / "broken" / "diverged.txt").write_text("training stopped at step 3")
    output = [] if "--output" in arguments or not arguments else ["--output", "new"]
    refused(hebae("evaluate", *arguments, *output), *parts)
    assert not (runs / "vae" / "evaluation.json").exists()
    assert not (runs / "new").exists()


def test_runs_are_judged_on_the_data_they_were_trained_on(hebae, runs):
    values = np.random.default_rng(0).random((300, 12), dtype=np.float32)
    np.save("mine.npy", values)
    assert hebae("train", "--data", "mine.npy", *TINY, "--output", "mine").status == 0
    refused(hebae("evaluate", "vae", "mine"), "blobs.npz", "mine.npy", "same data")
    wanted = ("evaluate", "mine", "--metrics", "reconstruction")
    result = hebae(*wanted)  # there is no test split
    assert "30 validation examples" in " ".join(result.out.split())
    refused(hebae(*wanted, "--split", "test"), "no test split", "train or validation")
    np.save("mine.npy", values[::-1].copy())
    refused(hebae(*wanted), "does not have the content", "SHA-256", "--data")
    Path("mine.npy").unlink()
    refused(hebae(*wanted), "mine.npy", "--data")
    np.save("moved.npy", values)
    assert hebae(*wanted, "--data", "moved.npy").status == 0


def test_a_collapsed_encoder_is_undefined_where_it_must_be(hebae, runs):
    from safetensors.torch import load_file, save_file

    weights = load_file(runs / "ae" / "model.safetensors")
    for name, tensor in weights.items():
        if name.startswith("encoder"):
            tensor.zero_()
    path = runs / "ae" / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    config = json.loads((runs / "ae" / "config.json").read_text())
    config["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (runs / "ae" / "config.json").write_text(json.dumps(config))
    result = hebae("evaluate", "ae", "--samples", 100)
    assert result.status == 0, result.err
    found = measurements(runs / "ae")
    assert "equal" in found["frechet"]["undefined"]
    assert "decode to the same" in found["robustness"]["undefined"]
    assert found["reconstruction.squared_error"]["value"] > 0
    assert found["moments.active_units"]["value"] == 0


def test_vectors_have_what_is_defined_for_them_and_too_few_no_distance_unless_asked_for(
    hebae, runs
):
    values = np.random.default_rng(0).normal(size=(200, 60)).astype(np.float32)
    np.savez("wide.npz", x_train=values[40:], x_test=values[:40])
    assert hebae("train", "--data", "wide.npz", *TINY, "--output", "wide").status == 0
    wanted = ("evaluate", "wide", "--metrics", "frechet,kernel,elbo,labels", "--samplers", "normal")
    assert hebae(*wanted).status == 0
    found = measurements(runs / "wide")
    assert "at least 61" in found["frechet.normal"]["undefined"]
    assert np.isfinite(found["kernel.normal"]["value"])
    assert np.isfinite(found["elbo.bits_per_dimension"]["value"])
    assert "no labels" in found["labels.nearest_neighbours"]["undefined"]
    assert hebae(*wanted, "--extrapolate").status == 0
    assert "at least 62" in measurements(runs / "wide")["frechet_extrapolated.normal"]["undefined"]
    refused(hebae(*wanted, "--features", "pixels"), "at least 61", "test split", "has 40")
    refused(hebae(*wanted, "--features", "classifier"), "classifier", "pixels")
    assert hebae(*wanted, "--features", "pixels", "--allow-rank-deficient").status == 0
    assert measurements(runs / "wide")["frechet.normal"]["value"] > 0


def test_the_device_can_be_chosen(hebae, runs, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    wanted = ("evaluate", "vae", "--metrics", "reconstruction", "--device")
    refused(hebae(*wanted, "cuda"), "cuda", "cpu")
    refused(hebae(*wanted, "tpu"), "tpu", "'cpu', 'cuda'")
    assert hebae(*wanted, "cpu").status == 0
    (entry,) = stored(runs / "vae")["metrics"]["reconstruction"]
    assert entry["provenance"]["device"] == "cpu"


def test_a_run_that_cannot_be_written_is_evaluated_into_the_output(hebae, runs, monkeypatch):
    """The test may run as root, who can write everywhere: what the system says is stood in for."""
    from hebae.experiments import evaluate

    monkeypatch.setattr(evaluate, "is_writable", lambda folder: False)
    before = {path: path.read_bytes() for path in (runs / "vae").iterdir()}
    wanted = ("evaluate", "vae", "--metrics", "elbo", "moments")
    refused(hebae(*wanted), "vae", "--output")
    assert hebae(*wanted, "--output", "out").status == 0
    assert {path: path.read_bytes() for path in (runs / "vae").iterdir()} == before
    (file,) = (runs / "out" / "evaluations").glob("vae-*/evaluation.json")
    assert set(json.loads(file.read_text())["metrics"]) == {"elbo", "moments"}
    assert hebae(*wanted, "--output", "out").status == 0


def test_a_training_warns_of_codes_that_are_not_white(hebae, trained):
    again = hebae("train", "--data", trained / "blobs.npz", *FLAGS, "--output", "new")
    assert "not white" in again.err
    assert "--batch-size" in again.err


def test_brackets_in_a_path_stay_and_any_terminal_will_do(runs):
    (runs / "vae").rename(runs / "[red]k")
    arguments = ("evaluate", "[red]k", "--metrics", "moments", "--output", "[b]out")
    encoding = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    result = in_a_process(*arguments, cwd=runs, env=encoding, encoding="cp1252")
    assert result.status == 0, result.err
    assert "[b]out/figures" in result.out
    assert "[red]k" in (runs / "[b]out" / "evaluation-table.json").read_text()
