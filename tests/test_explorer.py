"""The explorer without a browser: codes, directions, decoding, views, uploads, errors, the page."""

import asyncio
import base64
import csv
import importlib.util
import io
import re
import socket
import statistics
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import SMALL
from PIL import Image

from hebae import inference
from hebae.cli.explore import _open
from hebae.config import DataSettings
from hebae.data.examples import Examples
from hebae.errors import HebaeError
from hebae.explorer import runs, uploads, views

TABLE = "table.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data: labelled images in colour; a table with categories and a gap, conditioned on a site."""
    folder = tmp_path_factory.mktemp("explorer")
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 8], 40)
    images = rng.integers(0, 60, (80, 3, 8, 8), dtype=np.uint8)
    images[labels == 8, :, :4] += 190
    order = rng.permutation(80)
    (x_train, x_test), (y_train, y_test) = (np.split(a[order], [60]) for a in (images, labels))
    np.savez(folder / "images.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    with (folder / TABLE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "height", "colour", "site"])
        for row in range(80):
            height = "" if row == 5 else f"{rng.normal(50, 10):.2f}"
            colour = "red" if row % 3 else "green"
            writer.writerow([f"r{row}", height, colour, "north" if row % 2 else "south"])
    return folder


@pytest.fixture(scope="module")
def opened(folder):
    """Trained runs by name, opened as the command does, with what reads uploads."""
    pytest.importorskip("pandas", reason="the extra tables is not installed")
    from hebae.cli import main

    found = {}
    for name, data, *more in (
        ("images", "images.npz"),
        ("vae", "images.npz", "--method", "vae"),
        ("table", TABLE, "--condition", "site", "--id-column", "id"),
    ):
        output = str(folder / name)
        words = "--data", str(folder / data), "--output", output
        with pytest.raises(SystemExit) as status:
            main(["train", *words, *more, *SMALL])
        assert status.value.code == 0
        found[name] = _open(folder / name, DataSettings(), 1000)
    runs.name_runs([found["images"][0], found["vae"][0]])
    return found


@pytest.fixture
def image_run(opened):
    return opened["images"][0]


@pytest.fixture
def table_run(opened):
    return opened["table"][0]


# Directions, attributes, lines


def test_axes_are_the_principal_components_of_the_codes():
    rng = np.random.default_rng(0)
    codes = (rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + 3).astype(np.float32)
    axes = runs.axes_of(codes.mean(0), np.cov(codes.T))
    along = axes.coordinates(codes)
    np.testing.assert_allclose(along.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(along.T), np.eye(4), atol=1e-3)
    np.testing.assert_allclose(axes.codes(along), codes, atol=1e-3)
    assert (np.diff(axes.scales) <= 0).all()
    assert axes.shares.sum() == pytest.approx(1)


def test_a_direction_in_which_codes_agree_has_coordinate_0():
    codes = np.array([[1, 5], [3, 5]], np.float32)
    axes = runs.axes_of(codes.mean(0), np.cov(codes.T))
    assert np.isfinite(axes.coordinates(codes)).all()
    np.testing.assert_allclose(axes.codes(axes.coordinates(codes)), codes, atol=1e-6)


def test_an_attribute_is_the_difference_of_mean_codes():
    codes = np.array([[0, 0], [2, 0], [5, 1], [5, 3]], np.float32)
    np.testing.assert_array_equal(
        runs.attribute(codes, np.array([2, 3]), np.array([0, 1])), np.float32([4, 2])
    )
    with pytest.raises(HebaeError, match="no example"):
        runs.attribute(codes, np.array([], int), np.array([0]))


def test_a_line_ends_at_the_reconstructions_of_its_examples(image_run):
    first, second = image_run.codes[3], image_run.codes[70]
    line = image_run.decode(runs.between(first, second, 5))
    ends = inference.reconstruct(image_run.model, image_run.examples[np.array([3, 70])])
    np.testing.assert_allclose(line[[0, -1]], ends, atol=1e-6)
    pair = [image_run.examples[np.array([row])] for row in (3, 70)]
    np.testing.assert_allclose(line, inference.interpolate(image_run.model, *pair, 5)[0], atol=1e-6)


def test_moving_along_a_direction_changes_only_its_coordinate(image_run):
    coordinates = image_run.axes.coordinates(image_run.codes[:1])
    coordinates[0, 1] = 2.5
    moved = image_run.axes.coordinates(image_run.axes.codes(coordinates))
    np.testing.assert_allclose(moved, coordinates, atol=1e-4)


# Runs


def test_all_examples_have_a_name_of_their_own_and_the_splits_of_the_source(image_run, folder):
    assert len(image_run.names) == len(set(image_run.names)) == 80
    few = _open(folder / "images", DataSettings(), 10)[0]
    assert len(few.names) == 10
    assert set(few.names) <= set(image_run.names)
    row = image_run.names.index(few.names[4])
    np.testing.assert_allclose(few.codes[4], image_run.codes[row], atol=1e-6)


def test_examples_of_a_table_keep_their_ids_and_conditions(table_run):
    assert table_run.names[:2] == ["r0", "r1"]
    assert [column.name for column in table_run.condition_columns] == ["site"]
    assert table_run.conditions_of(0).tolist() == [[1.0]]
    assert table_run.conditions_of(1).tolist() == [[0.0]]


def test_a_condition_changes_what_is_decoded(table_run):
    z = table_run.codes[:1]
    north, south = (table_run.decode(z, np.array([[code]], np.float32)) for code in (0, 1))
    assert not np.allclose(north, south)


def test_draws_are_those_of_hebae_sample(image_run):
    drawn = image_run.draw("normal", 3, 7)
    np.testing.assert_array_equal(drawn, inference.sample(image_run.model, 3, 7))
    assert image_run.samplers["normal"]


def test_a_sampler_is_fitted_to_the_training_codes_and_stored(image_run):
    name = next(name for name, there in image_run.samplers.items() if not there)
    assert image_run.draw(name, 2, 0).shape == (2, 3, 8, 8)
    assert (image_run.path / "samplers.safetensors").is_file()


def test_decoding_takes_less_than_100_ms(image_run):
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        views.picture(image_run, image_run.decode(image_run.codes[:1]))
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.1


def test_without_data_sliders_and_samples_are_left(folder, opened, capsys):
    source, away = folder / "images.npz", folder / "away.npz"
    source.rename(away)
    try:
        run, _ = _open(folder / "images", DataSettings(), 100)
    finally:
        away.rename(source)
    assert "the map is left out" in capsys.readouterr().err
    assert run.codes is None
    np.testing.assert_allclose(run.axes.directions @ run.axes.directions.T, np.eye(3), atol=1e-5)
    assert run.draw("normal", 2, 0).shape == (2, 3, 8, 8)


def test_runs_of_other_data_are_refused(opened):
    with pytest.raises(HebaeError, match="different data"):
        runs.require_same_data([opened["images"][0], opened["table"][0]])
    runs.require_same_data([opened["images"][0], opened["vae"][0]])


def test_labels_are_methods_where_these_are_unique(opened):
    pair = [opened["images"][0], opened["vae"][0]]
    runs.name_runs(pair)
    assert [run.label for run in pair] == ["HEBAE", "VAE"]


# Views


def pixels(url):
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_a_picture_has_the_pixels_of_the_example(image_run):
    original = image_run.originals([4])
    shown = pixels(views.picture(image_run, original, side=8))
    np.testing.assert_array_equal(shown.transpose(2, 0, 1), image_run.examples.values[4])


def test_images_of_two_channels_are_shown_channel_by_channel(image_run):
    values = np.stack([np.zeros((4, 4)), np.ones((4, 4))])[None].astype(np.float32)
    shown = pixels(views.picture(image_run, values, side=4))
    assert shown.shape == (4, 8)
    assert shown[:, :4].max() == 0
    assert shown[:, 4:].min() == 255


def test_values_of_a_row_are_listed_in_the_terms_of_the_table(table_run):
    values = table_run.originals([5, 6])
    listed = dict(views.listed_values(table_run, values))
    assert listed["height"][0] == "missing"
    assert float(listed["height"][1]) == pytest.approx(values[1, 0], rel=1e-3)
    assert listed["colour"] == ["red", "green"]


def test_of_many_features_the_most_unusual_are_listed():
    model = SimpleNamespace(input_shape=(50,), seen=None)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 50)).astype(np.float32)
    run = SimpleNamespace(model=model, scale=runs.scale_of(Examples(values)))
    row = values.mean(0, keepdims=True)
    row[0, 17] += 30
    listed = views.listed_values(run, row, most=5)
    assert len(listed) == 5
    assert listed[0][0] == "x17"


