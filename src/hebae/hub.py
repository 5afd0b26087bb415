"""Trained models on the Hugging Face Hub: upload, model card and download.

No example of the data is sent: neither codes of the training examples, nor paths of this machine.
What was downloaded is checked as every model folder is, by `hebae.storage.load_model`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from hebae.config import Settings
from hebae.data.loading import data_set_name
from hebae.errors import HebaeError, MissingPackage
from hebae.files import make_folder, read_json, sha256_of, write_atomically, write_text
from hebae.methods import METHODS, Method
from hebae.model import Autoencoder
from hebae.run_folder import RunFolder
from hebae.samplers import read_samplers, write_samplers
from hebae.storage import load_model

PREFIX = "hf://"
"""Before a model's name on the Hub, where a folder could be meant as well."""
FILES = (
    "config.json",
    "config.yaml",
    "model.safetensors",
    "samplers.safetensors",
    "metrics.jsonl",
    "README.md",
)
"""What is sent and downloaded; all other files of a repository are left alone."""
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FORMAT = re.compile(r"\.\d{1,2}[efg]")
_KINDS = {3: "unconditional-image-generation", 1: "tabular-generation"}  # by the axes of an example


def push(
    folder: Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,
    **networks: nn.Module | None,
) -> str:
    """Send the model of a run folder to the Hub, with a model card; return its address.

    Parameters
    ----------
    folder : Path
        Folder of a finished run, or written by `hebae.HEBAE.save`.
    name : str
        Repository on the Hub, as owner/name. It is created if it does not exist.
    private : bool
        Whether the repository is private if it is created.
    revision : str, optional
        Branch [default: main].
    license : str, optional
        Licence to name in the model card, as an identifier of the Hub such as mit.
    **networks : nn.Module
        ``encoder`` and ``decoder`` of the user's own, see `hebae.storage.load_model`.

    Raises
    ------
    HebaeError
        If the folder holds no finished model, or the Hub does not take it.
    """
    hub = _client()
    _require_name(name)
    with TemporaryDirectory() as temporary:
        prepare_repository(folder, Path(temporary), name, license=license, **networks)
        with _explained(hub, name, revision):
            api = hub.HfApi(endpoint=_endpoint(), library_name="hebae")
            api.create_repo(name, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(name, branch=revision, exist_ok=True)
            api.upload_folder(
                repo_id=name,
                folder_path=temporary,
                revision=revision,
                commit_message="Model by hebae",
            )
    return f"{_endpoint() or hub.constants.ENDPOINT}/{name}"


def download(name: str, *, revision: str | None = None, offline: bool = False) -> Path:
    """Download a model from the Hub into the cache; return its folder there.

    Parameters
    ----------
    name : str
        Model as owner/name, or hf://owner/name, or hf://owner/name@revision.
    revision : str, optional
        Branch, tag or commit.
    offline : bool
        Whether to use only the local cache, without the network.
    """
    hub = _client()
    name, _, in_name = name.removeprefix(PREFIX).partition("@")
    _require_name(name)
    revision = revision or in_name or None
    with _explained(hub, name, revision):
        folder = hub.snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(FILES),
            local_files_only=offline,
            endpoint=_endpoint(),
            library_name="hebae",
        )
    if not (Path(folder) / "model.safetensors").is_file():
        raise HebaeError(
            f"{name} on the Hub is not a model of hebae: it has no model.safetensors. Check the "
            "name."
        )
    return Path(folder)


def pull(name: str, output: Path, *, revision: str | None = None) -> None:
    """Download a model from the Hub into a new run folder, which every command takes."""
    if output.exists() and any(output.iterdir()):
        raise HebaeError(f"--output {output} is not empty; name another folder.")
    folder = download(name, revision=revision)
    load_model(folder)  # what is damaged or hostile is refused here
    make_folder(output, "--output")
    for file in FILES:
        if (folder / file).is_file():
            write_atomically(output / file, lambda path, f=file: shutil.copyfile(folder / f, path))


