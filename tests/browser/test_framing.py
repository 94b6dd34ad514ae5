"""The browser's framing of visitors' pictures, against the Python that it repeats; the modules alone, without the app."""

import base64
import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import test_faces, test_images
from vae import checkpoints
from vae.errors import BadInput
from vae.pictures import faces, framing, images
from vae.storage import atlases

pytestmark = pytest.mark.browser
finds = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="nothing runs the finder: onnxruntime is missing")
COMPONENTS = Path(__file__).parents[2] / "ui" / "components"
EMPTY = {"body": "<!doctype html>", "content_type": "text/html"}
# Mean absolute differences of bytes: Pillow rounds between its steps; portraits are sampled in another way.
CLOSE, PORTRAIT_CLOSE = 1.0, 3.0
READ = """
    const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const text = bytes => btoa(bytes.reduce((letters, byte) => letters + String.fromCharCode(byte), ""));
    const image = ({ width, height, rgba }) => new ImageData(new Uint8ClampedArray(bytes(rgba)), width, height);"""


@pytest.fixture(scope="module")
def modules(browser) -> Iterator:
    """An empty page that can import the modules and nothing else; window.see runs the finder."""
    context = browser.new_context()
    page = context.new_page()

    def answer(route) -> None:
        path = COMPONENTS / Path(route.request.url).name
        route.fulfill(**({"path": path, "content_type": "text/javascript"} if path.suffix == ".js" else EMPTY))

    page.route("**/*", answer)
    page.expose_function("see", see)
    page.goto("http://localhost/")
    yield page
    context.close()


def see(view: str) -> dict:
    given = {"image": np.frombuffer(base64.b64decode(view), np.float32).reshape(1, 128, 128, 3)}
    boxes, scores = faces._session().run(["boxes", "scores"], given)
    return {"boxes": text(boxes.tobytes()), "scores": text(scores.tobytes())}


def run(page, module: str, names: str, body: str, given: object) -> object:
    """What a JavaScript body returns that uses these names of a module; an error's message where it throws."""
    script = f"const {{ {names} }} = await import('/{module}');{READ} {body}"
    return page.evaluate(f"async given => {{ try {{ {script} }} catch (error) {{ return error.message; }} }}", given)


def sent(picture: np.ndarray, **more) -> dict:
    rgba = np.asarray(images.as_image(picture).convert("RGBA"))
    return {"width": rgba.shape[1], "height": rgba.shape[0], "rgba": text(rgba.tobytes())} | more


def text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def fit(page, picture: np.ndarray, name: str, size: int, channels: int) -> np.ndarray | str:
    body = "return [...FRAMINGS[given.name](image(given), given.size, given.channels)];"
    made = run(page, "framing.js", "FRAMINGS", body, sent(picture, name=name, size=size, channels=channels))
    return made if isinstance(made, str) else np.array(made).reshape(size, size, channels)


def far(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


def example(name: str, index: int = 0) -> np.ndarray:
    if name not in checkpoints.names():
        pytest.skip(f"no checkpoint {name!r}")
    return atlases.load(checkpoints.root() / name).examples[index]


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_the_framings_have_the_same_names(modules):
    names = run(modules, "framing.js", "FRAMINGS", "return Object.keys(FRAMINGS);", None)
    assert {*names, "portrait"} == set(framing.FRAMINGS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 64, 128])
@pytest.mark.parametrize(
    "picture",
    [test_images.SOME[0], noise(37, 91), noise(300, 17), noise(8, 160, 1), noise(64, 64), noise(701, 998)],
    ids=lambda picture: "x".join(map(str, picture.shape)),
)
def test_a_square_is_the_one_of_python(modules, picture, size, channels):
    assert far(fit(modules, picture, "square", size, channels), images.square(picture, size, channels)) < CLOSE


@pytest.mark.parametrize("size", [48, 64])
def test_an_avatar_is_made_smaller_as_python_does(modules, size):
    picture = example("avatars")
    made = fit(modules, picture, "square", size, 3)
    assert np.abs(made - images.square(picture, size, 3)).max() <= 2


SHEETS = {
    **{f"digit {index}": digit for index, digit in enumerate(test_images.SOME[:8])},
    **{
        f"enlarged {index}": 255 - test_images.enlarged(digit, 17) for index, digit in enumerate(test_images.SOME[8:12])
    },
    **{f"photograph {seed}": test_images.photographed(test_images.SOME[seed], seed) for seed in range(8)},
    **{f"pen of {pen}": test_images.drawn(pen, paper=230) for pen in (2, 5, 20, 44)},
    "large": test_images.drawn(30, 900),
    "specks": np.where(noise(120, 90, 1) > 249, 255, 0).astype(np.uint8),
}


