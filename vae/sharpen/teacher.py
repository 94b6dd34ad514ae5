"""A pretrained network as a teacher: how unlike it finds two pictures is a loss (Johnson et al. 2016, "perceptual losses")."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from vae.measure.features import STAGES, TEACHER, maps

CHANNELS = (32, 16, 24, 40, 112, 320)  # channels of the teacher's maps: the stem's, those of STAGES, the last block's


def feature_maps(pictures: Tensor, size: int = 0, is_whole: bool = False) -> list[Tensor]:
    """Pictures (N, C, S, S) in [0, 1] -> the teacher's maps of them, CHANNELS channels each, the finest first.

    size: pixels that pictures are brought to first, 0 for their own. Without is_whole the last map is left out.
    """
    if size:
        pictures = F.interpolate(pictures, size=(size, size), mode="bilinear", antialias=size < pictures.shape[-1])
    found = list(itertools.islice(maps(pictures, TEACHER), None if is_whole else max(STAGES[TEACHER]) + 2))
    return [found[0], *(found[i + 1] for i in STAGES[TEACHER]), *(found[-1:] if is_whole else ())]


def cosine_distance(maps: list[Tensor], real_maps: list[Tensor]) -> Tensor:
    """feature_maps, pair by pair -> one minus the cosine of the feature vectors, averaged over places and pictures, summed."""
    pairs = zip(maps, real_maps, strict=True)
    return torch.stack([1 - F.cosine_similarity(one, other, dim=1).mean() for one, other in pairs]).sum()


def perceptual_loss(drawn: Tensor, real: Tensor) -> Tensor:
    """Pictures (N, C, S, S) in [0, 1], pair by pair -> how far apart the teacher finds them: a loss for drawn."""
    maps = feature_maps(drawn)
    with torch.no_grad():
        real_maps = feature_maps(real)
    return cosine_distance(maps, real_maps)
