"""Exported networks: they run without hebae and give the model's numbers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import SMALL, refused
from torch import nn

import hebae as package
from hebae import AE, HEBAE, HebaeError, exporting, load

SMALL_NETWORKS = {"encoder_widths": (8,), "decoder_widths": (8,)}


def session(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(path, **inputs):
    """The outputs of an ONNX file by name; inputs in float32."""
    loaded = session(path)
    given = {name: np.asarray(value, np.float32) for name, value in inputs.items()}
    names = [output.name for output in loaded.get_outputs()]
    return dict(zip(names, loaded.run(names, given), strict=True))


def test_a_conditional_model_of_a_table_as_onnx(hebae, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("onnxscript")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "income": rng.normal(50_000, 9_000, 200).round(2),
            "visits": rng.poisson(3, 200),
            "town": rng.choice(["York", "Bath", "Hull"], 200),
            "lab": rng.choice(["north", "south"], 200),
        }
    )
    frame.loc[::9, "income"] = np.nan
    frame.to_csv(tmp_path / "table.csv", index=False)
    flags = ("--condition", "lab", "--condition-encoder", "--output", "run")
    assert hebae("train", "--data", "table.csv", *SMALL, *flags).status == 0
    result = hebae("export", "run", "--format", "onnx", "--output", "onnx")
    assert result.status == 0, result.err
    described = json.loads((tmp_path / "onnx" / "export.json").read_text())
    assert described["missing"] == "NaN"
    assert described["encoder"]["inputs"]["x"]["shape"] == ["batch", 3]

    def coded(columns):
        """Columns as the description says: categories by their place."""
        return np.stack(
            [
                frame[column["name"]].astype(str).map(column["categories"].index)
                if "categories" in column
                else frame[column["name"]]
                for column in columns
            ],
            axis=1,
        )

    x, condition = coded(described["columns"]), coded(described["conditions"])
    model = load(tmp_path / "run")
    codes = model.transform(frame)
    found = run(tmp_path / "onnx" / "encoder.onnx", x=x, condition=condition)
    np.testing.assert_allclose(found["mean"], codes, atol=1e-5)
    assert found["log_scale"].shape == (200, 3)
    decoded = run(tmp_path / "onnx" / "decoder.onnx", z=codes[:7], condition=condition[:7])
    expected = model.inverse_transform(codes[:7], frame.lab[:7].to_numpy())
    np.testing.assert_allclose(decoded["x"], expected, rtol=1e-5, atol=1e-5)


def test_torch_files_take_any_number_of_examples(hebae, trained, vectors, tmp_path):
    assert hebae("export", "run", "--format", "torch").status == 0
    X = np.load(vectors)
    encoder = torch.export.load(tmp_path / "exported" / "encoder.pt2").module()
    mean = encoder(x=torch.from_numpy(X))[0].detach()
    np.testing.assert_allclose(mean, load(trained).transform(X), atol=1e-5)
    assert hebae("export", "run", "--format", "torch", "--output", "run").status == 0
    assert load(trained).transform(X).shape == (300, 3)  # a run folder takes the files as well


@pytest.mark.long
def test_convolutional_networks_as_torch_files_run_without_hebae(hebae, image_file, tmp_path):
    widths = ("--encoder-widths", *"4444", "--decoder-widths", *"444", "--latent-dim", 3)
    flags = ("--network", "convolutional", *widths, "--epochs", 1, "--device", "cpu")
    trained = hebae("train", "--data", image_file, *flags, "--output", "run")
    assert trained.status == 0, trained.err
    assert hebae("export", "run", "--format", "torch").status == 0
    described = json.loads((tmp_path / "exported" / "export.json").read_text())
    assert described["x"] == "grey levels divided by 255"
    program = """
import sys, numpy as np, torch
sys.modules["hebae"] = None  # importing it is an error
x = torch.tensor(np.load("images.npz")["x_test"] / 255, dtype=torch.float32)
mean, log_scale = torch.export.load("exported/encoder.pt2").module()(x=x)
(x,) = torch.export.load("exported/decoder.pt2").module()(z=mean)
np.savez("found.npz", mean=mean.detach(), x=x.detach())
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    found, images = np.load(tmp_path / "found.npz"), np.load(image_file)["x_test"]
    model = load(tmp_path / "run")
    np.testing.assert_allclose(found["mean"], model.transform(images), atol=1e-5)
    np.testing.assert_allclose(found["x"], model.reconstruct(images), atol=1e-5)


