"""What an atlas keeps to judge latents and uploads by: small critics, and how held-out pictures measure.

A critic is a network that has learnt to tell real from broken (outlier exposure: Hendrycks et al. 2019). vae.measure.typical
fits it, vae.measure.verdicts asks it; in atlas.safetensors its numbers are in half precision.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vae.atlas import SHARES
from vae.storage.tensors import Heads

QUANTILES, CRITICS = "judge.quantiles", ("latents", "uploads")  # as which its tensors are saved
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


def packed(judge: Judge) -> dict[str, Tensor]:
    """A judge's tensors by name."""
    tensors = {QUANTILES: torch.cat([judge.latent_quantiles, judge.upload_quantiles])}
    for name in CRITICS:
        critic = getattr(judge, name)
        for place, part in enumerate((critic.center, critic.scale, *critic.layers)):
            tensors[f"judge.{name}.{place}"] = part.half()
    return tensors


def heads(units: int, channels: int) -> Heads:
    """The types and shapes of the tensors of a model's judge."""
    found: Heads = {QUANTILES: ("F32", 7, SHARES)}
    for name, inputs in zip(CRITICS, (units, input_count(units, channels)), strict=True):
        layers = ((HIDDEN, inputs), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (1, HIDDEN), (1,))
        shapes = enumerate(((inputs,), (inputs,), *layers))
        found |= {f"judge.{name}.{place}": ("F16", *shape) for place, shape in shapes}
    return found


def unpacked(tensors: dict[str, Tensor]) -> Judge:
    """What packed made. ValueError for a scale that is not positive, and for quantiles that fall."""
    parts = ([tensors[f"judge.{name}.{place}"].float() for place in range(8)] for name in CRITICS)
    latents, uploads = (Critic(center, scale, tuple(layers)) for center, scale, *layers in parts)
    if not all((critic.scale > 0).all() for critic in (latents, uploads)):
        raise ValueError("it has a scale that is not positive")
    if (tensors[QUANTILES].diff(dim=1) < 0).any():
        raise ValueError("it has quantiles that fall")
    of_latents, of_uploads = tensors[QUANTILES].split([3, 4])
    return Judge(latents, uploads, of_latents, of_uploads)
