"""Portraits are framed by the eyes; what cannot be found or trusted falls back, and says so."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from ui.words import say
from vae.errors import BadInput
from vae.pictures import faces, images
from vae.pictures.framing import Form, Framed, frame

PLACES = np.array([[35.8, 45.1], [59.8, 45.1]]) / 96  # where the training set has them
finds = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="nothing runs the finder: onnxruntime is missing")


def portrait(picture: np.ndarray, size: int, channels: int) -> Framed:
    return frame(picture, Form("portrait", size, channels))


def by_eyes(picture: np.ndarray, eyes: object, size: int, channels: int, turn: float = 0.0) -> np.ndarray:
    made = frame(picture, Form("portrait", size, channels), eyes, turn)
    assert (made.how, made.notes) == ("eyes", ())
    return made.picture


def drawn(
    side: int = 300, centre: tuple[float, float] = (150, 150), size: float = 1.0, roll: float = 0.0
) -> np.ndarray:
    """A face in a few soft ellipses, 130 x 170 pixels times `size`, turned by `roll` degrees against the clock."""
    image = Image.new("RGB", (side * 2, side * 2), (70, 95, 130))
    draw = ImageDraw.Draw(image)

    def oval(x: float, y: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        x, y, wide, high = (2 * size * value for value in (x, y, wide, high))
        x, y = x + 2 * centre[0], y + 2 * centre[1]
        draw.ellipse((x - wide, y - high, x + wide, y + high), colour)

    oval(0, -22, 72, 88, (60, 40, 30))
    oval(0, 0, 63, 83, (222, 178, 150))
    for eye in (-26, 26):
        oval(eye, -30, 16, 4, (80, 55, 40))
        oval(eye, -14, 12, 7, (245, 240, 235))
        oval(eye, -14, 6, 6, (45, 30, 25))
    oval(0, 14, 9, 13, (200, 150, 122))
    oval(-5, 22, 3, 2, (120, 70, 60))
    oval(5, 22, 3, 2, (120, 70, 60))
    oval(0, 46, 24, 8, (175, 70, 75))
    image = image.rotate(roll, Image.Resampling.BICUBIC, center=(2 * centre[0], 2 * centre[1]), fillcolor=(70, 95, 130))
    return np.array(image.resize((side, side), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1.5 * size)))


def marked(eyes: np.ndarray, height: int, width: int, radius: float) -> np.ndarray:
    """A dark picture with a red spot on the first point and a green one on the second."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    picture = np.zeros((height, width, 3), np.uint8)
    for channel, (x, y) in enumerate(eyes):
        away = np.hypot(columns - x, rows - y)
        picture[..., channel] = 255 * np.clip(radius + 0.5 - away, 0, 1)
    return picture


def spots(frame: np.ndarray) -> np.ndarray:
    """-> (2, 2): x, y of the red and the green spot's centre of mass, in sides of the frame."""
    rows, columns = np.mgrid[: len(frame), : len(frame)] + 0.5
    weights = frame[..., :2].astype(float)
    return np.array([[(way * w).sum() / w.sum() for way in (columns, rows)] for w in np.moveaxis(weights, 2, 0)]) / len(
        frame
    )


@pytest.mark.parametrize("size", [28, 96])
@pytest.mark.parametrize("roll", [-150, -40, 0, 12, 85])
@pytest.mark.parametrize("apart", [15, 60, 110])
def test_given_eyes_land_where_the_training_faces_have_them(size, roll, apart):
    way = apart / 2 * np.array([np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))])
    eyes = np.array([390, 400]) + np.array([-way, way])
    picture = marked(eyes, 720, 760, max(1.0, apart / 9))
    first = 0 if way[0] > 0 else 1  # of the two points the one further left is the left eye
    found = spots(by_eyes(picture, eyes, size, 3))
    np.testing.assert_allclose(found, PLACES[[first, 1 - first]], atol=0.15 / size)
    again = by_eyes(picture, eyes[::-1].tolist(), size, 3)
    np.testing.assert_array_equal(again, by_eyes(picture, eyes, size, 3))


