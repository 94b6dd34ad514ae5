"""Whether a latent or an upload is like what a model has learnt: one verdict from density, reconstruction error and critics.

A critic is a small network that was taught real against broken (noise-contrastive estimation: Gutmann and Hyvarinen 2010;
outlier exposure: Hendrycks et al. 2019). vae.measure.typical fits it; here it only answers, on the CPU.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae.model import Posterior, to_tensor

FINE = 0.07  # a typicality from which on the verdict is fine: 93 % of held-out pictures
GRID = 4  # a picture's errors are told apart by this many rows and columns
FAR = 8.0  # standard deviations at which an input of a critic is cut
# The rows of quantiles, for latents and for uploads.
LATENT_MEASURES, UPLOAD_MEASURES = ("density", "critic", "least"), ("density", "error", "critic", "least")


@dataclass(frozen=True)
class Critic:
    """(N, I) -> (N, O) logits: inputs less center (I,), over scale (I,), cut at FAR; then linear layers with SiLU between.

    layers: weight (outputs, inputs) and bias (outputs,) of each.
    """

    center: Tensor
    scale: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]

    def __call__(self, inputs: Tensor) -> Tensor:
        x = self.standardized(inputs)
        for weight, bias in self.layers[:-1]:
            x = F.silu(F.linear(x, weight, bias))
        return F.linear(x, *self.layers[-1])

    def standardized(self, inputs: Tensor) -> Tensor:
        return ((inputs - self.center) / self.scale).clamp(-FAR, FAR)


@dataclass(frozen=True)
class Verdict:
    """typicality (N,) in [0, 1]: the share of held-out ones that are less typical; against: of each the measure that says least.

    A verdict is fine where the typicality is at least FINE.
    """

    typicality: Tensor
    against: list[str]

    @property
    def fine(self) -> Tensor:
        return self.typicality >= FINE


@dataclass(frozen=True)
class Judge:
    """What tells typical latents and uploads of one model, against quantiles of its held-out pictures.

    latents: the critic of latents (N, D), with logits for real, drawn from the mixture, broken. uploads: the critic of
    upload_inputs, with logits for real, broken. Quantiles (Q,), from the least to the greatest and in equal shares, are of each
    measure by its name, and of the least share that they give ("least").
    """

    latents: Critic
    uploads: Critic
    latent_quantiles: dict[str, Tensor]
    upload_quantiles: dict[str, Tensor]

    def realism(self, z: Tensor) -> Tensor:
        """(N, D) -> (N,): log p(z | real) - log p(z | mixture), but for a constant."""
        logits = self.latents(z)
        return logits[:, 0] - logits[:, 1]

    def of(self, z: Tensor, density: Tensor) -> Verdict:
        """(N, D) and the mixture's log density (N,) -> the verdict on latents."""
        return verdict({"density": density, "critic": sureness(self.latents(z))}, self.latent_quantiles)

    def of_uploads(self, posterior: Posterior, grid: Tensor, density: Tensor) -> Verdict:
        """The posterior of N uploads, their error_grid (N, GRID**2) and log density (N,) of its mean -> the verdict on them."""
        found = sureness(self.uploads(upload_inputs(posterior, grid)))
        return verdict({"density": density, "error": -grid.mean(dim=1), "critic": found}, self.upload_quantiles)


def sureness(logits: Tensor) -> Tensor:
    """(N, O) -> (N,): log p(real) - log p(broken), the first answer and the last."""
    return logits[:, 0] - logits[:, -1]


def upload_inputs(posterior: Posterior, grid: Tensor) -> Tensor:
    """A posterior over (N, D) and an error_grid (N, GRID**2) -> (N, 2 D + GRID**2 + 1), what a critic of uploads sees."""
    errors = torch.cat([grid, grid.mean(dim=1, keepdim=True)], dim=1)
    return torch.cat([posterior.mean, posterior.logvar, (errors + 1e-5).log()], dim=1)


def error_grid(pictures: np.ndarray, again: np.ndarray) -> Tensor:
    """uint8 (N, H, W, C) twice -> (N, GRID**2): the mean squared error, pixels in [0, 1], in each field of GRID by GRID."""
    found = [torch.empty(0, GRID**2)]
    for one, other in zip(pictures, again, strict=True):  # one by one: as floats all of them are large
        squares = (to_tensor(one[None]) - to_tensor(other[None])).square().mean(dim=1)  # (1, H, W)
        found.append(F.adaptive_avg_pool2d(squares, GRID).flatten(1))
    return torch.cat(found)


def verdict(values: dict[str, Tensor], quantiles: dict[str, Tensor]) -> Verdict:
    """Each measure's (N,) values and the quantiles of held-out ones -> how typical is each by the measure that says least."""
    shares = torch.stack([share_below(found, quantiles[name]) for name, found in values.items()])
    least, place = shares.min(dim=0)
    typicality = share_below(least, quantiles["least"]) if "least" in quantiles else least
    return Verdict(typicality, [list(values)[row] for row in place.tolist()])


def share_below(values: Tensor, quantiles: Tensor) -> Tensor:
    """(N,) and quantiles (Q,) in equal shares -> (N,) in [0, 1]: the share under each value."""
    shares = np.linspace(0, 1, len(quantiles))
    return torch.from_numpy(np.interp(values.cpu(), quantiles, shares)).float()