def test_a_file_with_other_numbers_is_never_left(hebae, trained, tmp_path, monkeypatch):
    def wrong(module, inputs, outputs, path):
        path.write_bytes(b"")
        return lambda tensors: [2e-5 + part for part in module(*tensors)]

    monkeypatch.setattr(exporting, "_write_torch", wrong)
    result = hebae("export", "run", "--format", "torch", "--output", "files")
    refused(result, "encoder", "2e-05", "1e-05", "nothing was written")
    assert not (tmp_path / "files").exists()


def test_a_missing_package_is_named(hebae, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(hebae("export", "run"), "onnxruntime", "pip install 'hebae[onnx]'")
    assert not (tmp_path / "exported").exists()


def test_a_network_that_cannot_be_exported_is_refused(tmp_path):
    class ByValue(nn.Linear):
        def forward(self, x):
            return super().forward(x) if float(x.sum()) > 0 else super().forward(-x)

    X = np.random.default_rng(0).random((60, 5), dtype=np.float32)
    model = AE(2, encoder=ByValue(5, 2), decoder_widths=(8,), epochs=1).fit(X)
    with pytest.raises(HebaeError, match="encoder cannot be exported as torch"):
        model.export(tmp_path / "files", format="torch")
    assert not (tmp_path / "files").exists()
    with pytest.raises(HebaeError, match="format is 'tflite'; it must be one of onnx, torch"):
        model.export(tmp_path / "files", format="tflite")


def examples(likelihood):
    rng = np.random.default_rng(0)
    if likelihood in ("poisson", "negative_binomial", "zero_inflated_negative_binomial"):
        return rng.poisson(rng.gamma(1, 3, (90, 6)))
    if likelihood == "binomial":
        return rng.integers(0, 3, (90, 6))
    if likelihood in ("categorical", "columns"):
        pd = pytest.importorskip("pandas")
        frame = {"a": rng.choice(list("xyz"), 90), "b": rng.choice(list("pqrs"), 90)}
        if likelihood == "columns":
            frame |= {"c": rng.normal(1e5, 3e4, 90), "d": rng.poisson(3, 90)}
        return pd.DataFrame(frame)
    x = rng.random((90, 6), dtype=np.float32)
    return x if "bernoulli" in likelihood else 40 * x - 9


@pytest.mark.long
@pytest.mark.parametrize("likelihood", package.likelihoods.LIKELIHOODS)
def test_the_mean_of_every_likelihood(tmp_path, likelihood):
    X = examples(likelihood)
    options = {"likelihood": likelihood, "epochs": 1, "random_state": 0, **SMALL_NETWORKS}
    model = HEBAE(2, batch_size=30, **options).fit(X)
    model.export(tmp_path, format="onnx")
    described = json.loads((tmp_path / "export.json").read_text())
    assert described["decoder"]["largest_difference"] <= described["tolerance"] == 1e-5
    if "size" in described["decoder"]["inputs"]:
        codes = run(tmp_path / "encoder.onnx", x=X)["mean"]
        found = run(tmp_path / "decoder.onnx", z=codes, size=X.sum(1).clip(1))["x"]
        np.testing.assert_allclose(found, model.reconstruct(X), rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", ["RAESN", "WAEGAN", "VAE"])
def test_other_methods_and_precisions(tmp_path, name):
    X = np.random.default_rng(0).random((90, 6))
    cls = getattr(package, name)
    model = cls(2, epochs=1, precision="64-true", **SMALL_NETWORKS).fit(X)
    model.export(tmp_path, format="torch")
    encoder = torch.export.load(tmp_path / "encoder.pt2").module()
    np.testing.assert_allclose(
        encoder(x=torch.tensor(X))[0].detach(), model.transform(X), atol=1e-6
    )
