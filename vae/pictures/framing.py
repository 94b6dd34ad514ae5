"""The one door to a model: any picture -> the form it was trained on, a square, a portrait, MNIST's digit, a garment.

A picture is uint8 of shape (H, W, C), C = 1 (grey) or 3 (RGB). The recipe of a model names its framing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from vae.errors import BadInput
from vae.pictures import faces
from vae.pictures.images import as_image, as_pictures, square


@dataclass(frozen=True)
class Form:
    """What a model's pictures are: uint8 (size, size, channels), framed as the entry of FRAMINGS says."""

    framing: str
    size: int
    channels: int


@dataclass(frozen=True, eq=False)
class Framed:
    """A picture in a form, and how it came there. Only portraits have eyes; where no face was found, as if the frame had one.

    how: "square", "digit", "garment", "eyes", or "outline", of a face without eyes to go by. notes, of portraits: why it is not
    "eyes" ("profile", "unsure", "none": no face, "absent": no onnxruntime), "several" faces, "border": some lies outside.
    """

    picture: np.ndarray  # (size, size, channels) uint8
    how: str
    notes: tuple[str, ...] = ()
    eyes: np.ndarray | None = None  # (2, 2): x, y in the given picture, left one first
    turn: float = 0.0  # how far the nose is right of the eyes' middle, in eye distances


def frame(picture: ArrayLike, form: Form, eyes: ArrayLike | None = None, turn: float = 0.0) -> Framed:
    """(H, W, C), or what else images.as_pictures takes -> the picture in the form; the same one, the same frame.

    With eyes, (2, 2) x and y of both in pixels, it is cut by them and the head's turn: the left one comes to
    (35.8, 45.1) / 96 of the frame, the right one to (59.8, 45.1) / 96, both moved aside with the turn. Raises BadInput for what
    is no picture, shows no shape where a digit or garment is wanted, or for eyes outside it or closer than two pixels.
    """
    picture = as_pictures(picture, ndim=3)
    if eyes is not None:
        return _by_given_eyes(picture, form, eyes, turn)
    if form.framing not in FRAMINGS:
        raise BadInput(f"There is no framing {form.framing!r}: {', '.join(FRAMINGS)} are known.")
    return FRAMINGS[form.framing](picture, form)


def _by_given_eyes(picture: np.ndarray, form: Form, eyes: ArrayLike, turn: float) -> Framed:
    height, width = picture.shape[:2]
    try:
        points = np.asarray(eyes, float)
    except (TypeError, ValueError, OverflowError):
        points = np.empty(0)
    if points.shape != (2, 2) or not ((points >= 0) & (points <= (width, height))).all() or not np.isfinite(turn):
        raise BadInput(f"Two eyes are needed, each as x, y inside the picture of {width} x {height}.")
    points = points[points[:, 0].argsort(kind="stable")]
    if np.hypot(*(points[1] - points[0])) < 2:
        raise BadInput("The eyes lie on one another: they need to be at least two pixels apart.")
    cut, _ = faces.cut(picture, points @ [1, 1j], form.size, form.channels, turn)
    return Framed(cut, "eyes", (), points, turn)


def _portrait(picture: np.ndarray, form: Form) -> Framed:
    height, width = picture.shape[:2]
    try:
        found, lack = faces.find(picture), "none"
    except ImportError:
        found, lack = [], "absent"
    if found:
        eyes, turn, doubt = found[0].eyes(width, height)
        cut, inside = faces.cut(picture, eyes, form.size, form.channels, turn)
        # what lies outside is a rim up to three hundredths of the frame, and not worth a note
        how, notes = "outline" if doubt else "eyes", [doubt, "several" * (len(found) > 1), "border" * (inside < 0.97)]
    else:
        side = min(height, width)
        eyes, turn = faces.places(side) + complex(width - side, height - side) / 2, 0.0
        cut, how, notes = square(picture, form.size, form.channels), "square", [lack]
    return Framed(cut, how, tuple(filter(None, notes)), np.stack([eyes.real, eyes.imag], axis=-1), turn)


def _shape(picture: np.ndarray, form: Form) -> Framed:
    is_digit = form.framing == "digit"
    shape = centred_shape(picture, form.size, round((20 if is_digit else 28) * form.size / 28), by_mass=is_digit)
    return Framed(np.repeat(shape, form.channels, axis=2), form.framing)


FRAMINGS: dict[str, Callable[[np.ndarray, Form], Framed]] = {
    "square": lambda picture, form: Framed(square(picture, form.size, form.channels), "square"),
    "portrait": _portrait,
    "digit": _shape,
    "garment": _shape,
}
NOTHING = "The picture shows no shape: one dark shape on a light ground, or the other way round, is needed."
FAINTEST = 0.1  # contrast, relative to the ground, under which a picture counts as empty
FINE = 8  # the pen is measured and changed at this many times the final size
# Pixels in the 20-pixel box: percentiles 1, 50 and 99 over MNIST, as `_with_usual_pen` measures it.
USUAL_PEN = (1.6, 2.5, 4.8)


