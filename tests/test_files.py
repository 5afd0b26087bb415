"""Files are written whole or not at all; old names of modules; start-up."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import hebae
from hebae import HebaeError, provenance
from hebae.files import expand, write_atomically
from hebae.folders import clear


def test_a_failed_write_leaves_the_old_file_and_says_why(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(HebaeError, match=r"file.*No space left"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_each_reason_has_its_remedy(tmp_path, monkeypatch):
    def fail_with(error):
        def fail(temporary):
            raise error

        return fail

    for number, remedy in ((28, "Free some space"), (36, "shorter name"), (13, "may write to")):
        with pytest.raises(HebaeError, match=remedy):
            write_atomically(tmp_path / "file", fail_with(OSError(number, os.strerror(number))))
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(HebaeError, match=r"No space left on device\. Free some space"):
        write_atomically(tmp_path / "file", fail_with(OSError("90 requested and 5 written")))


@pytest.mark.parametrize("letter", ["x", "é"])
def test_names_may_be_as_long_as_the_system_allows(tmp_path, letter):
    path = tmp_path / (letter * (250 // len(letter.encode())) + ".csv")
    write_atomically(path, lambda temporary: temporary.write_text("whole"))
    assert [f.name for f in tmp_path.iterdir()] == [path.name]


def test_a_file_is_written_again_if_another_process_takes_it_for_a_leftover(tmp_path):
    written = []

    def write(temporary):
        temporary.write_text("whole")
        written.append(temporary)
        if len(written) == 1:
            clear(tmp_path, ())

    write_atomically(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "whole"
    assert len(written) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_on_a_full_disk_gives_one_sentence():
    command = [sys.executable, "-m", "hebae", "show", "--help"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_reason_is_not_hidden_where_even_removing_fails(tmp_path, monkeypatch):
    """On a read-only disk, removing a file fails as well."""

    def read_only(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(HebaeError, match="Read-only"):
        write_atomically(tmp_path / "file", read_only)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_read_without_a_lock_on_the_index(tmp_path, monkeypatch):
    """A lock that a killed process leaves would block the user's next commit."""
    file, index = tmp_path / "provenance.py", tmp_path / ".git" / "index"
    file.write_text("old")
    for words in ("init -q", "add .", "-c user.name=n -c user.email=e commit -qm m"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "__file__", str(file))
    os.utime(file, (0, 0))  # git would write the new time into the index
    before = index.read_bytes()
    assert len(commit := provenance._commit.__wrapped__()) == 12
    assert index.read_bytes() == before
    file.write_text("new")
    assert provenance._commit.__wrapped__() == f"{commit}-dirty"


def test_an_unknown_home_folder_is_refused():
    with pytest.raises(HebaeError, match="~nobody-of-this-name"):
        expand("~nobody-of-this-name/model")


def test_the_old_name_of_a_module_gives_the_new_module_and_warns():
    from hebae import model

    for get in (lambda: hebae.autoencoder, lambda: importlib.import_module("hebae.autoencoder")):
        sys.modules.pop("hebae.autoencoder", None)
        vars(hebae).pop("autoencoder", None)
        with pytest.warns(DeprecationWarning, match=r"hebae\.model"):
            assert get() is model
    assert model.__spec__.name == model.__name__ == "hebae.model"


def test_names_of_version_0_1_0_work_with_a_warning(tmp_path):
    from hebae import gaussian, networks, samplers
    from hebae.data import load

    codes = torch.rand(9, 3)
    with pytest.warns(DeprecationWarning, match="batch_moments"):
        beta, _ = gaussian.global_moments(codes)
    assert torch.equal(beta, gaussian.batch_moments(codes)[0])
    layer = torch.nn.Linear(3, 400)
    with pytest.warns(DeprecationWarning, match="initialised"):
        networks.initialise_normal(layer, 0.5)
    assert layer.weight.std().item() == pytest.approx(0.5, rel=0.1)
    assert not layer.bias.any()
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((40, 3), np.float32))
    dataset = load(tmp_path / "x.npy")
    config = {"data": str(tmp_path / "x.npy"), "data_fingerprint": dataset.fingerprint}
    with pytest.warns(DeprecationWarning, match="training_data"):
        values = samplers.training_values(tmp_path, config)
    np.testing.assert_array_equal(values, dataset.train.values)
    for module in (gaussian, networks, samplers):
        with pytest.raises(AttributeError, match="nothing_of_the_kind"):
            module.nothing_of_the_kind  # noqa: B018


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import hebae", {"pydantic"}),
        ("import hebae.cli", {"torch", "sklearn", "matplotlib"}),
        ("import hebae.config", {"torch"}),
        ("from hebae.data import load; load('mnist-mini')", {"torch", "PIL", "pooch", "rich"}),
        ("from hebae.report import pixels, page", {"torch", "matplotlib", "PIL", "rich"}),
        ("from hebae.report import images, lines, codes", {"torch", "matplotlib.pyplot"}),
    ],
)
def test_nothing_waits_for_libraries_that_it_does_not_need(code, heavy):
    check = f"import sys; assert not {heavy} & {{*sys.modules}}, sys.modules"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True)


def loaded_by(code):
    """The modules that are in memory after some code and were not before."""
    program = (
        f"import sys; before = {{*sys.modules}}; {code}; print(*sorted({{*sys.modules}} - before))"
    )
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_import_hebae_loads_three_modules_and_no_other_package():
    modules = loaded_by("import hebae")
    assert {name for name in modules if name.startswith("hebae")} == {
        "hebae",
        "hebae._version",
        "hebae.errors",
    }
    packages = {name.partition(".")[0] for name in modules}
    assert packages - sys.stdlib_module_names == {"hebae"}


def test_packages_of_extras_are_not_loaded_until_they_are_needed():
    """Except pandas and pyarrow: scikit-learn imports pandas where it is installed."""
    extras = {"anndata", "bed_reader", "pgenlib", "polars", "tensorboard", "timm", "zuko"}
    extras |= {"huggingface_hub", "mlflow", "onnx", "onnxruntime", "onnxscript", "optuna", "wandb"}
    extras |= {"datasets", "jinja2", "mkdocs", "torch_fidelity", "torchmetrics"}
    code = "import hebae, hebae.cli; [getattr(hebae, name) for name in hebae.__all__]"
    assert not extras & {name.partition(".")[0] for name in loaded_by(code)}


def test_public_names_are_there():
    for name in hebae.__all__:
        assert getattr(hebae, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        hebae.nothing_of_the_kind  # noqa: B018