def test_points_are_coloured_by_labels_splits_conditions_and_columns(image_run, table_run):
    choices = views.colourings(image_run)
    assert list(choices) == ["none", "label", "split"]
    colouring = choices["label"][1]()
    assert colouring.names == ("3", "8")
    np.testing.assert_array_equal(np.array([3, 8])[colouring.codes], image_run.examples.labels)
    titles = [title for title, _ in views.colourings(table_run).values()]
    assert titles == ["nothing", "site (condition)", "height", "colour"]
    height = views.colourings(table_run)["feature 0"][1]()
    assert np.isnan(height.numbers[5])
    groups = views.groups(views.colourings(table_run))
    green = groups["colour = green"]()
    assert green.tolist() == [row for row in range(80) if row % 3 == 0]
    lowest, highest = (groups[f"height: {end} quarter"]() for end in ("lowest", "highest"))
    assert height.numbers[lowest].max() < height.numbers[highest].min()


def test_every_example_is_once_in_the_map(image_run, table_run):
    for run in (image_run, table_run):
        for _, make in views.colourings(run).values():
            figure = views.map_figure(run.map(), make(), axis_names=("1", "2"))
            rows = [row for trace in figure["data"] for row in trace["customdata"]]
            assert sorted(rows) == list(range(len(run.names)))


