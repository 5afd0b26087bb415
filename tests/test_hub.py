"""The Hugging Face Hub: push, model card, download; against a stand-in on this machine."""

import json
import sys

import numpy as np
import pytest
import yaml
from command_line import refused
from hub_server import running

from hebae import HEBAE, VAE, HebaeError, load

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield server


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_a_run_goes_to_the_hub_and_comes_back(hebae, trained, vectors, hub, tmp_path):
    assert hebae("evaluate", "run", "--metrics", "reconstruction", "elbo").status == 0
    assert hebae("sample", "run", "--sampler", "fitted-normal", "--output", "s.npy").status == 0
    result = hebae("push", "run", "me/vectors", "--license", "mit")
    assert result.status == 0, result.err
    assert f"{hub.address}/me/vectors" in result.out
    files = hub.files("me/vectors")
    assert {*files} == {
        *("README.md", "config.json", "config.yaml", "metrics.jsonl"),
        *("model.safetensors", "samplers.safetensors"),
    }
    assert not any(str(tmp_path).encode() in content for content in files.values())

    card = files["README.md"].decode()
    facts = front_matter(card)
    assert (facts["license"], facts["library_name"]) == ("mit", "hebae")
    stored = json.loads((trained / "evaluation.json").read_text())["metrics"]
    (elbo,) = [m for m in stored["elbo"][0]["measurements"] if m["id"] == "elbo"]
    (result,) = facts["model-index"][0]["results"]
    assert result["dataset"]["name"] == "vectors.npy"
    measured = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert measured["elbo"] == elbo["value"]
    line = next(line for line in card.splitlines() if line.startswith("| ELBO |"))
    assert f"{elbo['value']:.2f} ± {elbo['standard_error']:.2g} nats" in line
    assert "30 examples" in line and "validation" in line

    X = np.load(vectors)
    expected = load(trained)
    for model in (load("hf://me/vectors"), HEBAE.from_pretrained("me/vectors")):
        assert np.array_equal(model.transform(X), expected.transform(X))
        drawn = model.sample(5, sampler="fitted-normal", random_state=0)
        assert np.array_equal(drawn, expected.sample(5, sampler="fitted-normal", random_state=0))
        assert model.history_ == expected.history_
    assert hebae("pull", "me/vectors", "--output", "again").status == 0
    assert hebae("sample", "again", "--sampler", "normal", "--output", "t.npy").status == 0
    assert "latent_dim" in hebae("show", "again").out
    refused(hebae("pull", "me/vectors", "--output", "again"), "again", "not empty")


def test_a_card_has_no_numbers_of_other_weights(hebae, trained, hub):
    assert hebae("evaluate", "run", "--metrics", "elbo").status == 0
    assert "| ELBO |" in hebae("push", "run", "me/x", "--dry-run").out
    assert hebae("train", "--resume", "--epochs", 3, "--output", "run").status == 0
    card = hebae("push", "run", "me/x", "--dry-run").out
    assert "ELBO |" not in card and "Not evaluated" in card and "model-index" not in card
    assert not hub.repositories


def test_revisions_names_and_the_cache(hub, tmp_path, monkeypatch):
    X = np.random.default_rng(0).random((80, 5), dtype=np.float32)
    options = {"encoder_widths": (8,), "decoder_widths": (8,), "epochs": 1, "random_state": 0}
    model = VAE(2, **options).fit(X)
    assert model.push_to_hub("me/vae").endswith("/me/vae")
    assert "samplers.safetensors" not in hub.files("me/vae")  # it would hold the training codes
    assert "examples given in Python" in hub.files("me/vae")["README.md"].decode()
    other = VAE(2, **options | {"random_state": 1}).fit(X)
    other.push_to_hub("me/vae", revision="second")
    for revision, wanted in ((None, model), ("second", other)):
        found = VAE.from_pretrained("me/vae", revision=revision)
        assert np.array_equal(found.transform(X), wanted.transform(X))
    assert np.array_equal(load("hf://me/vae@second").transform(X), other.transform(X))
    found.push_to_hub("me/copy")  # of a model that was read, its folder
    assert (
        hub.files("me/copy")["model.safetensors"]
        == hub.files("me/vae", "second")["model.safetensors"]
    )
    with pytest.raises(HebaeError, match=r"no revision 'third'"):
        VAE.from_pretrained("me/vae", revision="third")
    with pytest.raises(HebaeError, match=r"class VAE; read it with hebae\.VAE\.from_pretrained"):
        HEBAE.from_pretrained("me/vae")
    with pytest.raises(HebaeError, match="not on the Hub"):
        VAE.from_pretrained("me/nothing")
    hub.add("me/other", {"pytorch_model.bin": b"x", "config.json": b"{}"})
    with pytest.raises(HebaeError, match="not a model of hebae"):
        VAE.from_pretrained("me/other")
    monkeypatch.chdir(tmp_path)  # or a file of the machine could have such a name
    for name in ("vae", "me/vae/more", "../../x", "me/v ae"):
        with pytest.raises(HebaeError, match="owner/name"):
            VAE.from_pretrained(name)
    model.save(tmp_path / "saved")
    assert VAE.from_pretrained(tmp_path / "saved").get_params()["latent_dim"] == 2

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    found = VAE.from_pretrained("me/vae")  # from the cache
    assert np.array_equal(found.transform(X), model.transform(X))
    assert VAE.from_pretrained("me/vae", local_files_only=True).module_.latent_dim == 2
    with pytest.raises(HebaeError, match="cannot be reached"):
        VAE.from_pretrained("me/unseen")


def test_what_the_hub_or_the_folder_refuses(hebae, trained, hub, tmp_path):
    for name in ("vectors", "../x", "me/..", "me/x y"):
        refused(hebae("push", "run", name, "--dry-run"), repr(name), "owner/name")
    refused(hebae("push", "run", "me/x", "--dry-run", "--license", "<b>"), "<b>", "mit")
    refused(hebae("push", "nothing", "me/x"), "nothing")
    (trained / "evaluation.json").write_text('{"of": 3}')
    refused(hebae("push", "run", "me/x"), "evaluation.json is altered")
    (trained / "evaluation.json").unlink()
    hub.read_only = True
    refused(hebae("push", "run", "me/x"), "403", "hf auth login")
    assert not hub.repositories
    for status, reason in ((401, "does not let you use me/x (status 401)"), (500, "500 Internal")):
        hub.failing = status
        refused(hebae("pull", "me/x", "--output", "out"), reason)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["weights", "config", "pickle"])
def test_hostile_repositories_are_refused_as_hostile_folders_are(
    hebae, trained, hub, tmp_path, damage
):
    files = {n: (trained / n).read_bytes() for n in ("config.json", "model.safetensors")}
    if damage == "weights":
        files["model.safetensors"] = files["model.safetensors"][:-4] + b"\0\0\0\0"
    elif damage == "config":
        files["config.json"] = files["config.json"].replace(b'"latent_dim": 3', b'"latent_dim": 9')
    else:
        files["model.safetensors"] = b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR."
    hub.add("bad/model", files)
    refused(hebae("pull", "bad/model", "--output", "out"), "model")
    assert not (tmp_path / "out").exists() and not (tmp_path / "hacked").exists()
    with pytest.raises(HebaeError):
        load("hf://bad/model")


def test_a_missing_client_is_named(hebae, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(hebae("push", "run", "me/x"), "pip install 'hebae[hub]'")
    refused(hebae("pull", "me/x"), "pip install 'hebae[hub]'")
