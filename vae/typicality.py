"""What an atlas keeps to judge latents and uploads by: small critics, and how held-out pictures measure.

A critic is a network that has learnt to tell real from broken (outlier exposure: Hendrycks et al. 2019). vae.measure.typical
fits it, vae.measure.verdicts asks it.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

HIDDEN = 64  # units in each of a critic's two hidden layers; with 128 half a point fewer broken scenes pass, for twice the bytes
FIELDS, COLOURS = 4, 8  # rows and columns in which a picture's errors and edges, and its colours, are averaged
SEAMS = 3  # each way that a critic sees: edges as long as the whole picture, as where two were joined
FAR = 8.0  # standard deviations at which an input of a critic is cut


@dataclass(frozen=True)
class Critic:
    """(N, I) -> (N,): the log odds of real against broken, but for a constant.

    Inputs less center (I,), over scale (I,), are cut at FAR; then come linear layers with SiLU between, as weight (outputs,
    inputs) and bias (outputs,) in turn.
    """

    center: Tensor
    scale: Tensor
    layers: tuple[Tensor, ...]

    def __call__(self, inputs: Tensor) -> Tensor:
        x, (*inner, weight, bias) = self.standardized(inputs), self.layers
        for before, shift in zip(inner[::2], inner[1::2], strict=True):
            x = F.silu(F.linear(x, before, shift))
        return F.linear(x, weight, bias)[:, 0]

    def standardized(self, inputs: Tensor) -> Tensor:
        return ((inputs - self.center) / self.scale).clamp(-FAR, FAR)


@dataclass(frozen=True)
class Judge:
    """What an atlas knows of real and broken: a critic of latents (N, D) in principal axes, and one of upload_inputs.

    Quantiles are of held-out pictures, from the least to the greatest and in equal shares: (3, Q) of latents, by density, critic
    and the least of their shares; (4, Q) of uploads, by density, error, critic and the least.
    """

    latents: Critic
    uploads: Critic
    latent_quantiles: Tensor
    upload_quantiles: Tensor


def input_count(units: int, channels: int) -> int:
    """How many numbers upload_inputs gives of a picture."""
    return units + channels * COLOURS**2 + 3 * FIELDS**2 + 2 * (SEAMS + 1)
