"""The command line as its users meet it: what works, and what is refused in one sentence.

What it does to the files of a run is in ``test_cli_runs.py``.
"""

import os

import numpy as np
import pytest
import yaml
from command_line import SMALL, in_a_process, refused
from PIL import Image

from hebae import VAE, load
from hebae.config import Settings
from hebae.methods import METHODS
from hebae.yaml_files import preset_names

# ---- what works ---------------------------------------------------------------------------------


def test_help_fits_80_columns_and_names_every_setting(hebae):
    text = hebae("train", "--help").out
    assert max(map(len, text.splitlines())) <= 80
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
    for name in (*METHODS, *preset_names()):
        assert name in text
    overview = hebae("--help").out
    for command in ("train", "compare", "sweep", "evaluate", "reproduce", "show", "data"):
        assert command in overview


@pytest.mark.parametrize("method", METHODS)
def test_train_show_sample_reconstruct_interpolate(hebae, image_file, tmp_path, method):
    arguments = ("train", "--data", image_file, *SMALL, "--method", method, "--output", "run")
    trained = hebae(*arguments)
    assert trained.status == 0, trained.err
    shown = hebae("show", "run")
    assert "latent_dim" in shown.out
    assert "condition " not in shown.out  # a setting without a value
    assert "reconstruction" in shown.out
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures >= {"samples", "reconstructions", "interpolations", "loss-curves", "codes"}

    assert hebae("sample", "run", "--count", 9, "--output", "s.png").status == 0
    assert Image.open(tmp_path / "s.png").size[0] >= 48
    arrays = {}
    for command, *flags in (
        ("sample", "--count", 9),
        ("reconstruct", "--count", 5),
        ("interpolate", "--pairs", 2, "--steps", 4),
    ):
        assert hebae(command, "run", *flags, "--output", "a.npy").status == 0
        arrays[command] = np.load(tmp_path / "a.npy")
    assert arrays["sample"].shape == (9, 1, 16, 16)
    assert 0 <= arrays["sample"].min() <= arrays["sample"].max() <= 1
    originals, _ = arrays["reconstruct"]
    np.testing.assert_allclose(originals, np.load(image_file)["x_test"][:5] / 255, rtol=1e-6)
    assert arrays["interpolate"].shape == (2, 4, 1, 16, 16)


@pytest.mark.parametrize("width", [40, 80])
def test_the_headings_of_hebae_show_are_whole(hebae, vectors, monkeypatch, width):
    """A rate weight gives the most columns: three terms and the objective of two splits."""
    hebae("train", "--data", vectors, *SMALL, "--rate-weight", 1, "--output", "run")
    from hebae.cli.app import out

    monkeypatch.setattr(out, "width", width)  # as if the terminal were so wide
    shown = hebae("show", "run").out
    heads = [line.split() for line in shown.splitlines() if "objective" in line]
    names = {"epoch", "objective", "reconstruction", "aggregate", "rate"}
    assert [names <= set(head) for head in heads] == [True, True]
    assert "validation" in shown and "…" not in shown


def test_samples_come_from_the_sampler_and_the_data_that_are_named(
    hebae, trained, vectors, tmp_path
):
    sample = ("sample", "run", "--output", "s.npy")

    def draw(sampler, *flags):
        result = hebae(*sample, "--sampler", sampler, *flags)
        assert result.status == 0, result.err
        return np.load(tmp_path / "s.npy"), " ".join(result.err.split())

    z = np.random.default_rng(0).standard_normal((64, 3), dtype=np.float32)
    assert np.array_equal(draw("normal")[0], load(trained).inverse_transform(z))
    vectors.rename(tmp_path / "moved.npy")
    refused(hebae(*sample), "vectors.npy", "--data", "--data-dir", "--sampler normal")
    np.save(tmp_path / "other.npy", np.random.default_rng(9).random((300, 12), dtype=np.float32))
    refused(hebae(*sample, "--data", "other.npy"), "content", "SHA-256", "--sampler normal")
    assert not (trained / "samplers.safetensors").exists()
    auto, message = draw("auto", "--data", "moved.npy")
    assert "270 training examples" in message  # and none of the 30 held out
    chosen = message.split("sampler auto chose ")[1].split(":")[0].split(" (")[0]
    (tmp_path / "moved.npy").unlink()  # from now on they come from what was stored
    drawn = {name: draw(name)[0] for name in ("normal", "fitted-normal", "mixture")}
    assert np.array_equal(auto, drawn[chosen])
    assert not np.array_equal(drawn["normal"], drawn["fitted-normal"])
    assert not np.array_equal(draw("mixture", "--seed", 1)[0], drawn["mixture"])
    assert np.array_equal(draw("prior")[0], drawn["normal"])