def centred_shape(picture: np.ndarray, size: int = 28, box: int = 20, by_mass: bool = True) -> np.ndarray:
    """(H, W, C) -> (size, size, 1): the one shape in the picture, light on black, its longer side `box` pixels.

    by_mass=True is MNIST's recipe for strokes (LeCun et al. 1998, section III.A): uneven paper is taken away, the pen is brought
    to MNIST's width, the centre of mass stands at the centre. by_mass=False keeps the greys inside and centres the bounding
    box, as in Fashion-MNIST. Raises BadInput if the picture shows nothing.
    """
    shade = _stroke(_grey(picture)) if by_mass else _silhouette(_grey(picture))  # (H, W) in [0, 1], light on black
    # What is already small has its soft edge inside the box; of a large picture the edge lies where half of it is ink.
    is_small = max(picture.shape[:2]) < 2 * size
    shade = _cropped(shade, 0.03 if is_small else 0.3 if by_mass else 0.15)
    if by_mass:
        shade = _with_usual_pen(shade, box)
    height, width = (max(1, round(side * box / max(shade.shape))) for side in shade.shape)
    shape = np.clip(_resized(shade, width, height, Image.Resampling.LANCZOS), 0, 1)
    centres = [height / 2, width / 2]
    if by_mass:
        centres = [sums @ np.arange(len(sums)) / shape.sum() for sums in (shape.sum(1), shape.sum(0))]
    corner = np.floor(size / 2 - np.array(centres) + 0.5).astype(int)
    row, column = np.clip(corner, 0, (size - height, size - width))
    sheet = np.zeros((size, size, 1), np.uint8)
    sheet[row : row + height, column : column + width, 0] = np.round(255 * shape)
    return sheet


def _grey(picture: np.ndarray) -> np.ndarray:
    image = as_image(picture).convert("L")
    image.thumbnail((400, 400), Image.Resampling.BOX)  # fine enough for a pen, quick enough for a live page
    return np.asarray(image, dtype=np.float32) / 255


def _resized(values: np.ndarray, width: int, height: int, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), how))


def _cropped(shade: np.ndarray, least: float) -> np.ndarray:
    rows, columns = (np.flatnonzero((shade >= min(least, shade.max())).any(axis)) for axis in (1, 0))
    return shade[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _silhouette(grey: np.ndarray) -> np.ndarray:
    """The shape as it is, greys and all; the ground is what the four corners show."""
    width = max(1, min(grey.shape) // 14)
    ends = np.arange(-width, width)
    ground = float(np.median(grey[np.ix_(ends, ends)]))
    shade = np.clip(1 - grey / ground if ground > 0.5 else (grey - ground) / (1 - ground), 0, 1)
    if shade.max() < FAINTEST:
        raise BadInput(NOTHING)
    return np.where(shade < 0.03, 0, shade)


def _stroke(grey: np.ndarray) -> np.ndarray:
    """The ink of a drawn or photographed stroke in [0, 1], soft edges kept; the ground, shadows and specks become 0."""
    from scipy import ndimage  # here, because it would slow down the page's start

    width = max(1, min(grey.shape) // 25)
    ends = np.arange(-width, width)
    edge = np.append(grey[ends], grey[:, ends])
    contrast = float(np.ptp(grey))
    if contrast < FAINTEST:
        raise BadInput(NOTHING)
    low, ground, high = np.percentile(edge, (4, 50, 96))
    is_even = high - low < 0.12 * contrast
    if is_even:
        paper, level = (grey, ground) if ground > (grey.min() + grey.max()) / 2 else (1 - grey, 1 - ground)
    else:  # a photograph: the ground is what remains when everything thinner than a pen's stroke is closed
        grey = ndimage.gaussian_filter(grey, max(grey.shape) / 400)
        detail = grey - ndimage.gaussian_filter(grey, max(grey.shape) / 12)
        paper = grey if (detail**3).mean() < 0 else 1 - grey  # strokes are few and stand out to one side
        level = ndimage.grey_closing(paper, size=(max(grey.shape) // 5,) * 2, mode="nearest")
        level = ndimage.gaussian_filter(level, max(grey.shape) / 20)
    ink = np.clip(1 - paper / np.maximum(level, 0.05), 0, 1)
    if ink.max() < FAINTEST:
        raise BadInput(NOTHING)
    threshold = _otsu(ink)
    noise = 0.0 if high - low < 0.004 else 0.5 * threshold
    ink = np.clip((ink - noise) / (np.percentile(ink[ink > threshold], 80) - noise), 0, 1)
    return ink * _kept(ink > 0.4, is_photograph=not is_even)


def _otsu(values: np.ndarray) -> float:
    """The threshold that parts values in [0, 1] into two groups with the largest variance between them (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256, range=(0, 1))
    below, sums = np.cumsum(counts), np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + np.nanargmax(between)])


def _kept(mask: np.ndarray, is_photograph: bool) -> np.ndarray:
    """(H, W) bool -> the same, grown a little, without specks, nor what hangs on a photograph's edge unless it is all."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if is_photograph:
        inner = sizes.copy()
        inner[np.append(parts[[0, -1]], parts[:, [0, -1]])] = 0
        sizes = inner if inner.max() > 0.1 * sizes.max() else sizes
    return ndimage.binary_dilation(sizes[parts] > 0.03 * sizes.max(), iterations=1 + max(mask.shape) // 60)


def _with_usual_pen(shade: np.ndarray, box: int) -> np.ndarray:
    """A stroke far thinner or thicker than MNIST's is grown or shrunk to its middle width; the others stay as they are."""
    from scipy import ndimage

    height, width = (max(FINE, round(side * box * FINE / max(shade.shape))) for side in shade.shape)
    shape = np.pad(_resized(shade, width, height, Image.Resampling.BICUBIC), 2 * FINE) > 0.5
    depth = ndimage.distance_transform_edt(shape)
    pen = 4 * float(depth[depth > 0].mean())  # in a band the distances to its edge average a quarter of its width
    thinnest, usual, thickest = (side * FINE * box / 20 for side in USUAL_PEN)
    if thinnest <= pen <= thickest:
        return shade
    change = max((usual - pen) / 2, 1 - 0.8 * float(np.percentile(depth[shape], 90)))  # thinning must leave a line
    distance = depth - ndimage.distance_transform_edt(~shape)
    return _cropped(np.clip(distance + change + 0.5, 0, 1), 0.5)
