"""The figures of trained models, and those of their measurements; texts in ``figures.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from hebae import inference
from hebae.data.columns import listed
from hebae.errors import HebaeError
from hebae.evaluation import latent
from hebae.experiments.live import MOST_EXAMPLES, explorer_of
from hebae.experiments.measurement import Measurement
from hebae.experiments.metrics.code import CODES
from hebae.experiments.metrics.samples import SAMPLERS
from hebae.experiments.table import Columns
from hebae.experiments.trained_run import (
    RunResult,
    TrainedRun,
    examples_of,
)
from hebae.files import make_folder
from hebae.report import codes as of_codes
from hebae.report import images, lines, style, table_panels
from hebae.report.charts import Chart, loss_chart
from hebae.report.counts import count_panels
from hebae.report.genotypes import GenotypePanels, genotype_panels
from hebae.report.live import CodeMaps
from hebae.report.page import Block, Gallery, Picture, Section
from hebae.report.pixels import to_unit
from hebae.samplers import read_samplers

ACROSS, DOWN = 8, 6  # samples per sampler of a comparison
MOST_BESIDE = 4  # methods side by side; more are below one another
MOST_OPEN = 3  # decoders of a page; more are folded
PER_SAMPLER = 24  # of an evaluation
RECONSTRUCTIONS = 16
PAIRS, STEPS = 4, 11

Array = npt.NDArray[Any]


Drawn = dict[Path, Section]
"""The files of figures, and the section of a page that shows each with its title and caption."""


class _Folder:
    """Draws figures into a folder, or only what a page shows; titles end with data and split."""

    def __init__(self, path: Path | None, data: str, split: str, note: str = "") -> None:
        if path is not None:
            make_folder(path)
        self.path, self.data, self.split, self.note = path, data, split, note
        self.drawn: Drawn = {}

    def draw(
        self,
        name: str,
        draw: Callable[..., Figure],
        *data: Any,
        block: Callable[[str, str], Block] | None = None,
        photos: bool = False,
        **words: object,
    ) -> None:
        """Draw a figure; `words` are values for its caption.

        A page shows the `block` made from title and caption, if there is one, or the picture.
        """
        texts = _texts()[name]
        about = self.data if texts.get("of") == "data" else f"{self.data} {self.split} examples"
        note, caption = self.note, texts["caption"].format(**words).strip()
        if note and texts.get("seeds") != "all":
            about = f"{about}, {note}"
            caption += f" Shown are the models of {note}; the table shows medians over the seeds."
        path = (self.path or Path()) / f"{name}.png"
        shown = None if block is None else block(texts["title"], caption)
        if self.path is not None:
            style.save(draw(*data, title=f"{texts['title']}, {about}"), path)
            shown = shown or Picture(path.read_bytes(), texts["title"], caption, photos)
        if shown is not None:
            self.drawn[path] = Section(texts["title"], [shown])


@cache
def _texts() -> dict[str, dict[str, str]]:
    import yaml

    path = Path(__file__).with_name("figures.yaml")
    texts: dict[str, dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return texts


def draw_models(columns: Columns, folder: Path | None) -> Drawn:
    """Draw samples, reconstructions, interpolations, loss curves and codes, as the data allow.

    `columns` holds runs by method, which differ only in their seed. The loss curves show all seeds,
    the other figures the first that did not diverge; titles name it if there are several seeds.
    Samples are drawn from every sampler that `hebae sample` chooses from, and from the model's own
    prior if it was learned. Without a `folder` there are no files, only what a page shows without
    them. Nothing is drawn if every run diverged.
    """
    opened = {
        label: [run.open() for run in group if not run.diverged] for label, group in columns.items()
    }
    runs = {label: group[0] for label, group in opened.items() if group}
    return draw_runs(runs, opened, columns, folder) if runs else {}


def draw_runs(
    runs: Mapping[str, TrainedRun],
    opened: Mapping[str, Sequence[TrainedRun]],
    columns: Columns,
    folder: Path | None,
) -> Drawn:
    """Draw `runs`, by method; `opened` are those of all seeds. See `draw_models`."""
    first = next(iter(runs.values()))
    examples, split = first.examples, first.split
    several = len({run.settings.seed for group in columns.values() for run in group}) > 1
    target = _Folder(folder, first.dataset.name, split, _name_seeds(runs) if several else "")
    models = {label: run.model for label, run in runs.items()}
    if first.has_images:
        _draw_samples(target, runs)
        limits = first.dataset.train.range
        shown = examples[:RECONSTRUCTIONS]
        originals = to_unit(inference.batch_of(first.model, shown).cpu().numpy(), limits)
        decoded = {
            label: to_unit(inference.reconstruct(model, shown), limits)
            for label, model in models.items()
        }
        rows = {"originals": {"": originals}} | {label: {"": x} for label, x in decoded.items()}
        target.draw(
            "reconstructions",
            images.reconstructions,
            originals,
            decoded,
            block=lambda title, caption: Gallery(title, rows, RECONSTRUCTIONS, caption),
            count=len(shown),
        )
        if pairs := min(PAIRS, len(examples) // 2):
            ends = examples[0 : 2 * pairs : 2], examples[1 : 2 * pairs : 2]
            between = {
                label: to_unit(inference.interpolate(model, *ends, STEPS), limits)
                for label, model in models.items()
            }
            lines_of = {label: {"": x.reshape(-1, *x.shape[2:])} for label, x in between.items()}
            target.draw(
                "interpolations",
                images.interpolations,
                between,
                block=lambda title, caption: Gallery(title, lines_of, STEPS, caption),
                count=pairs,
            )
    held_out = None if split == "train" else split
    histories = {label: [run.history for run in opened[label]] for label in runs}
    target.draw(
        "loss-curves",
        lines.loss_curves,
        histories,
        held_out,
        block=lambda title, caption: loss_chart(histories, held_out, title=title, caption=caption),
    )
    if folder is not None:
        covariances = {label: latent.covariance(run.codes.mean) for label, run in runs.items()}
        target.draw("codes", _heatmaps, covariances, photos=True)
        codes = {label: run.z for label, run in runs.items()}
        _draw_points(target, codes, first.examples.labels)
    else:
        codes = {label: some_z(run) for label, run in runs.items()}
        _draw_points(target, codes, first.some_labels(MOST_EXAMPLES))
    return target.drawn


def _draw_samples(target: _Folder, runs: Mapping[str, TrainedRun]) -> None:
    """Draw samples of every sampler, and of a page N(0, I) beside the best one."""
    drawn = {
        label: samples_of(run, run.sampler_names, ACROSS * DOWN) for label, run in runs.items()
    }
    ways = [way for way in SAMPLERS.values() if all(way in found for found in drawn.values())]
    by_way = {way: {label: found[way] for label, found in drawn.items()} for way in ways}
    others = [way for way in ways if way not in (SAMPLERS["normal"], SAMPLERS["prior"])]
    text = f"Fitted to the training codes: {', '.join(others)}." if others else ""
    alone = len(runs) == 1
    by_method = {label: {way: drawn[label][way] for way in ways} for label in runs}
    table = by_method if alone or len(runs) > MOST_BESIDE else by_way
    across = images_beside(len(runs) if table is by_way else len(ways))
    target.draw(
        "samples",
        images.sample_table,
        by_way,
        ACROSS,
        block=lambda title, caption: Gallery(title, table, across, caption),
        count=ACROSS * DOWN,
        mixture=text,
    )
    if alone or len(ways) < 2:
        return
    beside: dict[str, dict[str, Array]] = {}
    for label, run in runs.items():
        best = SAMPLERS["prior" if run.model.prior.is_learned else run.fitted.best]
        if best in drawn[label]:
            pair = {SAMPLERS["normal"]: drawn[label][SAMPLERS["normal"]]}
            beside[f"{label}, best: {best}"] = pair | {"best sampler": drawn[label][best]}
    if beside:
        title = f"{SAMPLERS['normal']} beside the best sampler"
        caption = _texts()["best"]["caption"]
        target.drawn[Path("best")] = Section(title, [Gallery(title, beside, ACROSS, caption)])


def images_beside(count: int) -> int:
    """Return the images per row of each of `count` mosaics that fit side by side on a page."""
    return {1: 8, 2: 8, 3: 6, 4: 4}.get(count, 3)


def some_z(run: TrainedRun) -> Array:
    """Draw codes of the first examples, as many as a page shows."""
    return inference.draw(run.model, run.some_codes(MOST_EXAMPLES), run.seed)


def explore(runs: Iterable[tuple[str, TrainedRun]]) -> list[Section]:
    """Return the decoders of runs that a page carries, and why it has none of the others."""
    blocks: list[Block] = []
    reasons: dict[str, list[str]] = {}
    for name, run in runs:
        found = explorer_of(run, name)
        if isinstance(found, str):
            reasons.setdefault(found, []).append(name)
        else:
            blocks.append(replace(found, folded=len(blocks) >= MOST_OPEN))
    blocks += [
        f"This page cannot decode the codes of {listed(names)}: {reason} hebae explore RUN opens "
        "any decoder in a browser."
        for reason, names in reasons.items()
    ]
    return [Section("Explore the codes", blocks)] if blocks else []


def code_maps(runs: Mapping[str, TrainedRun], caption: str = "") -> list[Section]:
    """Return a section with a map of the codes of each run."""
    if not runs:
        return []
    labels = next(iter(runs.values())).some_labels(MOST_EXAMPLES)
    texts = _texts()["code-points"]
    colours = "" if labels is None else "Coloured by label."
    text = f"{texts['caption'].format(colours=colours).strip()} {caption}".strip()
    maps = CodeMaps({label: some_z(run) for label, run in runs.items()}, labels, caption=text)
    return [Section(texts["title"], [maps])]


def _name_seeds(shown: Mapping[str, TrainedRun]) -> str:
    seeds = {label: run.settings.seed for label, run in shown.items()}
    if len(set(seeds.values())) == 1:
        return f"seed {min(seeds.values())}"
    return f"seeds {', '.join(f'{seed} ({label})' for label, seed in seeds.items())}"


def samples_of(
    run: TrainedRun, samplers: Sequence[str], count: int = PER_SAMPLER
) -> dict[str, Array]:
    """Decode draws of each sampler that can be fitted, by display name."""
    read_samplers(run.path, run.model)  # a damaged file is no reason to leave them out
    found = {}
    for name in samplers:
        try:
            values = to_unit(run.shown(name, count), run.dataset.train.range)
            found[SAMPLERS[name]] = np.clip(values, 0, 1)
        except HebaeError:  # codes that do not vary, for example
            continue
    return found


@dataclass(frozen=True)
class Evaluated:
    """What the figures of an evaluated run are drawn from."""

    run: RunResult
    samples: Mapping[str, Array]
    """By display name of the sampler; empty if examples are not images, or not measured."""
    codes: Array | None
    """Draws z of q(z|x), shape (n, k), if the codes were measured."""


def draw_evaluation(evaluated: Mapping[str, Evaluated], folder: Path) -> Drawn:
    """Draw every figure that the measurements of runs, by their labels, allow."""
    runs = {label: one.run for label, one in evaluated.items()}
    first = next(iter(runs.values()))
    target = _Folder(folder, first.dataset.name, first.split)
    if samples := {label: one.samples for label, one in evaluated.items() if one.samples}:
        across = images_beside(max(map(len, samples.values())))
        target.draw(
            "samples-by-sampler",
            images.sample_table,
            samples,
            ACROSS,
            block=lambda title, caption: Gallery(title, samples, across, caption),
        )
    if codes := {label: one.codes for label, one in evaluated.items() if one.codes is not None}:
        _draw_points(target, codes, examples_of(first.dataset, first.split).labels)
    moments = {label: found for label, run in runs.items() if (found := _moments(run))}
    if moments:
        for of in CODES:
            of_code = {m: np.asarray(one[of].arrays["covariance"]) for m, one in moments.items()}
            target.draw(f"codes-of-{of}", _heatmaps, of_code, photos=True)
        bars = {label: _bars(one, runs[label]) for label, one in moments.items()}
        target.draw("dimensions", of_codes.dimension_bars, bars)
        histograms = {
            label: {CODES[of]: (m.arrays["edges"], m.arrays["densities"]) for of, m in one.items()}
            for label, one in moments.items()
        }
        target.draw("code-histograms", of_codes.code_histograms, histograms)
    annealed = {
        label: tuple(one.arrays[name] for name in ("temperatures", "lower", "gap"))
        for label, run in runs.items()
        if (one := run.measurement("ais")) is not None and "gap" in one.arrays
    }
    if annealed:
        panels_of = lines.annealing_panels(annealed)
        target.draw(
            "annealing",
            lines.annealing_convergence,
            annealed,
            block=lambda title, caption: Chart(title, panels_of, caption),
        )
    panels = {label: kept for label, run in runs.items() if (kept := _genotypes(run))}
    if panels:
        kinds = dict.fromkeys(SAMPLERS[kind] for kind, _ in panels.values())
        content = {label: arrays for label, (_, arrays) in panels.items()}
        target.draw("genotypes", genotype_panels, content, sampler=", ".join(kinds))
    _draw_reports(target, runs)
    return target.drawn


def _draw_reports(target: _Folder, runs: Mapping[str, RunResult]) -> None:
    """Draw the figures of counts and of tables, each of the most flexible sampler."""
    for name, id, draw in (
        ("counts", "counts.relation", count_panels),
        ("marginals", "table.marginals", table_panels.column_panels),
        ("associations", "table.association", table_panels.association_panels),
        ("closest-records", "table.closest", table_panels.closest_panel),
        ("utility", "table.utility", table_panels.roc_panel),
    ):
        found = {label: one for label, run in runs.items() if (one := _by_sampler(run, id))}
        if found:
            kinds = dict.fromkeys(SAMPLERS[kind] for kind, _ in found.values())
            content = {label: arrays for label, (_, arrays) in found.items()}
            target.draw(name, draw, content, sampler=", ".join(kinds))


def _by_sampler(run: RunResult, id: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return the most flexible sampler by which something was measured, and the arrays of it."""
    for kind in reversed(SAMPLERS):
        if (one := run.measurement(f"{id}.{kind}")) is not None and one.arrays:
            return kind, one.arrays
    return None


