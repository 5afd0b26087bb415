"""Make the picture of the explorer that the documentation shows.

    python tools/explorer_picture.py RUN

starts ``hebae explore`` on a run on digits, uses the page in Chromium, and writes a screenshot to
``docs/how-to/pictures/explorer.png``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parents[1] / "docs" / "how-to" / "pictures" / "explorer.png"
PORT = 8793


def main() -> None:
    """Make the picture."""
    address = f"http://127.0.0.1:{PORT}/"
    command = [sys.executable, "-m", "hebae", "explore", sys.argv[1], "--no-browser"]
    with subprocess.Popen([*command, "--port", str(PORT), "--examples", "1500"]) as server:
        try:
            _wait(address)
            PICTURE.write_bytes(_small(_screenshot(address)))
        finally:
            server.terminate()


def _wait(address: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"{address} does not answer")


def _screenshot(address: str) -> bytes:
    with sync_playwright() as engine:
        chromium = shutil.which("chromium")
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 960}, color_scheme="light")
        page.goto(address)
        page.wait_for_selector(".js-plotly-plot .scatterlayer path.point")
        page.get_by_role("tab", name="Interpolation").click()
        for point in (300, 1200):
            page.locator(".scatterlayer path.point").nth(point).click(force=True)
            page.wait_for_timeout(1000)
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        picture = page.screenshot(full_page=True)
        browser.close()
    return picture


def _small(picture: bytes) -> bytes:
    """Return the picture with 128 colours."""
    content = BytesIO()
    image = Image.open(BytesIO(picture)).convert("RGB").quantize(128)
    image.save(content, "PNG", optimize=True)
    return content.getvalue()


if __name__ == "__main__":
    main()
