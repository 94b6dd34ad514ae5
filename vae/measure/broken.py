"""Pictures that no set holds: known ways to break one, and drawn ones. What a critic of uploads learns to tell from real ones."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image

Break = Callable[[np.ndarray, np.ndarray, Generator], np.ndarray]


def broken(pictures: np.ndarray, rng: Generator) -> np.ndarray:
    """uint8 (N, H, W, C) -> the same, each broken in one way of BREAKS, one way after the other."""
    partners, ways = pictures[rng.permutation(len(pictures))], list(BREAKS.values())
    return np.stack([ways[i % len(ways)](*pair, rng) for i, pair in enumerate(zip(pictures, partners, strict=True))])


def generated(count: int, form: tuple[int, ...], rng: Generator) -> np.ndarray:
    """-> uint8 (count, H, W, C) of the form (H, W, C), drawn in one way of DRAWINGS after the other; a third of them grey."""
    ways, whole = list(DRAWINGS.values()), np.empty((count, *form), np.uint8)
    for i in range(count):
        drawn = ways[i % len(ways)](form[0], rng)
        is_grey = form[2] == 1 or rng.random() < 1 / 3
        whole[i] = (drawn.mean(axis=2, keepdims=True) if is_grey else drawn).clip(0, 255)
    return whole


def _turned(picture: np.ndarray, other: np.ndarray, rng: Generator) -> np.ndarray:
    return np.rot90(picture, rng.choice([1, 3]))


def _patches(picture: np.ndarray, other: np.ndarray, rng: Generator) -> np.ndarray:
    """Its patches dealt anew."""
    side, whole = max(2, len(picture) // int(rng.integers(2, 5))), picture.copy()
    corners = [(y, x) for y in range(0, len(picture) - side + 1, side) for x in range(0, len(picture) - side + 1, side)]
    for (y, x), place in zip(corners, rng.permutation(len(corners)), strict=True):
        top, left = corners[place]
        whole[y : y + side, x : x + side] = picture[top : top + side, left : left + side]
    return whole


def _covered(picture: np.ndarray, other: np.ndarray, rng: Generator) -> np.ndarray:
    """A block of one colour before it."""
    side, whole = len(picture), picture.copy()
    (y, x), (high, wide) = rng.integers(0, side // 2, 2), rng.integers(side // 3, 3 * side // 4, 2)
    whole[y : y + high, x : x + wide] = rng.integers(0, 256, picture.shape[2])
    return whole


def _rolled(picture: np.ndarray, other: np.ndarray, rng: Generator) -> np.ndarray:
    """Its upper and lower part, or left and right, changed over."""
    return np.roll(picture, rng.integers(len(picture) // 3, 2 * len(picture) // 3), axis=rng.integers(2))


BREAKS: dict[str, Break] = {
    "upside down": lambda picture, other, rng: picture[::-1],
    "turned": _turned,
    "colours inverted": lambda picture, other, rng: 255 - picture,
    "patches dealt anew": _patches,
    "rolled": _rolled,
    "covered": _covered,
    "halves of two": lambda picture, other, rng: np.concatenate(
        [picture[:, : len(picture) // 2], other[:, len(other) // 2 :]], axis=1
    ),
    "two at once": lambda picture, other, rng: ((picture.astype(np.uint16) + other) // 2).astype(np.uint8),
}


def _colour(rng: Generator) -> np.ndarray:
    return rng.random(3) * 255


def _flat(side: int, rng: Generator) -> np.ndarray:
    return np.broadcast_to(_colour(rng), (side, side, 3))


def _gradient(side: int, rng: Generator) -> np.ndarray:
    (y, x), angle = np.mgrid[:side, :side] / side, 2 * np.pi * rng.random()
    slope = np.cos(angle) * x + np.sin(angle) * y
    share = ((slope - slope.min()) / np.ptp(slope))[..., None]
    return _colour(rng) * share + _colour(rng) * (1 - share)


def _noise(side: int, rng: Generator) -> np.ndarray:
    """Noise of any grain, smooth or in blocks."""
    grain = int(rng.integers(2, side + 1))
    small = rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
    way = Image.Resampling.BILINEAR if rng.random() < 0.7 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(small).resize((side, side), way))


def _rectangles(side: int, rng: Generator) -> np.ndarray:
    """Panels and lines, as on a screen."""
    drawn = _flat(side, rng).copy()
    for _ in range(rng.integers(1, 30)):
        y, x, high, wide = rng.integers(0, side, 4)
        drawn[y : y + max(1, high // rng.integers(1, 12)), x : x + max(1, wide // rng.integers(1, 4))] = _colour(rng)
    return drawn


def _text(side: int, rng: Generator) -> np.ndarray:
    """Lines of small dark or light marks on a plain ground."""
    drawn, ink = _flat(side, rng).copy(), _colour(rng)
    line = int(rng.integers(2, max(3, side // 6)))
    for y in range(int(rng.integers(0, line + 1)), side, line + max(1, line // 2)):
        marks = rng.random(side) < rng.random()
        marks[int(side * (0.3 + 0.7 * rng.random())) :] = False
        drawn[y : y + max(1, line // 2), marks] = ink
    return drawn


def _object(side: int, rng: Generator) -> np.ndarray:
    """A shape with a ragged edge, at times with a hole, filled in one of these ways, on a plain ground, at times black."""
    drawn = (_flat(side, rng) * (rng.random() < 0.6)).copy()
    inside = (_flat, _gradient, _noise, _rectangles)[rng.integers(4)](side, rng)
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5 + (rng.random((2, 1, 1)) - 0.5) / 4
    angle, (wide, high) = np.pi * rng.random(), 0.1 + 0.4 * rng.random(2)
    far = np.hypot((x * np.cos(angle) + y * np.sin(angle)) / wide, (y * np.cos(angle) - x * np.sin(angle)) / high)
    far += rng.random() * (_noise(side, rng)[..., 0] / 255 - 0.5)
    kept = (far < 1) & (far > rng.choice([0, 0.5, 0.75]))
    drawn[kept] = inside[kept]
    return drawn


DRAWINGS: dict[str, Callable[[int, Generator], np.ndarray]] = {
    "flat": _flat,
    "a gradient": _gradient,
    "noise": _noise,
    "rectangles": _rectangles,
    "lines of text": _text,
    "an object on a plain ground": _object,
}
