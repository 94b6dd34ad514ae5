"""Framings bring pictures to the data sets' form; what is written is whole and reads back as it was."""

import base64
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageSequence

from vae.errors import BadInput
from vae.pictures import faces, framing, images
from vae.pictures.framing import Form, frame
from vae.recipe import FRAMINGS
from vae.storage import files

DIGITS = np.load(Path(__file__).parents[1] / "assets" / "digits-10k.npz")["images"][..., None]  # (N, 28, 28, 1)
SOME = DIGITS[:24]


def enlarged(digit: np.ndarray, times: int = 10) -> np.ndarray:
    return digit.repeat(times, axis=0).repeat(times, axis=1)


def far(made: list[np.ndarray], wanted: np.ndarray = SOME) -> float:
    """The median over pictures of the mean absolute difference; a digit one pixel aside is about 15 away, another one 30."""
    return float(np.median(np.abs(np.stack(made).astype(int) - wanted).mean(axis=(1, 2, 3))))


def drawn(pen: int, size: int = 280, ink: int = 0, paper: int = 255) -> np.ndarray:
    """A seven drawn with a round pen of so many pixels."""
    image = Image.new("L", (size * 4, size * 4), paper)
    draw, points = ImageDraw.Draw(image), [(70, 60), (200, 60), (120, 230)]
    points = [(x * 4, y * 4) for x, y in points]
    draw.line(points, ink, pen * 4)
    for x, y in points:
        draw.ellipse((x - pen * 2, y - pen * 2, x + pen * 2, y + pen * 2), ink)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))[..., None]


