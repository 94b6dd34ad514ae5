"""Finds the faces in a photograph, and cuts a picture by a face's eyes: level, and where the training faces have them.

The finder is BlazeFace's short-range model (Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile
GPUs"); tools/facefinder makes its file. A picture is uint8 (H, W, C). A point is a complex number, x + iy in pixels from the
picture's top left corner, so that a turn with a change of size is one product. "Left" is left in the picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from vae.pictures.images import as_image

# The training faces have their eyes on this line of a frame of 96 x 96, so far apart; their middle follows the head's turn.
FRAME, MIDDLE, LEVEL, APART = 96, 47.8, 45.1, 24.0
FOLLOW = 0.79  # eye distances per eye distance that the nose is aside: measured on 300 of the training faces
MOST_TURN = 0.5  # from here on the eyes' distance says little about the head's size; the training faces are turned less
FINDER = Path(__file__).with_name("blazeface.onnx")
SIDE = 128  # pixels of the square that the finder sees
LEAST_SCORE, SURE = 0.5, 0.65  # of a find at a first look, and at closer ones
BOX_APART, BOX_LEVEL = 0.403, -0.22  # where the finder's box has the eyes of a usual face, in its sides from its centre


@dataclass(frozen=True, eq=False)
class Face:
    """A find: its score in (0, 1) and five points: the box's top left and bottom right, left eye, right eye, nose."""

    score: float
    points: np.ndarray  # (5,) complex

    @property
    def centre(self) -> complex:
        return complex(self.points[:2].mean())

    @property
    def side(self) -> float:
        """The box's; it is a square, which may stand on a corner."""
        return float(abs(self.points[1] - self.points[0])) / 2**0.5

    @property
    def axis(self) -> complex:
        """From the left eye to the right one."""
        return complex(self.points[3] - self.points[2]) or 1e-9

    def eyes(self, width: int, height: int) -> tuple[np.ndarray, float, str]:
        """What to cut a picture of that size by: (2,) eyes, the head's turn (the nose from their middle, in their distances), "".

        If the eyes are not to be trusted: those of a usual face in the box, 0, and "profile" (turned too far) or "unsure".
        """
        eyes = self.points[2:4]
        turn = float(((self.points[4] - eyes.mean()) / self.axis).real)
        is_inside = (np.clip(eyes.real, 0, width) + 1j * np.clip(eyes.imag, 0, height) == eyes).all()
        if abs(turn) <= MOST_TURN and is_inside and 0.5 < abs(self.axis) / (BOX_APART * self.side) < 1.6:
            return eyes, turn, ""
        middle, half = self.centre + 1j * BOX_LEVEL * self.side, BOX_APART / 2 * self.side
        return np.array([middle - half, middle + half]), 0.0, "unsure" if abs(turn) <= MOST_TURN else "profile"


def find(picture: np.ndarray) -> list[Face]:
    """(H, W, C) -> the faces, largest first, the first one told precisely; an empty list if there is none.

    The whole picture is looked at first and its parts only when that shows no face, so small faces beside a large one are
    not told. Raises ImportError without onnxruntime.
    """
    image = as_image(picture).convert("RGB")
    for squares in _squares(*image.size):
        scores, points = (np.concatenate(found) for found in zip(*(_look(image, *s) for s in squares), strict=True))
        faces = sorted(_merged(scores, points), key=lambda face: -face.side * face.score)
        for index, face in enumerate(faces):
            if (precise := _precise(image, face)) is not None:
                others = [face for face in faces[index + 1 :] if abs(face.centre - precise.centre) > precise.side / 2]
                return [precise, *others]
    return []


def _squares(width: int, height: int) -> Iterator[list[tuple[complex, float]]]:
    """-> centres and sides of the squares to look at: the whole, with a margin, in halves, in quarters of the longer side."""
    middle, longer = complex(width, height) / 2, max(width, height)
    yield [(middle, longer)]
    yield [(middle, 1.6 * longer)]
    for side in (side for side in (longer / 2, longer / 4) if side >= SIDE / 2):
        # They overlap by half or more; where one is enough it stands in the middle.
        counts = [max(1, int(np.ceil(2 * length / side)) - 1) for length in (width, height)]
        steps = [(length - side) / max(1, count - 1) for length, count in zip((width, height), counts, strict=True)]
        columns, rows = ((np.arange(count) - (count - 1) / 2) * step for count, step in zip(counts, steps, strict=True))
        yield [(middle + complex(x, y), side) for y in rows for x in columns]


def _precise(image: Image.Image, face: Face) -> Face | None:
    """The face as closer looks see it, turned upright; None if they do not, or hardly, see it."""
    for zooms in ((2.0,), (1.7, 2.0, 2.4)):  # the mean of three takes a tenth off the error
        seen = [_merged(*_look(image, face.centre, zoom * face.side, face.axis)) for zoom in zooms]
        near = [min(faces, key=lambda other: abs(other.centre - face.centre)) for faces in seen if faces]
        near = [other for other in near if abs(other.centre - face.centre) < face.side / 2]
        score = sum(other.score for other in near) / len(zooms)
        if score < SURE:
            return None
        face = Face(score, np.mean([other.points for other in near], axis=0))
    eyes = face.points[2:4]
    eyes[:] = eyes.mean() + (eyes - eyes.mean()) / 1.036  # the training faces' landmarks stand so much closer together
    return face


@cache
def _session():
    import onnxruntime  # here, because it would slow down the page's start

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a look takes few milliseconds: threads would cost more than they bring
    return onnxruntime.InferenceSession(FINDER, options, providers=["CPUExecutionProvider"])


