"""Reports in a browser: no error, decoders that agree with PyTorch, controls that do something."""

import json
import shutil

import numpy as np
import pytest
import torch
from command_line import small

from hebae import inference
from hebae.building import build
from hebae.config import Settings
from hebae.data.examples import Column, Seen
from hebae.experiments.live import _as_arrays, dense_layers
from hebae.likelihoods import LIKELIHOODS
from hebae.report.charts import Chart, LinePanel
from hebae.report.live import CodeMaps, Explorer, columns_to_show, plane
from hebae.report.page import MOST_BYTES, Section, write_page
from hebae.report.tables import Row, Table
from hebae.storage import load_model


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium on the PATH")
    with api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Open a page; at the end, it must have had no error and asked for nothing elsewhere."""
    problems, contexts = [], []

    def open_page(path, **options):
        context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: problems.append(r.url) if r.url[:4] == "http" else None)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


CATEGORY = Column("kind", "category", ("a", "b", "c"))
KINDS = {
    "columns": (Column("x", "number"), CATEGORY, Column("n", "count"), Column("yes", "binary")),
    "categorical": (CATEGORY, CATEGORY),
}


def model_of(likelihood):
    """A model with random weights, and what its likelihood learns of some examples."""
    shape = (3, 4, 5) if likelihood in ("bernoulli", "continuous_bernoulli", "gaussian") else (4,)
    columns = KINDS.get(likelihood)
    shape = (len(columns),) if columns else shape
    seen = Seen("numbers", None, columns, None, None)
    settings = Settings(
        likelihood=likelihood, latent_dim=3, encoder_widths=(8,), decoder_widths=(9, 7), trials=2
    )
    model = build(settings, shape, seed=1, seen=seen)
    x = torch.randint(0, 2, (50, *shape), generator=torch.Generator().manual_seed(0)).float()
    if likelihood in ("gaussian", "gaussian_columns"):
        x = 40 + 7 * x
    model.likelihood.learn(lambda: [x])
    for parameter in model.decoder.parameters():
        parameter.data *= 3
    return model.eval(), shape


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_decoder_of_a_page_agrees_with_pytorch(likelihood, visit, tmp_path):
    model, shape = model_of(likelihood)
    codes = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    decoded = inference.decode(model, codes)
    columns = columns_to_show([{"name": f"c{i}"} for i in range(4)], decoded.reshape(30, -1)[:, :4])
    explorer = Explorer(
        likelihood,
        codes,
        dense_layers(model.decoder),
        [_as_arrays(step) for step in model.likelihood.mean_steps()],
        shape,
        columns=() if len(shape) == 3 else columns[0],
    )
    write_page(tmp_path / "page.html", "t", [Section("s", [explorer])])
    page = visit(tmp_path / "page.html")
    page.wait_for_selector(".explorer")
    script = "codes => codes.map(z => document.querySelector('figure').decode(z))"
    found = np.array(page.evaluate(script, codes.tolist()))
    expected = decoded.reshape(30, -1)
    scale = max(1.0, np.abs(expected).max()) if likelihood != "gaussian" else expected.std()
    assert np.abs(found - expected).max() <= 1e-2 * scale


def pixels(page):
    return page.evaluate(
        "() => { const c = document.querySelector('canvas.decoded');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
    )


def test_the_report_of_a_run_answers_to_its_controls(hebae, image_file, visit, tmp_path):
    flags = small(decoder_widths=32)
    assert hebae("train", "--data", image_file, *flags, "--output", "run").status == 0
    moved = tmp_path / "elsewhere.html"  # it needs nothing beside it
    (tmp_path / "run" / "report.html").rename(moved)
    assert moved.stat().st_size <= MOST_BYTES
    page = visit(moved, color_scheme="dark")
    page.wait_for_selector("canvas.decoded")
    paint = "() => performance.getEntriesByName('first-paint')[0]?.startTime ?? 0"
    assert page.evaluate(paint) <= 1000
    first = pixels(page)
    slider = page.get_by_label("Direction 1, in standard deviations")
    slider.focus()
    for _ in range(50):
        slider.press("ArrowRight")
    assert pixels(page) != first
    duration = page.locator("output", has_text="decoded in").inner_text()
    assert int(duration.split()[2]) < 50
    # Two codes on the map, and the way between them.
    codes = page.locator("canvas.map")
    codes.click(position={"x": 60, "y": 60})
    one, begin = page.get_by_label("First", exact=True).input_value(), pixels(page)
    codes.click(position={"x": 250, "y": 250})
    two, end = page.get_by_label("Second", exact=True).input_value(), pixels(page)
    assert one != two and begin != end
    way = page.get_by_label("From the first code to the second")
    way.fill("0")
    assert pixels(page) == begin
    way.fill("0.5")
    assert pixels(page) not in (begin, end)
    # Light and dark, by the system and by the switch.
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light / dark").click()
    assert page.evaluate(ground) != dark
    # Everything has a name for those who do not see it.
    unnamed = page.evaluate(
        "() => [...document.querySelectorAll('img, canvas, svg, input, select, button')].filter("
        "e => !(e.alt || e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())"
        ").map(e => e.outerHTML)"
    )
    assert unnamed == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1200


@pytest.mark.long
def test_a_conditional_decoder_takes_its_condition_from_the_page(hebae, visit, tmp_path):
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 200)
    rows = zip(rng.normal(5 * group, 1), rng.normal(size=200), group, strict=True)
    lines = [f"{a:.3f},{b:.3f},{'ab'[c]}" for a, b, c in rows]
    (tmp_path / "rows.csv").write_text("\n".join(["x,y,kind", *lines]))
    flags = small(method="rae-sn", condition="kind", epochs=5)
    assert hebae("train", "--data", "rows.csv", *flags, "--output", "run").status == 0
    page = visit(tmp_path / "run" / "report.html")
    page.wait_for_selector(".explorer")
    model, codes = load_model(tmp_path / "run")[0], rng.normal(size=(5, 3)).astype(np.float32)
    script = "codes => codes.map(z => document.querySelector('[data-kind=explorer]').decode(z))"
    decoded = []
    for number, name in enumerate("ab"):
        page.get_by_label("kind").select_option(name)
        found = np.array(page.evaluate(script, codes.tolist()))
        expected = inference.decode(model, codes, np.full((5, 1), number, np.float64))
        assert np.abs(found - expected).max() <= 1e-2 * np.abs(expected).max()
        decoded.append(found)
    assert np.abs(decoded[0] - decoded[1]).max() > 0.1


def test_a_sweep_carries_decoders_and_its_page_can_be_moved(hebae, image_file, visit, tmp_path):
    flags = (*small(epochs=1, latent_dim=2), "--grid", "penalty_weight=0.1,0.2,0.4,0.8")
    assert hebae("sweep", "--data", image_file, *flags, "--output", "out").status == 0
    moved = tmp_path / "moved.html"
    (tmp_path / "out" / "report.html").rename(moved)
    shutil.rmtree(tmp_path / "out")
    page = visit(moved)
    page.wait_for_selector("[data-kind=explorer] canvas.decoded")
    explorers = page.locator("[data-kind=explorer]")
    assert [one.is_visible() for one in explorers.all()] == [True, True, True, False]
    page.get_by_text("Explore the codes of penalty_weight=0.8").click()
    assert explorers.last.is_visible()
    outside = "() => [...document.querySelectorAll('a[href], link, [src]')].map("
    outside += "e => e.href || e.src).filter(to => !to.startsWith('data:'))"
    assert page.evaluate(outside) == []


def test_tables_are_sorted_and_curves_are_zoomed(visit, tmp_path):
    rows = {"k = 10": "3 [1, 9]", "k = 9": "−1 ± 5", "k = 2": "2e-3", "x": "diverged at 0"}
    runs = Table("Runs", ["loss"], [Row(name, [cell]) for name, cell in rows.items()])
    metrics = Table("Metrics", ["A", "B", "C"], [Row("m", [2.0, [1.0, 9.0], 3.0], "nats")])
    line = {float(x): [x**2, x**2 + 1] for x in range(1, 9)}
    chart = Chart("Loss", [LinePanel({"vae": line}, "Objective", "", "epoch", "nats")])
    maps = CodeMaps({"vae": np.random.default_rng(0).normal(size=(40, 5))}, [0, 1] * 20)
    write_page(tmp_path / "page.html", "t", [Section("s", [runs, metrics, chart, maps])])
    page = visit(tmp_path / "page.html")
    page.get_by_role("button", name="loss").click()
    body = page.locator("table").first.locator("tbody th")
    assert body.all_inner_texts() == ["k = 9", "k = 2", "k = 10", "x"]
    page.get_by_role("button", name="m (nats)").click()
    heads = page.locator("table").nth(1).locator("thead th")
    assert heads.all_inner_texts() == ["A", "C", "B"]  # by 2, 3 and the median 5
    curve = "() => document.querySelector('polyline').getAttribute('points')"
    before = page.evaluate(curve)
    page.get_by_role("button", name="Zoom in: Objective").click()
    assert page.evaluate(curve) != before
    page.locator("svg.chart").press("0")
    assert page.evaluate(curve) == before
    assert "VAE from 1" in page.locator("svg.chart").get_attribute("aria-label")


def test_a_page_leaves_out_decoders_that_do_not_fit(tmp_path):
    from hebae.report.live import Layer

    rng = np.random.default_rng(0)
    layers = [Layer(rng.normal(size=(1_300_000, 1)), None, relu=False)]
    steps = [{"kind": "affine", "count": 1_300_000, "outputs": 1_300_000}]
    made = [
        Explorer(name, rng.normal(size=(9, 1)), layers, steps, (1_300_000,))
        for name in ("one", "two")
    ]
    write_page(tmp_path / "page.html", "t", [Section("s", made)])
    text = (tmp_path / "page.html").read_text()
    assert len(text) <= MOST_BYTES
    assert "no room for the decoder of two. The page of a single run has its decoder" in text


def test_the_plane_has_most_of_the_variance():
    codes = np.random.default_rng(0).normal(size=(500, 4)) * [1, 5, 3, 0.1]
    points, _, note = plane(codes)
    assert points.var(axis=0) == pytest.approx(np.sort(codes.var(axis=0))[:1:-1], rel=0.05)
    assert note.startswith("500 codes; 9")


def test_reports_hold_valid_json():
    chart = Chart("</script>", [LinePanel({"vae": {1: [float("nan"), 2.0], 2: [3.0]}}, "t")])
    content = json.dumps(chart.content(), allow_nan=False)
    assert "NaN" not in content
