"""One run on the page: its map, its sliders, and what the decoder makes of the current code."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui

from hebae.data.conditions import value_of
from hebae.data.examples import Examples
from hebae.errors import HebaeError
from hebae.explorer.runs import ExploredRun, Shown
from hebae.explorer.views import (
    has_images,
    listed_values,
    map_figure,
    picture,
)
from hebae.inference import Conditions, Floats

if TYPE_CHECKING:
    from hebae.explorer.page import Page

MOST_SLIDERS = 10
FURTHEST = 4
"""Standard deviations at the ends of a slider."""
_SELECTED = "(e) => { if (e && e.points) emit(e.points.map(p => p.customdata)); }"
_CLICKED = "(e) => { const row = e.points[0].customdata; if (row !== undefined) emit(row); }"
# The example is shown beside the point, on the side where there is more room.
_HOVERED = """(e) => {
  const p = e.points[0], box = p.bbox || {x0: 0, x1: 0, y0: 0};
  if (p.customdata === undefined) return;
  const width = getElement(ID).$el.clientWidth;
  emit([p.customdata, box.x0, box.x1, box.y0, width]);
}"""


class Viewer:
    """Examples of a run, as one picture or as a table of values."""

    def __init__(self, run: ExploredRun) -> None:
        self.run = run
        if has_images(run):
            self.image = ui.element("img").props('alt=""')
            self.image.visible = False
        else:
            self.table = ui.table(rows=[], columns=[], row_key="name")
            self.table.props("dense flat hide-bottom :rows-per-page-options=[0]").classes("w-full")
            self.table.visible = False

    def show(
        self, values: Floats, titles: Sequence[str], *, columns: int | None = None, side: int = 64
    ) -> None:
        """Show decoded or original examples (n, *shape), with a title for each."""
        if has_images(self.run):
            self.image.props["src"] = picture(self.run, values, columns, side)
            self.image.props["alt"] = f"Images: {', '.join(titles)}"
            self.image.visible = True
            self.image.update()
            return
        keys = [f"v{place}" for place in range(len(titles))]
        headings = [("name", ""), *zip(keys, titles, strict=True)]
        self.table.columns = [
            {
                "name": key,
                "label": title,
                "field": key,
                "align": "left" if key == "name" else "right",
            }
            for key, title in headings
        ]
        self.table.rows = [
            {"name": name, **dict(zip(keys, texts, strict=True))}
            for name, texts in listed_values(self.run, values)
        ]
        self.table.visible = True
        self.table.update()


class Panel:
    """A run with the code that its sliders show."""

    def __init__(self, run: ExploredRun, page: Page) -> None:
        self.run, self.page = run, page
        self.mean: Floats = run.axes.mean.astype(np.float32)
        self.z = self.mean.copy()
        """The current code, shape (k,)."""
        self.source = "mean of the codes"
        self.conditions: Conditions = run.most_frequent_conditions
        self.uploads: list[Shown] = []
        self._uploaded: Floats = np.empty((0, len(self.z)), np.float32)
        self.plot: ui.plotly | None = None
        self.is_drawn = False
        """Whether the browser has drawn the map: parts of it can change from then on."""

    # Map

    def build_map(self) -> None:
        """Make the map, and what shows the example under the pointer."""
        with ui.card().classes("w-full"):
            ui.html(f"<h2>{escape(self.run.label)}: map of the codes</h2>", sanitize=False)
            with ui.element("div").classes("map"):
                self.plot = ui.plotly(self._figure()).classes("w-full").style("height: 440px")
                self.plot.props('role="img" aria-label="Map of the codes"')
                self.hovered = ui.column().classes("hovered gap-1")
                with self.hovered:
                    self.thumbnail = ui.element("img").props('alt=""')
                    self.caption = ui.label("")
                self.hovered.visible = False
        hovered = _HOVERED.replace("ID", str(self.plot.id))
        self.plot.on("plotly_afterplot.once", self._drawn, args=[])
        self.plot.on("plotly_hover", self._hover, js_handler=hovered, throttle=0.05)
        self.plot.on("plotly_unhover", lambda: self.hovered.set_visibility(False), args=[])
        self.plot.on("plotly_click", lambda e: self.page.clicked(int(e.args)), js_handler=_CLICKED)
        self.plot.on("plotly_selected", self._select, js_handler=_SELECTED)
        self.plot.on("plotly_deselect", lambda: self.page.select([], self), args=[])

    def _figure(self) -> dict[str, Any]:
        projection = str(self.page.projection.value)
        names, marker, uploads = ["UMAP 1", "UMAP 2"], None, None
        if projection == "pca":
            shares = np.pad(self.run.axes.shares[:2], (0, 1))
            names = [f"component {i + 1} ({shares[i]:.0%} of the variance)" for i in range(2)]
            marker = self.run.place(self.z[None])[0]
            uploads = self.run.place(self._uploaded)
        selected = self.page.selected
        return map_figure(
            self.run.map(projection),
            self.page.colouring,
            axis_names=(names[0], names[1]),
            selected=selected if len(selected) else None,
            uploads=uploads,
            marker=marker,
        )

    def draw_map(self) -> None:
        """Draw the map anew."""
        # While UMAP is computed, `Page.redraw` waits for it and draws the map then.
        if self.plot is not None and self.run.has_map(str(self.page.projection.value)):
            self.plot.update_figure(self._figure())

    def _drawn(self) -> None:
        self.is_drawn = True

    def _select(self, event: Any) -> None:
        self.page.select([row for row in event.args if isinstance(row, int)], self)

    def _hover(self, event: Any) -> None:
        row, left, right, top, width = event.args
        lines = []
        with self.page.reported():
            values = self._original(int(row))
            if has_images(self.run):
                self.thumbnail.props["src"] = picture(self.run, values, side=112)
                self.thumbnail.update()
            else:
                self.thumbnail.visible = False
                rows = listed_values(self.run, values, most=8)
                lines = [f"{name}: {texts[0]}" for name, texts in rows]
        colouring = self.page.colouring
        known = int(row) < len(self.run.names)
        if known and colouring.codes is not None and colouring.codes[int(row)] >= 0:
            category = f"{colouring.title}: {colouring.names[colouring.codes[int(row)]]}"
            lines = [category, *(line for line in lines if line != category)]
        self.caption.text = "\n".join([self.name_of(int(row)), *lines])
        side = (
            f"right: {width - left + 12:.0f}px" if left > width / 2 else f"left: {right + 12:.0f}px"
        )
        self.hovered.style(replace=f"top: {max(0, top - 60):.0f}px; {side}")
        self.hovered.visible = True

    # Examples by row: those of the run first, uploaded ones after them

    def _example(self, row: int) -> tuple[Examples | None, int]:
        place = row - len(self.run.names)
        if place < 0:
            return self.run.examples, row
        for shown in self.uploads:
            if place < len(shown.names):
                return shown.examples, place
            place -= len(shown.names)
        raise HebaeError("there is no such example.")

    def _names(self) -> list[str]:
        return [*self.run.names, *(name for shown in self.uploads for name in shown.names)]

    def name_of(self, row: int) -> str:
        """Return the name of an example."""
        return self._names()[row]

    def row_named(self, name: str) -> int:
        """Return the row of an example by its name."""
        names = self._names()
        if name not in names:
            raise HebaeError(
                f"none of the shown examples is called {name!r}; click points of the map, or give "
                f"names such as {', '.join(names[:3])}."
            )
        return names.index(name)

    def code_of(self, row: int) -> Floats:
        """Return the code (k,) of an example."""
        assert self.run.codes is not None
        place = row - len(self.run.codes)
        z: Floats = self.run.codes[row] if place < 0 else self._uploaded[place]
        return z

    def _original(self, row: int) -> Floats:
        """Return an example (1, *shape), or without data what the decoder makes of its code."""
        examples, place = self._example(row)
        values = None if examples is None else self.run.originals([place], examples)
        if values is None:
            values = self.run.decode(self.code_of(row)[None], self.run.conditions_of(row))
        return values

    def take_example(self, row: int) -> None:
        """Make the code of an example the current one, with its conditions."""
        examples, place = self._example(row)
        if row < len(self.run.names):
            self._set_conditions(self.run.conditions_of(row))
        elif examples is not None and examples.conditions is not None:
            self._set_conditions(examples.conditions[place : place + 1])
        self.take(self.code_of(row), f"example {self.name_of(row)}")

    def add_uploads(self, shown: Shown, viewer: Viewer) -> None:
        """Add uploaded examples to the map, and show them above what the decoder makes of them."""
        codes = self.run.encode(shown.examples)
        self.uploads.append(shown)
        self._uploaded = np.concatenate([self._uploaded, codes])
        few = min(len(codes), 12 if has_images(self.run) else 3)
        conditions = shown.examples.conditions
        originals = self.run.originals(range(few), shown.examples)
        assert originals is not None
        decoded = np.concatenate(
            [
                self.run.decode(
                    codes[i : i + 1], None if conditions is None else conditions[i : i + 1]
                )
                for i in range(few)
            ]
        )
        titles = shown.names[:few]
        viewer.show(
            np.concatenate([originals, decoded]),
            [*titles, *(f"{title} decoded" for title in titles)],
            columns=few,
        )
        if self.run.codes is None:
            self.take(codes[0], f"example {shown.names[0]}")
        else:
            self.take_example(len(self.run.names) + sum(len(s.names) for s in self.uploads[:-1]))
        self.draw_map()

    # Decoder

    def build_decoder(self) -> None:
        """Make the decoded example, the conditions and the sliders."""
        axes = self.run.axes
        with ui.card().classes("w-full"):
            ui.html(f"<h2>{escape(self.run.label)}: decoder</h2>", sanitize=False)
            with ui.row().classes("w-full items-start gap-6"):
                with ui.column().classes("gap-1").style("max-width: 100%"):
                    self.viewer = Viewer(self.run)
                    self.origin = ui.label("").classes("quiet")
                with ui.column().classes("gap-1").style("flex: 1 1 220px; min-width: 0"):
                    self._build_conditions()
                    ui.label(
                        "Principal directions of the codes, in standard deviations, with their "
                        "share of the variance"
                    ).classes("quiet")
                    self.sliders = [
                        self._build_slider(place, float(axes.shares[place]))
                        for place in range(min(MOST_SLIDERS, len(axes.mean)))
                    ]
                    ui.button(
                        "Back to the mean",
                        on_click=lambda: self.take(self.mean, "mean of the codes"),
                    ).props("no-caps flat dense")
        self.take(self.z, self.source, marker=False)  # which the map has, once it is loaded

    def _build_slider(self, place: int, share: float) -> ui.slider:
        with ui.row().classes("w-full items-center no-wrap gap-3"):
            ui.label(f"{place + 1}").classes("quiet w-4 text-right")
            slider = ui.slider(min=-FURTHEST, max=FURTHEST, step=0.05, value=0).classes("grow")
            slider.props(f'label dense aria-label="Direction {place + 1}"')
            ui.label(f"{share:.0%}").classes("quiet w-10 text-right")
        # Only moves of the user: a value that is set here must not change the code again.
        slider.on(
            "update:model-value",
            lambda event, place=place: self._move(place, float(event.args)),
            throttle=0.04,
        )
        return slider

    def _move(self, place: int, value: float) -> None:
        coordinates = self.run.axes.coordinates(self.z[None])[0]
        coordinates[place] = value
        moved = self.run.axes.codes(coordinates[None])[0]
        source = self.source.removesuffix(", moved")
        self.take(moved, f"{source}, moved", sliders=False)

    def _build_conditions(self) -> None:
        self.controls: list[Any] = []
        for column in self.run.condition_columns:
            control: Any
            if column.categories:
                options = dict(enumerate(column.categories))
                control = ui.select(options, label=column.name, value=0)
            else:
                control = ui.number(column.name, value=0)
            self.controls.append(control.classes("w-48"))
        self._set_conditions(self.conditions)
        for control in self.controls:
            control.on_value_change(self._change_conditions)

    def _set_conditions(self, conditions: Conditions) -> None:
        if conditions is None or not self.run.condition_columns:
            return
        self.conditions = np.array(conditions, np.float32)
        for control, column, number in zip(
            self.controls, self.run.condition_columns, conditions[0].tolist(), strict=True
        ):
            control.value = int(number) if column.categories else number

    def _change_conditions(self) -> None:
        if any(control.value is None for control in self.controls):
            return
        given = np.array([[float(control.value) for control in self.controls]], np.float32)
        if not np.isfinite(given).all():
            with self.page.reported():
                raise HebaeError("a condition is too large; give a number below 1e38.")
            return
        if self.conditions is None or (given != self.conditions).any():
            self.conditions = given
            self.take(self.z, self.source)

    def condition_text(self) -> str:
        """Return the conditions that codes are decoded with, as text."""
        if self.conditions is None:
            return ""
        pairs = zip(self.run.condition_columns, self.conditions[0].tolist(), strict=True)
        return ", ".join(f"{column.name} {value_of(number, column)}" for column, number in pairs)

    def decode(self, z: Floats) -> Floats:
        """Decode codes (n, k) with the conditions that are set."""
        return self.run.decode(z, self.conditions)

    def take(self, z: Floats, source: str, *, sliders: bool = True, marker: bool = True) -> None:
        """Make a code (k,) the current one, and show what the decoder makes of it."""
        self.z, self.source = np.array(z, np.float32), source
        with self.page.reported():
            self.viewer.show(self.decode(self.z[None]), ["decoded"], side=224)
        self.origin.text = f"Code: {source}"
        if sliders:
            coordinates = self.run.axes.coordinates(self.z[None])[0]
            for slider, value in zip(self.sliders, coordinates.tolist(), strict=False):
                slider.value = round(min(max(value, -FURTHEST), FURTHEST), 2)
        if marker and self.plot is not None and str(self.page.projection.value) == "pca":
            if not self.is_drawn:
                self.draw_map()
                return
            place = self.run.place(self.z[None])[0].tolist()
            moved = {"x": [[place[0]]], "y": [[place[1]]]}
            last = len(self.plot.figure["data"]) - 1  # the current code
            self.plot.run_plot_method("restyle", moved, [last])


def number_in(field: ui.number, name: str) -> float:
    """Return the number in a field, 0 if it is empty, within its limits."""
    value = float(field.value or 0)
    if not field.min <= value <= field.max:
        limits = f"{field.min:g} to {field.max:,.0f}"
        raise HebaeError(f"the {name} is {value:g}; it must be from {limits}.")
    return value