def test_rare_categories_share_a_colour():
    codes = np.arange(60) % 30
    colouring = views.Colouring("x", codes, tuple(map(str, range(30))))
    figure = views.map_figure(np.zeros((60, 2), np.float32), colouring, axis_names=("1", "2"))
    assert len(figure["data"]) == views.MOST_CATEGORIES
    assert figure["data"][-1]["name"] == "other"


def test_a_selection_holds_ids_splits_and_labels(image_run, table_run):
    rows = np.array([7, 2])
    content = list(csv.DictReader(io.StringIO(views.selection_csv(table_run, rows).decode())))
    assert [row["id"] for row in content] == ["r2", "r7"]
    content = list(csv.DictReader(io.StringIO(views.selection_csv(image_run, rows).decode())))
    assert [int(row["label"]) for row in content] == image_run.examples.labels[[2, 7]].tolist()
    with pytest.raises(HebaeError, match="lasso"):
        views.selection_csv(image_run, np.array([], int))


@pytest.mark.parametrize("name", ["../x.csv", "/tmp/x.csv", "x.txt", "", ".csv", "a\\b.csv"])
def test_a_selection_is_saved_only_under_a_plain_name(tmp_path, name):
    with pytest.raises(HebaeError, match="cannot be used"):
        views.save_path(tmp_path, name)


def test_a_selection_replaces_no_file(tmp_path):
    assert views.save_path(tmp_path, "x.csv") == tmp_path / "x.csv"
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(HebaeError, match="already there"):
        views.save_path(tmp_path, "x.csv")


# Uploads


def png(size=(20, 30), mode="RGB"):
    content = io.BytesIO()
    Image.new(mode, size, "white").save(content, "PNG")
    return content.getvalue()


def npy(array):
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def test_uploaded_images_become_those_of_the_model(opened):
    run, read = opened["images"]
    for files in ([("a.png", png())], [("a.png", png()), ("b.PNG", png((64, 8), "L"))]):
        shown = uploads.read_upload(run, read, files)
        assert shown.examples.values.shape == (len(files), 3, 8, 8)
        assert shown.examples.values.min() == 255
        assert run.encode(shown.examples).shape == (len(files), 3)


def test_an_uploaded_table_is_coded_as_in_training(opened):
    run, read = opened["table"]
    content = b"id,height,colour,site\nnew,50,green,south\n"
    shown = uploads.read_upload(run, read, [("new.csv", content)])
    assert shown.names == ["new"]
    assert shown.examples.conditions.tolist() == [[1.0]]
    # Without the condition, that of the page is taken.
    content = b"id,height,colour\nnew,50,green\n"
    given = np.array([[0.0]], np.float32)
    shown = uploads.read_upload(run, read, [("new.csv", content)], given)
    assert shown.examples.conditions.tolist() == [[0.0]]


BAD = {
    "no image": ("images", [("a.png", b"nothing")], "^a.png cannot"),
    "one of two images": ("images", [("a.png", png()), ("b.png", b"")], "^b.png"),
    "a cut image": ("images", [("a.png", png()[:-30])], "a.png"),
    "another format": ("images", [("a.exe", b"MZ")], "cannot be uploaded"),
    "no suffix": ("images", [("a", b"")], "cannot be uploaded"),
    "a mixture": ("images", [("a.png", png()), ("b.csv", b"x\n1\n")], "cannot be uploaded"),
    "objects": ("images", [("a.npy", npy(np.array([{}, []], object)))], "a.npy"),
    "another shape": ("images", [("a.npy", npy(np.zeros((2, 5, 5), np.uint8)))], "^a.npy .*shape"),
    "nothing": ("images", [], "no file"),
    "too large": ("images", [("a.png", bytes(uploads.MOST_BYTES + 1))], "at most 20 MiB"),
    "an image for a table": ("table", [("a.png", png())], "not images"),
    "a lacking column": ("table", [("a.csv", b"id,colour\na,red\n")], "height"),
    "an unknown category": (
        "table",
        [("my/a.csv", b"height,colour,site\n1,blue,north\n")],
        "^a.csv holds 'blue'",
    ),
    "no rows": ("table", [("a.csv", b"height,colour,site\n")], "a.csv"),
    "genotypes in part": ("table", [("a.bed", b"l\x1b\x01")], "with .bim"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_upload_is_refused_by_a_sentence(opened, kind):
    name, files, message = BAD[kind]
    run, read = opened[name]
    with pytest.raises(HebaeError, match=message) as refusal:
        uploads.read_upload(run, read, files)
    # Where it was stored means nothing to a user.
    assert not re.search(r"hebae-upload-|uploaded[-.]\w", str(refusal.value))


# The command


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
            assert "already there" in page.saved.text
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
            await upload(page, user, "a.png", b"nothing")
            assert "a.png" in page.problem.text
            await upload(page, user, "a.png", png())
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
