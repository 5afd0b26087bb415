// Charts of lines: zoom by dragging, by the buttons or by the keyboard; values on hover.
"use strict";

function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// At most six significant digits, with a true minus sign.
function shown(value) {
  const size = Math.abs(value);
  const text = size && (size >= 1e6 || size < 1e-4) ? value.toExponential(2) : String(Number(value.toPrecision(6)));
  return text.replace("-", "\u2212");
}

function roundTicks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(i * step);
  return ticks;
}

function logTicks(low, high) {
  for (const factors of [[1], [1, 2, 5], [1, 2, 3, 5, 7], [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]]) {
    const ticks = [];
    for (let power = Math.floor(low); power <= high; power++) {
      for (const factor of factors) {
        const place = power + Math.log10(factor);
        if (place >= low - 1e-9 && place <= high + 1e-9) ticks.push(place);
      }
    }
    if (ticks.length >= 3 || factors.length > 9) return ticks.filter((_, i) => i % Math.ceil(ticks.length / 7) === 0);
  }
}

function drawPanel(panel, hidden) {
  const place = { x: panel.x_scale === "log" ? Math.log10 : Number, y: panel.y_scale === "log" ? Math.log10 : Number };
  const back = { x: panel.x_scale === "log" ? (v) => 10 ** v : Number, y: panel.y_scale === "log" ? (v) => 10 ** v : Number };
  const [left, right, top, bottom, height] = [58, 12, 8, 40, 260];
  const svg = make("svg:svg", { role: "img", tabindex: 0, class: "chart" });
  const tip = make("div", { class: "tip", "aria-hidden": "true" });
  const box = make("div", { class: "panel" }, make("h3", {}, panel.title), make("p", { class: "note" }, panel.note), make("div", { class: "plot" }, svg, tip));
  const home = panel.view.map((value, i) => place[i < 2 ? "x" : "y"](value));
  let view = home;
  let drag = null;
  const width = () => Math.max(240, svg.clientWidth || 320);
  const toX = (v) => left + ((v - view[0]) / (view[1] - view[0])) * (width() - left - right);
  const toY = (v) => height - bottom - ((v - view[2]) / (view[3] - view[2])) * (height - top - bottom);
  const fromX = (p) => view[0] + ((p - left) / (width() - left - right)) * (view[1] - view[0]);
  const fromY = (p) => view[2] + ((height - bottom - p) / (height - top - bottom)) * (view[3] - view[2]);

  function draw() {
    svg.setAttribute("viewBox", `0 0 ${width()} ${height}`);
    svg.setAttribute("aria-label", `${panel.title}${panel.note ? `, ${panel.note}` : ""}, over ${panel.x_label}: ` + panel.lines.filter((line) => !hidden.has(line.name))
      .map((line) => `${line.name}${line.dashed ? " (dashed)" : ""} from ${shown(line.points[0][1])} to ${shown(line.points.at(-1)[1])}`).join("; "));
    const clip = `clip${panel.id}`;
    const parts = [make("svg:clipPath", { id: clip }, make("svg:rect", { x: left, y: top, width: width() - left - right, height: height - top - bottom }))];
    const yTicks = panel.y_scale === "log" ? logTicks(view[2], view[3]) : roundTicks(view[2], view[3], 5);
    const xTicks = (panel.x_ticks
      ? panel.x_ticks.map(([v, label]) => [place.x(v), label])
      : (panel.x_scale === "log" ? logTicks(view[0], view[1]) : roundTicks(view[0], view[1], Math.min(6, width() / 70))).map((v) => [v, shown(back.x(v))])
    ).filter(([v]) => v >= view[0] - 1e-9 && v <= view[1] + 1e-9);
    for (const v of yTicks) {
      parts.push(make("svg:line", { x1: left, x2: width() - right, y1: toY(v), y2: toY(v), class: "grid" }));
      parts.push(make("svg:text", { x: left - 6, y: toY(v) + 4, "text-anchor": "end" }, shown(back.y(v))));
    }
    let end = -Infinity;
    for (const [v, label] of xTicks) {
      parts.push(make("svg:line", { x1: toX(v), x2: toX(v), y1: height - bottom, y2: height - bottom + 4, class: "axis" }));
      if (toX(v) - 3.6 * label.length < end + 4) continue; // it would cover the label before it
      end = toX(v) + 3.6 * label.length;
      parts.push(make("svg:text", { x: toX(v), y: height - bottom + 17, "text-anchor": "middle" }, label));
    }
    parts.push(make("svg:line", { x1: left, x2: width() - right, y1: height - bottom, y2: height - bottom, class: "axis" }));
    parts.push(make("svg:text", { x: (left + width() - right) / 2, y: height - 6, "text-anchor": "middle", class: "quiet" }, panel.x_label));
    parts.push(make("svg:text", { transform: `translate(12 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "quiet" }, panel.y_label));
    const inside = make("svg:g", { "clip-path": `url(#${clip})` });
    if (panel.mark !== null) inside.append(make("svg:line", { x1: toX(place.x(panel.mark)), x2: toX(place.x(panel.mark)), y1: top, y2: height - bottom, class: "mark" }));
    for (const line of panel.lines.filter((one) => !hidden.has(one.name))) {
      const at = (i) => line.points.map((p) => `${toX(place.x(p[0])).toFixed(1)},${toY(place.y(p[i])).toFixed(1)}`);
      const colour = `--c: ${line.colour}`;
      if (line.points[0].length > 2) inside.append(make("svg:polygon", { points: [...at(2), ...at(3).reverse()].join(" "), class: "band", style: colour }));
      inside.append(make("svg:polyline", { points: at(1).join(" "), class: line.dashed ? "line dashed" : "line", style: colour }));
      if (line.points.length < 30 && !line.dashed) {
        inside.append(...at(1).map((p) => make("svg:circle", { cx: p.split(",")[0], cy: p.split(",")[1], r: 2.5, class: "dot", style: colour })));
      }
    }
    svg.replaceChildren(...parts, inside, make("svg:rect", { class: "selection" }));
  }

  function set(next) {
    view = next;
    draw();
  }
  function zoom(factor) {
    const [x, y] = [(view[0] + view[1]) / 2, (view[2] + view[3]) / 2];
    const [w, h] = [((view[1] - view[0]) / 2) * factor, ((view[3] - view[2]) / 2) * factor];
    set([x - w, x + w, y - h, y + h]);
  }
  function move(x, y) {
    const [w, h] = [(view[1] - view[0]) * x, (view[3] - view[2]) * y];
    set([view[0] + w, view[1] + w, view[2] + h, view[3] + h]);
  }
  const point = (event) => {
    const area = svg.getBoundingClientRect();
    const limit = (value, low, high) => Math.min(high, Math.max(low, value));
    return [limit(event.clientX - area.left, left, width() - right), limit(event.clientY - area.top, top, height - bottom)];
  };
  svg.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") return; // it scrolls the page; the buttons zoom
    drag = point(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const [x, y] = point(event);
    if (drag) {
      const corner = { x: Math.min(x, drag[0]), y: Math.min(y, drag[1]), width: Math.abs(x - drag[0]), height: Math.abs(y - drag[1]) };
      for (const [name, value] of Object.entries(corner)) svg.lastChild.setAttribute(name, value);
    }
    const found = panel.lines.filter((line) => !hidden.has(line.name)).map((line) => [line, line.points.reduce((a, b) => (Math.abs(toX(place.x(b[0])) - x) < Math.abs(toX(place.x(a[0])) - x) ? b : a))]);
    if (!found.length) return;
    tip.replaceChildren(make("b", {}, `${panel.x_label} ${shown(found[0][1][0])}`), ...found.map(([line, p]) => make("span", { style: `--c: ${line.colour}` }, `${line.name}${line.dashed ? `, ${line.dashed}` : ""}: ${shown(p[1])}${p.length > 2 ? ` [${shown(p[2])}, ${shown(p[3])}]` : ""}`)));
    tip.style.display = "block";
    tip.style.left = `${Math.min(x + 14, Math.max(0, width() - tip.offsetWidth))}px`;
    tip.style.top = `${Math.min(y + 10, height)}px`;
  });
  svg.addEventListener("pointerleave", () => (tip.style.display = "none"));
  svg.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const [x, y] = point(event);
    const [a, b] = drag;
    drag = null;
    if (Math.abs(x - a) < 6 || Math.abs(y - b) < 6) return draw();
    set([fromX(Math.min(x, a)), fromX(Math.max(x, a)), fromY(Math.max(y, b)), fromY(Math.min(y, b))]);
  });
  svg.addEventListener("dblclick", () => set(home));
  const keys = { "+": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: () => set(home), ArrowLeft: () => move(-0.2, 0), ArrowRight: () => move(0.2, 0), ArrowUp: () => move(0, 0.2), ArrowDown: () => move(0, -0.2) };
  svg.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  const button = (text, label, action) => {
    const made = make("button", { type: "button", "aria-label": `${label}: ${panel.title}`, title: label }, text);
    made.addEventListener("click", action);
    return made;
  };
  box.prepend(make("div", { class: "tools" }, button("+", "Zoom in", keys["+"]), button("\u2212", "Zoom out", keys["-"]), button("\u27f2", "Reset the view", keys[0])));
  return { box, draw };
}

function drawChart(figure, data) {
  const hidden = new Set();
  const panels = data.panels.map((panel) => drawPanel(panel, hidden));
  const redraw = () => panels.forEach((panel) => panel.draw());
  const colours = new Map(data.panels.flatMap((panel) => panel.lines.map((line) => [line.name, line.colour])));
  const legend = make("div", { class: "legend" });
  for (const [name, colour] of colours) {
    const entry = make("button", { type: "button", "aria-pressed": "true", title: "Show or hide", style: `--c: ${colour}` }, make("i"), name);
    entry.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      entry.setAttribute("aria-pressed", String(!hidden.has(name)));
      redraw();
    });
    legend.append(entry);
  }
  legend.append(...data.legend.map(([kind, text]) => make("span", {}, make("i", { class: kind }), text)));
  figure.querySelector(".holder").replaceChildren(make("div", { class: "panels" }, ...panels.map((panel) => panel.box)), legend);
  new ResizeObserver(redraw).observe(figure);
  redraw();
}
