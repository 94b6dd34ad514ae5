"""Held-out figures of a model so simple that each has a closed form or is integrated by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vae.measure.evaluation import estimate_sigma, evaluate
from vae.model import VAE, Posterior, VAEConfig

CONFIG = VAEConfig(size=8, channels=1, latent=1, widths=(8,), stem=2, sigma_floor=0.001)
STD = 0.5


class Brightness(nn.Module):
    """z: the logit of the mean brightness, known up to STD."""

    def forward(self, x: Tensor) -> Posterior:
        mean = torch.logit(x.mean(dim=(1, 2, 3)), 1e-3)[:, None]
        return Posterior(mean, torch.full_like(mean, 2 * math.log(STD)))


class Plain(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z[:, :, None, None].expand(-1, 1, 8, 8)


@pytest.fixture
def model() -> VAE:
    return VAE(CONFIG, Brightness(), Plain()).eval()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    brightness = rng.integers(60, 190, (3000, 1, 1, 1))
    return np.clip(brightness + rng.normal(0, 20, (3000, 8, 8, 1)), 0, 255).astype(np.uint8)


def test_sigma_is_that_of_posterior_samples_not_of_their_mode(model, pictures):
    x = pictures.reshape(3000, 64) / 255
    mean = np.log(x.mean(1) / (1 - x.mean(1)))[:, None]
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)  # integrates over N(0, 1)
    drawn = 1 / (1 + np.exp(-(mean + STD * nodes)))  # (3000, 20)
    squared = (np.square(x[:, :, None] - drawn[:, None]).mean(axis=1) @ weights / weights.sum()).mean()
    assert estimate_sigma(model, pictures) == pytest.approx(math.sqrt(squared), rel=0.03)
    of_mode = math.sqrt(np.square(x - x.mean(1, keepdims=True)).mean())
    assert math.sqrt(squared) > 1.3 * of_mode  # far enough from what a mode would give


def test_psnr_is_of_the_mode_and_active_units_say_enough(model, pictures):
    numbers = evaluate(model, pictures)
    x = pictures / 255
    rmse = math.sqrt(np.square(x - x.mean(axis=(1, 2, 3), keepdims=True)).mean())
    assert numbers["rmse"] == pytest.approx(rmse, rel=1e-3)
    assert numbers["psnr"] == pytest.approx(-20 * math.log10(rmse), abs=0.01)
    mean = np.log(x.mean(axis=(1, 2, 3)) / (1 - x.mean(axis=(1, 2, 3))))
    assert numbers["kl"] == pytest.approx((0.5 * (mean**2 + STD**2 - 1) - math.log(STD)).mean(), rel=1e-4)
    assert numbers["elbo"] == pytest.approx(-numbers["reconstruction"] - numbers["kl"], rel=1e-6)
    assert (numbers["active_units"], numbers["units"], numbers["pictures"]) == (1, 1, 3000)
