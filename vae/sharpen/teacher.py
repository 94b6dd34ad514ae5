"""A pretrained network as a teacher: how unlike it finds two pictures is a loss (Johnson et al. 2016, "perceptual losses")."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from vae.measure.features import STAGES, TEACHER, maps

CHANNELS = (32, 16, 24, 40, 112, 320)  # channels of the teacher's maps: the stem's, those of STAGES, the last block's


def taught(pictures: Tensor, side: int = 0, is_whole: bool = False) -> list[Tensor]:
    """Pictures (N, C, S, S) in [0, 1] -> the teacher's maps of them, CHANNELS channels each, the finest first.

    side: pixels that pictures are brought to first, 0 for their own. Without is_whole the last map is left out.
    """
    if side:
        pictures = F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=side < pictures.shape[-1])
    found = list(itertools.islice(maps(pictures, TEACHER), None if is_whole else max(STAGES[TEACHER]) + 2))
    return [found[0], *(found[i + 1] for i in STAGES[TEACHER]), *(found[-1:] if is_whole else ())]


def unlike(mine: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Maps of taught, pair by pair -> one minus the cosine of the feature vectors, averaged over places and pairs, summed."""
    pairs = zip(mine, theirs, strict=True)
    return torch.stack([1 - F.cosine_similarity(one, other, dim=1).mean() for one, other in pairs]).sum()


def lesson(drawn: Tensor, real: Tensor) -> Tensor:
    """Pictures (N, C, S, S) in [0, 1], pair by pair -> how unlike the teacher finds them: a loss for drawn."""
    mine = taught(drawn)
    with torch.no_grad():
        theirs = taught(real)
    return unlike(mine, theirs)
