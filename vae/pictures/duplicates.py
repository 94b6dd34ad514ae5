"""Near-duplicates: pictures so alike that one must not be learnt from while the other is measured on."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

ALIKE = 0.03  # root mean square between thumbnails in [0, 1]: copies, crops by a pixel, the next frame of a film
SIDE = 8  # pixels of a thumbnail
AXES = 8  # principal components that the candidates are found by
AT_ONCE = 100_000  # pairs compared at once, so that thousands of pictures alike need no more memory than others


def near_duplicates(images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) uint8 -> (N,) group numbers from 0: pictures with thumbnails closer than ALIKE share one, and so on in chains.

    A projection only shrinks distances, so a search on few axes finds all pairs; each is then compared in full.
    """
    thumbnails, back = np.unique(_thumbnails(images), axis=0, return_inverse=True)  # the same picture is compared once
    centred = thumbnails - thumbnails.mean(axis=0)
    points = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -AXES:]  # (M, AXES)
    reach = 1.001 * ALIKE * thumbnails.shape[1] ** 0.5  # a little more, for what rounding takes off
    tree = cKDTree(points)
    counts = tree.query_ball_point(points, reach, return_length=True)
    groups = np.arange(len(points))
    for rows in np.split(groups, np.flatnonzero(np.diff(np.cumsum(counts) // AT_ONCE)) + 1):
        found = cKDTree(points[rows]).sparse_distance_matrix(tree, reach, output_type="coo_matrix")
        a, b = rows[found.row], found.col
        is_new = (a < b) & (groups[a] != groups[b])
        a, b = a[is_new], b[is_new]
        is_close = np.square(thumbnails[a] - thumbnails[b]).mean(axis=1) < ALIKE**2
        a, b = groups[a[is_close]], groups[b[is_close]]
        if len(a):
            edges = coo_matrix((np.ones(len(a)), (a, b)), shape=(len(points), len(points)))
            groups = connected_components(edges, directed=False)[1][groups]
    return np.unique(groups, return_inverse=True)[1][back.reshape(-1)]


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