def prepare_repository(
    folder: Path,
    target: Path,
    name: str,
    *,
    license: str | None = None,
    **networks: nn.Module | None,
) -> None:
    """Write what `push` sends into `target`: model, settings without paths, and model card."""
    _require_name(name)
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license):
        raise HebaeError(
            f"the license is {license!r}; give its identifier on the Hub, such as mit or "
            "apache-2.0."
        )
    model, config = load_model(folder, **networks)
    of_settings = {n: config[n] for n in Settings.model_fields if n in config}
    settings = Settings.checked(of_settings, f"{folder}/config.json")
    clean = settings.replace(data=_data_name(settings), data_dir=None)
    content = read_json(folder / "config.json", "restore it")
    content |= clean.model_dump(mode="json")
    write_text(target / "config.json", json.dumps(content, indent=2) + "\n")
    write_text(target / "config.yaml", clean.to_yaml())
    shutil.copyfile(folder / "model.safetensors", target / "model.safetensors")
    run = RunFolder(folder)
    if run.metrics.exists():
        run.history()  # raises if it is damaged
        shutil.copyfile(run.metrics, target / "metrics.jsonl")
    if run.samplers.exists():
        stored = replace(read_samplers(folder, model), codes=None, conditions=None)
        if stored.samplers is not None or stored.by_condition:
            write_samplers(target, model, stored)
    card = model_card(folder, model, clean, name, license=license)
    write_text(target / "README.md", card)


def model_card(
    folder: Path, model: Autoencoder, settings: Settings, name: str, *, license: str | None = None
) -> str:
    """Return the model card: what the model is, how to use it, and what was measured of it.

    Numbers are those of ``evaluation.json``, if they were measured on these weights.
    """
    hub = _client()
    method = METHODS[settings.method]
    shape = " x ".join(map(str, model.input_shape))
    measured = _measurements(folder)
    config = read_json(folder / "config.json", "restore it")
    known = isinstance(config.get("data_name"), str)  # not of examples that were given in Python
    data_name = settings.data if known else "examples given in Python"
    origins = RunFolder(folder).origins() if RunFolder(folder).provenance.exists() else []
    data = origins[-1].get("data", data_name) if origins else data_name
    results = [
        hub.EvalResult(
            task_type=_KINDS.get(len(model.input_shape), "feature-extraction"),
            dataset_type=settings.data if known and data_set_name(settings.data) else "custom",
            dataset_name=data_name,
            dataset_split=entry["settings"].get("split"),
            metric_type=one["id"],
            metric_name=one["name"],
            metric_value=one["value"],
        )
        for entry, one in measured
        if one.get("headline", True) and one.get("value") is not None
    ]
    tags = ["hebae", "autoencoder", "generative", settings.method, "pytorch"]
    facts = hub.ModelCardData(
        library_name="hebae",
        license=license,
        tags=tags,
        model_name=name.partition("/")[2],
        eval_results=results or None,
    )
    lines = [
        "---",
        facts.to_yaml(),
        "---",
        f"# {name.partition('/')[2]}",
        "",
        f"{method.display_name} with {settings.latent_dim} latent dimensions, trained on "
        f"{_cell(data)}; examples of shape {shape}.",
        "",
        "## Use",
        "```python",
        "import hebae  # pip install 'hebae[hub]'",
        "",
        f'model = hebae.load("{PREFIX}{name}")',
        "codes = model.transform(X)  # posterior means",
        'samples = model.sample(64, sampler="normal")',
        "```",
        "",
        "## Training",
        *_table(("setting", "value"), _settings_shown(settings, method)),
        "",
        "## Evaluation",
        *_evaluation(measured),
        "",
        "Training examples and their codes are not part of this repository. `config.json` holds "
        "the names of columns and categories, and what the model is conditioned on.",
        "",
        f"Trained with hebae {_cell(config.get('hebae_version'))}.",
    ]
    return "\n".join(lines) + "\n"


