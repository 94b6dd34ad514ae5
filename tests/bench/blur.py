"""What is lost between a held-out picture and its reconstruction: how much of it the encoder could win back, and sharpness.

The search is Adam on z, from the encoder's answer on, for log p(x|z) + log p(z) with the model's own sigma.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.bench.report import table
from vae import checkpoints
from vae.checkpoints import Checkpoint
from vae.model import to_tensor
from vae.pictures import sets

SEARCHED, STEPS = 40, 90
SHOWN = 500  # pictures whose sharpness is compared
LAPLACE = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]


def psnr(x: Tensor, again: Tensor) -> float:
    """(N, C, H, W) in [0, 1] twice -> dB, the mean of all pictures' own."""
    return float(-10 * (x - again).square().flatten(1).mean(dim=1).log10().mean())


def searched(checkpoint: Checkpoint, x: Tensor) -> tuple[float, float]:
    """(N, C, H, W) -> PSNR of the encoder's answers, and after the search."""
    model = checkpoint.model.requires_grad_(False)
    z = model.encode(x).mode().clone().requires_grad_(True)
    before, adam = psnr(x, model.decode(z.detach())), torch.optim.Adam([z], lr=0.05, betas=(0.9, 0.99))
    for _ in range(STEPS):
        adam.zero_grad()
        error = (model.decode(z) - x).square().sum()
        (error / (2 * model.sigma**2) + z.square().sum() / 2).backward()
        adam.step()
    return before, psnr(x, model.decode(z.detach()))


def sharpness(pictures: np.ndarray) -> float:
    """uint8 (N, H, W, C) -> the variance of the Laplacian of their grey values, the mean of all."""
    grey = torch.from_numpy(pictures).float().mean(dim=3)[:, None]
    return float(F.conv2d(grey, LAPLACE).flatten(1).var(dim=1).mean())


def run(args: argparse.Namespace) -> None:
    rows = []
    for name in args.checkpoint or ["avatars", "faces", "scenes"]:
        checkpoint = checkpoints.load(name, "cpu")
        recipe = checkpoint.recipe
        _, held = sets.load(recipe.data, args.data, split=recipe.split, **vars(checkpoint.form))
        every = held.images[:: max(1, len(held) // SHOWN)][:SHOWN]
        before, after = searched(checkpoint, to_tensor(every[:SEARCHED]))
        share = sharpness(checkpoint.decode(checkpoint.encode(every))) / sharpness(every)
        rows.append([name, f"{before:.2f} dB", f"{after:.2f} dB", f"{after - before:.2f} dB", f"{share:.2f}"])
    print(
        f"\n### What reconstructions of held-out pictures lose: {SEARCHED} searched for {STEPS} steps, {SHOWN} for sharpness\n"
    )
    head = ["model", "the encoder's answer", "searched from there", "gain", "Laplacian variance, of the originals'"]
    print(table(head, rows))