def test_a_picture_in_the_training_form_stays_what_it_is():
    picture = drawn(96, (47.8, 50), 0.46)
    again = by_eyes(picture, PLACES * 96, 96, 3)
    assert np.abs(again.astype(int) - picture).mean() < 1
    grey = by_eyes(picture, PLACES * 96, 96, 1)
    assert grey.shape == (96, 96, 1)
    assert np.abs(grey[..., 0].astype(int) - np.asarray(Image.fromarray(picture).convert("L"))).mean() < 1


def test_the_frame_goes_along_with_a_turned_head():
    eyes = np.array([[120, 150], [180, 150]])
    picture = marked(eyes, 300, 300, 6)
    ahead, right, left = (spots(by_eyes(picture, eyes, 96, 3, turn)) for turn in (0, 0.2, -0.2))
    assert 2 < 96 * (right - ahead)[0, 0] < 6
    np.testing.assert_allclose(right - ahead, ahead - left, atol=0.003)
    np.testing.assert_allclose(right[1] - right[0], PLACES[1] - PLACES[0], atol=0.003)


def test_beyond_the_picture_its_edge_goes_on():
    picture = np.full((80, 80, 3), (10, 200, 90), np.uint8)
    assert (by_eyes(picture, [[2, 3], [60, 70]], 64, 3) == (10, 200, 90)).all()
    halves = np.zeros((60, 60, 3), np.uint8)
    halves[:, :30, 0] = halves[:, 30:, 2] = 200
    frame = by_eyes(halves, [[15, 28], [45, 28]], 96, 3).astype(int)  # the frame is 120 pixels of the 60
    assert (frame[:, :25] == (200, 0, 0)).all() and (frame[:, 71:] == (0, 0, 200)).all()
    sharp, soft = (np.abs(np.diff(rows, axis=1)).max() for rows in (frame[35:60], frame[-8:]))
    assert soft < 0.3 * sharp


@pytest.mark.parametrize(
    "eyes",
    [
        [[10, 10], [10, 11]],
        [[-1, 10], [30, 10]],
        [[10, 10], [30, 51]],
        [[np.nan, 10], [30, 10]],
        [[10, np.inf], [30, 10]],
        [[10, 10]],
        [10, 10, 30, 10],
        [["a", 1], [2, 3]],
        [[10, 10], [30]],
        5,
    ],
)
def test_eyes_that_cannot_be_are_refused(eyes):
    with pytest.raises(BadInput, match="eyes"):
        by_eyes(np.zeros((50, 60, 3), np.uint8), eyes, 64, 3)


def test_a_turn_that_cannot_be_is_refused():
    with pytest.raises(BadInput):
        by_eyes(np.zeros((50, 60, 3), np.uint8), [[10, 10], [30, 10]], 64, 3, float("nan"))


@finds
@pytest.mark.parametrize(
    ("side", "centre", "size", "roll"),
    [(300, (150, 150), 1, 0), (300, (170, 140), 1, 20), (300, (120, 160), 0.8, -25), (900, (640, 300), 1, 8)],
)
def test_a_drawn_face_is_found_and_its_eyes_are_brought_to_their_places(side, centre, size, roll):
    made = portrait(drawn(side, centre, size, roll), 96, 3)
    assert (made.how, made.notes) == ("eyes", ())
    turned = np.exp(-1j * np.deg2rad(roll)) * size * np.array([-26 - 14j, 26 - 14j]) + complex(*centre)
    apart = 52 * size
    assert np.abs(made.eyes @ [1, 1j] - turned).max() < 0.15 * apart  # 4 % of the frame
    same = by_eyes(drawn(side, centre, size, roll), made.eyes, 96, 3, made.turn)
    np.testing.assert_array_equal(same, made.picture)


@finds
def test_the_same_picture_gives_the_same_frame():
    first, second = (portrait(drawn(roll=10), 64, 3) for _ in range(2))
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.eyes, second.eyes)


@finds
def test_of_several_faces_the_largest_is_taken_and_it_says_so():
    pair = np.hstack([drawn(300, size=0.7), drawn(300)])
    for picture, is_right in ((pair, True), (np.ascontiguousarray(pair[:, ::-1]), False)):
        made = portrait(picture, 64, 3)
        assert "several" in made.notes
        assert (made.eyes[:, 0] > 300).all() == is_right


