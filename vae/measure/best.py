"""The best of many draws: like real pictures, and unlike each other."""

import torch
from torch import Tensor

from vae.atlas import Atlas
from vae.errors import BadInput

MOST_DRAWN, MOST_KEPT = 1024, 64
DIFFERENCE = 0.25  # as near to real avatars as 0, and further apart than by chance: python -m tests.bench best
LEAST_DISTANCE = 1e-6  # of two different latents: a logarithm is taken


def farthest(points: Tensor, count: int, merit: Tensor | None = None, share: float = 1.0) -> list[int]:
    """Points (N, K) -> `count` rows: the one of greatest merit (N,), then ever the one that is best beside those before.

    Best is the greatest share * ln d^2 + (1 - share) * merit, d being the distance to the nearest row before. With share 1 that
    is the farthest point (Gonzalez 1985), with share 0 merit alone; of equals the first.
    """
    merit = torch.zeros(len(points)) if merit is None else merit
    nearest, rows = torch.full((len(points),), torch.inf), [int(merit.argmax())]
    while len(rows) < count:
        nearest = torch.minimum(nearest, (points - points[rows[-1]]).square().sum(dim=1))
        value = share * nearest.clamp_min(LEAST_DISTANCE**2).log() + (1 - share) * merit
        value[rows] = -torch.inf
        rows.append(int(value.argmax()))
    return rows


def best_of(atlas: Atlas, z: Tensor, keep: int, difference: float = DIFFERENCE) -> tuple[list[int], list[int]]:
    """Latents (N, D) -> the rows of the best, `keep` of them, and all others, the least real first.

    Merit is atlas.realism in its own standard deviations; difference, 0 to 1, is farthest's share, in atlas.coordinates. All
    rows are kept, in their order, where they are no more than `keep`. BadInput for a difference that is no number from 0 to 1.
    """
    if not (isinstance(difference, (int, float)) and 0 <= difference <= 1):
        raise BadInput(f"How different is {difference!r:.40}; it must be a number from 0 to 1.")
    if len(z) <= keep:
        return list(range(len(z))), []
    realism = atlas.realism(z)
    merit = (realism - realism.mean()) / realism.std().clamp_min(1e-9)
    rows = farthest(atlas.coordinates(z), keep, merit, float(difference))
    kept = set(rows)
    return rows, [row for row in realism.argsort(stable=True).tolist() if row not in kept]
