"""The command explore, and its page in a simulated browser."""

import asyncio
import csv
import importlib.util
import io
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hebae.explorer import runs, uploads

_file = io.BytesIO()
Image.new("RGB", (20, 30), "white").save(_file, "PNG")
PNG = _file.getvalue()


def test_what_is_wrong_is_said_before_anything_is_read(hebae, trained, monkeypatch):
    pytest.importorskip("nicegui", reason="the extra ui is not installed")
    for words, message in (
        ((), "at least one run folder"),
        (("run", "run"), "named twice"),
        (("run", "--port", 0), "--port is 0"),
        (("run", "--examples", 1), "--examples is 1"),
        (("nowhere",), "nowhere"),
        (("run", "--host", "no.such.host.invalid"), "--host"),
        (("run", "--data", "absent.npy"), "absent.npy"),
    ):
        result = hebae("explore", *words, "--no-browser")
        assert result.status == 2, words
        assert message in " ".join(result.err.split()), words
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = hebae("explore", "run", "--port", port, "--no-browser")
        assert result.status == 2
        assert f"port {port} of 127.0.0.1 is in use" in " ".join(result.err.split())
    monkeypatch.setattr("hebae.explorer.server.serve", lambda *a, **options: None)
    result = hebae("explore", "run", "--host", "0.0.0.0", "--port", port, "--no-browser")
    assert "anyone who can reach 0.0.0.0" in " ".join(result.err.split())
    assert f"Open http://{socket.gethostname()}:{port} in" in result.out
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "nicegui" else find(name, *a)
    )
    result = hebae("explore", "run")
    assert result.status == 2
    assert "pip install 'hebae[ui]'" in " ".join(result.err.split())


# The page, with a simulated browser


@asynccontextmanager
async def visit(opened, *names, folder=None):
    pytest.importorskip("nicegui", reason="the extra ui is not installed")
    from nicegui.testing.user_simulation import user_simulation

    from hebae.explorer.page import Page

    pages = []

    def root():
        pages.append(Page(*zip(*(opened[name] for name in names), strict=True), folder))
        pages[-1].build()

    async with user_simulation(root) as user:
        await user.open("/")
        yield user, pages[0]


async def upload(page, user, name, content):
    file = SimpleNamespace(name=name, read=lambda: asyncio.sleep(0, content))
    event = SimpleNamespace(files=[file], sender=SimpleNamespace(reset=lambda: None))
    with user:
        await page._upload(event)


def test_the_page_of_two_runs(opened, tmp_path):
    async def use():
        async with visit(opened, "images", "vae", folder=tmp_path) as (user, page):
            await user.should_see("HEBAE: map of the codes", retries=1)
            first, second = page.panels
            before = first.viewer.image.props["src"], second.viewer.image.props["src"]
            with user:
                first._move(0, 3.0)
            assert first.viewer.image.props["src"] != before[0]
            assert second.viewer.image.props["src"] == before[1]
            np.testing.assert_allclose(
                first.run.axes.coordinates(first.z[None])[0], [3, 0, 0], atol=1e-4
            )
            with user:
                page.clicked(4)
                page.clicked(9)
            np.testing.assert_array_equal(second.z, second.run.codes[9])
            assert page.ends[0].value == first.run.names[4]
            assert page.lines[1].image.props["src"].startswith("data:image/png")
            with user:
                page.select([1, 5, 2, 10_000], first)
                page.file.value = "mine.csv"
                page._save()
            await user.should_see("3 of 80 examples are selected.")
            rows = list(csv.DictReader((tmp_path / "mine.csv").open()))
            assert [row["id"] for row in rows] == first.run.examples.ids[[1, 2, 5]].tolist()
            with user:
                page._save()
            assert "already exists" in page.saved.text
            with user:
                page.having.value, page.lacking.value = "label = 8", "label = 3"
                z = first.z
                page._apply()
                page._take()
            labels = first.run.examples.labels
            codes = first.run.codes
            moved = z + codes[labels == 8].mean(0) - codes[labels == 3].mean(0)
            np.testing.assert_allclose(first.z, moved, atol=1e-5)
            with user:
                await page._draw()
            assert page.draws[0].image.visible
            with user:
                page.seed.value = -1
                await page._draw()
            await user.should_see("The seed is -1; it must be from 0 to 4,294,967,295.")
            await upload(page, user, "a.png", b"nothing")
            assert "a.png" in page.problem.text
            await upload(page, user, "a.png", PNG)
            assert page.problem.text == ""
            assert page.received.text.startswith("1 uploaded example: the original")
            np.testing.assert_array_equal(first.z, first._uploaded[0])

    asyncio.run(use())


def test_the_page_of_a_conditional_table(opened):
    async def use():
        async with visit(opened, "table") as (user, page):
            panel = page.panels[0]
            rows = {row["name"]: row["v0"] for row in panel.viewer.table.rows}
            assert rows["colour"] in ("red", "green")
            with user:
                page.clicked(0)
            assert panel.controls[0].value == 1  # south, as the example is
            before = panel.viewer.table.rows
            with user:
                panel.controls[0].value = 0
            assert panel.conditions.tolist() == [[0.0]]
            assert panel.viewer.table.rows != before
            with user:
                panel._hover(SimpleNamespace(args=[3, 10, 20, 30, 400]))
                page.colour.value = "feature 0"
                await page.redraw()
            assert "height: " in panel.caption.text
            assert panel.plot.figure["data"][0]["marker"]["colorscale"] == "Viridis"

    asyncio.run(use())


def test_the_page_without_data(opened):
    run = opened["images"][0]
    bare = runs.ExploredRun(run.path, run.model, run.config, None, run.load_training, "HEBAE")

    async def use():
        async with visit({"bare": (bare, None)}, "bare") as (user, page):
            await user.should_see("there is no map")
            with user:
                page.panels[0]._move(0, 1.0)
                await page._draw()
            assert page.draws[0].image.visible

    asyncio.run(use())


def test_uploads_that_are_too_large_are_refused_unread():
    pytest.importorskip("nicegui", reason="the extra ui is not installed")
    from hebae.explorer.server import UploadLimit

    answers = []

    async def passed(scope, receive, send):
        answers.append("passed")

    async def send(message):
        answers.append(message.get("status"))

    async def ask(length):
        answers.clear()
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        path = "/_nicegui/client/x/upload/5"
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        await UploadLimit(passed)(scope, None, send)
        return answers[0]

    assert asyncio.run(ask(1000)) == "passed"
    assert asyncio.run(ask(uploads.MOST_BYTES * 2)) == 413
    assert asyncio.run(ask(None)) == 411