def _measurements(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return entries of ``evaluation.json`` and their measurements, of these very weights."""
    path = RunFolder(folder).evaluation
    if not path.exists():
        return []
    remedy = "remove it, or evaluate the run again"
    content = read_json(path, remedy)
    try:
        if content["of"]["weights"] != sha256_of(folder / "model.safetensors"):
            return []
        found = [
            (dict(entry), dict(one))
            for entries in content["metrics"].values()
            for entry in entries
            for one in entry["measurements"]
        ]
        for entry, one in found:
            numbers = [n for n in (one.get("value"), one.get("standard_error")) if n is not None]
            numbers += one.get("counts", {}).values()
            if not isinstance(entry["settings"], dict) or not isinstance(entry["provenance"], dict):
                raise TypeError
            are_numbers = all(isinstance(number, int | float) for number in numbers)
            if not (are_numbers and _FORMAT.fullmatch(one.get("format", ".4g"))):
                raise TypeError
            one["id"], one["name"] = str(one["id"]), str(one["name"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise HebaeError(f"{path} is altered or truncated; {remedy}.") from None
    return found


def _evaluation(measured: list[tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[str]:
    shown = [(entry, one) for entry, one in measured if one.get("headline", True)]
    if not shown:
        yield "Not evaluated. Run `hebae evaluate RUN`, then `hebae push` again, to add results."
        return
    origin = shown[-1][0]["provenance"]
    yield (
        f"Measured by `hebae evaluate` on {_cell(origin.get('data', 'the data'))}, with "
        f"{_cell(origin.get('versions', 'hebae'))}, {_cell(origin.get('date', ''))}. Objectives "
        "are not comparable between methods. Values are comparable between models only on the same "
        "data, split and likelihood."
    )
    yield ""
    rows = []
    for entry, one in shown:
        counts = ", ".join(f"{value:,} {name}" for name, value in one.get("counts", {}).items())
        if one.get("value") is None:
            value = f"undefined: {one.get('undefined', '')}"
        else:
            value = format(one["value"], one.get("format", ".4g"))
            if one.get("standard_error") is not None:
                value += f" ± {one['standard_error']:.2g}"
            value = " ".join(filter(None, (value, one.get("unit", ""))))
        better = one.get("better", "")
        split = entry["settings"].get("split", "")
        rows.append((one["name"], value, f"{better} is better" if better else "", split, counts))
    yield from _table(("metric", "value ± standard error", "", "split", "counts"), rows)
    notes = {one["name"]: one["note"] for _, one in shown if one.get("note")}
    if notes:
        yield ""
        yield from (f"- {_cell(name)}: {_cell(note)}." for name, note in notes.items())


def _settings_shown(settings: Settings, method: Method) -> list[tuple[str, str]]:
    names = ["method", "latent_dim", *method.options, "prior", "likelihood", "network"]
    names += ["encoder_widths", "decoder_widths", "batch_size", "epochs", "learning_rate", "seed"]
    if settings.condition:
        names.append("condition")

    def text(value: Any) -> str:
        return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return [(name, text(getattr(settings, name))) for name in names]


def _table(heads: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    yield from (f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: Any) -> str:
    """Return text for a Markdown table: on one line, and without the characters of its markup."""
    return re.sub(r"([|<>`\[\]])", r"\\\1", " ".join(str(text).split()))


def _data_name(settings: Settings) -> str:
    """Return the name of a data set, or of a file without the folders above it."""
    return data_set_name(settings.data) or Path(settings.data).name or "data"


def _client() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        raise MissingPackage(
            "The Hub needs huggingface_hub: install it with pip install 'hebae[hub]'."
        ) from None
    return huggingface_hub


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise HebaeError(f"{name!r} is not a name of a model on the Hub; give owner/name.")


@contextmanager
def _explained(hub: Any, name: str, revision: str | None) -> Iterator[None]:
    """Turn errors of the client into one sentence."""
    errors = hub.errors
    try:
        yield
    except errors.RevisionNotFoundError:
        raise HebaeError(
            f"{name} on the Hub has no revision {revision!r}; give a branch, tag or commit of it."
        ) from None
    except errors.RepositoryNotFoundError:
        raise HebaeError(
            f"{name} is not on the Hub, or you may not read it; check the name, or log in with: "
            "hf auth login"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        cause = f" ({_reason(error.__cause__)})" if error.__cause__ else ""
        raise HebaeError(
            f"the Hub cannot be reached{cause}, and the cache has no copy of {name}; check the "
            "network, HF_ENDPOINT and HF_HUB_OFFLINE."
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise HebaeError(
                f"the Hub does not let you use {name} (status {status}); log in with: hf auth login"
            ) from None
        raise HebaeError(f"the Hub refused {name} ({_reason(error)}); try again later.") from None
    except hub.utils.HFValidationError as error:
        raise HebaeError(f"{name} is not a valid name on the Hub ({_reason(error)}).") from None
    except HebaeError:
        raise
    except Exception as error:  # of the network, in the classes of its library
        raise HebaeError(
            f"the Hub cannot be reached ({type(error).__name__}: {_reason(error)}); check the "
            "network and HF_ENDPOINT."
        ) from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
