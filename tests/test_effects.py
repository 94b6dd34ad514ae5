"""Knobs by what comes out, in a world whose truth is known: bars drawn by a formula, each number with its own effect."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.test_atlas import bare_atlas
from vae.atlas import Atlas, Named
from vae.measure import effects
from vae.measure.effects import Judge, judged, table_of
from vae.measure.reader import fit_reader
from vae.model import VAE, VAEConfig, decoded

SIDE = 16


class Bars(nn.Module):
    """(N, 4) -> logits (N, 1, SIDE, SIDE) of a bar: how bright, how far right, how long; the fourth number draws nothing."""

    def forward(self, z: Tensor) -> Tensor:
        bright, right, length, _ = z[:, :, None, None].unbind(1)  # (N, 1, 1)
        x = torch.linspace(-1, 1, SIDE).expand(SIDE, SIDE)
        inside = torch.sigmoid(20 * (0.2 + 0.3 * torch.sigmoid(length) - (x - 0.45 * torch.tanh(1.5 * right)).abs()))
        rows = torch.sigmoid(20 * (0.3 - x.T.abs()))
        light = inside * rows * (0.25 + 0.7 * torch.sigmoid(2 * bright))
        return torch.logit(light.clamp(0.01, 0.99))[:, None]


@pytest.fixture(scope="module")
def world() -> tuple[Judge, Atlas, np.ndarray, Tensor]:
    """The bars' model with a reader of them; the atlas has a tangled direction for each column, and one of pure luck."""
    config = VAEConfig(size=SIDE, channels=1, latent=4, widths=(8,), stem=2)
    model = VAE(config, encoder=nn.Identity(), decoder=Bars()).eval()
    z = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    columns = {
        "bright": (z[:, 0] > 0.3).double().numpy(), "right": (z[:, 1] > 0).double().numpy(),
        "length": z[:, 2].double().numpy(), "luck": (z[:, 3] > 0).double().numpy(),
    }  # fmt: skip
    vectors = torch.eye(4)
    vectors[0, 1] = 0.8  # on the way to bright it goes to the right
    named = tuple(
        Named(name, vector, "balanced accuracy", 0.95, 0.5) for name, vector in zip(columns, vectors, strict=True)
    )
    atlas = dataclasses.replace(
        bare_atlas(4),
        named=named,
        mean=z.mean(dim=0),
        covariance=torch.cov(z.T),
        likelihoods=torch.linspace(-12, -2, 101),
    )
    table = table_of(columns, list(columns))
    reader = fit_reader(decoded(model, z), table, seed=0)
    return (
        Judge(model, reader, list(columns), torch.tensor([True, True, False, True]), torch.arange(4) < 3),
        atlas,
        table,
        z,
    )


def test_what_comes_out(world, monkeypatch):
    monkeypatch.setattr(effects, "STEPS", 60)
    judge, atlas, table, z = world
    for row in judged(judge, atlas, table, z, torch.randn(400, 4, generator=torch.Generator().manual_seed(1))):
        print(row)
