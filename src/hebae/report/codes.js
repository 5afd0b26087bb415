// Maps of codes, and decoders that run in the page: sliders, interpolation between two codes.
"use strict";

const CLASSES = ["#332288", "#CC6677", "#117733", "#88CCEE", "#DDCC77", "#AA4499", "#44AA99", "#882255", "#999933", "#000000"];
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : (2 ** -14 * fraction) / 1024;
  return bits >> 15 ? -size : size;
});

const isDark = () => document.documentElement.dataset.theme === "dark";
const ink = () => getComputedStyle(document.body).color;

function classColour(index) {
  const colour = CLASSES[index % CLASSES.length];
  if (!isDark()) return colour;
  const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return `rgb(${parts.map((part) => Math.round(part + (255 - part) * 0.45)).join(" ")})`;
}

function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

const floatsOf = (text) => new Float32Array(bytesOf(text).buffer);

// Numbers in half precision, compressed: all low bytes, then all high bytes.
async function halvesOf(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = bytes.length / 2;
  return Float32Array.from({ length: count }, (_, i) => HALVES[bytes[i] | (bytes[count + i] << 8)]);
}

function drawMap(canvas, data, marks = []) {
  const [size, scale] = [canvas.clientWidth, window.devicePixelRatio || 1];
  canvas.width = canvas.height = size * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const half = data.half;
  const at = ([x, y]) => [((x + half) / (2 * half)) * size, ((half - y) / (2 * half)) * size];
  context.lineWidth = 1;
  data.points.forEach((point, i) => {
    const [x, y] = at(point);
    context.fillStyle = data.labels ? classColour(data.classes.indexOf(data.labels[i])) : isDark() ? "#8ab4e8" : data.colour;
    context.globalAlpha = 0.75;
    context.beginPath();
    context.arc(x, y, data.radius, 0, 2 * Math.PI);
    context.fill();
  });
  context.globalAlpha = 1;
  context.strokeStyle = context.fillStyle = ink();
  context.setLineDash([5, 3]);
  for (const share of [0.5, 0.95]) {
    context.beginPath();
    context.arc(...at([0, 0]), (Math.sqrt(-2 * Math.log(1 - share)) / (2 * half)) * size, 0, 2 * Math.PI);
    context.stroke();
  }
  context.setLineDash([]);
  context.font = "bold 13px system-ui, sans-serif";
  for (const [point, text] of marks) {
    const [x, y] = at(point);
    context.lineWidth = 2;
    context.beginPath();
    if (text) context.arc(x, y, 6, 0, 2 * Math.PI);
    else for (const [a, b] of [[8, 0], [0, 8]]) { context.moveTo(x - a, y - b); context.lineTo(x + a, y + b); }
    context.stroke();
    context.fillText(text, x + 9, y - 6);
  }
}

function mapLegend(data) {
  const legend = make("div", { class: "legend" });
  const entries = (data.labels ? data.classes : []).map((name, i) => [make("i", { class: "point" }), String(name), i]);
  const paint = () => entries.forEach(([mark, , i]) => mark.style.setProperty("--c", classColour(i)));
  legend.append(...entries.map(([mark, name]) => make("span", {}, mark, name)), make("span", {}, make("i", { class: "circle" }), "N(0, I): 50 % and 95 %"));
  paint();
  return { legend, paint };
}

function drawMaps(figure, data) {
  const draws = [];
  const panels = data.maps.map((map) => {
    const canvas = make("canvas", { role: "img", "aria-label": `Map of the codes of ${map.name}: ${map.note}` });
    draws.push(() => drawMap(canvas, { ...map, classes: data.classes, radius: 2 }));
    return make("div", { class: "panel" }, make("h3", {}, map.name), make("p", { class: "note" }, map.note), canvas, make("p", { class: "note axes" }, `${map.axes[0]} \u2192, ${map.axes[1]} \u2191`));
  });
  const { legend, paint } = mapLegend({ ...data.maps[0], classes: data.classes });
  figure.querySelector(".holder").replaceChildren(make("div", { class: "panels maps" }, ...panels), legend);
  const redraw = () => { paint(); draws.forEach((draw) => draw()); };
  new ResizeObserver(redraw).observe(figure);
  document.addEventListener("themechange", redraw);
}

// ---- the decoder ----------------------------------------------------------------------------------

const sigmoid = (v) => 1 / (1 + Math.exp(-v));