@finds
def test_a_face_at_the_border_is_filled_up_and_it_says_so():
    made = portrait(drawn(300, (150, 150))[60:, 60:220], 64, 3)
    assert "border" in made.notes and made.picture.min() > 0


@finds
@pytest.mark.parametrize("how", ["profile", "unsure"])
def test_eyes_that_are_not_trusted_leave_the_framing_to_the_box(how, monkeypatch):
    points = np.array([100 + 80j, 200 + 180j, 120 + 110j, 180 + 110j, 150 + 135j])
    points[2:4] = {"profile": [130 + 110j, 150 + 110j], "unsure": [-8 + 110j, 50 + 110j]}[how]
    points[4] = {"profile": 160 + 135j, "unsure": 21 + 135j}[how]
    monkeypatch.setattr(faces, "find", lambda picture: [faces.Face(0.9, points)])
    made = portrait(drawn(), 96, 3)
    assert (made.how, made.notes) == ("outline", (how,))
    width = made.eyes[1] - made.eyes[0]
    assert width[1] == 0 and 30 < width[0] < 50 and np.allclose(made.eyes.mean(axis=0)[0], 150)


@finds
@pytest.mark.parametrize("kind", ["even", "noise", "stripes"])
def test_without_a_face_the_middle_is_taken_and_it_says_so(kind):
    dice = np.random.default_rng(0)
    picture = {
        "even": np.full((120, 200, 3), 130, np.uint8),
        "noise": dice.integers(0, 256, (120, 200, 3), dtype=np.uint8),
        "stripes": np.tile(np.array([[[255], [0]]], np.uint8).repeat(8, axis=1), (120, 13, 3))[:, :200],
    }[kind]
    made = portrait(picture, 48, 3)
    assert (made.how, made.notes) == ("square", ("none",))
    np.testing.assert_array_equal(made.picture, images.square(picture, 48, 3))
    np.testing.assert_allclose(made.eyes, PLACES * 120 + [40, 0])


def test_without_onnxruntime_the_middle_is_taken_and_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    faces._session.cache_clear()
    made = portrait(drawn(), 64, 3)
    assert made.notes == ("absent",)


@finds
@settings(max_examples=15)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3]), st.integers(0, 10**6), st.sampled_from([1, 3]))
def test_any_picture_takes_the_form(height, width, channels, seed, wanted):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    made = portrait(picture, 28, wanted)
    assert made.picture.shape == (28, 28, wanted) and made.picture.dtype == np.uint8
    assert np.isfinite(made.eyes).all() and all(say(f"explore.face_{note}") for note in made.notes)


@finds
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 700, 3), (700, 1, 1), (3, 2, 1)])
def test_the_thinnest_pictures_take_the_form(shape):
    assert portrait(np.full(shape, 90, np.uint8), 64, 3).notes == ("none",)
    if min(shape[:2]) > 1:
        assert (by_eyes(np.full(shape, 90, np.uint8), [[0, 0], [2, 1]], 64, 3) == 90).all()


@pytest.mark.parametrize("shape", [(40,), (1, 40, 40, 3), (0, 40, 3), (40, 40, 2)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(BadInput, match="uint8"):
        portrait(np.zeros(shape, np.uint8), 64, 3)
    with pytest.raises(BadInput, match="uint8"):
        by_eyes(np.zeros(shape, np.uint8), [[1, 1], [9, 1]], 64, 3)


@finds
def test_the_finder_answers_as_the_original_does():
    """The numbers are what LiteRT 2.3.0 makes of MediaPipe 0.10.14's own file."""
    rows, columns, colours = np.mgrid[:128, :128, :3]
    view = (np.sin(columns * (colours + 1) / 9) * np.cos(rows / 7)).astype(np.float32)
    boxes, scores = faces._session().run(["boxes", "scores"], {"image": view[None]})
    assert boxes.shape == (1, 896, 16) and scores.shape == (1, 896, 1)
    some = [-4.928, -4.456, -3.741, -4.699, -3.449, -0.947, -0.606]
    left_eyes = [-5.166, -1.418, -2.031, -3.558, -3.538, -21.248, -8.627]
    np.testing.assert_allclose(scores[0, ::128, 0], some, atol=0.01)
    np.testing.assert_allclose(boxes[0, ::128, 4], left_eyes, atol=0.01)