def photographed(digit: np.ndarray, seed: int) -> np.ndarray:
    """The digit in ink somewhere on paper: side light, a soft shadow over a part, noise, a lens that is not quite sharp."""
    dice = np.random.default_rng(seed)
    side, pixel = 300, 8
    shape = Image.fromarray(digit[:, :, 0]).resize((28 * pixel, 28 * pixel), Image.Resampling.BICUBIC)
    ink = np.zeros((side, side))
    top, left = dice.integers(5, side - 28 * pixel - 5, 2)
    blurred = np.asarray(shape.filter(ImageFilter.GaussianBlur(pixel / 4))) / 255
    ink[top : top + 28 * pixel, left : left + 28 * pixel] = np.clip((blurred - 0.4) * 6, 0, 1)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    turn = dice.uniform(0, 2 * np.pi)
    across = np.cos(turn) * columns + np.sin(turn) * rows
    light = 0.75 + 0.35 * across
    light *= 1 - 0.4 / (1 + np.exp(-60 * (np.cos(turn + 1) * columns + np.sin(turn + 1) * rows)))
    colours = np.array([1, 0.97, 0.9]) * (1 - ink[..., None]) + np.array([0.12, 0.15, 0.35]) * ink[..., None]
    noisy = light[..., None] * colours + dice.normal(0, 0.02, (side, side, 3))
    return np.asarray(
        Image.fromarray((np.clip(noisy, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    )


def test_a_digit_in_mnists_form_stays_what_it_is():
    assert far([framing.centred_shape(digit) for digit in SOME]) < 0.5


@pytest.mark.parametrize("turn", ["light on dark", "dark on light", "grey on grey", "colour"])
def test_an_enlarged_digit_comes_back(turn):
    def change(digit):
        big = enlarged(digit)
        if turn == "colour":
            return np.concatenate([255 - big, 255 - big // 2, np.full_like(big, 255)], axis=2)
        return {
            "light on dark": big,
            "dark on light": 255 - big,
            "grey on grey": (210 - big * 0.6).astype(np.uint8),
        }[turn]

    assert far([framing.centred_shape(change(digit)) for digit in SOME]) < 4


def test_a_shifted_digit_comes_back():
    dice = np.random.default_rng(0)
    made = []
    for digit in SOME:
        sheet = np.zeros((420, 360, 1), np.uint8)
        top, left = dice.integers(0, 360 - 280, 2)
        sheet[top : top + 280, left : left + 280] = enlarged(digit)
        made.append(framing.centred_shape(sheet))
    assert far(made) < 4


def test_a_photographed_digit_comes_back_and_the_paper_becomes_black():
    made = [framing.centred_shape(photographed(digit, seed)) for seed, digit in enumerate(SOME[:8])]
    assert far(made, SOME[:8]) < 12
    assert np.median([np.mean(picture[[0, 1, 26, 27]]) for picture in made]) == 0
    ink = [(picture > 127).sum() for picture in made]
    truth = [(picture > 127).sum() for picture in SOME[:8]]
    assert 0.7 < np.mean(ink) / np.mean(truth) < 1.4


@pytest.mark.parametrize("pen", [2, 5, 10, 20, 30, 44])
def test_any_pen_gives_a_stroke_as_wide_as_mnists(pen):
    shape = framing.centred_shape(drawn(pen))[:, :, 0] / 255
    lit = shape > 0.5
    assert 1.5 < shape[16:20].sum(axis=1).mean() < 5.5  # rows through the seven's leg only
    rows, columns = (np.flatnonzero(lit.any(axis)) for axis in (1, 0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20


def test_the_centre_of_mass_is_the_centre():
    for digit in SOME:
        shape = framing.centred_shape(enlarged(digit))[:, :, 0].astype(float)
        for axis in (0, 1):
            place = shape.sum(axis=axis) @ np.arange(28) / shape.sum()
            assert abs(place - 14) <= 0.75  # half a pixel, and what rounding to 256 steps adds


def test_a_garment_keeps_its_greys_and_fills_the_frame():
    shirt = np.full((90, 120, 1), 255, np.uint8)
    shirt[20:76, 30:58] = 100
    shirt[30:40, 30:58] = 40
    form = framing.centred_shape(shirt, 28, 28, by_mass=False)
    rows, columns = (np.flatnonzero((form[:, :, 0] > 30).any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (0, 27) and (columns[0], columns[-1]) == (7, 20)
    assert abs(int(form[20, 14, 0]) - 155) <= 2 and abs(int(form[7, 14, 0]) - 215) <= 2
    assert far([framing.centred_shape(form, 28, 28, by_mass=False)], form[None]) < 0.5


@pytest.mark.parametrize("by_mass", [True, False])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_canvas_is_refused(value, by_mass):
    with pytest.raises(BadInput, match="shows no shape"):
        framing.centred_shape(np.full((280, 280, 3), value, np.uint8), by_mass=by_mass)


@settings(max_examples=40)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([1, 3]),
    st.integers(0, 10**6),
    st.sampled_from(FRAMINGS),
)
def test_any_picture_takes_the_form_or_is_refused(height, width, channels, seed, name):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    for shape in (picture, np.minimum(picture, 3), picture * (picture > 250)):
        try:
            framed = frame(shape, Form(name, 28, channels))
        except BadInput:
            assert name in ("digit", "garment")
            continue
        assert framed.picture.shape == (28, 28, channels) and framed.picture.dtype == np.uint8
        assert framed.how in (name, "eyes", "outline", "square") and (framed.eyes is not None) == (name == "portrait")


def test_an_unknown_framing_is_refused_by_name():
    with pytest.raises(BadInput, match="'cubist'.*square"):
        frame(SOME[0], Form("cubist", 28, 1))


def test_the_framings_are_those_that_a_recipe_can_name():
    assert set(framing.FRAMINGS) == set(FRAMINGS)


@pytest.mark.parametrize("name", ["digit", "garment"])
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (40, 3)])
def test_a_shape_is_framed_with_its_data_sets_margin_at_any_size(name, size, channels):
    picture = np.zeros((80, 100, 3), np.uint8)
    picture[20:60, 30:50] = 200
    framed = frame(picture, Form(name, size, channels))
    assert (framed.how, framed.notes, framed.eyes) == (name, (), None)
    lit = np.flatnonzero((framed.picture > 100).any(axis=(1, 2)))
    assert abs(np.ptp(lit) + 1 - size * {"digit": 20, "garment": 28}[name] / 28) <= 1


def test_square_cuts_the_middle_out():
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = (200, 100, 0)
    assert (images.square(picture, 40, 3) == (200, 100, 0)).all()
    assert np.abs(images.square(picture, 8, 3)[2:6, 2:6].astype(int) - (200, 100, 0)).max() <= 2
    grey = images.square(picture, 40, 1)
    assert grey.shape == (40, 40, 1) and abs(int(grey[0, 0, 0]) - (0.299 * 200 + 0.587 * 100)) < 1  # Rec. 601
    assert images.square(grey, 40, 3).shape == (40, 40, 3)
    assert images.square(grey, 40, 1).flags.writeable and images.load(images.encode(grey)).flags.writeable


@given(st.integers(1, 13), st.integers(0, 3), st.sampled_from([1, 3]))
def test_a_grid_holds_every_picture_in_order(count, gap, channels):
    pictures = np.random.default_rng(count).integers(0, 200, (count, 4, 6, channels), dtype=np.uint8)
    sheet = images.grid(pictures, gap)
    columns = next(side for side in range(1, 99) if side * side >= count)
    assert sheet.shape == (-(-count // columns) * (4 + gap) - gap, columns * (6 + gap) - gap, channels)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (4 + gap), index % columns * (6 + gap)
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 6], picture)


def test_encoded_pictures_read_back():
    picture = images.square(np.repeat(SOME[3], 3, axis=2), 28, 3)
    np.testing.assert_array_equal(images.load(images.encode(picture)), picture)
    head, data = images.data_url(picture).split(",")
    assert head == "data:image/jpeg;base64"
    assert np.abs(images.load(base64.b64decode(data)).astype(int) - picture).mean() < 6
    with pytest.raises(BadInput, match="'tga'"):
        images.encode(picture, "tga")


def test_a_drawing_that_unpacks_to_millions_of_pixels_is_refused():
    drawing = images.data_url(np.zeros((2100, 2100, 1), np.uint8), "png")
    assert len(drawing) < images.MAX_URL_CHARACTERS / 10
    with pytest.raises(BadInput, match="at most 4,000,000"):
        images.from_data_url(drawing)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_film_plays_there_and_back(tmp_path, channels):
    dice = np.random.default_rng(0).integers(0, 256, (2, 8, 8, channels)).astype(float)
    ends = [
        np.asarray(Image.fromarray(end.astype(np.uint8).squeeze()).resize((32, 32))).reshape(32, 32, channels)
        for end in dice
    ]
    frames = np.stack([(1 - t) * ends[0] + t * ends[1] for t in np.linspace(0, 1, 5)]).astype(np.uint8)
    images.save_film(frames, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 8 and film.info["loop"] == 0 and film.info["duration"] == images.FRAME_MS
        assert film.size == (256, 256)
        shown = [np.asarray(frame.convert("RGB"))[4::8, 4::8] for frame in ImageSequence.Iterator(film)]
    for picture, wanted in zip(shown, [0, 1, 2, 3, 4, 3, 2, 1], strict=True):
        errors = np.abs(picture.astype(int) - frames).mean(axis=(1, 2, 3))
        assert errors.argmin() == wanted and errors.min() < 16  # 128 colours for all frames of a motley film
    images.save_film(frames[:1], tmp_path / "one.gif")
    assert images.load(tmp_path / "one.gif").shape == (256, 256, 3)


@pytest.mark.parametrize("name", ["out.npy", "out.png", "out.gif", "new/folder"])
def test_out_follows_its_ending(tmp_path, name):
    out = tmp_path / name
    images.save(SOME[:7], out)
    if name == "out.npy":
        np.testing.assert_array_equal(np.load(out, allow_pickle=False), SOME[:7])
    elif name == "out.png":
        np.testing.assert_array_equal(images.load(out)[:, :, :1], images.grid(SOME[:7]))
    elif name == "out.gif":
        assert images.load(out).shape == (252, 252, 3)
    else:
        assert sorted(path.name for path in out.iterdir()) == [f"{i:05d}.png" for i in range(7)]
        np.testing.assert_array_equal(images.load(out / "00004.png")[:, :, :1], SOME[4])
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("name", ["out.npy", "out.png", "out.gif", "folder"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, name):
    out = tmp_path / name
    if name != "folder":
        out.write_bytes(b"before")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(BadInput, match="No space left on device"):
        images.save(SOME[:3], out)
    assert out.read_bytes() == b"before" if name != "folder" else not out.exists()
    assert len(list(tmp_path.iterdir())) == (name != "folder")


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="not an empty folder"):
        images.save(SOME[:2], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    images.save(SOME[:2], tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 2


def test_a_folder_takes_the_place_of_the_old_one_whole_or_not_at_all(tmp_path):
    out = tmp_path / "out"
    for text in ("old", "new"):
        with files.written_folder(out) as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / text).write_text(text)
    assert [path.name for path in out.rglob("*")] == ["deep", "new"]
    with pytest.raises(BadInput, match="No space left"), files.written_folder(out) as folder:
        (folder / "new").write_text("half")
        raise OSError(28, "No space left on device")
    assert (out / "deep" / "new").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_out_beside_a_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("out.png", "out.npy", "out.gif", "out"):
        with pytest.raises(BadInput, match="cannot be written"):
            images.save(SOME[:2], tmp_path / "file" / name)


def test_written_files_have_the_usual_rights(tmp_path):
    images.save(SOME[:2], tmp_path / "out.png")
    assert os.name != "posix" or (tmp_path / "out.png").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.JPG", "a.webp", "a.WebP", "a.PNG"])
def test_a_grid_is_written_in_the_format_that_the_ending_names(tmp_path, name):
    images.save(SOME[:4], tmp_path / name)
    with Image.open(tmp_path / name) as written:
        assert written.format == {"j": "JPEG", "w": "WEBP", "p": "PNG"}[name[2].lower()]
        assert np.abs(np.asarray(written.convert("L")).astype(int) - images.grid(SOME[:4])[..., 0]).mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.bmpx", "a.txt", "a.mp4", "run.v2", "a.tar.gz", "a." + "x" * 200])
def test_an_ending_that_nothing_is_written_in_is_refused_with_those_that_are(tmp_path, name):
    with pytest.raises(BadInput) as refusal:
        images.save(SOME[:2], tmp_path / name)
    assert all(ending in str(refusal.value) for ending in (".png", ".jpg", ".jpeg", ".webp", ".gif", ".npy", "folder"))
    assert len(str(refusal.value)) < 200 and not list(tmp_path.iterdir())


def test_a_folder_with_a_dot_in_its_name_is_filled_where_it_stands(tmp_path):
    (tmp_path / "run.v2").mkdir()
    images.save(SOME[:2], tmp_path / "run.v2")
    assert len(list((tmp_path / "run.v2").glob("*.png"))) == 2


def test_a_grid_too_large_for_its_format_is_refused_in_words(tmp_path):
    wide = np.zeros((1, 8, 20_000, 1), np.uint8)
    with pytest.raises(BadInput, match="20,000 x 8 pixels are too many for webp"):
        images.save(wide, tmp_path / "a.webp")
    images.save(wide, tmp_path / "a.png")


def doors(tmp_path: Path) -> dict:
    """What takes a picture, as functions of one."""
    return {
        "frame": lambda picture: frame(picture, Form("square", 28, 1)).picture,
        "as_image": images.as_image,
        "square": lambda picture: images.square(picture, 28, 1),
        "encode": lambda picture: images.load(images.encode(picture)),
        "find": faces.find,
        "save": lambda picture: images.save(picture[None], tmp_path / "a.png"),
        "film": lambda picture: images.save_film(picture[None], tmp_path / "a.gif"),
        "grid": lambda picture: images.grid(picture[None]),
    }


DOORS = list(doors(Path()))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "change",
    [
        lambda p: p / 255.0, lambda p: p.astype(np.float32), lambda p: p.astype(int), lambda p: p > 127,
        lambda p: torch.as_tensor(p) / 255, lambda p: p.transpose(2, 0, 1), lambda p: p[:0], lambda p: p[None],
    ],
)  # fmt: skip
def test_what_is_no_picture_of_bytes_is_refused_at_every_door(tmp_path, door, change):
    with pytest.raises(BadInput, match="uint8.* 0 to 255"):
        doors(tmp_path)[door](change(SOME[0]))


@pytest.mark.parametrize("door", DOORS)
def test_tensors_are_pictures_too_at_every_door(tmp_path, door):
    if door == "find":
        pytest.importorskip("onnxruntime")
    doors(tmp_path)[door](torch.as_tensor(SOME[0]))


@pytest.mark.parametrize("thing", [None, "picture", 5, [[1, 2], [3]], object()])
def test_what_is_no_array_is_refused(thing):
    for ask in (images.as_pictures, images.as_image, lambda picture: frame(picture, Form("square", 28, 1))):
        with pytest.raises(BadInput, match="uint8"):
            ask(thing)


def test_greys_without_a_channel_and_tensors_are_what_they_are_with_one():
    form = Form("digit", 28, 1)
    expected = frame(SOME[0], form).picture
    for same in (SOME[0][..., 0], torch.as_tensor(SOME[0]), torch.as_tensor(SOME[0][..., 0])):
        np.testing.assert_array_equal(frame(same, form).picture, expected)
    np.testing.assert_array_equal(images.grid(torch.as_tensor(SOME)), images.grid(SOME))


def test_rgba_is_laid_on_white_as_pillow_does():
    rgba = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    paper = Image.new("RGBA", (40, 30), "white")
    paper.alpha_composite(Image.fromarray(rgba))
    assert np.abs(images.as_pictures(rgba, 3).astype(int) - np.asarray(paper)[..., :3]).max() <= 1
    assert images.grid(rgba[None]).shape == (30, 40, 3)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 4, 4, 2), (4, 4, 3), (2, 0, 4, 3), (4, 4)])
def test_what_are_no_pictures_are_refused(shape, tmp_path):
    with pytest.raises(BadInput, match="uint8"):
        images.save(np.zeros(shape, np.uint8), tmp_path / "out.png")