// Each makes numbers of an example (y) of outputs of the decoder (o); `at` are the places in y.
const MEANS = {
  sigmoid(o, y, step, at) {
    for (let j = 0; j < at.length; j++) y[at[j]] = step.trials * sigmoid(o[j] + (step.offset ? step.offset[j] : 0));
  },
  continuous_bernoulli(o, y, step, at) {
    for (let j = 0; j < at.length; j++) {
      const [l, q] = [o[j], o[j] * o[j]];
      y[at[j]] = Math.abs(l) < 0.3 ? 0.5 + l * (1 / 12 - q / 720 + (q * q) / 30240) : sigmoid(l) / Math.tanh(l / 2) - 1 / l;
    }
  },
  affine(o, y, step, at) {
    for (let j = 0; j < at.length; j++) y[at[j]] = (step.unit ? step.unit[j % step.unit.length] * o[j] : o[j]) + (step.offset ? step.offset[j % step.offset.length] : 0);
  },
  exponential(o, y, step, at) {
    for (let j = 0; j < at.length; j++) y[at[j]] = Math.exp(o[j] + (step.offset ? step.offset[j] : 0));
  },
  shares(o, y, step, at) {
    const logits = Float64Array.from(at, (_, j) => o[j] + (step.offset ? step.offset[j] : 0));
    const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = logits.reduce((sum, v) => sum + Math.exp(v - most), 0);
    for (let j = 0; j < at.length; j++) {
      y[at[j]] = ((step.size * Math.exp(logits[j] - most)) / total) * (step.gated ? sigmoid(-o[at.length + j]) : 1);
    }
  },
  category(o, y, step, at, certainty) {
    let start = 0;
    step.sizes.forEach((size, j) => {
      const logits = o.subarray(start, start + size);
      const best = logits.reduce((found, v, i) => (v > logits[found] ? i : found), 0);
      y[at[j]] = best;
      certainty[at[j]] = 1 / logits.reduce((sum, v) => sum + Math.exp(v - logits[best]), 0);
      start += size;
    });
  },
};

async function openDecoder(data) {
  const numbers = await halvesOf(data.weights);
  let start = 0;
  const layers = data.layers.map((layer) => {
    const weight = numbers.subarray(start, start + layer.rows * layer.columns).map((v) => v * layer.scale);
    start += weight.length;
    const bias = layer.bias ? numbers.subarray(start, start + layer.rows).map((v) => v * layer.bias) : new Float32Array(layer.rows);
    start += layer.bias ? layer.rows : 0;
    return { ...layer, weight, bias };
  });
  const steps = data.mean.map((step) => ({ ...step, offset: step.offset && floatsOf(step.offset), unit: step.unit && floatsOf(step.unit) }));
  const count = data.shape.reduce((a, b) => a * b);
  return (z, condition) => {
    let x = Float32Array.from([...z, ...condition]);
    for (const { rows, columns, weight, bias, relu } of layers) {
      const out = new Float32Array(rows);
      for (let i = 0, w = 0; i < rows; i++) {
        let sum = bias[i];
        for (let j = 0; j < columns; j++, w++) sum += weight[w] * x[j];
        out[i] = relu && sum < 0 ? 0 : sum;
      }
      x = out;
    }
    const [y, certainty] = [new Float32Array(count), new Float32Array(count)];
    let from = 0;
    for (const step of steps) {
      const at = step.at || Array.from({ length: step.count }, (_, i) => i);
      MEANS[step.kind](x.subarray(from, from + step.outputs), y, step, at, certainty);
      from += step.outputs;
    }
    return [y, certainty];
  };
}

function imageView(data) {
  const [channels, height, width] = data.shape;
  const canvas = make("canvas", { role: "img", class: "decoded", width, height, "aria-label": "Decoded image" });
  const context = canvas.getContext("2d");
  const [low, high] = data.range;
  return [canvas, (values) => {
    const pixels = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = (255 * (values[(channels === 1 ? 0 : c) * width * height + i] - low)) / (high - low);
      pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
  }];
}

function tableView(data) {
  const rows = data.columns.map((column) => {
    const [value, bar] = [make("td", {}), make("i", {})];
    return { column, value, bar, row: make("tr", {}, make("th", { scope: "row" }, column.name), value, make("td", { class: "bar" }, bar)) };
  });
  const table = make("table", { class: "values" }, make("caption", {}, data.columns_note), make("tbody", {}, ...rows.map((one) => one.row)));
  return [make("div", { class: "wide decoded", tabindex: 0, role: "region", "aria-label": "Decoded row" }, table), (values, certainty) => {
    for (const { column, value, bar } of rows) {
      const v = values[column.at];
      const share = column.categories ? certainty[column.at] : (v - column.low) / (column.high - column.low || 1);
      value.textContent = column.categories ? `${column.categories[v]} (${Math.round(100 * share)} %)` : shown(Number(v.toPrecision(4)));
      bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    }
  }];
}

