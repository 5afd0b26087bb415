"""The page of the explorer, by NiceGUI: one `Page` per browser tab."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nicegui import run as background
from nicegui import ui

from hebae.errors import HebaeError
from hebae.explorer.panel import Panel, Viewer, number_in
from hebae.explorer.runs import ExploredRun, Rows, Shown, attribute, between
from hebae.explorer.uploads import MOST_BYTES, Reader, read_upload
from hebae.explorer.views import (
    Colouring,
    colourings,
    groups,
    has_images,
    save_path,
    selection_csv,
)
from hebae.files import write_atomically
from hebae.inference import Floats

STEPS = 8
"""Points of an interpolation, and of a walk along an attribute."""
MOST_LISTED = 200
"""Selected examples whose names are listed."""
STYLE = """
.explorer { max-width: 1500px; margin: 0 auto; width: 100%; }
.panels { display: grid; gap: 16px; width: 100%;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.panel { gap: 16px; min-width: 0; }
.explorer .q-card, .explorer .q-tabs { min-width: 0; max-width: 100%; }
.explorer img { image-rendering: pixelated; max-width: 100%; display: block; }
.explorer h2 { font-size: 1.1rem; font-weight: 600; margin: 0; line-height: 1.4; }
.map { position: relative; width: 100%; }
.hovered { position: absolute; z-index: 5; pointer-events: none; padding: 8px; max-width: 260px;
  border-radius: 6px; background: white; color: #222; box-shadow: 0 2px 10px rgba(0,0,0,.35);
  font-size: 12px; white-space: pre-line; overflow-wrap: anywhere; }
.body--dark .hovered { background: #2b2b2b; color: #eee; }
.quiet { color: #6b6b6b; font-size: .85rem; }
.body--dark .quiet { color: #a8a8a8; }
.problem { color: #b3261e; } .body--dark .problem { color: #ff8a80; }
.ids { max-height: 180px; overflow: auto; font-size: .85rem; overflow-wrap: anywhere; width: 100%; }
"""


class Page:
    """What one browser tab shows and has chosen.

    Parameters
    ----------
    runs : sequence of ExploredRun
    readers : sequence of callable
        Reads uploaded files as the data of each run.
    folder : Path, optional
        Where a selection may be saved on this machine; None if it can only be downloaded.
    """

    def __init__(
        self, runs: Sequence[ExploredRun], readers: Sequence[Reader], folder: Path | None
    ) -> None:
        self.runs, self.readers, self.folder = runs, readers, folder
        self.choices = colourings(runs[0])
        self.groups = groups(self.choices)
        self.selected: Rows = np.array([], np.intp)
        self.pair: list[int] = []
        self.panels = [Panel(run, self) for run in runs]

    def build(self) -> None:
        """Make all elements."""
        ui.add_css(STYLE)
        dark = ui.dark_mode(None)
        first = self.runs[0]
        with ui.column().classes("explorer q-pa-md gap-4"):
            with ui.row().classes("w-full items-center justify-between"):
                with ui.column().classes("gap-0"):
                    ui.label("hebae explore").classes("text-h5")
                    data = first.config.get("data_name") or "data given in Python"
                    ui.label(f"{', '.join(r.label for r in self.runs)} · {data}").classes("quiet")
                theme = ui.toggle({None: "Auto", False: "Light", True: "Dark"}, value=None)
                theme.props('dense no-caps aria-label="Colours of the page"')
                theme.on_value_change(lambda event: dark.set_value(event.value))
            if first.codes is None:
                ui.label(
                    "The data of this run could not be loaded, so there is no map. Sliders and "
                    "samples work without data."
                ).classes("quiet")
            else:
                self._build_choices()
            with ui.element("div").classes("panels"):
                for panel in self.panels:
                    # Alone, map and decoder are side by side; of several runs, below one another.
                    with ui.column().classes("panel") if len(self.panels) > 1 else nullcontext():
                        if first.codes is not None:
                            panel.build_map()
                        panel.build_decoder()
            self._build_tools()

    def _build_choices(self) -> None:
        with ui.row().classes("items-center gap-4"):
            self.projection = ui.select(
                self.runs[0].projections, value="pca", label="Projection", on_change=self.redraw
            ).classes("w-32")
            options = {key: title for key, (title, _) in self.choices.items()}
            start = (
                "label"
                if "label" in options
                else next((key for key in options if key.startswith("condition")), "none")
            )
            self.colour = ui.select(
                options, value=start, label="Colour by", with_input=True, on_change=self.redraw
            ).classes("w-48")
            self.working = ui.spinner(size="sm")
            self.working.visible = False
            ui.label(
                f"{self.runs[0].count}. Point at one to see it, click to decode "
                "it, draw a lasso to list several."
            ).classes("quiet")

    def _build_tools(self) -> None:
        there = self.runs[0].codes is not None
        with ui.card().classes("w-full"):
            with ui.tabs().props("dense no-caps align=left outside-arrows mobile-arrows") as tabs:
                names = ["Samples"]
                if there:
                    names = ["Selection", "Interpolation", "Attributes", "Samples"]
                names.append("Upload")
                for name in names:
                    ui.tab(name)
            builders: Mapping[str, Callable[[], None]] = {
                "Selection": self._build_selection,
                "Interpolation": self._build_interpolation,
                "Attributes": self._build_attributes,
                "Samples": self._build_samples,
                "Upload": self._build_upload,
            }
            with ui.tab_panels(tabs, value=names[0], keep_alive=True).classes("w-full"):
                for name in names:
                    with ui.tab_panel(name).classes("gap-3 q-px-none"):
                        builders[name]()

    # Selection

    def _build_selection(self) -> None:
        self.count = ui.label("No example is selected: draw a lasso around points of a map.")
        self.listed = ui.label("").classes("ids").props('data-testid="ids"')
        with ui.row().classes("items-center gap-3"):
            ui.button("Download CSV", on_click=self._download).props("no-caps outline")
            if self.folder is not None:
                self.file = ui.input("File name", value="selection.csv").classes("w-48")
                ui.button("Save", on_click=self._save).props("no-caps outline")
                ui.label(f"in {self.folder}").classes("quiet")
        self.saved = ui.label("").props('role="status"')

    def select(self, rows: Sequence[int], source: Panel) -> None:
        """Select examples by a lasso in the map of a panel; uploaded ones are left out."""
        known = len(self.runs[0].names)
        self.selected = np.array(sorted({row for row in rows if 0 <= row < known}), np.intp)
        names = [self.runs[0].names[row] for row in self.selected]
        self.count.text = f"{len(names):,} of {known:,} examples are selected."
        more = f", and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
        self.listed.text = ", ".join(names[:MOST_LISTED]) + more
        self.saved.text = ""
        for panel in self.panels:
            if panel is not source:
                panel.draw_map()

    def _download(self) -> None:
        with self.reported():
            content = selection_csv(self.runs[0], self.selected)
            ui.download.content(content, "selection.csv", "text/csv")

    def _save(self) -> None:
        assert self.folder is not None
        with self.reported(self.saved):
            content = selection_csv(self.runs[0], self.selected)
            path = save_path(self.folder, (self.file.value or "").strip())
            write_atomically(path, lambda temporary: temporary.write_bytes(content))
            self.saved.text = f"Wrote {len(self.selected):,} examples: {path}"

    # Interpolation

    def _build_interpolation(self) -> None:
        ui.label(
            "Decodes points on the line between the codes of two examples: the last two that you "
            "clicked in a map, or those that you name."
        ).classes("quiet")
        with ui.row().classes("items-center gap-3"):
            self.ends = [ui.input(name).classes("w-40") for name in ("From", "To")]
            ui.button("Interpolate", on_click=self._interpolate).props("no-caps outline")
        self.lines = self._viewers()

    def clicked(self, row: int) -> None:
        """Take an example as the current code of all panels, and as the end of a line."""
        self.pair = [*self.pair, row][-2:]
        for panel in self.panels:
            panel.take_example(row)
        for end, other in zip(self.ends, self.pair, strict=False):
            end.value = self.panels[0].name_of(other)
        if len(self.pair) == 2:
            self._interpolate()

    def _interpolate(self) -> None:
        with self.reported():
            first, second = (
                self.panels[0].row_named((end.value or "").strip()) for end in self.ends
            )
            for panel, viewer in zip(self.panels, self.lines, strict=True):
                codes = between(panel.code_of(first), panel.code_of(second), STEPS)
                titles = [f"{share:.0%}" for share in np.linspace(0, 1, STEPS)]
                viewer.show(panel.decode(codes), titles, columns=STEPS)

    # Attributes

    def _build_attributes(self) -> None:
        if len(self.groups) < 2:
            ui.label(
                "There are no attributes: the examples have no labels, categories or columns of "
                "numbers."
            )
            return
        ui.label(
            "The difference between the mean codes of two groups is added to the current code. "
            "Strength 0 adds nothing, 1 adds the whole difference."
        ).classes("quiet")
        names = list(self.groups)
        with ui.row().classes("items-center gap-3"):
            self.lacking = ui.select(names, value=names[0], label="From", with_input=True)
            self.having = ui.select(names, value=names[1], label="To", with_input=True)
            self.strength = ui.number("Strength", value=1.0, min=-5, max=5, step=0.25)
            for element in (self.lacking, self.having):
                element.classes("w-48")
            self.strength.classes("w-24")
            ui.button("Apply", on_click=self._apply).props("no-caps outline")
            ui.button("Use the result as the current code", on_click=self._take).props(
                "no-caps flat"
            )
        self.walks = self._viewers()

    def _attribute(self, panel: Panel) -> Floats:
        assert panel.run.codes is not None
        rows = [self.groups[str(e.value)]() for e in (self.having, self.lacking)]
        return attribute(panel.run.codes, *rows) * np.float32(number_in(self.strength, "strength"))

    def _apply(self) -> None:
        with self.reported():
            for panel, viewer in zip(self.panels, self.walks, strict=True):
                codes = between(panel.z, panel.z + self._attribute(panel), STEPS)
                shares = np.linspace(0, float(self.strength.value or 0), STEPS)
                viewer.show(panel.decode(codes), [f"{s:.2g}" for s in shares], columns=STEPS)

    def _take(self) -> None:
        with self.reported():
            moved = [panel.z + self._attribute(panel) for panel in self.panels]
            for panel, z in zip(self.panels, moved, strict=True):
                panel.take(z, f"{panel.source}, {self.lacking.value} → {self.having.value}")

    # Samples

    def _build_samples(self) -> None:
        ready = self.runs[0].samplers
        options = {
            name: name if all(run.samplers[name] for run in self.runs) else f"{name} (to be fitted)"
            for name in ready
        }
        learned = all(run.model.prior.is_learned for run in self.runs)
        with ui.row().classes("items-center gap-3"):
            start = "prior" if learned else "normal"
            self.sampler = ui.select(options, value=start, label="Sampler").classes("w-56")
            self.seed = ui.number("Seed", value=0, min=0, max=2**32 - 1, precision=0)
            self.seed.classes("w-28")
            ui.button("Draw", on_click=self._draw).props("no-caps outline")
            self.fitting = ui.spinner(size="sm")
            self.fitting.visible = False
        ui.label(
            "All runs use the same seed. Fitting a sampler takes up to two minutes. The fitted "
            "sampler is stored with the run."
        ).classes("quiet")
        self.draws = self._viewers()

    async def _draw(self) -> None:
        name = str(self.sampler.value)
        with self.reported(), shown_while(self.fitting):
            seed = int(number_in(self.seed, "seed"))
            for panel, viewer in zip(self.panels, self.draws, strict=True):
                count = 24 if has_images(panel.run) else STEPS
                draw = partial(panel.run.draw, name, count, seed, panel.conditions)
                values = await background.io_bound(draw)
                if values is not None:  # as it is while the server stops
                    viewer.show(values, [str(i + 1) for i in range(count)], columns=12)

    # Upload

    def _build_upload(self) -> None:
        ui.label(
            "Images, a table, an array, an .h5ad file or genotypes, at most "
            f"{MOST_BYTES // 2**20} MiB. They are read like the training data. The code of the "
            "first example becomes the current code."
        ).classes("quiet")
        self.problem = ui.label("").classes("problem").props('role="alert"')
        ui.upload(
            multiple=True,
            auto_upload=True,
            max_total_size=MOST_BYTES,
            label="Choose files, or drop them here",
            on_multi_upload=self._upload,
            on_rejected=lambda: self.problem.set_text(
                f"The upload is larger than {MOST_BYTES // 2**20} MiB; give fewer examples."
            ),
        ).props("flat bordered").classes("w-full max-w-md")
        self.received = ui.label("").props('role="status"')
        self.uploads = self._viewers()

    async def _upload(self, event: Any) -> None:
        event.sender.reset()
        self.received.text = ""
        with self.reported(self.problem):
            files = [(file.name, await file.read()) for file in event.files]
            found: list[Shown] = []
            for panel, read in zip(self.panels, self.readers, strict=True):
                work = partial(read_upload, panel.run, read, files, panel.conditions)
                shown = await background.io_bound(work)
                if shown is None:  # the server is stopping
                    return
                found.append(shown)
            for panel, viewer, shown in zip(self.panels, self.uploads, found, strict=True):
                panel.add_uploads(shown, viewer)
            self.received.text = found[0].received

    # Shared

    def _viewers(self) -> list[Viewer]:
        """Make a viewer per run, under its name if there are several."""
        viewers = []
        with ui.element("div").classes("panels"):
            for run in self.runs:
                with ui.column().classes("gap-1 w-full").style("min-width: 0"):
                    if len(self.runs) > 1:
                        ui.label(run.label).classes("text-weight-medium")
                    viewers.append(Viewer(run))
        return viewers

    @property
    def colouring(self) -> Colouring:
        """What the points are coloured by."""
        return self.choices[str(self.colour.value)][1]()

    async def redraw(self) -> None:
        """Draw the maps anew; UMAP is computed off the event loop when it is first asked for."""
        with self.reported(), shown_while(self.working):
            for panel in self.panels:
                await background.io_bound(panel.run.map, str(self.projection.value))
                panel.draw_map()

    @contextmanager
    def reported(self, place: ui.label | None = None) -> Iterator[None]:
        """Show an error that is meant for the user, in a label or as a notification."""
        if place is not None:
            place.text = ""
        try:
            yield
        except HebaeError as error:
            text = str(error)
            if text.partition(" ")[0].isalpha():  # not a file, or a flag
                text = f"{text[:1].upper()}{text[1:]}"
            show_problem(text, place)
        except OSError as error:
            show_problem(f"The file cannot be written or read: {error.strerror or error}.", place)


def show_problem(text: str, place: ui.label | None) -> None:
    """Show an error in a label or as a notification."""
    if place is not None:
        place.text = text
    else:
        ui.notify(text, type="negative", multi_line=True, timeout=0, close_button="Close")


@contextmanager
def shown_while(element: ui.element) -> Iterator[None]:
    """Show an element as long as something is computed."""
    element.visible = True
    try:
        yield
    finally:
        element.visible = False