def _genotypes(run: RunResult) -> tuple[str, GenotypePanels] | None:
    """Return the most flexible sampler that was measured, and the arrays for its panels."""
    for kind in reversed(SAMPLERS):
        names = ("frequencies", "linkage", "pca_coverage")
        found = [run.measurement(f"genotypes.{name}.{kind}") for name in names]
        if all(one is not None and one.arrays for one in found):
            return kind, GenotypePanels(*(one.arrays for one in found if one is not None))
    return None


def _draw_points(target: _Folder, codes: Mapping[str, Array], labels: Array | None) -> None:
    colours = "" if labels is None else "Coloured by label."
    target.draw(
        "code-points",
        of_codes.code_points,
        codes,
        labels,
        block=lambda title, caption: CodeMaps(codes, labels, title, caption),
        colours=colours,
    )


def _heatmaps(covariances: Mapping[str, Array], *, title: str) -> Figure:
    matrices = {label: (C, latent.correlation(C)) for label, C in covariances.items()}
    return of_codes.code_heatmaps(matrices, title=title)


def _moments(run: RunResult) -> dict[str, Measurement]:
    found = {of: run.measurement(f"moments.mean_abs_correlation.{of}") for of in CODES}
    return {of: one for of, one in found.items() if one is not None}


def _bars(moments: Mapping[str, Measurement], run: RunResult) -> Any:
    kl = run.measurement("moments.least_kl")
    assert kl is not None
    of_mean, of_z = (np.diag(moments[of].arrays["covariance"]) for of in CODES)
    return of_mean, of_z, kl.arrays.get("divergence", kl.undefined)
