"""Latents whose pictures are nearer to given ones than the encoder's answer, by gradient."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from vae.errors import BadInput


def optimize(decode: Callable[[Tensor], Tensor], z: Tensor, x: Tensor, *, sigma: float, seconds: float = 2.0) -> Tensor:
    """From the encoder's answer z (N, D) -> latents whose pictures are nearer to x (N, C, H, W), after so many seconds.

    Climbs log p(x|z) + log p(z) of a gaussian likelihood with this sigma and the normal prior, with Adam. The encoder answers
    for all pictures at once, this for each alone (Kim et al. 2018, "Semi-Amortized Variational Autoencoders"). Of each picture
    the latent that came nearest is kept: it never gets worse. BadInput for seconds that are no number above 0, at most 60, and
    for another number of pictures than latents or of another size than the decoder draws.
    """
    if not (isinstance(seconds, (int, float)) and 0 < seconds <= 60):
        raise BadInput(f"The time to optimise a latent is {seconds!r:.40} seconds; it must be above 0 and at most 60.")
    z = z.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z], lr=0.05, betas=(0.9, 0.99))
    best, least = z.detach().clone(), torch.full((len(z),), math.inf, device=z.device)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        with torch.enable_grad():
            drawn = decode(z)
            if drawn.shape != x.shape:
                raise BadInput(
                    f"These latents draw {tuple(drawn.shape)}; the pictures to come near are {tuple(x.shape)}."
                )
            error = (drawn - x).square().flatten(1).sum(dim=1)  # (N,)
            nats = error / (2 * sigma**2) + z.square().sum(dim=1) / 2
            (z.grad,) = torch.autograd.grad(nats.sum(), z)  # and none of the network's weights
        is_better = error.detach() < least
        least = torch.where(is_better, error.detach(), least)
        best = torch.where(is_better[:, None], z.detach(), best)
        optimizer.step()
    return best
