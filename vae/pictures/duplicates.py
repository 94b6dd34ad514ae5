"""Near-duplicates: pictures so alike that one must not be learnt from while the other is measured on."""

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from vae.pictures.images import as_image

ALIKE = 0.03  # root mean square between thumbnails in [0, 1]: copies, crops by a pixel, the next frame of a film
SIDE = 8  # pixels of a thumbnail
AT_ONCE = 128  # rows compared at once, and joined: of thousands all alike, all pairs at once would not fit into memory


def near_duplicates(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 -> (N,) group numbers from 0: pictures with thumbnails closer than ALIKE share one, also in chains."""
    thumbnails = [np.asarray(as_image(picture).resize((SIDE, SIDE), Image.Resampling.BOX)) for picture in images]
    points = np.stack(thumbnails).reshape(len(images), -1) / np.float32(255)
    points -= points.mean(axis=0)  # small numbers, because |a - b|^2 < bound is told by the product of a and b
    halves = np.square(points).sum(axis=1) / 2
    least = halves - ALIKE**2 * points.shape[1] / 2
    count, groups = len(images), np.arange(len(images))
    for start in range(0, len(images), AT_ONCE):
        rows, others = slice(start, start + AT_ONCE), slice(start, None)
        a, b = np.nonzero(points[rows] @ points[others].T > halves[rows, None] + least[others])
        a, b = groups[rows][a], groups[others][b]
        is_new = a != b
        edges = coo_matrix((is_new[is_new], (a[is_new], b[is_new])), shape=(count, count))
        count, joined = connected_components(edges, directed=False)
        groups = joined[groups]
    return groups
