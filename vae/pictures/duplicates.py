"""Near-duplicates: pictures so alike that one must not be learnt from while the other is measured on."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

ALIKE = 0.03  # root mean square between thumbnails in [0, 1]: copies, crops by a pixel, the next frame of a film
SIDE = 8  # pixels of a thumbnail
AT_ONCE = 128  # rows compared at once, so that thousands of pictures alike need little memory


def near_duplicates(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 -> (N,) group numbers from 0: pictures with thumbnails closer than ALIKE share one, and so on in chains.

    A projection only shrinks distances, so each is compared with those alone that are near on the first principal axis.
    """
    thumbnails = _thumbnails(images)
    thumbnails -= thumbnails.mean(axis=0)
    places = thumbnails @ np.linalg.eigh(thumbnails.T @ thumbnails)[1][:, -1]
    order = np.argsort(places)
    thumbnails, places = thumbnails[order], places[order]
    reach = ALIKE * thumbnails.shape[1] ** 0.5
    ends = np.searchsorted(places, places + 1.01 * reach)
    halves = np.square(thumbnails).sum(axis=1) / 2
    groups = np.arange(len(images))
    for start in range(0, len(images), AT_ONCE):
        rows, after = slice(start, start + AT_ONCE), slice(start, ends[start : start + AT_ONCE][-1])
        # |a - b|^2 < reach^2, told by the product of a and b
        bounds = halves[rows, None] + (halves[after] - reach**2 / 2)
        a, b = np.nonzero(thumbnails[rows] @ thumbnails[after].T > bounds)
        a, b = groups[rows][a], groups[after][b]
        is_new = a != b
        if is_new.any():
            edges = coo_matrix((is_new[is_new], (a[is_new], b[is_new])), shape=(len(images), len(images)))
            groups = connected_components(edges, directed=False)[1][groups]
    return np.unique(groups[np.argsort(order)], return_inverse=True)[1]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 -> (N, SIDE * SIDE * C) float32 in [0, 1]: means over areas."""
    _, height, width, channels = images.shape
    down, across = _areas(height), np.kron(_areas(width), np.eye(channels, dtype=np.float32)).T / 255
    parts = []
    for some in np.array_split(images, -(-len(images) // 200)):
        rows = some.reshape(len(some) * height, width * channels).astype(np.float32) @ across
        parts.append(down @ rows.reshape(len(some), height, -1))  # (200, SIDE, SIDE * C)
    return np.concatenate(parts).reshape(len(images), -1)


def _areas(side: int) -> np.ndarray:
    """(SIDE, side) float32: which share of a thumbnail's pixel each of the picture's pixels covers."""
    edges = np.linspace(0, side, SIDE + 1)[:, None]
    starts = np.arange(side)
    overlap = np.minimum(edges[1:], starts + 1) - np.maximum(edges[:-1], starts)
    return (np.clip(overlap, 0, None) * SIDE / side).astype(np.float32)