@pytest.mark.parametrize("framing_of", ["digit", "garment"])
@pytest.mark.parametrize("sheet", SHEETS)
def test_a_shape_is_framed_as_python_does(modules, sheet, framing_of):
    picture = SHEETS[sheet]
    for size, channels in ((28, 1), (64, 3)):
        made = fit(modules, picture, framing_of, size, channels)
        framed = framing.frame(picture, framing.Form(framing_of, size, channels))
        assert far(made, framed.picture) < CLOSE


@pytest.mark.parametrize("by_mass", [True, False])
def test_any_box_can_be_asked_for(modules, by_mass):
    picture = test_images.drawn(16)[:, 40:]
    body = "return [...centredShape(image(given), 40, 31, given.byMass)];"
    made = np.array(run(modules, "framing.js", "centredShape", body, sent(picture, byMass=by_mass)))
    assert far(made.reshape(40, 40, 1), framing.centred_shape(picture, 40, 31, by_mass)) < CLOSE


@pytest.mark.parametrize("name", ["digit", "garment"])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_canvas_is_refused(modules, value, name):
    assert fit(modules, np.full((120, 90, 3), value, np.uint8), name, 28, 1) == "nothing"


# ---- files ----


def opened(page, data: bytes) -> np.ndarray | str:
    body = """const { width, height, data } = await opened(new Blob([bytes(given)]));
        return { width, height, rgba: text(data) };"""
    made = run(page, "framing.js", "opened", body, text(data))
    if isinstance(made, str):
        return made
    rgba = np.frombuffer(base64.b64decode(made["rgba"]), np.uint8).reshape(made["height"], made["width"], 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def saved(image: Image.Image, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def gradient(height: int, width: int) -> Image.Image:
    """Colours that run across, and go from clear to solid downwards."""
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    return Image.fromarray((255 * np.stack([columns, 1 - columns, 0.3 + 0 * rows, rows], axis=2)).astype(np.uint8))


@pytest.mark.parametrize("height, width", [(90, 120), (33, 601)])
def test_transparency_is_laid_on_white(modules, height, width):
    data = saved(gradient(height, width))
    assert far(opened(modules, data), images.load(data)) < CLOSE


def test_a_picture_without_transparency_stays_what_it_is(modules):
    picture = noise(60, 77)
    np.testing.assert_array_equal(opened(modules, images.encode(picture)), picture)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_stands_upright(modules, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(gradient(60, 90).convert("RGB"), "JPEG", quality=95, exif=exif)
    assert far(opened(modules, data), images.load(data)) < 2


def test_a_large_picture_is_made_smaller(modules):
    image = images.as_image(noise(70, 240)).resize((2400, 700), Image.Resampling.BICUBIC)
    made = opened(modules, saved(image))
    assert made.shape == (467, 1600, 3)
    assert far(made, np.asarray(image.resize((1600, 467), Image.Resampling.LANCZOS))) < CLOSE


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", b"hello" * 99, b"<svg xmlns='http://www.w3.org/2000/svg' width='90' height='90'/>",
     images.encode(noise(60, 60))[:40]],
    ids=["empty", "a beginning", "words", "a drawing in words", "cut short"],
)  # fmt: skip
def test_what_is_no_picture_is_unreadable(modules, data):
    assert opened(modules, data) == "unreadable"


@pytest.mark.parametrize("height, width", [(4, 4), (8, 200)])
def test_what_is_too_small_or_too_long_is_misshapen(modules, height, width):
    assert opened(modules, images.encode(noise(height, width))) == "misshapen"


# ---- portraits ----


def framed(page, picture: np.ndarray, size: int, channels: int, see: str = "finder") -> dict:
    body = f"""
        const finder = async view => {{
            const {{ boxes, scores }} = await window.see(text(new Uint8Array(view.buffer)));
            return {{ boxes: new Float32Array(bytes(boxes).buffer), scores: new Float32Array(bytes(scores).buffer) }};
        }};
        const made = await frame(image(given), given.size, given.channels, {see});
        return {{ ...made, picture: [...made.picture] }};"""
    made = run(page, "portrait.js", "frame", body, sent(picture, size=size, channels=channels))
    return made | {"picture": np.array(made["picture"]).reshape(size, size, channels), "eyes": np.array(made["eyes"])}


def pasted(face: np.ndarray, side: int, roll: float, height: int, width: int, centre: tuple[int, int]) -> np.ndarray:
    """A face enlarged to that side, turned by `roll` degrees, on a ground of its own edge's colour."""
    ground = tuple(int(value) for value in np.median(face[0], axis=0))
    large = images.as_image(face).resize((side, side), Image.Resampling.BICUBIC)
    sheet = Image.new("RGB", (width, height), ground)
    mask = Image.new("L", large.size, 255).rotate(roll, Image.Resampling.BICUBIC, expand=True)
    turned = large.rotate(roll, Image.Resampling.BICUBIC, expand=True, fillcolor=ground)
    sheet.paste(turned, (centre[0] - turned.width // 2, centre[1] - turned.height // 2), mask)
    return np.array(sheet)


PORTRAITS = {
    "in the middle": (0, 300, 0, 420, 400, (200, 210)),
    "turned": (1, 260, 25, 500, 640, (380, 240)),
    "turned the other way": (2, 340, -35, 460, 520, (250, 230)),
    "small": (3, 150, 10, 700, 900, (640, 300)),
    "at the border": (0, 300, 5, 260, 320, (160, 90)),
    "very large": (1, 1100, -8, 1300, 1500, (700, 640)),
}


@finds
@pytest.mark.parametrize("how", PORTRAITS)
def test_a_face_is_found_and_framed_as_python_does(modules, how):
    index, *place = PORTRAITS[how]
    picture = pasted(example("faces", index), *place)
    for size, channels in ((64, 3), (96, 1)):
        made, wanted = framed(modules, picture, size, channels), test_faces.portrait(picture, size, channels)
        assert tuple(made["notes"]) == wanted.notes and wanted.how == "eyes"
        apart = np.hypot(*(wanted.eyes[1] - wanted.eyes[0]))
        assert np.abs(made["eyes"] - wanted.eyes).max() < 0.03 * apart
        assert abs(made["turn"] - wanted.turn) < 0.03
        assert far(made["picture"], wanted.picture) < PORTRAIT_CLOSE


@finds
def test_of_several_faces_the_largest_is_taken(modules):
    pair = np.hstack([test_faces.drawn(300, size=0.7), test_faces.drawn(300)])
    made, wanted = framed(modules, pair, 64, 3), test_faces.portrait(pair, 64, 3)
    assert tuple(made["notes"]) == wanted.notes and "several" in wanted.notes
    assert far(made["picture"], wanted.picture) < PORTRAIT_CLOSE


@finds
@pytest.mark.parametrize("shape", [(110, 80), (60, 150)])
def test_without_a_face_the_middle_is_taken(modules, shape):
    picture = noise(*shape)
    made, wanted = framed(modules, picture, 48, 3), test_faces.portrait(picture, 48, 3)
    assert tuple(made["notes"]) == wanted.notes == ("none",)
    assert far(made["picture"], wanted.picture) < CLOSE
    np.testing.assert_allclose(made["eyes"], wanted.eyes)


@pytest.mark.parametrize("see", ["null", "() => Promise.reject(new Error('gone'))"])
def test_without_a_finder_the_middle_is_taken(modules, see):
    picture = test_faces.drawn()
    made = framed(modules, picture, 48, 1, see)
    assert made["notes"] == ["absent"] and made["turn"] == 0
    assert far(made["picture"], images.square(picture, 48, 1)) < CLOSE


def by_eyes(
    page, picture: np.ndarray, eyes: list, size: int = 64, channels: int = 3, turn: float = 0
) -> np.ndarray | str:
    body = "return [...frameByEyes(image(given), given.eyes, given.size, given.channels, given.turn)];"
    given = sent(picture, eyes=eyes, size=size, channels=channels, turn=turn)
    made = run(page, "portrait.js", "frameByEyes", body, given)
    return made if isinstance(made, str) else np.array(made).reshape(size, size, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("turn", [0, 0.3])
@pytest.mark.parametrize(
    "eyes", [[[110, 130], [190, 140]], [[150, 170], [110, 130]], [[20, 30], [270, 60]], [[3, 200], [15, 195]]]
)
def test_given_eyes_are_brought_to_their_places_as_python_does(modules, eyes, turn, channels):
    picture = test_faces.drawn()
    made = by_eyes(modules, picture, eyes, 96, channels, turn)
    assert far(made, test_faces.by_eyes(picture, eyes, 96, channels, turn)) < PORTRAIT_CLOSE


@pytest.mark.parametrize(
    "eyes", [[[10, 10], [10, 11]], [[-1, 10], [30, 10]], [[10, 10], [30, 51]], [[np.nan, 10], [30, 10]]]
)
def test_eyes_that_cannot_be_are_refused(modules, eyes):
    picture = np.zeros((50, 60, 3), np.uint8)
    assert by_eyes(modules, picture, eyes) == "eyes"
    with pytest.raises(BadInput, match="eyes"):
        test_faces.by_eyes(picture, np.array(eyes, float), 64, 3)
