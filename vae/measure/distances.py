"""How far pictures are from others: pair by pair (SSIM, a perceptual distance) and as whole sets (Frechet, kernel).

Pictures are uint8 (N, H, W, C). The features are those of EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet, whose
weights come inside a package of the registry: a Frechet distance in them is not the FID of the literature, which Inception's
features define, and the two cannot be compared. Without that package only SSIM and the nearest picture are to be had.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae.measure.features import NETWORK, STAGES, maps, network
from vae.model import to_tensor

SIDE = 128  # pixels, that the network sees; it was trained at 224, and sees enough of a small picture at this
BATCH = 100
NEAREST_SIDE = 32


def _stages(pictures: np.ndarray, device: torch.device | str) -> list[Tensor]:
    """-> feature maps of STAGES, finest first, and the last one's (N, 1280, H, W)."""
    x = F.interpolate(to_tensor(pictures, device), size=(SIDE, SIDE), mode="bilinear", antialias=True)
    _, *blocks = maps(x, NETWORK)
    net = network(NETWORK, str(device))
    return [*(blocks[i] for i in STAGES[NETWORK]), net._swish(net._bn1(net._conv_head(blocks[-1])))]


@torch.inference_mode()
def features(pictures: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """-> (N, 1280) float64: the network's last feature map, averaged over places."""
    parts = [
        _stages(pictures[i : i + BATCH], device)[-1].mean(dim=(2, 3)).cpu() for i in range(0, len(pictures), BATCH)
    ]
    return torch.cat(parts).double().numpy()


@torch.inference_mode()
def perceptual(a: np.ndarray, b: np.ndarray, device: torch.device | str = "cpu") -> float:
    """Pictures, pair by pair -> 0 for the same, up to 2: one minus the cosine of their feature vectors, averaged over places,

    scales and pairs (after Zhang et al. 2018, without their learnt weights).
    """
    apart = []
    for i in range(0, len(a), BATCH):
        pairs = zip(*(_stages(part[i : i + BATCH], device)[:-1] for part in (a, b)), strict=True)
        apart.append(torch.stack([1 - F.cosine_similarity(one, other, dim=1).mean(dim=(1, 2)) for one, other in pairs]))
    return float(torch.cat(apart, dim=1).mean())


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

    def mean(x: np.ndarray, y: np.ndarray, is_same: bool) -> float:
        values = (x @ y.T / x.shape[1] + 1) ** 3
        if not is_same:
            return float(values.mean())
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Pictures, pair by pair -> the mean structural similarity, 1 for the same (Wang et al. 2004): Gaussian window, sigma 1.5."""
    from scipy.ndimage import gaussian_filter

    def blurred(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (0, 1.5, 1.5, 0), truncate=3.5)  # 11 x 11 pixels

    found = []
    for i in range(0, len(a), BATCH):
        x, y = (part[i : i + BATCH].astype(np.float64) / 255 for part in (a, b))
        mean_x, mean_y = blurred(x), blurred(y)
        var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
        both = blurred(x * y) - mean_x * mean_y
        same = (2 * mean_x * mean_y + 0.01**2) * (2 * both + 0.03**2)
        similarity = same / ((mean_x**2 + mean_y**2 + 0.01**2) * (var_x + var_y + 0.03**2))
        edge = 5 if min(x.shape[1:3]) > 10 else 0  # where the whole window lies inside, if it does anywhere
        found.append(similarity[:, edge : x.shape[1] - edge, edge : x.shape[2] - edge].mean(axis=(1, 2, 3)))
    return float(np.concatenate(found).mean())


def nearest(pictures: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Pictures (N, ...) -> (N,): root mean squared distance to the nearest of `among`, both at 32 x 32, values in [0, 1]."""

    def small(part: np.ndarray) -> Tensor:
        parts = [
            F.interpolate(to_tensor(part[i : i + 1000]), size=(NEAREST_SIDE,) * 2, mode="area").flatten(1)
            for i in range(0, len(part), 1000)
        ]
        return torch.cat(parts)

    known = small(among)
    least = torch.cat([torch.cdist(rows, known).min(dim=1).values for rows in small(pictures).split(500)])
    return (least / known.shape[1] ** 0.5).numpy()