def _look(image: Image.Image, centre: complex, side: float, turn: complex = 1) -> tuple[np.ndarray, np.ndarray]:
    """What the finder sees in a square of the picture, turned by the angle of `turn` -> (K,) scores, (K, 5) points."""
    scale = side / SIDE * turn / abs(turn)
    offset = centre - scale * (SIDE / 2) * (1 + 1j)
    view = np.asarray(_sampled(image, scale, offset, SIDE), np.float32) / 127.5 - 1
    boxes, scores = (out[0].astype(float) for out in _session().run(["boxes", "scores"], {"image": view[None]}))
    scores = 1 / (1 + np.exp(-np.clip(scores[:, 0], -80, 80)))
    is_face = scores >= LEAST_SCORE
    pairs = boxes[is_face, 0::2] + 1j * boxes[is_face, 1::2]  # (K, 8): centre, size, eyes, nose, mouth, ears
    half = pairs[:, 1:2] / 2
    points = np.concatenate([pairs[:, :1] - half, pairs[:, :1] + half, pairs[:, 2:5]], axis=1)
    return scores[is_face], scale * (_anchors()[is_face, None] + points) + offset


@cache
def _anchors() -> np.ndarray:
    """(896,): the point that each of the finder's rows is told from; two on each cell of 8 pixels, six on each of 16."""
    cells = [(np.arange(count) + 0.5) * (SIDE / count) for count in (16, 8)]
    return np.concatenate([np.repeat(at + 1j * at[:, None], each) for at, each in zip(cells, (2, 6), strict=True)])


def _merged(scores: np.ndarray, points: np.ndarray) -> list[Face]:
    """(K,), (K, 5) -> faces: finds that overlap become their mean, weighted by score (the paper's "blending").

    They overlap where their boxes, taken as upright squares, share more than 0.3 of the area that they cover.
    """
    centres, sides = points[:, :2].mean(axis=1), abs(points[:, 1] - points[:, 0]) / 2**0.5
    found, rest = [], np.argsort(-scores, kind="stable")
    while len(rest):
        first, apart = sides[rest[0]], centres[rest] - centres[rest[0]]
        least, middle = np.minimum(sides[rest], first), (sides[rest] + first) / 2
        shared = np.clip(middle - abs(apart.real), 0, least) * np.clip(middle - abs(apart.imag), 0, least)
        same = shared > 0.3 * (sides[rest] ** 2 + first**2 - shared)
        same[0] = True
        group, rest = rest[same], rest[~same]
        found.append(Face(float(scores[group[0]]), np.average(points[group], axis=0, weights=scores[group])))
    return found


def places(size: float, turn: float = 0.0) -> np.ndarray:
    """(2,): the left and the right eye's place in a frame of that size, moved aside with the head's turn."""
    middle = MIDDLE + APART * FOLLOW * np.clip(turn, -MOST_TURN, MOST_TURN) + 1j * LEVEL
    return (middle + APART * np.array([-0.5, 0.5])) * (size / FRAME)


def cut(picture: np.ndarray, eyes: np.ndarray, size: int, channels: int, turn: float = 0.0) -> tuple[np.ndarray, float]:
    """(H, W, C), (2,) left and right eye -> (size, size, channels) with both in their places, the share of it in the picture.

    Turned, scaled and shifted; beyond the picture its edge goes on, blurred.
    """
    at = places(size, turn)
    scale = complex((eyes[1] - eyes[0]) / (at[1] - at[0]))
    offset = complex(eyes[0] - scale * at[0])
    image = as_image(picture).convert("L" if channels == 1 else "RGB")
    mask = _sampled(Image.new("L", image.size, 255), scale, offset, size)
    framed = _sampled(image, scale, offset, size, is_continued=True)
    inside = float(np.asarray(mask).mean()) / 255
    if inside < 1:  # blurred more and more from the picture's edge on
        soft = mask.filter(ImageFilter.GaussianBlur(size / 16))
        framed = Image.composite(framed, framed.filter(ImageFilter.GaussianBlur(size / 16)), ImageChops.add(soft, soft))
    return np.array(framed).reshape(size, size, channels), inside


def _sampled(image: Image.Image, scale: complex, offset: complex, size: int, is_continued: bool = False) -> Image.Image:
    """The square whose pixel z shows the picture's scale * z + offset; beyond the picture its edge goes on, or all is black.

    Where it becomes smaller every pixel counts: they are averaged in whole steps first, and what is left 2 x 2.
    """
    factor = max(1, int(abs(scale)))
    corners = offset + scale * size * np.array([0, 1, 1j, 1 + 1j])
    low, high = (np.array([edge(corners.real), edge(corners.imag)]) for edge in (np.min, np.max))
    low, high = np.floor(low).astype(int) - 3 * factor, np.ceil(high).astype(int) + 3 * factor
    start = np.clip(low, 0, np.array(image.size) - 1)
    end = np.clip(high, start + 1, image.size)
    image = image.reduce(factor, (*start.tolist(), *end.tolist()))
    scale, offset = scale / factor, (offset - complex(*start)) / factor
    if is_continued:
        before, after = (np.maximum(0, -(-lack // factor)) for lack in (start - low, high - end))
        pixels = np.asarray(image)
        pads = [(before[1], after[1]), (before[0], after[0]), (0, 0)][: pixels.ndim]
        image, offset = Image.fromarray(np.pad(pixels, pads, mode="edge")), offset + complex(*before)
    scale = scale / 2
    matrix = (scale.real, -scale.imag, offset.real, scale.imag, scale.real, offset.imag)
    how = Image.Resampling.BICUBIC if is_continued else Image.Resampling.BILINEAR  # the finder needs no more
    return image.transform((2 * size, 2 * size), Image.Transform.AFFINE, matrix, how).reduce(2)
