"""Photographs as they come: sizes, modes, orientation, transparency, depth, damage."""

import hashlib
import os
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from hebae import data
from hebae.errors import HebaeError

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
ODD = ["broken.png", "decompression_bomb.gif", "truncated_jpeg.jpg"]


def corners(height=4, width=6):
    """Pixels (h, w, 3) in which every corner has another colour."""
    array = np.zeros((height, width, 3), np.uint8)
    array[: height // 2, : width // 2] = RED
    array[height // 2 :, : width // 2] = BLUE
    array[: height // 2, width // 2 :] = WHITE
    return array


def read(folder, **options):
    """Values (n, h, w, c) of a folder of images, and the notes on them."""
    dataset = data.load(folder, validation_size=0, **options)
    return dataset.train.values.transpose(0, 2, 3, 1), " ".join(dataset.notes)


@pytest.fixture
def save(tmp_path):
    """Write an array or image to a file in a folder, and return the folder."""

    def write(image, name="a.png", **options):
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(folder / name, **options)
        return folder

    return write


def test_mixed_sizes_and_modes_are_refused_with_two_files_and_the_flags(save):
    save(corners())
    save(corners(6, 6), "b.png")
    folder = save(corners()[..., 0], "c.png")
    words = r"b\.png is 6 x 6 RGB, but a\.png, the first, is 6 x 4 RGB.*c\.png is 6 x 4 grey"
    with pytest.raises(HebaeError, match=f"{words}.*--image-size 64 --image-mode RGB"):
        data.load(folder)
    with pytest.raises(HebaeError, match=r"c\.png is 6 x 4 grey, but a\.png"):
        data.load(folder, image_size=4)
    with pytest.raises(HebaeError, match=r"b\.png is 6 x 6 RGB, but a\.png"):
        data.load(folder, image_mode="RGB")


def test_mixed_sizes_and_modes_by_policy(save):
    wide = np.zeros((6, 12, 3), np.uint8)
    wide[:, :3], wide[:, 3:9], wide[:, 9:] = RED, BLUE, RED
    save(wide, "a.png")
    save(corners().transpose(1, 0, 2), "b.png")  # upright
    folder = save(Image.new("L", (3, 3), 200), "c.png")
    values, notes = read(folder, image_size=4, image_mode="RGB")
    assert values.shape == (3, 4, 4, 3) and (values[2] == 200).all()
    # The largest centred part, and nothing beside it.
    assert (values[0] == BLUE).all()
    np.testing.assert_array_equal(values[1], corners().transpose(1, 0, 2)[1:5])
    assert "cropped around the centre to the shape of 4 x 4" in notes and "with a Lanczos" in notes
    grey, notes = read(folder, image_size=(8, 5), image_mode="L")
    assert grey.shape == (3, 5, 8, 1) and "converted to grey levels" in notes
    large = np.random.default_rng(0).integers(0, 256, (9, 15, 3), np.uint8)
    for path in folder.iterdir():
        path.unlink()
    values, _ = read(save(large), image_size=(5, 3))
    expected = Image.fromarray(large).resize((5, 3), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(values[0], np.asarray(expected))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": 0}, "--image-size is 0; give one number"),
        ({"image_size": (4, 5, 6)}, "width and height"),
        ({"image_size": "64"}, "--image-size is '64'"),
        ({"image_mode": "RGBA"}, "--image-mode is 'RGBA'; it must be RGB, or L"),
        ({"image_background": "whit"}, "'whit'; give the name of a colour"),
    ],
)
def test_wrong_policies_are_refused(options, words, save):
    with pytest.raises(HebaeError, match=words):
        data.load(save(corners()), **options)


def test_policies_are_refused_for_what_is_no_image_to_decode(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((20, 3)))
    for given in (np.zeros((20, 3)), tmp_path / "x.npy", "mnist-mini"):
        with pytest.raises(HebaeError, match=r"--image-size is 4, but .*a folder, \.tar"):
            data.load(given, image_size=4)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (6, lambda a: np.rot90(a, -1)),
        (8, lambda a: np.rot90(a)),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_exif_orientation_is_applied(orientation, upright, suffix, save):
    exif = Image.Exif()
    exif[0x0112] = orientation
    values, notes = read(save(corners(), f"a.{suffix}", exif=exif))
    np.testing.assert_array_equal(values[0], upright(corners()))
    assert notes == (
        "1 image was rotated or flipped as the EXIF orientation says: a." + suffix + "."
        if orientation > 1
        else ""
    )


@pytest.mark.parametrize(("background", "colour"), [("white", WHITE), ("#000000", (0, 0, 0))])
def test_transparent_pixels_show_the_background(background, colour, save):
    rgba = np.dstack([corners(), np.full((4, 6), 255, np.uint8)])
    rgba[0, 0, 3], rgba[0, 1, 3] = 0, 51  # red, but not to be seen; a fifth of it
    expected = corners()
    expected[0, 0] = colour
    expected[0, 1] = np.rint(0.2 * np.array(RED) + 0.8 * np.array(colour))
    folder = save(rgba)
    values, notes = read(folder, image_background=background)
    np.testing.assert_array_equal(values[0], expected)
    assert f"partly transparent and was placed on {background}: a.png" in notes
    palette = Image.new("P", (6, 4))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((0, 0), 1)
    values, _ = read(save(palette, transparency=1), image_background=background)
    np.testing.assert_array_equal(values[0, 0, :2], [colour, RED])
    grey = np.dstack([np.full((4, 6), 80, np.uint8), rgba[..., 3]])
    values, _ = read(save(grey), image_background=background)
    assert values[0, 0, 0].tolist() == [colour[0]] and values[0, 3, 3].tolist() == [80]


def test_an_alpha_channel_that_hides_nothing_changes_nothing(save):
    values, notes = read(save(np.dstack([corners(), np.full((4, 6), 255, np.uint8)])))
    np.testing.assert_array_equal(values[0], corners())
    assert notes == ""


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bits_are_scaled(name, save):
    levels = np.array([[0, 100, 255], [17, 128, 200]])
    values, notes = read(save((257 * levels + [[0, 90, 0]] * 2).astype(np.uint16), name))
    np.testing.assert_array_equal(values[0, ..., 0], levels)
    assert "more than 8 bits per channel and was scaled to 8" in notes


def test_floats_from_0_to_1_are_scaled_and_others_refused(save):
    values, _ = read(save(np.array([[0, 0.5, 1]], np.float32), "a.tif"))
    assert values.ravel().tolist() == [0, 128, 255]
    for wrong in (np.array([[-1, 2]], np.float32), np.array([[70_000, 2]], np.int32)):
        with pytest.raises(HebaeError, match=r"a\.tif cannot be decoded.*values from"):
            read(save(wrong, "a.tif"))


def test_palettes_and_cmyk_become_rgb(save):
    image = Image.fromarray(corners())
    values, notes = read(save(image.quantize(8)))
    np.testing.assert_array_equal(values[0], corners())
    values, _ = read(save(image.convert("CMYK"), "a.tif"))
    assert values.shape[0] == 2 and notes == ""
    np.testing.assert_array_equal(values[1], corners())


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.png", "a.webp"])
def test_of_several_frames_the_first_is_used_with_a_note(name, save):
    pages = [Image.new("RGB", (6, 4), colour) for colour in (RED, BLUE, WHITE)]
    lossless = {"lossless": True} if name == "a.webp" else {}
    values, notes = read(save(pages[0], name, save_all=True, append_images=pages[1:], **lossless))
    assert (values == RED).all()
    assert f"several frames or pages, of which only the first is used: {name}" in notes


@pytest.fixture
def damaged(save):
    """A folder of three classes: 3 images that can be read, and 12 that cannot."""
    for number, colour in enumerate((RED, BLUE, WHITE)):
        folder = save(Image.new("RGB", (3, 2), colour), f"good-{number}.png")
    whole = (folder / "good-0.png").read_bytes()
    for name in "abc":
        (folder / name).mkdir()
    for number in range(12):
        content = (b"", b"words", whole[:50], whole[:40])[number % 4]
        (folder / "abc"[number % 3] / f"{number:02}.png").write_bytes(content)
    for number in range(3):
        (folder / f"good-{number}.png").rename(folder / "abc"[number] / "05x.png")
    return folder


def test_unreadable_files_are_counted_and_ten_are_listed(damaged):
    words = r"holds 12 files that cannot be decoded.*--skip-unreadable.*a/00\.png \(empty\)"
    with pytest.raises(HebaeError, match=f"{words}.* and 2 more") as refusal:
        data.load(damaged)
    assert str(refusal.value).count(".png") == 10


@pytest.mark.parametrize("archived", [False, True])
def test_unreadable_files_can_be_left_out(archived, damaged, tmp_path, forbid_decoding):
    if archived:
        with tarfile.open(tmp_path / "x.tar", "w") as target:
            for path in sorted(damaged.rglob("*.png"), reverse=True):
                target.add(path, path.relative_to(damaged).as_posix())
        damaged = tmp_path / "x.tar"
    for _ in range(2):  # from the cache the second time
        dataset = data.load(damaged, skip_unreadable=True)
        assert dataset.train.ids.tolist() == ["a/05x.png", "b/05x.png", "c/05x.png"]
        assert dataset.train.labels.tolist() == [0, 1, 2]
        values = dataset.train.values.transpose(0, 2, 3, 1)
        assert [image[0, 0].tolist() for image in values] == [[*RED], [*BLUE], [*WHITE]]
        assert "12 files were left out" in dataset.notes[0] and "2 more" in dataset.notes[0]
        forbid_decoding()


def test_a_folder_of_which_nothing_can_be_read_is_refused(save):
    folder = save(corners())
    (folder / "a.png").write_bytes(b"words")
    with pytest.raises(
        HebaeError, match=r"a\.png cannot .* \(not of a known format\): repair or remove it\."
    ):
        data.load(folder, skip_unreadable=True)


def test_a_decompression_bomb_is_one_sentence(save, monkeypatch):
    folder = save(corners())
    for most in (11, 12, 23):  # Pillow refuses twice as many, and warns of more than once as many
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(HebaeError, match=rf"a\.png .*claims more than {most} pixels"):
            data.load(folder)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24)
    assert len(data.load(folder).train) == 1


def test_files_of_other_kinds_are_mentioned(save):
    save(corners(), "a.JFIF", format="JPEG")
    folder = save(corners(), "b.jpe", format="JPEG")
    (folder / "IMG_1.heic").write_bytes(b"")
    (folder / ".hidden.txt").write_bytes(b"")
    values, notes = read(folder)
    assert len(values) == 2
    assert notes == (
        "1 other file was left out, without the suffix of an image format: IMG_1.heic."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only there")
def test_names_that_are_not_utf_8_are_shown_as_escapes(save):
    folder = save(corners())
    (folder / "a.png").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    dataset = data.load(folder)
    assert dataset.train.ids.tolist() == [r"caf\xe9.png"]
    [path] = folder.iterdir()
    path.write_bytes(b"words")
    with pytest.raises(HebaeError, match=r"caf\\xe9\.png cannot be decoded"):
        data.load(folder)


def test_a_policy_is_another_data_set_and_no_policy_is_that_of_0_1(save, forbid_decoding):
    folder = save(corners())
    plain = data.load(folder)
    digest = hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    text = f"None\ntrain None {digest} a.png\n"
    assert plain.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    options = [{"image_size": 2}, {"image_size": 3}, {"image_mode": "L"}]
    others = [data.load(folder, **chosen) for chosen in options]
    assert len({one.fingerprint for one in (plain, *others)}) == 4
    forbid_decoding()
    for chosen, first in zip(options, others, strict=True):
        again = data.load(folder, **chosen)
        assert (again.notes, again.shape) == (first.notes, first.shape)


def test_lists_of_pillow_images_are_read_as_their_files_are(save, tmp_path):
    rgba = np.dstack([corners(), np.full((4, 6), 99, np.uint8)])
    exif = Image.Exif()
    exif[0x0112] = 6
    save(corners(), "a.png", exif=exif)
    save(rgba, "b.png")
    folder = save(Image.fromarray(corners()).quantize(8), "c.png")
    images = [Image.open(path) for path in sorted(folder.iterdir())]
    given = data.load(images, image_size=4)
    values, _ = read(folder, image_size=4)
    np.testing.assert_array_equal(given.train.values.transpose(0, 2, 3, 1), values)
    assert "1 image was rotated or flipped as the EXIF orientation says: 0." in given.notes
    with pytest.raises(HebaeError, match="Image 1 of the list is 6 x 4 RGB, but image 0 is 4 x 6"):
        data.load(images)
    with pytest.raises(HebaeError, match="entry 3 is of type int"):
        data.load([*images, 3], image_size=4)
    with pytest.raises(HebaeError, match="one image: give a list"):
        data.load(images[0])


class Photos(torch.utils.data.Dataset):
    """Items (image, label), as a data set of torchvision gives them without a transform."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], i % 2


def test_images_of_torch_and_hugging_face_are_read_as_lists_of_them_are():
    rng = np.random.default_rng(0)
    sizes = [(4, 6, 3), (8, 8, 4), (5, 7, 3)]
    images = [Image.fromarray(rng.integers(0, 256, size, np.uint8)) for size in sizes]
    expected = data.load(images, image_size=4, image_mode="RGB")
    given = data.load(Photos(images), image_size=4, image_mode="RGB")
    np.testing.assert_array_equal(given.train.values, expected.train.values)
    assert given.train.labels.tolist() == [0, 1, 0] and given.notes == expected.notes
    with pytest.raises(HebaeError, match="Image 1 of the list is 8 x 8 RGB, but image 0 is 6 x 4"):
        data.load(Photos(images))
    with pytest.raises(HebaeError, match="entry 3 is of type ndarray"):
        data.load(Photos([*images, np.zeros((4, 6, 3), np.uint8)]), image_size=4)
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    columns = {"image": images, "label": [2, 0, 1]}
    given = data.load(
        datasets.Dataset.from_dict(columns, features=features), image_size=4, image_mode="RGB"
    )
    np.testing.assert_array_equal(given.train.values, expected.train.values)
    assert given.train.labels.tolist() == [2, 0, 1] and given.notes == expected.notes


def test_each_of_the_odd_images_is_an_image_or_a_sentence(data_dir, tmp_path):
    originals = data_dir / "odd_images"
    for path in sorted(originals.iterdir()):
        folder = tmp_path / path.stem
        folder.mkdir()
        (folder / path.name).symlink_to(path)
        if path.name in ODD:
            with pytest.raises(HebaeError, match=path.name):
                data.load(folder)
        else:
            assert data.load(folder).shape[0] in (1, 3)
    dataset = data.load(originals, image_size=16, image_mode="RGB", skip_unreadable=True)
    assert len(dataset.train) + len(dataset.validation) == 12
    assert "3 files were left out" in " ".join(dataset.notes)
    # Upright, the upper left corner of this portrait is light.
    [upright] = data.load([Image.open(originals / "hopper_orientation_6.jpg")]).train.values
    assert upright.shape == (3, 128, 128)
    assert upright[:, :20, :20].mean() > upright[:, -20:, :20].mean()