async function openExplorer(figure, data) {
  const holder = figure.querySelector(".holder");
  if (!("DecompressionStream" in window)) {
    holder.textContent = "This browser is too old to run the decoder; use a browser from 2023 or later.";
    return;
  }
  const [decode, flat] = await Promise.all([openDecoder(data), halvesOf(data.codes)]);
  const k = data.centre.length;
  const codes = data.points.map((_, i) => flat.subarray(i * k, (i + 1) * k));
  const directions = data.directions;
  const along = (z, i) => directions[i].axis.reduce((sum, v, j) => sum + v * (z[j] - data.centre[j]), 0) / directions[i].deviation;
  const planeOf = (z) => data.plane.map((axis) => axis.reduce((sum, v, j) => sum + v * z[j], 0));
  const [view, show] = data.shape.length === 3 ? imageView(data) : tableView(data);
  const time = make("output", { class: "note" });
  const map = make("canvas", { role: "img", class: "map", "aria-label": `Map of ${codes.length} codes. With a keyboard, choose two of them in the fields First and Second.` });
  let z = Float32Array.from(data.centre);
  let chosen = [0, Math.min(1, codes.length - 1)];
  let turn = 0;

  const inputs = data.conditions.map((column) => {
    const input = column.categories
      ? make("select", {}, ...column.categories.map((name, i) => make("option", { value: i }, name)))
      : make("input", { type: "number", step: "any" });
    input.value = column.value;
    input.addEventListener("input", () => redraw());
    return { column, input, label: make("label", {}, `${column.name} `, input) };
  });
  const condition = () => inputs.flatMap(({ column, input }) => column.categories
    ? column.categories.map((_, i) => Number(i === Number(input.value)))
    : [((Number(input.value) || 0) - column.mean) / column.unit]);

  const sliders = directions.map((direction, i) => {
    const input = make("input", { type: "range", min: -4, max: 4, step: 0.02, value: 0, "aria-label": `Direction ${i + 1}, in standard deviations` });
    const number = make("output", {}, "0");
    input.addEventListener("input", () => {
      const change = (Number(input.value) - along(z, i)) * direction.deviation;
      z = z.map((v, j) => v + change * direction.axis[j]);
      redraw();
    });
    return { input, number, row: make("label", {}, make("span", {}, `${i + 1} `, make("small", {}, `variance ${shown(Number((direction.deviation ** 2).toPrecision(3)))}`)), input, number) };
  });
  const blend = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, "aria-label": "From the first code to the second" });
  blend.addEventListener("input", () => {
    const t = Number(blend.value);
    z = codes[chosen[0]].map((v, j) => (1 - t) * v + t * codes[chosen[1]][j]);
    redraw();
  });
  const fields = ["First", "Second"].map((name, i) => {
    const input = make("input", { type: "number", min: 1, max: codes.length, step: 1, value: chosen[i] + 1 });
    input.addEventListener("change", () => choose(i, Math.min(codes.length, Math.max(1, Math.round(Number(input.value)) || 1)) - 1));
    return { input, label: make("label", {}, `${name} `, input) };
  });
  function choose(which, index) {
    chosen[which] = index;
    fields[which].input.value = index + 1;
    blend.value = which;
    z = Float32Array.from(codes[index]);
    redraw();
  }
  map.addEventListener("click", (event) => {
    const area = map.getBoundingClientRect();
    const at = [(2 * (event.clientX - area.left)) / area.width - 1, 1 - (2 * (event.clientY - area.top)) / area.height].map((v) => v * data.half);
    const far = ([x, y]) => (x - at[0]) ** 2 + (y - at[1]) ** 2;
    choose(turn, data.points.reduce((found, point, i) => (far(point) < far(data.points[found]) ? i : found), 0));
    turn = 1 - turn;
  });
  const button = (text, next) => {
    const made = make("button", { type: "button" }, text);
    made.addEventListener("click", () => { z = next(); redraw(); });
    return made;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const { legend, paint } = mapLegend(data);

  function redraw() {
    const start = performance.now();
    const [values, certainty] = decode(z, condition());
    show(values, certainty);
    time.textContent = `decoded in ${Math.max(1, Math.round(performance.now() - start))} ms`;
    sliders.forEach(({ input, number }, i) => {
      const value = Math.round(100 * along(z, i)) / 100 || 0;
      input.value = value;
      number.textContent = value.toFixed(2).replace("-", "\u2212");
    });
    drawMap(map, { ...data, radius: 2.5 }, [[data.points[chosen[0]], "1"], [data.points[chosen[1]], "2"], [planeOf(z), ""]]);
  }
  holder.replaceChildren(make("div", { class: "explorer" },
    make("div", { class: "panel" }, make("h3", {}, `Codes of ${data.name}`), make("p", { class: "note" }, `${data.note}. Click two codes.`), map, make("p", { class: "note axes" }, `${data.axes[0]} \u2192, ${data.axes[1]} \u2191`), legend,
      make("div", { class: "row" }, ...fields.map((field) => field.label)), make("label", { class: "slider" }, make("span", {}, "First \u2192 second"), blend)),
    make("div", { class: "panel" }, make("h3", {}, "Decoded"), make("p", { class: "note" }, time), view),
    make("div", { class: "panel sliders" }, make("h3", {}, "Directions"), make("p", { class: "note" }, "Principal directions of the codes by variance, in standard deviations from their mean."),
      ...sliders.map((slider) => slider.row), make("div", { class: "row" }, button("Mean code", () => Float32Array.from(data.centre)), button("Draw from N(0, I)", () => Float32Array.from(data.centre, normal))),
      make("div", { class: "row" }, ...inputs.map((one) => one.label)))));
  figure.decode = (code, given = condition()) => [...decode(code, given)[0]];
  new ResizeObserver(redraw).observe(map);
  document.addEventListener("themechange", () => { paint(); redraw(); });
}
