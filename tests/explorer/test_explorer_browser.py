"""`hebae explore` in Chromium: map, sliders, lasso, uploads; no error, no foreign request."""

import csv
import io
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from command_line import SMALL, command
from PIL import Image

pytest.importorskip("nicegui", reason="the extra ui is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
LASSO = ".js-plotly-plot .scatterlayer path.point"

PLACE = "document.querySelector('.js-plotly-plot').data.at(-1).x[0]"
"""Where the current code is in the map."""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def explorer(folder, *arguments):
    """Run the command in a process; gives the address."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    words = command("explore", *arguments, "--port", port, "--no-browser")
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen(words, cwd=folder, env=env, stdout=log, stderr=log) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}/"
            for _ in range(600):
                assert process.poll() is None, (folder / "log.txt").read_text()
                try:
                    urllib.request.urlopen(address, timeout=5)
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait(10)
    assert "Traceback" not in (folder / "log.txt").read_text()


@contextmanager
def page_at(address, **options):
    """Open the page; what goes wrong in it fails the test."""
    wrong = []
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(**({"viewport": {"width": 1300, "height": 1000}} | options))
        page.set_default_timeout(60_000)
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
        page.on(
            "request",
            lambda r: (
                wrong.append(f"foreign: {r.url}")
                if not r.url.startswith((address, "data:", "blob:", address.replace("http", "ws")))
                else None
            ),
        )
        page.goto(address)
        page.wait_for_selector("img[src^='data:'], .q-table", timeout=30_000)
        yield page
        browser.close()
    assert not wrong


@pytest.fixture
def digits(hebae, tmp_path):
    """Two runs on 120 labelled images, in the folders one and two."""
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 8], 60)
    images = rng.integers(0, 60, (120, 1, 12, 12), dtype=np.uint8)
    images[labels == 8, :, :6] += 190
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels)
    for name, method in (("one", "hebae"), ("two", "vae")):
        words = "--data", "images.npz", "--method", method, "--output", name
        assert hebae("train", *words, *SMALL).status == 0
    return tmp_path


def lasso(page, plot):
    """Draw around all points of a map."""
    area = plot.locator(".nsewdrag").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    left, top = box["x"] + 3, box["y"] + 3
    right, bottom = left + box["width"] - 6, top + box["height"] - 6
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 2)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_a_run_in_the_browser(digits):
    with explorer(digits, "one") as address, page_at(address) as page:
        page.wait_for_selector(LASSO)
        decoded = page.locator("img[alt='Images: decoded']")
        before = decoded.get_attribute("src")
        place = page.evaluate(PLACE)
        page.get_by_label("Direction 1", exact=True).locator("[tabindex]").focus()
        deadline = time.monotonic() + 60
        while decoded.get_attribute("src") == before and time.monotonic() < deadline:
            page.keyboard.press("ArrowRight")  # lost before the page is connected
            page.wait_for_timeout(50)
        assert decoded.get_attribute("src") != before
        assert page.get_by_text("Code: mean of the codes, moved").is_visible()
        page.wait_for_function(f"old => {PLACE} > old", arg=place)

        point = page.locator(LASSO).nth(5)
        point.hover(force=True)
        page.wait_for_selector(".hovered img[src^='data:']")
        assert "label: " in page.locator(".hovered").inner_text()
        point.click(force=True)
        page.wait_for_selector("text=/Code: example \\d+/")

        lasso(page, page.locator(".js-plotly-plot"))
        page.get_by_text("120 of 120 examples are selected.").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        rows = list(csv.DictReader(download.value.path().open()))
        assert len(rows) == 120
        assert {row["label"] for row in rows} == {"3", "8"}
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Wrote 120 examples").wait_for()
        assert (digits / "selection.csv").read_bytes() == download.value.path().read_bytes()

        page.get_by_role("tab", name="Upload").click()
        chooser = page.locator("input[type=file]")
        chooser.set_input_files({"name": "no.png", "mimeType": "image/png", "buffer": b"nothing"})
        page.locator("[role=alert]").filter(has_text="no.png").wait_for()
        chooser.set_input_files({"name": "x.exe", "mimeType": "x/y", "buffer": b"MZ"})
        page.locator("[role=alert]").filter(has_text="cannot be uploaded").wait_for()
        png = io.BytesIO()
        Image.new("RGB", (40, 30), "white").save(png, "PNG")
        chooser.set_input_files(
            {"name": "a.png", "mimeType": "image/png", "buffer": png.getvalue()}
        )
        page.get_by_text("1 uploaded example").wait_for()
        assert page.locator("[role=alert]").inner_text() == ""
        page.get_by_text("Code: example a.png").wait_for()

        # A name that another site gives to this machine does not open the page.
        strange = urllib.request.Request(address, headers={"Host": "elsewhere.example"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(strange, timeout=10)


def test_two_runs_side_by_side_on_a_narrow_page(digits):
    narrow = {"viewport": {"width": 390, "height": 900}, "color_scheme": "dark"}
    with explorer(digits, "one", "two") as address, page_at(address, **narrow) as page:
        page.wait_for_selector(LASSO)
        assert page.locator(".js-plotly-plot").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("tab", name="Samples").click()
        page.get_by_role("button", name="Draw").click()
        page.wait_for_selector("img[alt^='Images: 1, 2']")
        lasso(page, page.locator(".js-plotly-plot").first)
        page.get_by_role("tab", name="Selection").click()
        page.get_by_text("120 of 120 examples are selected.").wait_for()
