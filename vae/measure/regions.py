"""Where in a set's pictures an attribute shows."""

import numpy as np

from vae.data import LARGEST, MOST_VALUES, Pictures
from vae.errors import BadInput

BATCH = 500


def told(images: np.ndarray, column: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) and a column (N,) -> (H, W), 0 to 1: the share of each pixel's variance that the column tells.

    The correlation ratio, eta squared, of the column's values with all channels. A column of many numbers counts by its tenths;
    pictures with a gap, NaN or "", are left out, and of gaps alone nothing is told.
    """
    is_number = column.dtype.kind in "fiub"
    given = np.abs(column.astype(np.float64)) < LARGEST if is_number else column != ""
    images, column = images[given], column[given]
    if not len(images):
        return np.zeros(images.shape[1:3])
    if is_number and len(np.unique(column)) > MOST_VALUES:
        column = np.digitize(column, np.quantile(column, np.linspace(0, 1, 11)[1:-1]))
    values, kinds = np.unique(column, return_inverse=True)
    sums, squares = np.zeros((len(values), *images.shape[1:])), np.zeros(images.shape[1:])
    for start in range(0, len(images), BATCH):  # as floats all of them are large
        part, kind = images[start : start + BATCH].astype(np.float32), kinds[start : start + BATCH]
        squares += np.square(part).sum(axis=0)
        for value in np.unique(kind):
            sums[value] += part[kind == value].sum(axis=0)
    counts = np.bincount(kinds)[:, None, None, None]
    mean = sums.sum(axis=0) / len(images)
    between = (counts * np.square(sums / counts - mean)).sum(axis=(0, 3))
    whole = (squares - len(images) * np.square(mean)).sum(axis=2)
    return between / np.maximum(whole, len(images))  # a pixel that varies by less than a grey step tells nothing


def pixel_weights(pictures: Pictures, weights: dict[str, float], flip: bool = False) -> np.ndarray | None:
    """A recipe's weights, column -> weight -> (H, W) float32 for losses.gaussian; None where there are none.

    A pixel weighs 1 where it tells nothing of any column and the column's weight where it tells most of it; of several columns
    the heaviest counts. flip: whether half of the pictures are mirrored. BadInput for a column that is not there.
    """
    columns = pictures.attributes or {}
    missing = [name for name in weights if name not in columns]
    if missing:
        raise BadInput(
            f"weights names a column {missing[0]:.40}; the pictures have {', '.join(columns)[:200] or 'none'}."
        )
    found = np.ones(pictures.images.shape[1:3])
    for name, weight in weights.items():
        share = told(pictures.images, columns[name])
        share = (share + share[:, ::-1]) / 2 if flip else share
        found = np.maximum(found, 1 + (weight - 1) * share / max(share.max(), 1e-12))
    return found.astype(np.float32) if weights else None
