"""A pretrained network as a teacher: how unlike it finds two pictures is a loss (Johnson et al. 2016, "perceptual losses")."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vae.measure.features import TEACHER, cosine_distance, maps

PLACES = (0, 1, 4, 7, 15)  # of the maps that are used, as features.maps counts them
LAST = 21  # the last one's, which only the jury sees
CHANNELS = (32, 16, 24, 40, 112, 320)  # of the maps at PLACES and LAST


def feature_maps(pictures: Tensor, size: int = 0, is_whole: bool = False) -> list[Tensor]:
    """Pictures (N, C, S, S) in [0, 1] -> the teacher's maps of them, CHANNELS channels each, the finest first.

    size: pixels that pictures are brought to first, 0 for their own. Without is_whole the last map is left out.
    """
    if size:
        pictures = F.interpolate(pictures, size=(size, size), mode="bilinear", antialias=size < pictures.shape[-1])
    return maps(pictures, TEACHER, (*PLACES, LAST) if is_whole else PLACES)


def perceptual_loss(drawn: Tensor, real: Tensor) -> Tensor:
    """Pictures (N, C, S, S) in [0, 1], pair by pair -> how far apart the teacher finds them: a loss for drawn."""
    with torch.no_grad():
        real_maps = feature_maps(real)
    return cosine_distance(feature_maps(drawn), real_maps)
