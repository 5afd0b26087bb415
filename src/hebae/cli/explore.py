"""``hebae explore``: look at the codes of trained models, and decode others, in a browser."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hebae.cli.app import Switch, app, say, tell
from hebae.cli.encode import WHOLE
from hebae.cli.generate import Data, examples_for, with_asked
from hebae.config import DataSettings
from hebae.errors import HebaeError, MissingPackage

if TYPE_CHECKING:
    from hebae.data import Examples


@app.command
def explore(
    *runs: Path,
    host: str = "127.0.0.1",
    port: int = 8080,
    no_browser: Annotated[bool, Switch] = False,
    examples: int = 3000,
    data: Data = DataSettings(),  # noqa: B008
) -> int:
    """Explore the codes and the decoder of trained runs in the browser.

    The page has a map of the codes, sliders, interpolations, samples and uploads. Several runs are
    shown side by side; they must be trained on the same data. Needs hebae[ui]. Ctrl-C stops it.

    Parameters
    ----------
    runs
        Folders of one or more finished runs.
    host
        Address to listen on. With 127.0.0.1, only this machine can open the page. With 0.0.0.0,
        everybody in the network can see the data and the model.
    port
        Port to listen on.
    no_browser
        Print the address and do not open a browser.
    examples
        Number of examples to show. They are drawn at random, always with the same seed.
    """
    if not runs:
        raise HebaeError("name at least one run folder: hebae explore runs/first.")
    resolved = [run.resolve() for run in runs]
    twice = next((run for run in runs if resolved.count(run.resolve()) > 1), None)
    if twice is not None:
        raise HebaeError(f"{twice} is named twice; name each run once.")
    for flag, value, least, most in (
        ("--port", port, 1, 65535),
        ("--examples", examples, 2, 50_000),
    ):
        if not least <= value <= most:
            raise HebaeError(f"{flag} is {value}; it must be from {least} to {most}.")
    if importlib.util.find_spec("nicegui") is None:
        raise MissingPackage("explore needs NiceGUI: install it with pip install 'hebae[ui]'.")
    from hebae.explorer.server import is_local, require_free, serve

    require_free(host, port)
    from hebae.explorer.runs import name_runs, require_same_data

    opened = [_open(run, data, examples) for run in runs]
    found = [run for run, _ in opened]
    require_same_data(found)
    name_runs(found)
    require_free(host, port)  # reading takes time
    if not is_local(host):
        tell(f"anyone who can reach {host} can see the examples and use the model.")
    everywhere = host in ("0.0.0.0", "::")  # which no browser opens
    shown = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    say(f"Open http://{shown}:{port} in a browser. Ctrl-C stops the explorer.")
    readers = [read for _, read in opened]
    with suppress(KeyboardInterrupt):
        serve(found, readers, host=host, port=port, browser=not no_browser, folder=Path.cwd())
    say("Stopped.")
    return 0


def _open(run: Path, data: DataSettings, count: int) -> tuple[Any, Any]:
    """Load a run with some of its examples; return it, and what reads other data like them."""
    from hebae.explorer.runs import ExploredRun, choose
    from hebae.samplers import training_data
    from hebae.storage import load_model

    trained, config = load_model(run)

    def read(settings: DataSettings, notify: Callable[[str], None] = tell) -> dict[str, Examples]:
        return examples_for(trained, config, run, settings, notify=notify, **WHOLE)[1]

    shown = None
    if "data_fingerprint" in config or "data" in data.model_fields_set:
        try:
            parts = read(data)
            parts = {split: with_asked(trained, run, part, data) for split, part in parts.items()}
            shown = choose(parts, count)
        except HebaeError as error:
            if data.model_fields_set:
                raise
            tell(f"the map is left out, because the data of {run} cannot be loaded: {error}")
    else:
        tell(f"{run} was saved from Python without a record of its data; give them with --data.")
    load = partial(
        training_data,
        run,
        config,
        data.data if "data" in data.model_fields_set else None,
        data.data_dir,
        otherwise="choose the sampler normal, which needs no data",
    )
    return ExploredRun(run, trained, config, shown, load), read
