"""How far pictures are from others: pair by pair (SSIM, a perceptual distance) and as whole sets (Frechet, kernel).

Pictures are uint8 (N, H, W, C). The features are those of EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet, whose
weights come inside a package of the registry: a Frechet distance in them is not the FID of the literature, which Inception's
features define, and the two cannot be compared. Without that package only SSIM and the nearest picture are to be had.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae.measure.features import NETWORK, cosine_distance, maps, network
from vae.model import to_tensor

PLACES = (3, 5, 11, 16)  # of the maps that perceptual compares, as features.maps counts them
SIDE = 128  # pixels, that the network sees; it was trained at 224, and sees enough of a small picture at this
BATCH = 100
NEAREST_SIDE = 32


def _maps(pictures: np.ndarray, device: torch.device | str) -> list[Tensor]:
    """-> the feature maps at PLACES, finest first, and the network's last (N, 1280, H, W)."""
    x = F.interpolate(to_tensor(pictures, device), size=(SIDE, SIDE), mode="bilinear", antialias=True)
    found, net = maps(x, NETWORK, PLACES), network(NETWORK, str(device))
    return [*found, net._swish(net._bn1(net._conv_head(found[-1])))]


@torch.inference_mode()
def features(pictures: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """-> (N, 1280) float64: the network's last feature map, averaged over places."""
    batches = (pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH))
    return torch.cat([_maps(batch, device)[-1].mean(dim=(2, 3)).cpu() for batch in batches]).double().numpy()


@torch.inference_mode()
def perceptual(a: np.ndarray, b: np.ndarray, device: torch.device | str = "cpu") -> float:
    """Pictures, pair by pair -> 0 for the same, up to 2: one minus the cosine of their feature vectors.

    Averaged over places, scales and pairs (after Zhang et al. 2018, without their learnt weights).
    """
    total = 0.0
    for i in range(0, len(a), BATCH):
        mine, others = (_maps(part[i : i + BATCH], device)[:-1] for part in (a, b))
        total += float(cosine_distance(mine, others)) * len(mine[0])
    return total / (len(PLACES) * len(a))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Features (N, F) and (M, F) -> the squared Frechet distance of the two Gaussians with their means and covariances.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017). Biased upwards when the
    pictures are few: compare only figures of equal counts, and beside the floor, two sets of real pictures.
    """
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    # The trace of (C_a C_b)^(1/2) is that of its symmetric sister, which needs no complex numbers.
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """Features (N, F) and (M, F) -> the squared maximum mean discrepancy under (x.y / F + 1)^3, unbiased: may be below 0.

    The kernel of the Kernel Inception Distance (Binkowski et al. 2018), on other features.
    """
    from sklearn.metrics.pairwise import polynomial_kernel  # that one, by default

    found = -2 * polynomial_kernel(a, b).mean()
    for values in (polynomial_kernel(a), polynomial_kernel(b)):
        found += (values.sum() - np.trace(values)) / (len(values) * (len(values) - 1))
    return float(found)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Pictures, pair by pair -> the mean structural similarity, 1 for the same (Wang et al. 2004): Gaussian window, sigma 1.5."""
    from scipy.ndimage import gaussian_filter

    edge = 5 if min(a.shape[1:3]) > 10 else 0  # where the whole window lies inside, if it does anywhere
    inside, found = slice(edge, -edge or None), []
    for one, other in zip(a, b, strict=True):
        x, y = one / 255, other / 255
        moments = np.stack([x, y, x * x, y * y, x * y])
        mean_x, mean_y, xx, yy, xy = gaussian_filter(moments, (0, 1.5, 1.5, 0), truncate=3.5)  # over 11 x 11 pixels
        squares, product = mean_x**2 + mean_y**2, mean_x * mean_y
        same = (2 * product + 0.01**2) * (2 * (xy - product) + 0.03**2)
        similarity = same / ((squares + 0.01**2) * (xx + yy - squares + 0.03**2))
        found.append(similarity[inside, inside].mean())
    return float(np.mean(found))


def nearest(pictures: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Pictures (N, ...) -> (N,): root mean squared distance to the nearest of `among`, both at 32 x 32, values in [0, 1]."""
    from sklearn.metrics import pairwise_distances_argmin_min

    def small(part: np.ndarray) -> np.ndarray:
        batches = (to_tensor(part[i : i + BATCH]) for i in range(0, len(part), BATCH))
        return torch.cat([F.interpolate(x, size=(NEAREST_SIDE,) * 2, mode="area").flatten(1) for x in batches]).numpy()

    known = small(among)
    return pairwise_distances_argmin_min(small(pictures), known)[1] / known.shape[1] ** 0.5