@pytest.mark.parametrize("command", ["sample", "impute"])
def test_a_bed_file_is_written_of_genotypes_alone(hebae, trained, command):
    pytest.importorskip("bed_reader")
    refused(hebae(command, "run", "--output", "x.bed"), "x.bed", "variants are not known", ".npy")


def test_genotype_metrics_are_for_genotypes_alone(hebae, trained):
    result = hebae("evaluate", "run", "--metrics", "genotypes", "imputation")
    refused(result, "vectors.npy", "genotypes, imputation")


def test_a_sampler_with_networks_is_fitted_once_and_stored(hebae, trained, tmp_path):
    sample = ("sample", "run", "--output", "s.npy", "--sampler", "flow-matching")
    assert "fitting the sampler" in hebae(*sample).err
    first = np.load(tmp_path / "s.npy")
    again = hebae(*sample)
    assert (again.status, again.err) == (0, "")
    assert np.array_equal(np.load(tmp_path / "s.npy"), first)


def test_a_model_saved_from_python_samples_by_its_codes(hebae, tmp_path):
    X = np.random.default_rng(0).random((200, 12), dtype=np.float32)
    model = VAE(3, encoder_widths=(16,), decoder_widths=(16,), epochs=2, random_state=0).fit(X)
    model.save(tmp_path / "saved")
    arguments = ("sample", "saved", "--count", 5, "--seed", 1, "--output", "s.npy")
    assert hebae(*arguments).status == 0
    assert np.array_equal(np.load(tmp_path / "s.npy"), model.sample(5, random_state=1))
    (tmp_path / "saved" / "samplers.safetensors").unlink()
    refused(hebae(*arguments), "saved from Python", "normal")


def test_flags_go_over_the_file_and_the_file_over_the_preset(hebae, tmp_path):
    text = "latent_dim: 7\nepochs: 3\nmethods: {wae: {penalty_weight: 5}}\n"
    (tmp_path / "own.yaml").write_text(text)
    base = ("train", "--preset", "mnist-mini", "--config", "own.yaml", "--dry-run")
    settings = yaml.safe_load(hebae(*base, "--epochs", 2, "--method", "wae").out)
    assert (settings["epochs"], settings["latent_dim"], settings["penalty_weight"]) == (2, 7, 5)
    assert settings["schedule"] == "exponential"
    assert yaml.safe_load(hebae(*base).out)["penalty_weight"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]  # a dry run leaves nothing


def test_dry_run_resolves_what_depends_on_the_data(hebae, vectors):
    settings = yaml.safe_load(hebae("train", "--data", vectors, *SMALL, "--dry-run").out)
    assert settings["likelihood"] == "bernoulli"
    assert settings["learning_rate"] == 0.003
    assert settings["drop_last"] is False
    settings = yaml.safe_load(hebae("train", "--dry-run").out)
    assert (settings["encoder_widths"], settings["decoder_widths"]) == ([784, 800], [800, 800])
    assert (settings["batch_size"], settings["learning_rate"]) == (128, 1e-3)


def test_data_list_and_prepare(hebae, image_file, tmp_path):
    folder = tmp_path / ("long-" * 20)
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").touch()
    listed = hebae("data", "list", "--data-dir", folder).out
    assert f"\nmnist: {folder}\n" in listed
    for name in ("mnist-mini", "mnist", "fashion-mnist", "celeba"):
        assert name in listed
    prepared = hebae("data", "prepare", image_file).out
    assert "200 train" in prepared
    assert "40 test" in prepared


