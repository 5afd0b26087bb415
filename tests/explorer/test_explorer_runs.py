"""What the explorer shows: codes, directions, decoding, colours, groups, the map, selections."""

import base64
import csv
import html
import io
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hebae import inference
from hebae.cli.explore import _open
from hebae.config import DataSettings
from hebae.data.examples import Examples
from hebae.errors import HebaeError
from hebae.explorer import runs, views
from hebae.principal import principal_axes

# Directions, attributes, lines


def test_axes_are_the_principal_components_of_the_codes():
    rng = np.random.default_rng(0)
    codes = (rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + 3).astype(np.float32)
    axes = principal_axes(codes.mean(0), np.cov(codes.T))
    along = axes.coordinates(codes)
    np.testing.assert_allclose(along.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(along.T), np.eye(4), atol=1e-3)
    np.testing.assert_allclose(axes.codes(along), codes, atol=1e-3)
    assert (np.diff(axes.deviations) <= 0).all()
    assert axes.shares.sum() == pytest.approx(1)


def test_a_direction_in_which_codes_agree_has_coordinate_0():
    codes = np.array([[1, 5], [3, 5]], np.float32)
    axes = principal_axes(codes.mean(0), np.cov(codes.T))
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


def test_a_condition_that_is_asked_for_takes_the_place_of_those_of_the_examples(folder, opened):
    asked = DataSettings(condition=("site=south",))
    run, _ = _open(folder / "table", asked, 100)
    assert run.examples.conditions.tolist() == [[1.0]] * 80
    assert run.most_frequent_conditions.tolist() == [[1.0]]
    with pytest.raises(HebaeError, match="'west'"):
        _open(folder / "table", DataSettings(condition=("site=west",)), 100)


def test_draws_are_those_of_hebae_sample(image_run):
    drawn = image_run.draw("normal", 3, 7)
    np.testing.assert_array_equal(drawn, inference.sample(image_run.model, 3, 7))
    assert image_run.samplers["normal"]


def test_a_sampler_is_fitted_to_the_training_codes_and_stored(image_run):
    name = next(name for name, there in image_run.samplers.items() if not there)
    assert image_run.draw(name, 2, 0).shape == (2, 3, 8, 8)
    assert (image_run.path / "samplers.safetensors").is_file()


def test_umap_is_computed_once_and_by_one_visitor_at_a_time(image_run, monkeypatch):
    computing = []

    class UMAP:
        def __init__(self, **settings):
            assert settings["random_state"] == 0

        def fit_transform(self, codes):
            computing.append(len(codes))
            time.sleep(0.05)
            assert len(computing) == 1
            return codes[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    monkeypatch.setattr(runs, "has_umap", lambda: True)
    run = replace(image_run)
    assert run.projections == {"pca": "PCA", "umap": "UMAP"}
    assert not run.has_map("umap")
    with ThreadPoolExecutor(2) as visitors:
        first, second = visitors.map(run.map, ["umap", "umap"])
    assert first is second
    assert run.has_map("umap")


@pytest.mark.long
def test_umap_separates_groups_of_codes():
    pytest.importorskip("umap", reason="umap-learn is not installed")
    codes = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    codes[30:] += 40
    places = runs.umap_of(codes)
    assert places.shape == (60, 2)
    centres = places[:30].mean(0), places[30:].mean(0)
    spread = max(places[:30].std(), places[30:].std())
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread
    np.testing.assert_array_equal(runs.umap_of(codes), places)


def test_without_umap_or_with_few_codes_it_is_not_offered(image_run, monkeypatch):
    monkeypatch.setattr(runs, "has_umap", lambda: False)
    assert list(image_run.projections) == ["pca"]
    with pytest.raises(HebaeError, match="pip install umap-learn"):
        runs.umap_of(image_run.codes)
    monkeypatch.setattr(runs, "has_umap", lambda: True)
    with pytest.raises(HebaeError, match="at least 16 codes"):
        runs.umap_of(image_run.codes[:15])


def test_a_draw_of_the_examples_says_of_how_many(image_run):
    assert image_run.count == "80 examples"
    shown = runs.choose({"train": image_run.examples}, 12)
    assert replace(image_run, shown=shown).count == "12 of 80 examples, drawn at random"


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


def test_text_of_the_data_is_shown_as_it_is_in_the_map():
    names = "<b>bold</b>", "&lt;", "<=50K"
    colouring = views.Colouring("<i>kind</i>", np.array([0, 1, 2]), names)
    figure = views.map_figure(np.zeros((3, 2)), colouring, axis_names=("1", "2"))
    assert [html.unescape(trace["name"]) for trace in figure["data"]] == list(names)
    assert not any("<" in trace["name"] for trace in figure["data"])
    colouring = views.Colouring("<i>kind</i>", numbers=np.zeros(3))
    (trace,) = views.map_figure(np.zeros((3, 2)), colouring, axis_names=("1", "2"))["data"]
    assert trace["marker"]["colorbar"]["title"]["text"] == "&lt;i&gt;kind&lt;/i&gt;"


def test_a_column_called_label_is_not_taken_for_the_label(table_run):
    examples = table_run.examples
    labelled = replace(examples, labels=np.arange(80) % 2)
    model = SimpleNamespace(
        input_shape=examples.shape, seen=replace(table_run.model.seen, feature_names=["label", "b"])
    )
    shown = table_run.shown._replace(examples=labelled)
    choices = views.colourings(SimpleNamespace(shown=shown, examples=labelled, model=model))
    titles = [title for title, _ in choices.values()]
    assert len(set(titles)) == len(titles)
    assert views.groups(choices)["label = 1"]().tolist() == list(range(1, 80, 2))


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
    with pytest.raises(HebaeError, match="already exists"):
        views.save_path(tmp_path, "x.csv")
