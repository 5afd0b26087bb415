"""What the studies share: models that are kept, scores of codes, and parts of figures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from sklearn.neighbors import KNeighborsClassifier

import hebae
from hebae.methods import METHODS
from hebae.report.style import INK

Array = npt.NDArray[Any]
FAINT = "#D8D8D8"
COLOURS = {method.display_name: method.colour for method in METHODS.values()} | {"PCA": "#999999"}


def data_directory() -> Path:
    """Return the folder of the data files, which HEBAE_DATA_DIR names."""
    if "HEBAE_DATA_DIR" not in os.environ:
        sys.exit("Set HEBAE_DATA_DIR to the folder that holds genotypes, singlecell and tables.")
    return Path(os.environ["HEBAE_DATA_DIR"])


def fitted(folder: Path, model: Any, examples: Any, **arguments: Any) -> Any:
    """Return the model fitted to the examples; a later call reads it from the folder."""
    if not (folder / "config.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        model.fit(examples, **arguments).save(folder)
        print(f"trained {folder.name}", flush=True)
    return hebae.load(folder)


def command_line(*arguments: object) -> None:
    """Run a command of hebae."""
    command = [sys.executable, "-m", "hebae", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")


def neighbours_accuracy(train: Array, labels: Array, test: Array, truth: Array) -> float:
    """Share of test codes whose label is that of most of their 5 nearest training codes."""
    return float(KNeighborsClassifier(5).fit(train, labels).score(test, truth))


def seeds_of(
    seeds: Mapping[str, Any], part: str, name: str, methods: Iterable[str]
) -> dict[str, list[float]]:
    """Return the values of a quantity over seeds, by method."""
    return {method: [record[part][method][name] for record in seeds.values()] for method in methods}


def scatter(axes: Axes, points: Array, labels: Array, colours: Mapping[str, str]) -> None:
    """Draw points in the colours of their labels, and each label at the middle of its points."""
    order = np.random.default_rng(0).permutation(len(points))  # no label hides the others
    shown = [colours[label] for label in labels[order]]
    axes.scatter(*points[order].T, s=14, linewidths=0, alpha=0.85, c=shown)
    outline = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for label in dict.fromkeys(labels.tolist()):
        middle = np.median(points[labels == label], axis=0)
        text: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "weight": "bold"}
        axes.text(*middle, label, color=colours[label], path_effects=outline, zorder=5, **text)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)


def bars(
    axes: Axes,
    groups: Mapping[str, Mapping[str, list[float]]],
    colours: Mapping[str, str],
    form: str = "{:.2f}",
) -> None:
    """Draw the mean over seeds by group and method, and each seed as a dot."""
    for number, values in enumerate(groups.values()):
        width = 0.84 / len(values)
        for place, (method, of_seeds) in enumerate(values.items()):
            x = number + (place - (len(values) - 1) / 2) * width
            mean = float(np.mean(of_seeds))
            axes.bar(x, mean, 0.94 * width, color=colours[method])
            axes.scatter([x] * len(of_seeds), of_seeds, s=5, color=INK, zorder=3)
            text: dict[str, Any] = {"ha": "center", "color": "white", "fontsize": 7.5}
            words = f"{method}\n{form.format(mean)}"
            axes.annotate(words, (x, 0), (0, 4), textcoords="offset points", weight="bold", **text)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.grid(axis="x", visible=False)