# ---- terminals and paths ------------------------------------------------------------------------


def test_paths_are_printed_as_they_are(hebae, vectors):
    result = hebae("train", "--data", vectors, *SMALL, "--output", "[red]:smile:k")
    assert result.status == 0
    assert "[red]:smile:k" in result.out
    assert "[red]:smile:k" in hebae("show", "[red]:smile:k").out
    refused(hebae("sample", "[red]:smile:k", "--output", "[b]/s.npy"), "[b]/s.npy")


def test_home_folders_in_flags_are_expanded(hebae, vectors, tmp_path, monkeypatch):
    """The shell expands ~ only at the beginning of a word, not in --output=~/run."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    vectors.rename(tmp_path / "home" / "vectors.npy")
    assert hebae("train", "--data=~/vectors.npy", *SMALL, "--output=~/run").status == 0
    assert (tmp_path / "home" / "run" / "model.safetensors").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "Laufe-??"), ("cp1252", "Läufe—??")])
def test_output_is_written_in_any_encoding(trained, encoding, name):
    renamed = trained.rename(trained.with_name("Läufe—日本"))
    environment = {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    options = {"encoding": encoding, "cwd": renamed.parent, "env": environment}
    result = in_a_process("show", renamed, **options)
    assert result.status == 0, result.err
    assert name in result.out


def test_ctrl_c_while_modules_are_imported_prints_one_line(tmp_path):
    for module, arguments in (("cyclopts", ["--help"]), ("torch", ["sample", "run"])):
        (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt")
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        result = in_a_process(*arguments, cwd=tmp_path, env={"PYTHONPATH": path})
        assert (result.status, result.out, result.err.strip()) == (130, "", "Interrupted.")
        (tmp_path / f"{module}.py").unlink()


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--batch-size", "3"), ("batch_size", "3", "latent_dim", "--batch-size", "shrunk")),
        (("--batch-size", "269", "--no-drop-last"), ("last batch", "1")),
        (("--method", "wae", "--batch-size", "1"), ("at least 2",)),
        (("--batch-size", "500", "--drop-last"), ("270", "500")),
        (("--latent-dim", "0"), ("--latent-dim", "'0'", "at least 1")),
        (("--latent-dim", "two"), ("--latent-dim", "'two'", "whole number")),
        (("--penalty-weight", "-1"), ("--penalty-weight", "'-1'", "at least 0")),
        (("--penalty-weight", "nan"), ("--penalty-weight", "finite")),
        (("--method", "gan"), ("--method", "'gan'", *map(repr, METHODS))),
        (("--preset", "mnits"), ("'mnits'", "'mnist'")),
        (("--data", "mnits"), ("mnits", "mnist")),
        (("--epoch", "3"), ("--epoch",)),
        (("--likelihood-scale", "wide"), ("--likelihood-scale", "'wide'", "'optimal'")),
        (("--method", "vae", "--kernel", "rbf"), ("--kernel", "wae", "vae")),
        (("--method", "ae", "--penalty-weight", "2"), ("--penalty-weight", "no effect", "ae")),
        (("--network", "convolutional", "--encoder-widths", "8"), ("(12,)", "mlp")),
        (("--early-stopping", "2", "--validation-size", "0"), ("--validation-size",)),
        (("--early-stopping", "2", "--validation-size", "3"), ("at least 4",)),
        (("--validation-size", "300"), ("validation_size", "300")),
        (("--device", "mps"), ("--device mps", "not available")),
        (("--config", "nothere.yaml"), ("nothere.yaml",)),
        (("--logger",), ("--logger has no value", "tensorboard wandb mlflow")),
        (("--output", f"{__file__}/run"), ("--output", "test_cli.py, which is a file")),
        (("--encoder-widths",), ("--encoder-widths has no value",)),
        (("--condition", "--method", "vae"), ("--condition has no value",)),
        (("--condition", ","), ("--condition , names no column",)),
        (("--condition", "a,b,a"), ("--condition names a twice",)),
        (("--latent-dim", "1000000000000", "--method", "vae"), ("--latent-dim", "at most")),
        (("--seed", "18446744073709551616"), ("--seed", "below")),
        (("--moments", "shrunk", "--latent-dim", "280"), ("270", "latent_dim", "280")),
        (("--latent-dim", "9", "--encoder-widths", "16", "8"), ("8, below latent_dim 9", "wider")),
        (("--prior", "flow"), ("--prior flow", "'rate'", "--rate-weight 1")),
        (("--prior", "vamp", "--method", "vae", "--penalty-weight", "0"), ("--prior vamp", "'kl'")),
        (("--prior", "flow", "--method", "infovae", "--alpha", "1"), ("--alpha below 1",)),
        (("--prior", "mixture", "--method", "wae"), ("WAE-MMD is deterministic", "hebae, vae")),
        (
            ("--prior", "mixture", "--rate-weight", "1", "--prior-components", "271"),
            ("prior_components is 271", "270 training examples"),
        ),
        (("--prior-widths", "8"), ("--prior-widths", "--prior flow", "--prior normal")),
        (("--prior", "glow"), ("--prior", "'glow'", "'mixture'", "'vamp'", "'flow'")),
        (
            ("--prior", "flow", "--method", "vae", "--precision", "16-mixed"),
            ("--prior flow", "bf16-mixed"),
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    hebae, vectors, tmp_path, arguments, parts
):
    flags = dict(zip(SMALL[::2], SMALL[1::2], strict=True))
    flags |= {"--data": str(vectors), "--output": "run"}
    rest = [word for pair in flags.items() if pair[0] not in arguments for word in pair]
    refused(hebae("train", *rest, *arguments), *parts)
    assert {path.name for path in tmp_path.iterdir()} == {"vectors.npy"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("latent_dims: 3", ("'latent_dims'", "'latent_dim'")),
        ("latent_dim: {a: 1}", ("latent_dim",)),
        ("- 3", ("key: value",)),
        ("a: [", ("YAML",)),
        ("methods: 3", ("methods",)),
        ("methods: {heabe: {epochs: 3}}", ("methods", *METHODS)),
        ("method: [a]", ("method",)),
        ("methods: {hebae: {epoch: 3}}", ("'epoch'", "epochs")),
    ],
)
def test_a_bad_file_of_settings_is_refused_by_name(hebae, tmp_path, text, parts):
    (tmp_path / "own.yaml").write_text(text)
    refused(hebae("train", "--config", "own.yaml", "--output", "run"), "own.yaml", *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("sample", "nowhere"), ("nowhere",)),
        (("sample", "run", "--count", "0"), ("--count", "at least 1")),
        (("sample", "run", "--sampler", "gan"), ("--sampler", "gan", "mixture", "flow-matching")),
        (("sample", "run", "--output", "s.jpg"), ("s.jpg", ".png", ".npy")),
        (("sample", "run", "--output", "no/s.png"), ("no/s.png",)),
        (("sample", "run"), ("not images", ".npy")),
        (("sample", "run", "--seed", "-1"), ("--seed", "at least 0")),
        (("sample", "run", "--count", "1000000000000", "--output", "s.npy"), ("memory",)),
        (("interpolate", "run", "--steps", "1"), ("--steps", "at least 2")),
        (("reconstruct", "run", "--count", "31", "--output", "r.npy"), ("30 validation",)),
        (("reconstruct", "run", "--data", "mnist-mini"), ("(1, 28, 28)", "(12,)")),
        (("trian",), ("trian",)),
        (("show", "nowhere"), ("nowhere",)),
        (("data", "prepare", "nowhere"), ("nowhere", "mnist-mini")),
    ],
)
def test_bad_commands_are_refused(hebae, trained, arguments, parts):
    refused(hebae(*arguments), *parts)
